"""Mosaic figures: the layout of the tiles over the mosaic, with a colour for the quality of each seam.

Shown is the section whose seams are worst; of a stack, the quality along all sections, too.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from ..core.pictures import save_both
from ..core.provenance import Task
from ..core.stage import In, InFiles, OutFiles
from ..core.volume import Image, open_image
from ..ingest.tiles.tiling import Tile, by_section
from ..transform.plan_mosaic import POOR, Mosaic
from .figures import MOST_PX, Figures, scale_bar

SEAMS_SHOWN = 20_000  # of a section
Seams = dict[int, list[dict[str, str]]]


class Parameters(Figures):
    """Figures of mosaics."""


def run(p: Parameters, task: Task, *, volume: In, mosaic: In, tables: InFiles, output: OutFiles) -> None:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.hashsalt": "voxelmill", "font.size": 9, "axes.titlesize": 10})
    output.mkdir()
    made, seams = Mosaic.load(mosaic), read_seams(tables / "tile_seams.csv")
    figures = {"tile_layout": layout(open_image(volume), made, seams)}
    for name, figure in task.progress(figures.items(), "figures drawn"):
        save_both(figure, output / name, p.figure_dpi)


def read_seams(path: Path) -> Seams:
    """The rows of each section."""
    found: Seams = {}
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(int(row["section"]), []).append(row)
    return found


def quality(rows: list[dict[str, str]]) -> np.ndarray:
    return np.array([float(row["quality"]) for row in rows])


def worst(seams: Seams, sections: list[int]) -> int:
    """The section with the lowest quality on average."""
    return min(seams, key=lambda n: float(quality(seams[n]).mean())) if seams else sections[0]


def layout(image: Image, made: Mosaic, seams: Seams) -> Any:
    """Tiles and seams over the mosaic; how good seams are, in all and along the stack."""
    import matplotlib.pyplot as plt

    tiles = by_section(made.tiles)
    section = worst(seams, list(tiles))
    _, ny, nx = image.shape
    tall = float(np.clip(8 * ny / nx, 2.5, 9))
    figure = plt.figure(figsize=(9, tall + 2.6), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=[tall, 2.4])
    top, low = parts
    ax = top.subplots()
    picture, step = seen(image, section * made.depth + made.depth // 2)
    shown = picture[picture > 0] if (picture > 0).any() else picture
    ax.imshow(
        picture, cmap="gray", vmin=np.percentile(shown, 1), vmax=np.percentile(shown, 99.5), extent=extent(picture, step)
    )
    outlines(ax, tiles[section])
    lines = seam_lines(ax, seams.get(section, [])[:SEAMS_SHOWN], {tile.name: tile for tile in tiles[section]})
    if lines is not None:
        top.colorbar(lines, ax=ax, label="quality of a seam", shrink=0.8, pad=0.01)
    of = f"section {made.sections[section]} (worst of {len(tiles)}): " if len(tiles) > 1 else ""
    ax.set_title(f"Tile layout, {of}{len(tiles[section])} tiles, {len(seams.get(section, []))} seams")
    ax.set(xticks=[], yticks=[], xlim=(0, nx), ylim=(ny, 0))
    ax.spines[:].set_visible(False)
    scale_bar(ax, image, 1, nx)
    summary(low, seams)
    return figure


def seen(image: Image, z: int) -> tuple[np.ndarray, float]:
    """A plane, MOST_PX at most, from the level that is small enough, and px of level 0 a pixel of it."""
    n = next((n for n in range(image.levels) if max(image.level(n).shape[1:]) <= MOST_PX), image.levels - 1)
    shape = image.level(n).shape
    stride = max(1, -(-max(shape[1:]) // MOST_PX))
    plane = min(z * shape[0] // image.shape[0], shape[0] - 1)
    picture = image.read((slice(plane, plane + 1), slice(None, None, stride), slice(None, None, stride)), n)[0]
    return picture, stride * image.shape[2] / shape[2]


def extent(picture: np.ndarray, step: float) -> tuple[float, float, float, float]:
    return 0, picture.shape[1] * step, picture.shape[0] * step, 0


def outlines(ax: Any, tiles: list[Tile]) -> None:
    from matplotlib.collections import PolyCollection

    corners = [[(t.x, t.y), (t.x + t.width, t.y), (t.x + t.width, t.y + t.height), (t.x, t.y + t.height)] for t in tiles]
    ax.add_collection(PolyCollection(corners, facecolors="none", edgecolors="white", linewidths=0.4, alpha=0.6))


def seam_lines(ax: Any, rows: list[dict[str, str]], tiles: dict[str, Tile]) -> Any:
    """A line through the middle of each overlap, along its longer side."""
    from matplotlib.collections import LineCollection

    ends = []
    for row in rows:
        a, b = tiles[row["tile_a"]], tiles[row["tile_b"]]
        y = max(a.y, b.y), min(a.y + a.height, b.y + b.height)
        x = max(a.x, b.x), min(a.x + a.width, b.x + b.width)
        my, mx = sum(y) / 2, sum(x) / 2
        ends.append([(x[0], my), (x[1], my)] if x[1] - x[0] > y[1] - y[0] else [(mx, y[0]), (mx, y[1])])
    if not ends:
        return None
    lines = LineCollection(ends, array=quality(rows), cmap="RdYlGn", clim=(0, 1), linewidths=2.5, capstyle="round")
    return ax.add_collection(lines)


def summary(figure: Any, seams: Seams) -> None:
    """Quality and misfit of all seams; along the stack where there is one."""
    rows = [row for of in seams.values() for row in of]
    left, right = figure.subplots(1, 2)
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)
    if not rows:
        left.set_title("No seams")
        return
    left.hist(quality(rows), bins=np.linspace(0, 1, 41), color="#4a5a6a")
    left.axvline(POOR, color="#c0392b", lw=1, ls="--")
    left.set(xlabel="quality (correlation, less where contradicted)", ylabel="seams")
    left.set_title(f"{int((quality(rows) < POOR).sum())} of {len(rows)} seams are poor (< {POOR:g})")
    if len(seams) > 1:
        at = sorted(seams)
        right.plot(at, [float(np.median(quality(seams[n]))) for n in at], color="#1f77b4", lw=1.2, label="median")
        right.plot(at, [float(quality(seams[n]).min()) for n in at], color="#d95f02", lw=1, label="worst")
        right.set(xlabel="section", ylabel="quality of seams", ylim=(0, 1.05))
        right.locator_params(axis="x", integer=True)
        right.legend(frameon=False, loc="lower left")
        return
    off = np.array([float(row["residual_px"]) for row in rows])
    right.scatter(quality(rows), np.maximum(off, 1e-3), s=10, color="#1f77b4", linewidths=0, alpha=0.7)
    right.set(xlabel="quality", ylabel="missed by the joint solution (px)", yscale="log", xlim=(-0.02, 1.02))
