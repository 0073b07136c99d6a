"""Leave out runs of slices that fit their neighbours badly: the slice configuration, stamped."""

from __future__ import annotations

from collections.abc import Sequence

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
    auto_exclude_z_corr: float = param(0.2, "Correlation in depth below which a pair is bad", ge=0, le=1)


def run(p: Parameters, task: Task, *, metrics: list[In] | None = None, config: In, output: Out) -> None:
    pairs = [read_metrics(path) for path in metrics or []]
    found = excluded(p, pairs)
    stamp = {n: {"auto_excluded": True, "auto_exclude_reason": why} for n, why in found.items()}
    for n, why in found.items():
        task.quarantine([slices.name_of(n)], why)
    slice_config.write(output, slice_config.read(config).stamped(stamp))
    task.report(excluded=[slices.name_of(n) for n in found], pairs=len(pairs))


def excluded(p: Parameters, pairs: Sequence[Pair]) -> dict[int, str]:
    """Slices between two bad pairs of a run of enough of them, and why. Pairs of neighbours alone are looked at."""
    nearest = {n: min(q.moving for q in pairs if q.fixed == n) for n in {q.fixed for q in pairs}}
    chain = sorted((q for q in pairs if q.moving == nearest[q.fixed]), key=lambda q: q.fixed)
    run: list[Pair] = []
    found: dict[int, str] = {}
    for pair in [*chain, None]:
        if pair and pair.source == "images" and pair.z_correlation < p.auto_exclude_z_corr:
            run.append(pair)
            continue
        if len(run) >= p.auto_exclude_consecutive:
            worst = min(q.z_correlation for q in run)
            why = f"{len(run)} pairs in a row correlate less than {p.auto_exclude_z_corr:g} in depth, down to {worst:.2f}"
            found |= {q.moving: why for q in run[:-1]}
        run = []
    return found
