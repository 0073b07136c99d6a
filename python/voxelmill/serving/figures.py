"""Figures: overview, synapse candidates, graph, alignment; PNG and PDF, the same bytes every time."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from ..core.params import Params, param
from ..core.pictures import save_both
from ..core.provenance import Task
from ..core.shared import Seeded
from ..core.stage import In, InFiles, OutFiles
from ..core.tables import read as read_table
from ..core.volume import Image, open_image
from . import wiring_figures
from .tables import pick, rows_in

MOST_PX = 2048  # a section is shown at most this large
READ_PX = 2048  # a side of what is read of it at a time: decoded chunks take memory, too
DOTS_SHOWN = 10_000  # best candidates of a section


class Figures(Params):
    """Figures."""

    figure_dpi: int = param(200, "Resolution of the PNG figures", unit="dpi", ge=50, le=600)


class Parameters(Figures, Seeded):
    """Figures of volumes."""


def run(
    p: Parameters,
    task: Task,
    *,
    raw: In,
    preprocessed: In,
    aligned: In,
    labels: In,
    alignment: In,
    tables: InFiles,
    output: OutFiles,
) -> None:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update(
        {
            "svg.hashsalt": "voxelmill",
            "font.size": 9,
            "axes.titlesize": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    )
    output.mkdir()
    images = [open_image(path) for path in (raw, preprocessed, aligned, labels)]
    shifts = read_csv(alignment)
    z = middle(shifts)
    figures = {
        "figure1_overview": overview(images, z),
        "figure2_synapses": synapses(images[2], tables / "synapses.parquet", z),
        "figure3_graph": wiring_figures.graph(tables, p.seed),
        "figure4_alignment": shift_plot(shifts),
        "figure5_matrix": wiring_figures.matrix(tables, p.seed),
    }
    for name, figure in task.progress(figures.items(), "figures drawn"):
        save_both(figure, output / name, p.figure_dpi)


def read_csv(path: Path) -> dict[str, np.ndarray]:
    names, rows = read_table(path)
    return {n: np.array([row[n] if n == "status" else float(row[n]) for _, row in rows]) for n in names}


def middle(shifts: dict[str, np.ndarray]) -> int:
    """The good section nearest to the middle of the stack."""
    good = np.flatnonzero(shifts["status"] == "ok")
    half = len(shifts["status"]) // 2
    return int(good[np.argmin(abs(good - half))]) if len(good) else half


def section(image: Image, z: int) -> tuple[np.ndarray, int]:
    """One section, every n-th pixel where it is large, and n."""
    step = max(1, -(-max(image.shape[1:]) // MOST_PX))
    out = np.empty([-(-n // step) for n in image.shape[1:]], image.dtype)
    side = max(1, READ_PX // step) * step  # whole steps: parts meet without a seam
    spans = ([slice(at, min(at + side, n), step) for at in range(0, n, side)] for n in image.shape[1:])
    for y, x in itertools.product(*spans):
        out[y.start // step : -(-y.stop // step), x.start // step : -(-x.stop // step)] = image.read((slice(z, z + 1), y, x))[
            0
        ]
    return out, step


def scale_bar(axes: Any, image: Image, step: int, width_px: int, colour: str = "white") -> None:
    """A bar of a round length, about a fifth of the width; in px where no voxel size is known."""
    from matplotlib import patheffects

    nm_per_px, known = image.scale[2] * step, image.axes[2].unit is not None
    wanted = nm_per_px * width_px / 5
    length = max((m * 10.0**e for e in range(8) for m in (1, 2, 5) if m * 10.0**e <= wanted), default=wanted)
    label = f"{length:g} px" if not known else f"{length / 1000:g} µm" if length >= 1000 else f"{length:g} nm"
    px = length / nm_per_px
    outline = [patheffects.withStroke(linewidth=2, foreground="black")]
    height = axes.get_ylim()[0]
    axes.plot(
        [0.05 * width_px, 0.05 * width_px + px],
        [0.94 * height] * 2,
        color=colour,
        lw=3,
        solid_capstyle="butt",
        path_effects=[patheffects.withStroke(linewidth=4.5, foreground="black")],
    )
    axes.text(
        0.05 * width_px + px / 2,
        0.92 * height,
        label,
        color=colour,
        ha="center",
        va="bottom",
        fontsize=8,
        path_effects=outline,
    )


def depth(image: Image, z: int) -> str:
    """Where a section lies in the frame of the source, for a title; nothing where that is not known."""
    space = image.space
    return f", z {space.position((z, 0, 0))[0]:g} nm" if space.known else ""


def coloured(labels: np.ndarray) -> np.ndarray:
    """Labels as RGB: neighbouring ids get unlike colours, 0 is black; an id keeps its colour everywhere."""
    # Steps of the golden ratio: ids that follow each other, and so often touch, lie far apart in hue.
    hue = (labels.astype(np.float64) * 0.6180339887498949 % 1.0).astype(np.float32)
    light = 0.75 + 0.25 * ((labels.astype(np.uint64) * np.uint64(7)) % np.uint64(5)).astype(np.float32) / 4
    k = (np.stack([hue, hue + 2 / 3, hue + 1 / 3], -1) % 1.0) * 6
    rgb = light[..., None] * (1 - 0.7 * (1 - np.clip(np.abs(k - 3) - 1, 0, 1)))
    rgb[labels == 0] = 0
    return rgb


def overview(images: list[Image], z: int) -> Any:
    import matplotlib.pyplot as plt

    raw, preprocessed, aligned, labels = images
    figure, axes = plt.subplots(2, 2, figsize=(8, 8 * raw.shape[1] / raw.shape[2] + 0.6), layout="constrained")
    titles = ("As acquired", "Denoised, contrast equalised", "Aligned", "Neurites")
    for ax, image, title in zip(axes.flat, (raw, preprocessed, aligned, labels), titles):
        values, step = section(image, z)
        if image is labels:
            ax.imshow(coloured(values), interpolation="nearest")
            title = f"{title} ({len(np.unique(values[values > 0]))} in this section)"
        else:
            low, high = np.percentile(values.astype(np.float32), (0.5, 99.5))
            ax.imshow(values, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="nearest")
        ax.set_title(title)
        ax.axis("off")
        scale_bar(ax, image, step, values.shape[1])
    figure.suptitle(f"Section {z} of {raw.shape[0]}{depth(raw, z)}", fontsize=11)
    return figure


def synapses(aligned: Image, path: Path, z: int) -> Any:
    """The candidates of one section, of which the table has the best first."""
    import matplotlib.pyplot as plt

    table, here = pick(path, ("z", "y", "x", "score"), lambda rows: rows["z"] == z, DOTS_SHOWN)
    values, step = section(aligned, z)
    figure, ax = plt.subplots(figsize=(7, 7 * aligned.shape[1] / aligned.shape[2] + 0.4), layout="constrained")
    ax.imshow(values, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    if here:
        dots = ax.scatter(
            table["x"] / step,
            table["y"] / step,
            c=table["score"],
            s=40,
            cmap="plasma",
            vmin=0,
            vmax=1,
            edgecolors="black",
            linewidths=0.4,
        )
        figure.colorbar(dots, ax=ax, label="score", shrink=0.7, pad=0.01)
    places = len({*zip(table["y"].tolist(), table["x"].tolist())}) if here else 0
    title = f"Synapse candidates in section {z}{depth(aligned, z)}: {here} (of {rows_in(path)} in the volume)"
    title += f"\nplaces: {places}; each partner of one counts" if places < min(here, DOTS_SHOWN) else ""
    ax.set_title(title + (f"; the {DOTS_SHOWN} best" if here > DOTS_SHOWN else ""))
    ax.axis("off")
    scale_bar(ax, aligned, step, values.shape[1])
    return figure


def shift_plot(shifts: dict[str, np.ndarray]) -> Any:
    import matplotlib.pyplot as plt

    figure, (top, low) = plt.subplots(2, 1, figsize=(8, 5), sharex=True, layout="constrained", height_ratios=[2, 1])
    z = shifts["section"]
    top.plot(z, shifts["dy"], label="dy", lw=1.2, color="#1f77b4")
    top.plot(z, shifts["dx"], label="dx", lw=1.2, color="#d95f02")
    top.axhline(0, color="0.8", lw=0.6, zorder=0)
    top.set_ylabel("added to content (px)")
    top.set_title("Correction of each section")
    bad = shifts["status"] != "ok"
    for ax in (top, low):
        for n in z[bad]:
            ax.axvspan(n - 0.5, n + 0.5, color="#c0392b", alpha=0.25, lw=0)
    if bad.any():
        top.plot([], [], color="#c0392b", alpha=0.4, lw=6, label="bridged or flagged")
    top.legend(frameon=False, ncols=3)
    low.plot(z, shifts["residual_px"], color="0.25", lw=1)
    low.set_ylim(bottom=0)
    low.set_ylabel("residual (px)")
    low.set_xlabel("section")
    return figure
