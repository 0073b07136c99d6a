"""Three sections of a volume: raw, truth, result, with the largest faults circled; the pictures of docs/results.md.

    python benchmarks/sections.py DATA OUT [--sets fib25 gala]

DATA is the folder with `em/`. VNC may be looked at with `--sets vnc`; its licence (CC BY-NC-SA) keeps it out of the project.
Red: a segment that covers parts of two true neurites; the smaller part is circled. Blue: a neurite that is divided here.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from neurites import ours, volumes
from voxelmill.serving.figures import coloured

FAULTS = 4  # of each kind, in a section
THRESHOLD = 0.2


def faults(truth: np.ndarray, found: np.ndarray) -> list[tuple[float, float, float, str]]:
    """(y, x, radius, colour) of the largest of a section: parts of a true and a found segment that are not most of either."""
    pairs, count = np.unique(np.stack([truth[truth > 0], found[truth > 0]]), axis=1, return_counts=True)
    circles = []
    for one, colour in ((1, "red"), (0, "deepskyblue")):
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


def picture(path: Path, raw: np.ndarray, truth: np.ndarray, found: np.ndarray, flat: bool) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    chosen = np.linspace(0, len(raw) - 1, 5).round().astype(int)[1:4]
    height = 3 * raw.shape[1] / raw.shape[2]
    figure, axes = plt.subplots(3, 3, figsize=(9, 3 * height + 0.4), layout="constrained")
    named = np.stack([alike(t, f) for t, f in zip(truth, found)]) if flat else alike(truth, found)
    for row, z in zip(axes, chosen):
        row[0].imshow(raw[z], cmap="gray", interpolation="nearest")
        for ax, labels in ((row[1], truth[z]), (row[2], named[z])):
            ax.imshow(raw[z], cmap="gray", interpolation="nearest")
            ax.imshow(coloured(labels), alpha=0.55, interpolation="nearest")
        for y, x, radius, colour in faults(truth[z], found[z]):
            row[2].add_patch(plt.Circle((x, y), radius, fill=False, color=colour, lw=1.4))
        row[0].set_ylabel(f"section {z}")
    for ax, title in zip(axes[0], ("raw", "truth", "result")):
        ax.set_title(title, fontsize=10)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
    figure.savefig(path, dpi=75, metadata={"Software": None})
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
        picture(args.out / f"sections_{name}.png", raw, truth, found, flat)


if __name__ == "__main__":
    main()
