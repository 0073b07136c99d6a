"""Analyze shifts: how the stage moved between slices, before anything is done with it: statistics, outliers, drift.

Outliers are steps beyond 1.5 interquartile ranges of either quartile (Tukey's fences). The filtered table has the
median of the other steps in their place; nobody computes with it, it is for comparing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..core import shifts, slices
from ..core.pictures import save_both
from ..core.provenance import Task
from ..core.shifts import Shift
from ..core.stage import In, OutFiles
from .figures import Figures

FENCE = 1.5  # interquartile ranges


class Parameters(Figures):
    """Analysis of shifts."""


def run(p: Parameters, task: Task, *, shifts_xy: In, output: OutFiles) -> None:
    output.mkdir()
    table = sorted(shifts.read(shifts_xy), key=lambda row: row.fixed)
    steps = np.array([(row.x, row.y) for row in table]).reshape(-1, 2)
    odd = outliers(steps)
    (output / "shifts_analysis.txt").write_text(described(table, steps, odd))
    shifts.write(output / "shifts_xy_filtered.csv", filtered(table, steps, odd), shifts.pixel_of(shifts_xy))
    draw(output / "drift", table, steps, odd, p.figure_dpi)
    task.report(rows=len(table), outliers=int(odd.sum()), unreliable=sum(not row.reliable for row in table))


def outliers(steps: np.ndarray) -> np.ndarray:
    """(n,) bool: steps (n, 2) outside the fences in x or y. Of fewer than four none is one."""
    if len(steps) < 4:
        return np.zeros(len(steps), bool)
    low, high = np.percentile(steps, [25, 75], axis=0)
    reach = FENCE * (high - low)
    return np.asarray(((steps < low - reach) | (steps > high + reach)).any(1))


def filtered(table: list[Shift], steps: np.ndarray, odd: np.ndarray) -> list[Shift]:
    x, y = np.median(steps[~odd], axis=0).tolist() if (~odd).any() else (0.0, 0.0)
    return [row._replace(x=x, y=y) if bad else row for row, bad in zip(table, odd, strict=True)]


def described(table: list[Shift], steps: np.ndarray, odd: np.ndarray) -> str:
    """The report, lengths in mm."""
    rows = [f"{len(table)} steps between slices; mm; x is along dim 1, y along dim 2", ""]
    if not table:
        return "\n".join(rows)
    for axis, name in enumerate("xy"):
        v = steps[:, axis]
        rows.append(
            f"{name}: mean {v.mean():.4f}, median {np.median(v):.4f}, deviation {v.std():.4f}, "
            f"from {v.min():.4f} to {v.max():.4f}"
        )
    drift = np.array(list(shifts.places(table).values()))
    far = int(np.linalg.norm(drift, axis=1).argmax())
    rows += [
        f"drift: {np.linalg.norm(drift[-1]):.4f} from the first slice to the last, {np.linalg.norm(drift[far]):.4f} at most",
        "",
        f"outliers (beyond {FENCE:g} interquartile ranges): {int(odd.sum())}",
    ]
    rows += [f"  {name_of(row)}: x {row.x:.4f}, y {row.y:.4f}" for row, bad in zip(table, odd, strict=True) if bad]
    doubtful = [row for row in table if not row.reliable]
    rows.append(f"unreliable (the number of tiles changed): {len(doubtful)}")
    rows += [f"  {name_of(row)}" for row in doubtful]
    return "\n".join([*rows, ""])


def name_of(row: Shift) -> str:
    return f"{slices.name_of(row.fixed)} to {slices.name_of(row.moving)}"


def draw(stem: Path, table: list[Shift], steps: np.ndarray, odd: np.ndarray, dpi: int) -> None:
    """Steps by slice, and the way that they add up to."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.hashsalt": "voxelmill", "font.size": 9, "axes.titlesize": 10})
    import matplotlib.pyplot as plt
    from matplotlib.ticker import MaxNLocator

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    numbers = [row.moving for row in table]
    for axis, name in enumerate(("x (dim 1)", "y (dim 2)")):
        left.plot(numbers, steps[:, axis], "o-", ms=3, lw=1, label=name)
    left.plot(np.repeat(np.array(numbers)[odd], 2), steps[odd].ravel(), "x", color="tab:red", ms=7, label="outlier")
    left.set(xlabel="slice", ylabel="shift from the slice before, mm", title="Steps of the stage")
    left.legend(frameon=False, fontsize=8)
    at = np.array([(0.0, 0.0), *list(shifts.places(table).values())[1:]])
    right.plot(at[:, 1], at[:, 0], "-", color="0.7", lw=1)
    dots = right.scatter(at[:, 1], at[:, 0], c=shifts_numbers(table), cmap="viridis", s=14, zorder=2)
    figure.colorbar(dots, ax=right, label="slice").locator = MaxNLocator(5, integer=True)
    right.invert_yaxis()
    right.set(
        xlabel="y (dim 2), mm", ylabel="x (dim 1), mm", title="Where the slices lie", aspect="equal", adjustable="datalim"
    )
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.xaxis.set_major_locator(MaxNLocator(4))
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)
    save_both(figure, stem, dpi)


def shifts_numbers(table: list[Shift]) -> list[int]:
    """Slices of a table, the first one included."""
    return [table[0].fixed, *(row.moving for row in table)] if table else [0]
