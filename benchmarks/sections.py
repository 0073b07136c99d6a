"""Three sections of a volume: raw, truth, result, with the largest faults circled; the pictures of docs/results.md.

    python benchmarks/sections.py DATA OUT [--sets fib25 gala]

DATA is the folder with `em/`. VNC may be looked at with `--sets vnc`; its licence (CC BY-NC-SA) keeps it out of the project.
Red: a segment that covers parts of two true neurites; the smaller part is circled. Blue: a neurite that is divided here.
Its circles are dashed, for those who see these colours alike. The bar is in nm where the voxel size is stated, else in px.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from neurites import ours, volumes
from voxelmill.serving.figures import coloured

FAULTS = 4  # of each kind, in a section
THRESHOLD = 0.2
STYLES = {"red": "-", "blue": (0, (4, 2))}


def faults(truth: np.ndarray, found: np.ndarray) -> list[tuple[float, float, float, str]]:
    """(y, x, radius, colour) of the largest of a section: parts of a true and a found segment that are not most of either."""
    pairs, count = np.unique(np.stack([truth[truth > 0], found[truth > 0]]), axis=1, return_counts=True)
    circles = []
    for one, colour in ((1, "red"), (0, "blue")):
        main: dict[int, int] = {}
        for n in np.argsort(-count, kind="stable"):
            main.setdefault(int(pairs[one, n]), n)
        rest = [n for n in np.argsort(-count, kind="stable") if n not in set(main.values()) and count[n] > 60]
        for n in rest[:FAULTS]:
            y, x = np.nonzero((truth == pairs[0, n]) & (found == pairs[1, n]))
            circles.append((float(y.mean()), float(x.mean()), 4 + float(np.sqrt(count[n])), colour))
    return circles


def alike(truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The result with the names of the true segments that each covers most of, so that colours agree."""
    pairs, count = np.unique(np.stack([truth.ravel(), found.ravel()]), axis=1, return_counts=True)
    names: dict[int, int] = {}
    taken = {0}
    for n in np.argsort(-count, kind="stable"):
        t, f = map(int, pairs[:, n])
        if f and t and f not in names and t not in taken:
            names[f] = t
            taken.add(t)
    last = int(truth.max())
    ids, index = np.unique(found, return_inverse=True)
    return np.array([names.get(int(i), last + 1 + k if i else 0) for k, i in enumerate(ids)])[index].reshape(found.shape)


def circle(ax: Any, y: float, x: float, radius: float, colour: str) -> None:
    from matplotlib import patches, patheffects

    edge = [patheffects.withStroke(linewidth=3.4, foreground="white")]
    how = {"fill": False, "color": colour, "lw": 1.8, "ls": STYLES[colour], "path_effects": edge}
    ax.add_patch(patches.Circle((x, y), radius, **how))


def bar(ax: Any, shape: tuple[int, ...], nm: float) -> None:
    """A bar near the lower left corner: 500 nm, or 50 px where no voxel size is stated."""
    from matplotlib import patches, patheffects

    long, label = (500 / nm, "500 nm") if nm > 1 else (50, "50 px")
    y, x = 0.93 * shape[0], 0.04 * shape[1]
    ax.add_patch(patches.Rectangle((x, y), long, 0.015 * shape[1], facecolor="white", edgecolor="black", lw=0.6))
    edge = [patheffects.withStroke(linewidth=2, foreground="black")]
    ax.text(x + long / 2, y - 0.01 * shape[1], label, color="white", ha="center", fontsize=8, path_effects=edge)


def picture(path: Path, raw: np.ndarray, truth: np.ndarray, found: np.ndarray, flat: bool, nm: float) -> None:
    """nm: width of a pixel; 1 where it is not stated."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    chosen = np.linspace(0, len(raw) - 1, 5).round().astype(int)[1:4]
    height = 3 * raw.shape[1] / raw.shape[2]
    figure, axes = plt.subplots(3, 3, figsize=(9, 3 * height + 0.7), layout="constrained")
    named = np.stack([alike(t, f) for t, f in zip(truth, found)]) if flat else alike(truth, found)
    for row, z in zip(axes, chosen):
        row[0].imshow(raw[z], cmap="gray", interpolation="nearest")
        for ax, labels in ((row[1], truth[z]), (row[2], named[z])):
            ax.imshow(raw[z], cmap="gray", interpolation="nearest")
            ax.imshow(coloured(labels), alpha=0.55, interpolation="nearest")
        for y, x, radius, colour in faults(truth[z], found[z]):
            circle(row[2], y, x, radius, colour)
        bar(row[0], raw[z].shape, nm)
        row[0].set_ylabel(f"section {z}")
    for ax, title in zip(axes[0], ("raw", "truth", "result")):
        ax.set_title(title, fontsize=10)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
    marks = [plt.Line2D([], [], color=colour, ls=style, lw=1.8) for colour, style in STYLES.items()]
    figure.legend(
        marks, ["two true neurites in one segment", "one true neurite divided"], loc="outside lower center", ncols=2
    )
    figure.savefig(path, dpi=100, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sets", nargs="*", default=["fib25", "gala"])
    parser.add_argument("--part", default="validation")
    parser.add_argument("--model", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name, raw, truth, size, flat in volumes(args):
        with tempfile.TemporaryDirectory() as folder:
            found = ours(Path(folder), raw, size, args.model)["labels"][THRESHOLD]
        picture(
            args.out / f"sections_{name}.png", raw, truth, found, flat, 1 if name == "gala" else size[2]
        )  # it states no size


if __name__ == "__main__":
    main()
