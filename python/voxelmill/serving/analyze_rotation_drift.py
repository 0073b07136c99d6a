"""Analyze rotation drift: how slices turn against each other, what that adds up to, and what the volume made of it.

Turns of neighbours add up along the stack, with their errors; the joint solution (`plan_stack`) holds them by pairs two
apart. Where the two part, some pair is wrong. Pairs beyond --diagnostic_rotation_threshold are named.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core import slices, tables
from ..core.params import Params, param
from ..core.pictures import save_both
from ..core.provenance import Task
from ..core.stage import In, OutFiles
from ..transform.pairs import Pair, read_metrics
from .figures import Figures

COLUMNS = ("fixed_id", "moving_id", "rotation_deg", "added_up_deg", "in_volume_deg", "confidence", "status", "flagged")


class Threshold(Params):
    """What counts as a large turn."""

    diagnostic_rotation_threshold: float = param(2.0, "Turn of a pair from which it is named", unit="deg", gt=0)


class Parameters(Figures, Threshold):
    """Analysis of turns."""


def run(p: Parameters, task: Task, *, metrics: list[In] | None = None, matches: In, output: OutFiles) -> None:
    output.mkdir()
    pairs = neighbours([read_metrics(path) for path in metrics or []])
    solved = {slices.number_of(row["slice_id"]): float(row["rotation_deg"]) for row in tables.rows(matches)}
    sums = added_up(pairs)
    odd = [q for q in pairs if abs(q.rotation_deg) > p.diagnostic_rotation_threshold]
    with open(output / "rotation_drift.csv", "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for q in pairs:
            turn = "" if q.moving not in solved else f"{solved[q.moving]:.4f}"
            figures = (f"{q.rotation_deg:.4f}", f"{sums[q.moving]:.4f}", turn, f"{q.confidence:.4f}")
            table.writerow([f"{q.fixed:02d}", f"{q.moving:02d}", *figures, q.status, str(q in odd).lower()])
    (output / "rotation_drift.txt").write_text(described(p, pairs, sums, solved, odd))
    draw(output / "rotation_drift", p, pairs, sums, solved)
    notes = [f"{name_of(q)} turn by {q.rotation_deg:.2f} deg" for q in odd]
    task.report(pairs=len(pairs), drift_deg=sums[pairs[-1].moving] if pairs else 0.0, **({"notes": notes} if notes else {}))


def neighbours(pairs: Sequence[Pair]) -> list[Pair]:
    """Each slice with the next that there is, in order."""
    nearest = {n: min(q.moving for q in pairs if q.fixed == n) for n in {q.fixed for q in pairs}}
    return sorted((q for q in pairs if q.moving == nearest[q.fixed]), key=lambda q: q.fixed)


def added_up(pairs: Sequence[Pair]) -> dict[int, float]:
    """By slice: the turn against the first one, deg, as what is added to the content: a pair that shows moving turned by
    +1 deg is mended by -1 deg."""
    return dict(zip([q.moving for q in pairs], np.cumsum([-q.rotation_deg for q in pairs]).tolist(), strict=True))


def name_of(pair: Pair) -> str:
    return f"{slices.name_of(pair.fixed)} to {slices.name_of(pair.moving)}"


def described(
    p: Parameters, pairs: Sequence[Pair], sums: Mapping[int, float], solved: Mapping[int, float], odd: Sequence[Pair]
) -> str:
    """The report, deg."""
    rows = [f"{len(pairs)} pairs of neighbours; deg", ""]
    if not pairs:
        return "\n".join(rows)
    turns = np.array([q.rotation_deg for q in pairs])
    rows += [
        f"of a pair: mean {turns.mean():.4f}, deviation {turns.std():.4f}, from {turns.min():.4f} to {turns.max():.4f}",
        f"added up: {sums[pairs[-1].moving]:.4f} at the last slice, {max(map(abs, sums.values())):.4f} at most",
    ]
    apart = {n: solved[n] - solved[pairs[0].fixed] - sums[n] for n in sums if n in solved and pairs[0].fixed in solved}
    if apart:
        n = max(apart, key=lambda k: abs(apart[k]))
        rows.append(f"the volume differs from that by {apart[n]:.4f} at most, at {slices.name_of(n)}")
    rows += ["", f"beyond {p.diagnostic_rotation_threshold:g}: {len(odd)}"]
    rows += [f"  {name_of(q)}: {q.rotation_deg:.4f}, confidence {q.confidence:.2f}, {q.status}" for q in odd]
    return "\n".join([*rows, ""])


def draw(stem: Path, p: Parameters, pairs: Sequence[Pair], sums: Mapping[int, float], solved: Mapping[int, float]) -> None:
    """Turns of pairs with the threshold; turns added up, and in the volume."""
    plt = pyplot()
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    at = [q.moving for q in pairs]
    sure = left.scatter(at, [q.rotation_deg for q in pairs], c=[q.confidence for q in pairs], vmin=0, vmax=1, s=18, zorder=2)
    figure.colorbar(sure, ax=left, label="confidence")
    for sign in (-1, 1):
        left.axhline(sign * p.diagnostic_rotation_threshold, color="tab:red", lw=0.8, ls="--")
    left.set(xlabel="slice", ylabel="turn against the slice before, deg", title="Turns of neighbours (threshold dashed)")
    right.plot(list(sums), list(sums.values()), "o-", ms=3, lw=1, label="neighbours, added up")
    start = solved.get(pairs[0].fixed, 0.0) if pairs else 0.0
    right.plot(list(solved), [v - start for v in solved.values()], "s-", ms=3, lw=1, label="in the volume")
    right.set(xlabel="slice", ylabel="turn against the first slice, deg", title="Drift")
    right.legend(frameon=False, fontsize=8)
    for ax in (left, right):
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.spines[["top", "right"]].set_visible(False)
    save_both(figure, stem, p.figure_dpi)


def pyplot() -> Any:
    """matplotlib without a display, its pictures the same every time."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.hashsalt": "voxelmill", "font.size": 9, "axes.titlesize": 10})
    import matplotlib.pyplot as plt

    return plt
