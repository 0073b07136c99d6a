"""Made acquisitions of serial-section OCT with exact truth: one block, imaged and cut slice by slice, tile by tile.

Lengths are px (lateral) and planes (axial) unless said otherwise; lateral pairs are (dim 1, dim 2) = (stage x, stage y):

            dim 2 = my = stage y ->
    dim 1   tile 0,0   tile 0,1
    = mx    tile 1,0   tile 1,1        a mosaic grid (nz, n_mx * tile_1, n_my * tile_2), overlap not removed
    = stage x
       v

What pixel p of slice s (counted from pixel 0,0 of its tile 0,0) shows of the block:

    block = centre + R(rotation) (p - canvas / 2) + seen          the tissue is really there
    stage = p + stage                                             what info.txt says of the same pixel

`seen` and `stage` differ by what motors do not report, and where one was homed anew, by that.
"""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

AGAROSE = 0.1  # back-scatter; tissue has about 1
STAGE_MM = np.array([20.0, 30.0])  # of pixel 0,0 of the first slice: a stage has no zero of ours


@dataclass(frozen=True)
class Acquisition:
    """What was made. Sizes in the order z, dim 1 (stage x), dim 2 (stage y)."""

    slices: int = 3  # slots in the stack, missing ones included
    missing: tuple[int, ...] = ()
    spoiled: tuple[int, ...] = ()  # slices that show agarose alone
    grid: tuple[int, int] = (3, 3)
    tile: tuple[int, int, int] = (40, 64, 64)
    overlap: float = 0.25
    voxel_um: tuple[float, float] = (10.0, 10.0)  # axial, lateral
    thickness: int = 16  # planes cut away between slices
    surface: float = 6.0  # plane of the tissue's surface in a tile
    curvature: float = 0.0  # planes that the surface sags at a tile's corner
    jitter: float = 1.5  # px, standard deviation, of a tile's place
    drift: float = 6.0  # of the stage per slice
    unreported: float = 1.0  # of the drift that the stage does not know of
    rotation: float = 0.4  # degrees
    vignetting: float = 0.35  # relative loss at a tile's corner
    looks: float = 6.0  # of the speckle; 0: none
    n_extra: int = 8  # A-lines of the galvo's return
    galvo_shift: int = 11  # by which the ring of A-lines is to be rolled
    camera_shift: int = 0  # by which A-lines of a tile are to be rolled back
    legacy: bool = False  # tiles recorded the old way round
    rehomed: dict[int, tuple[float, float]] = field(default_factory=dict)  # slice -> what its stage position is off by
    tilt: float = 0.0  # degrees by which the block leans towards dim 1: an oblique cut
    seed: int = 7
    texture: np.ndarray | None = field(default=None, repr=False, compare=False)  # a real volume that the tissue looks like

    @property
    def kept(self) -> list[int]:
        return [s for s in range(self.slices) if s not in self.missing]

    @property
    def step(self) -> np.ndarray:
        """Nominal distance of neighbouring tiles."""
        return np.array(self.tile[1:]) * (1 - self.overlap)

    @property
    def canvas(self) -> np.ndarray:
        """Nominal size of a slice."""
        return self.step * (np.array(self.grid) - 1) + self.tile[1:]

    @property
    def margin(self) -> int:
        """Of the block around the canvas."""
        return int(3 * self.drift * np.sqrt(self.slices) + 4 * self.jitter + 0.02 * self.canvas.max() + 8)

    @property
    def centre(self) -> np.ndarray:
        """Of the first slice's canvas, in the block."""
        return self.margin + self.canvas / 2

    @cached_property
    def _moves(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng = np.random.default_rng([self.seed, 1])
        drift = np.cumsum(np.vstack([[0, 0], rng.normal(0, self.drift, (self.slices - 1, 2)).clip(-18, 18)]), axis=0).round(2)
        seen = drift + rng.normal(0, self.unreported, (self.slices, 2))
        rotation = rng.normal(0, self.rotation, self.slices)
        seen[0], rotation[0] = 0, 0
        stage = drift + [self.rehomed.get(s, (0.0, 0.0)) for s in range(self.slices)]
        return stage, seen, rotation

    @property
    def stage(self) -> np.ndarray:
        """(slices, 2): where info.txt says that pixel 0,0 of each slice lies."""
        return self._moves[0]

    @property
    def seen(self) -> np.ndarray:
        """(slices, 2): where it lies in the block, but for the margin."""
        return self._moves[1]

    @property
    def rotations(self) -> np.ndarray:
        """(slices,) degrees, from dim 1 to dim 2, about the middle of the canvas."""
        return self._moves[2]

    def positions(self, s: int) -> np.ndarray:
        """(tiles, 2): true places of the tiles of a slice, in the order of `tiles`."""
        rng = np.random.default_rng([self.seed, 2, s])
        jitter = rng.normal(0, self.jitter, (len(self.tiles), 2)).clip(-3 * self.jitter, 3 * self.jitter)
        jitter[0] = 0
        return np.array(self.tiles) * self.step + jitter

    @property
    def tiles(self) -> list[tuple[int, int]]:
        """(mx, my) of all tiles."""
        return [(mx, my) for mx in range(self.grid[0]) for my in range(self.grid[1])]

    def to_block(self, s: int, points: np.ndarray) -> np.ndarray:
        """Points (n, 2) of slice s, as the stage has them -> where they lie in the block."""
        p = np.asarray(points, float) - self.stage[s] - self.canvas / 2
        return self.centre + p @ rotation(self.rotations[s]).T + self.seen[s]

    def from_block(self, s: int, points: np.ndarray) -> np.ndarray:
        """The inverse of `to_block`."""
        return (np.asarray(points, float) - self.centre - self.seen[s]) @ rotation(self.rotations[s]) + (
            self.canvas / 2 + self.stage[s]
        )

    @cached_property
    def block(self) -> np.ndarray:
        """The truth: back-scatter (z, dim 1, dim 2), 0.02 to about 2.5; plane s * thickness is the surface of slice s."""
        across = np.ceil(self.canvas).astype(int) + 2 * self.margin
        shape = (self.thickness * (self.slices - 1) + self.tile[0], int(across[0]), int(across[1]))
        return phantom(shape, self.seed, self.texture, self.tilt)

    @cached_property
    def flat(self) -> np.ndarray:
        """(tile_1, tile_2): the light over a tile, mean 1."""
        flat = 1 - self.vignetting * _off_axis(self.tile) / 2.4
        return (flat / flat.mean()).astype(np.float32)

    @property
    def sag(self) -> np.ndarray:
        """(tile_1, tile_2): planes by which the surface seems to lie deeper, least 0."""
        sag = self.curvature * _off_axis(self.tile) / 2
        return sag - sag.min()

    @property
    def beam(self) -> np.ndarray:
        """(nz,): the light along depth, before what tissue takes of it."""
        nz = self.tile[0]
        return (1 / (1 + ((np.arange(nz) - 0.38 * nz) / (0.45 * nz)) ** 2)).astype(np.float32)

    @cached_property
    def _splines(self) -> dict[int, np.ndarray]:
        return {}

    def pixels(self, s: int, n: int) -> np.ndarray:
        """Tile n of slice s as the microscope sees it, the right way round: (nz, tile_1, tile_2) float32."""
        scatter = np.stack([self._view(s * self.thickness + z, s, n) for z in range(self.tile[0])])
        if s in self.spoiled:
            scatter[:] = AGAROSE
        return self._signal(scatter.clip(0.01), np.random.default_rng([self.seed, 3, s, n]))

    def _view(self, plane: int, s: int, n: int) -> np.ndarray:
        """What tile n of slice s sees of a plane of the block."""
        from scipy import ndimage

        if plane not in self._splines:
            self._splines[plane] = ndimage.spline_filter(self.block[plane], order=3, output=np.float32)
        corner = self.to_block(s, self.positions(s)[n : n + 1] + self.stage[s])[0]
        return ndimage.affine_transform(
            self._splines[plane], rotation(self.rotations[s]), corner, self.tile[1:], order=3, prefilter=False, mode="nearest"
        )

    def _signal(self, scatter: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Tissue under water: attenuated as light goes down, seen through the optics, with speckle and noise."""
        nz = len(scatter)
        below = np.arange(nz, dtype=np.float32)[:, None, None] - (self.surface + self.curvature * _off_axis(self.tile) / 2)
        at = below.clip(0, nz - 1.001)
        low = at.astype(np.intp)
        part = (at - low).astype(np.float32)
        seen = (1 - part) * np.take_along_axis(scatter, low, 0) + part * np.take_along_axis(scatter, low + 1, 0)
        seen /= 1 + np.exp(-4 * below.clip(-20, 20), dtype=np.float32)
        left = np.exp(-2.2 / nz * (np.cumsum(seen, 0) - seen))
        signal = (1000 * seen * left * self.beam[:, None, None] * self.flat).astype(np.float32)
        if self.looks:
            signal *= rng.standard_gamma(self.looks, signal.shape, dtype=np.float32) / np.float32(self.looks)
        return signal + 6 + np.abs(4 * rng.standard_normal(signal.shape, dtype=np.float32))

    def mosaic(self, s: int) -> np.ndarray:
        """The mosaic grid of slice s, as it should come out of raw tiles."""
        (nz, t1, t2), (g1, g2) = self.tile, self.grid
        grid = np.zeros((nz, g1 * t1, g2 * t2), np.float32)
        for n, (mx, my) in enumerate(self.tiles):
            grid[:, mx * t1 : (mx + 1) * t1, my * t2 : (my + 1) * t2] = self.pixels(s, n)
        return grid

    def shifts(self) -> list[dict[str, float]]:
        """The rows of shifts_xy.csv: fixed minus moving."""
        rows = []
        for fixed, moving in zip(self.kept[:-1], self.kept[1:]):
            x, y = self.stage[fixed] - self.stage[moving]
            mm = self.voxel_um[1] / 1000
            row = {"x_shift": x, "y_shift": y, "x_shift_mm": x * mm, "y_shift_mm": y * mm}
            rows.append({"fixed_id": fixed, "moving_id": moving, **row, "reliable": 1})
        return rows

    def truth(self) -> dict[str, Any]:
        """All of it that is numbers, as JSON has them."""
        drawn = {
            f"{s:02d}": {
                "stage_px": self.stage[s].tolist(),
                "seen_px": self.seen[s].tolist(),
                "rotation_deg": float(self.rotations[s]),
                "tile_positions_px": self.positions(s).tolist(),
            }
            for s in self.kept
        }
        settings = {k: v for k, v in asdict(self).items() if k != "texture"}
        return {**settings, "canvas_px": self.canvas.tolist(), "block_centre_px": self.centre.tolist(), "drawn": drawn}


def rotation(degrees: float) -> np.ndarray:
    a = np.deg2rad(degrees)
    return np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])


def _off_axis(tile: tuple[int, int, int]) -> np.ndarray:
    """(tile_1, tile_2): squared distance from the optical axis, which is not quite in the middle; 1 at half a side."""
    _, n1, n2 = tile
    u, v = (np.arange(n1) / n1 - 0.45) * 2, (np.arange(n2) / n2 - 0.55) * 2
    return (u[:, None] ** 2 + v**2).astype(np.float32)


def noise(rng: np.random.Generator, shape: tuple[int, int, int], sigma: float) -> np.ndarray:
    """Mean 0, deviation 1, grains of about `sigma` voxels; coarse grains are made small and enlarged."""
    from scipy import ndimage

    coarse = max(1, int(sigma / 2))
    small = tuple(-(-n // coarse) + 3 for n in shape)
    made = ndimage.gaussian_filter(rng.standard_normal(small, dtype=np.float32), sigma / coarse)
    if coarse > 1:
        made = ndimage.zoom(made, coarse, order=1)
    made = made[tuple(slice(0, n) for n in shape)]
    return (made - made.mean()) / made.std()


def phantom(shape: tuple[int, int, int], seed: int = 7, texture: np.ndarray | None = None, tilt: float = 0.0) -> np.ndarray:
    """Agarose around tissue with layers, grain and vessels; or with the grey values of a real volume (z, y, x).

    With `tilt` outline and layers move along dim 1 from plane to plane, by its tangent."""
    rng = np.random.default_rng([seed, 0])
    z, x, y = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
    z, x, y = z[:, None, None], x[None, :, None], y[None, None, :]
    x = x - np.float32(np.tan(np.deg2rad(tilt)) * shape[0] / shape[1]) * z
    radius = np.sqrt((x / 0.78) ** 2 + (y / 0.74) ** 2) + 0.06 * np.sin(3 * z) + 0.06 * noise(rng, shape, 16)
    if texture is None:
        grain = 0.25 * noise(rng, shape, 1.6) + 0.22 * noise(rng, shape, 4) + 0.25 * noise(rng, shape, 12)
        tissue = 1 + 0.35 * np.sin(11 * radius + 2 * z) + grain
    else:
        tissue = _like(texture, shape)
    tissue = tissue.clip(0.15) * (1 - 0.8 * vessels(rng, shape))
    agarose = AGAROSE * (1 + 0.08 * noise(rng, shape, 2))
    inside = 1 / (1 + np.exp(((radius - 1) * 40).clip(-50, 50)))
    return (agarose + inside * (tissue - agarose)).astype(np.float32)


def vessels(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """Random walks, drawn soft: 0 to 1."""
    from scipy import ndimage

    drawn = np.zeros(shape, np.float32)
    for _ in range(max(8, shape[1] * shape[2] // 6000)):
        ways = np.cumsum(0.25 * rng.standard_normal((int(0.8 * max(shape[1:])), 3)), axis=0) + rng.standard_normal(3)
        steps = ways / np.linalg.norm(ways, axis=1, keepdims=True)
        at = np.rint(rng.uniform(0.15, 0.85, 3) * shape + np.cumsum(steps, axis=0)).astype(int)
        at = at[((at >= 0) & (at < shape)).all(1)]
        drawn[tuple(at.T)] = 1
    return (18 * ndimage.gaussian_filter(drawn, 1.4)).clip(0, 1)


def _like(volume: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Mean 1; continued by reflection where the volume is too small."""
    real = volume[tuple(slice(max(0, (n - m) // 2), max(0, (n - m) // 2) + m) for n, m in zip(volume.shape, shape))]
    real = np.pad(real, [(0, m - n) for n, m in zip(real.shape, shape)], mode="symmetric").astype(np.float32)
    return 1 + 0.35 * (real - real.mean()) / real.std()


def write_raw(folder: Path, made: Acquisition, *, nested: bool = True) -> Path:
    """Raw tiles, a folder each: in one folder a slice, or all side by side (the old structure)."""
    for s in made.kept:
        for n, (mx, my) in enumerate(made.tiles):
            tile = folder / (f"z{s:02d}" if nested else "") / f"tile_x{mx:02d}_y{my:02d}_z{s:02d}"
            write_tile(tile, recorded(made, made.pixels(s, n)), made, info(made, s, (mx, my)))
    return folder


def recorded(made: Acquisition, tile: np.ndarray) -> np.ndarray:
    """A tile as the instrument records it: (nz, lines of scan and return, B-scans)."""
    if made.legacy:
        tile = tile.transpose(0, 2, 1)[:, ::-1, ::-1]
    n_lines = tile.shape[1]
    back = 0.3 * tile[:, np.linspace(n_lines - 1, 0, made.n_extra).astype(int)]
    ring = np.roll(np.concatenate([tile, back], axis=1), -made.galvo_shift if made.n_extra else 0, axis=1)
    if made.camera_shift:  # the first A-line after the camera's start is far too bright
        ring = ring.copy()
        ring[:, 0] = 8 * ring.max()
        ring = np.roll(ring, made.camera_shift, axis=1)
    return ring


def info(made: Acquisition, s: int, tile: tuple[int, int]) -> dict[str, Any]:
    """What info.txt says of a tile."""
    nz, t1, t2 = made.tile
    nx, ny = (t2, t1) if made.legacy else (t1, t2)
    axial, lateral = made.voxel_um
    x, y = STAGE_MM + (np.array(tile) * made.step + made.stage[s]) * lateral / 1000
    return {
        "nx": nx, "ny": ny, "n_repeat": 1, "width": nx * lateral, "height": ny * lateral, "n_extra": made.n_extra,
        "line_rate": 80, "exposure": 23, "alinerepeat": 1, "top_z": 0, "bottom_z": nz - 1, "focus_z": nz // 2,
        "stage_x_pos_mm": f"{x:.6f}", "stage_y_pos_mm": f"{y:.6f}",
        "stage_z_pos_mm": f"{s * made.thickness * axial / 1000:.6f}",
    }  # fmt: skip


def write_tile(folder: Path, ring: np.ndarray, made: Acquisition, about: dict[str, Any], files: int = 2) -> None:
    """info.txt, and the B-scans in several files: float32, the first axis fastest."""
    folder.mkdir(parents=True)
    for n, part in enumerate(np.array_split(ring, files, axis=2)):
        part.astype("<f4").ravel(order="F").tofile(folder / f"image_{n:05d}.bin")
    text = "".join(f"{k}: {v:g}\n" if isinstance(v, float) else f"{k}: {v}\n" for k, v in about.items())
    (folder / "info.txt").write_text("Scan info\n" + text)


def write_mosaics(folder: Path, made: Acquisition) -> Path:
    """`mosaic_grid_3d_zNN.ome.zarr` of all slices and `shifts_xy.csv`, as the workflow `mosaic` leaves them."""
    from ..core.space import Axis, Space
    from ..core.volume import create_image, layout

    folder.mkdir(parents=True, exist_ok=True)
    axial, lateral = (um / 1000 for um in made.voxel_um)
    space = Space.of([Axis(name, "space", "millimeter") for name in "zyx"], (axial, lateral, lateral))
    for s in made.kept:
        grid = made.mosaic(s)
        lay = layout(grid.shape, "float32", (made.tile[0], 4 * made.tile[1], 4 * made.tile[2]), made.tile)
        create_image(folder / f"mosaic_grid_3d_z{s:02d}.ome.zarr", lay, space).write(tuple(map(slice, grid.shape)), grid)
    write_shifts(folder / "shifts_xy.csv", made)
    return folder


def write_shifts(path: Path, made: Acquisition) -> None:
    rows = made.shifts()
    with open(path, "w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]) if rows else ["fixed_id", "moving_id"], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def write_truth(folder: Path, made: Acquisition) -> None:
    """`truth.json` and the block, `truth.npz`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "truth.json").write_text(json.dumps(made.truth(), indent=1))
    np.savez_compressed(folder / "truth.npz", block=made.block, flat=made.flat, beam=made.beam)
