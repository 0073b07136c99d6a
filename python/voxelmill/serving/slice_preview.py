"""Slice preview: what preparing a slice did to it, on one page.

+----------------+----------------+----------------+----------------+   Pictures: dim 1 (stage x) down, dim 2 (stage y) to
| mean over depth| tiles before   | and after      | light of a tile|   the right. Tiles stand side by side, overlap not
| tiles, seams   | light is even  |                |                |   removed, with one scale of greys.
+----------------+----------------+----------------+----------------+   Of the clean slice: the plane in the middle of its
| light by depth | clean slice:   | its cut through| and through    |   depth, and the cuts along the lines drawn in it,
|                | plane          | dim 1          | dim 2          |   surface on top.
+----------------+----------------+----------------+----------------+
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.params import Params
from ..core.pictures import save_png
from ..core.provenance import Task
from ..core.space import NM_PER_MM
from ..core.stage import In, Out
from ..core.volume import Image, open_image
from ..transform.beam_profile_correction import gain_of
from ..transform.slice_notes import read_notes
from .slice_pictures import bounds, reduced

Notes = dict[str, np.ndarray]


class Parameters(Params):
    """Previews of slices."""


def run(p: Parameters, task: Task, *, volume: In, notes: list[In], slice: str, output: Out) -> None:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"font.size": 8, "axes.titlesize": 9})
    figure = drawn(open_image(volume), read_notes(notes), slice)
    save_png(figure, output)


def drawn(image: Image, notes: Notes, name: str) -> Any:
    """The figure; a panel whose step did not run says so."""
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(15, 7), layout="constrained")
    figure.suptitle(f"Slice {name}", fontsize=11)
    axes: Any = figure.subplots(2, 4)
    mm = float(image.scale[1]) / NM_PER_MM
    panels = (
        (layout, "tile_positions", "stitched"),
        (before, "cells_before", "lit"),
        (after, "cells_after", "lit"),
        (light, "flat", "lit"),
        (depth, "profile", "corrected along depth"),
    )
    for ax, (panel, needs, done) in zip(axes.flat, panels):
        if needs in notes:
            panel(ax, notes, mm)
        else:
            ax.axis("off")
            ax.text(0.5, 0.5, f"not {done}", ha="center", transform=ax.transAxes, color="0.4")
    orthogonal(axes[1, 1:], image)
    return figure


def layout(ax: Any, notes: Notes, mm: float) -> None:
    """The mean over depth, tiles, and seams by quality."""
    from matplotlib.collections import LineCollection, PolyCollection

    at, size = notes["tile_positions"] * mm, notes["tile_shape"] * mm
    down, across = (at + size).max(0)
    if "projection" in notes:
        grey(ax, notes["projection"], bounds(notes["projection"]), (0, across, down, 0))
    corners = [[(x, y), (x + size[1], y), (x + size[1], y + size[0]), (x, y + size[0])] for y, x in at]
    ax.add_collection(PolyCollection(corners, facecolors="none", edgecolors="white", linewidths=0.5, alpha=0.6))
    seams = notes["seams"]
    lines = LineCollection(
        [middle_of(at[int(a)], at[int(b)], size) for a, b, *_ in seams], array=seams[:, 2], cmap="RdYlGn", clim=(0, 1), lw=2.5
    )
    ax.add_collection(lines)
    ax.figure.colorbar(lines, ax=ax, label="quality of a seam", shrink=0.8)
    ax.set(title=f"Mean over depth: {len(at)} tiles, {len(seams)} seams", xlim=(0, across), ylim=(down, 0), aspect="equal")
    ax.set(xlabel="along stage y (mm)", ylabel="along stage x (mm)")


def middle_of(a: np.ndarray, b: np.ndarray, size: np.ndarray) -> list[tuple[float, float]]:
    """Ends (x, y) of the line through the middle of an overlap, along its longer side."""
    low, high = np.maximum(a, b), np.minimum(a, b) + size
    (y, x), (tall, wide) = (low + high) / 2, high - low
    return [(low[1], y), (high[1], y)] if wide > tall else [(x, low[0]), (x, high[0])]


def before(ax: Any, notes: Notes, mm: float) -> None:
    side_by_side(ax, notes, "cells_before", "Tiles as they were lit")


def after(ax: Any, notes: Notes, mm: float) -> None:
    side_by_side(ax, notes, "cells_after", "Tiles evenly lit")


def side_by_side(ax: Any, notes: Notes, name: str, title: str) -> None:
    (n_mx, n_my), cells = notes["grid_counts"], notes[name]
    gy, gx = cells.shape[1:]
    grid = cells.reshape(n_mx, n_my, gy, gx).transpose(0, 2, 1, 3).reshape(n_mx * gy, n_my * gx)
    grey(ax, grid, bounds(notes["cells_before"]), (0, n_my, n_mx, 0))
    ax.set(title=title, xlabel="tile along stage y", ylabel="tile along stage x", aspect="auto")
    ax.set(xticks=np.arange(n_my + 1), yticks=np.arange(n_mx + 1))


def light(ax: Any, notes: Notes, mm: float) -> None:
    flat = notes["flat"]
    shown = ax.imshow(flat, cmap="viridis", extent=(0, flat.shape[1] * mm, flat.shape[0] * mm, 0))
    ax.figure.colorbar(shown, ax=ax, label="light, mean 1", shrink=0.8)
    title = f"Light over a tile, varies by {flat.std() / flat.mean():.1%}"
    ax.set(title=title, xlabel="along stage y (mm)", ylabel="along stage x (mm)")


def depth(ax: Any, notes: Notes, mm: float) -> None:
    """The A-line that tells of light, plane by plane of the slice before it is cut at its surface, as it was made even.

    Of tissue, where it is that of tissue: its shadows are still in it."""
    profile, gain, planes = notes["profile"], notes["profile_gain"], np.arange(len(notes["profile"]))
    _, dark = gain_of(profile)
    ax.plot(planes, profile, color="0.55", label="profile, as read")
    ax.plot(planes, (profile - dark) * gain + dark, color="#1f77b4", label="the beam taken out")
    ax.set(title="Light over depth", xlabel="plane", ylabel="grey value", ylim=(0, None))
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)


def orthogonal(axes: Any, image: Image) -> None:
    """The three planes through the middle of the clean slice: (dim 1, dim 2), (depth, dim 2), (depth, dim 1)."""
    z, a, b = (n // 2 for n in image.shape)
    deep, down, across = (n * float(step) / NM_PER_MM for n, step in zip(image.shape, image.scale))
    plane = image.read((slice(z, z + 1),))[0]
    span = bounds(plane)
    grey(axes[0], reduced(plane), span, (0, across, down, 0))
    axes[0].axhline(a * down / image.shape[1], color="#e6a23c", lw=0.7)
    axes[0].axvline(b * across / image.shape[2], color="#5dade2", lw=0.7)
    below = z * deep / image.shape[0]
    axes[0].set(title=f"Clean slice, {below:.2f} mm deep", xlabel="along stage y (mm)", ylabel="along stage x (mm)")
    cuts = (
        (axes[1], image.read((slice(None), slice(a, a + 1)))[:, 0], across, "y", "#e6a23c"),
        (axes[2], image.read((slice(None), slice(None), slice(b, b + 1)))[:, :, 0], down, "x", "#5dade2"),
    )
    for ax, values, length, along, colour in cuts:
        grey(ax, reduced(values), span, (0, length, deep, 0))
        ax.set(title=f"Cut along stage {along}", xlabel=f"along stage {along} (mm)", ylabel="below the surface (mm)")
        ax.set(aspect="auto" if length > 4 * deep else "equal")
        ax.spines[:].set_color(colour)


def grey(ax: Any, picture: np.ndarray, span: tuple[float, float], extent: tuple[float, float, float, float]) -> None:
    low, high = span
    ax.imshow(picture, cmap="gray", vmin=low, vmax=high, extent=extent, interpolation="antialiased")
