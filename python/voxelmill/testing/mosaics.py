"""Made mosaics with exact truth: one scene, seen through tiles that lie where a stage did not quite put them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Mosaic:
    """tiles (n, ny, nx) uint16; nominal, truth (n, 2) px (y, x) of their pixels [0, 0]; flat (ny, nx), mean 1."""

    tiles: np.ndarray
    nominal: np.ndarray
    truth: np.ndarray
    flat: np.ndarray

    @property
    def shapes(self) -> np.ndarray:
        return np.tile(self.tiles.shape[1:], (len(self.tiles), 1))

    def error(self, positions: np.ndarray) -> float:
        """RMS distance of positions from the truth, px, the common shift left out."""
        off = positions - self.truth
        return float(np.sqrt(((off - off.mean(0)) ** 2).sum(1).mean()))


def texture(shape: tuple[int, int], seed: int | np.random.Generator, clouds: float = 0.0) -> np.ndarray:
    """A scene of blobs and ridges of several sizes, 0 to 1, float32; clouds: weight of slow unevenness."""
    import cv2

    rng, out = np.random.default_rng(seed), np.zeros(shape, np.float32)
    for sigma, weight in ((1.2, 0.5), (3, 1.0), (8, 1.0), (25, clouds)):
        noise = cv2.GaussianBlur(rng.standard_normal(shape).astype(np.float32), (0, 0), sigma)
        noise /= noise.std()
        # where noise crosses zero, a ridge like a membrane
        out += weight * (np.exp(-4 * noise**2) if sigma in (3, 8) else noise)
    return (out - out.min()) / (out.max() - out.min())


def mosaic(
    rows: int = 3,
    columns: int = 3,
    tile: int = 128,
    overlap: float = 0.2,
    jitter: float = 2.0,
    vignetting: float = 0.3,
    seed: int = 0,
    photons: float = 2000,
    objects: float = 1.0,
) -> Mosaic:
    """Tiles in a grid, row by row; jitter in px (standard deviation), vignetting as the loss at a corner.

    photons   a pixel, of white
    objects   part of the area; below 1 the scene is dark but for objects some 12 px wide"""
    import cv2

    rng, step, margin = np.random.default_rng(seed), round(tile * (1 - overlap)), int(4 * jitter) + 4
    scene = texture((step * rows + tile + 2 * margin, step * columns + tile + 2 * margin), seed)
    black = 0.1
    if objects < 1:
        where = cv2.GaussianBlur(np.random.default_rng([seed, 1]).standard_normal(scene.shape).astype(np.float32), (0, 0), 12)
        scene *= cv2.GaussianBlur((where > np.quantile(where, 1 - objects)).astype(np.float32), (0, 0), 2)
        black = 0.02
    side = np.linspace(-1, 1, tile)
    flat = (1 - vignetting * (side[:, None] ** 2 + 0.8 * side**2) / 1.8).astype(np.float32)
    nominal = np.array([(r * step, c * step) for r in range(rows) for c in range(columns)], float)
    off = np.clip(rng.normal(0, jitter, nominal.shape), -3 * jitter, 3 * jitter)
    truth = nominal + np.rint(off * 32) / 32  # OpenCV moves pixels by 1/32 px: so the truth is exact
    tiles = []
    for y, x in truth + margin:
        seen = cv2.warpAffine(
            scene, np.array([[1, 0, x], [0, 1, y]]), (tile, tile), flags=cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
        )
        tiles.append(np.clip(rng.poisson(np.clip(seen + black, 0, None) * flat * photons), 0, 65535).astype(np.uint16))
    return Mosaic(np.stack(tiles), nominal, truth, flat / flat.mean())


def write_tiles(folder: Path, made: Mosaic, table: bool = True) -> Path:
    """Its tiles as TIFFs, 0000.tif and so on, with their nominal positions beside them (`positions.csv`)."""
    import tifffile

    folder.mkdir(parents=True)
    rows = ["tile,y,x"]
    for n, (pixels, (y, x)) in enumerate(zip(made.tiles, made.nominal)):
        tifffile.imwrite(folder / f"{n:04d}.tif", pixels)
        rows.append(f"{n:04d}.tif,{y:g},{x:g}")
    if table:
        (folder / "positions.csv").write_text("\n".join(rows) + "\n")
    return folder
