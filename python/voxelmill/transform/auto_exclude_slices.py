"""Leave out slices that fit their neighbours badly: the slice configuration, stamped.

a ==== n ==== b     a slice like neither neighbour, while these are like each other, is left out; so is a run of slices
 \\___________/      between bad pairs, where no pair reaches across. What is left out keeps its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ..core import slice_config, slices
from ..core.params import param
from ..core.provenance import Task
from ..core.shared import Strict
from ..core.stage import In, Out
from .pairs import Pair, read_metrics


class Parameters(Strict):
    """Leaving out slices."""

    auto_exclude_consecutive: int = param(
        3, "Bad pairs in a row from which the slices between are left out", unit="pair", ge=2
    )
    auto_exclude_z_corr: float = param(
        0.2, "Correlation in depth below which a pair is bad", ge=0, le=1,
        more="On made slices right pairs have 0.4 and more at two looks, 0.6 at six; agarose or another place 0.01 to 0.07.",
    )  # fmt: skip


def run(p: Parameters, task: Task, *, metrics: list[In] | None = None, config: In, output: Out) -> None:
    pairs = [read_metrics(path) for path in metrics or []]
    found = excluded(p, pairs)
    stamp = {n: {"auto_excluded": True, "auto_exclude_reason": why} for n, why in found.items()}
    for n, why in found.items():
        task.quarantine([slices.name_of(n)], why)
    slice_config.write(output, slice_config.read(config).stamped(stamp))
    task.report(excluded=[slices.name_of(n) for n in found], pairs=len(pairs))


def excluded(p: Parameters, pairs: Sequence[Pair]) -> dict[int, str]:
    """Slices that are like neither neighbour, and slices of a run of bad pairs; and why."""
    nearest = {n: min(q.moving for q in pairs if q.fixed == n) for n in {q.fixed for q in pairs}}
    chain = sorted((q for q in pairs if q.moving == nearest[q.fixed]), key=lambda q: q.fixed)
    across = {(q.fixed, q.moving): q.z_correlation for q in pairs}
    found: dict[int, str] = {}
    for one, other in pairwise(chain):
        alike = across.get((one.fixed, other.moving), 0.0)
        if one.moving == other.fixed and bad(p, one) and bad(p, other) and alike >= p.auto_exclude_z_corr:
            most = max(one.z_correlation, other.z_correlation)
            found[one.moving] = f"correlates with its neighbours by {most:.2f} at most, these with each other by {alike:.2f}"
    run: list[Pair] = []
    for pair in [*chain, None]:
        if pair and bad(p, pair):
            run.append(pair)
            continue
        if len(run) >= p.auto_exclude_consecutive:
            worst = min(q.z_correlation for q in run)
            why = f"{len(run)} pairs in a row correlate less than {p.auto_exclude_z_corr:g} in depth, down to {worst:.2f}"
            found = {q.moving: why for q in run[:-1]} | found
        run = []
    return found


def bad(p: Parameters, pair: Pair) -> bool:
    """What a person has laid is not."""
    return pair.source == "images" and pair.z_correlation < p.auto_exclude_z_corr
