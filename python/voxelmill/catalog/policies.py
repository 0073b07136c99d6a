"""What a release must reach: gates over its figures, in a JSON file.

    {"gates": [{"figure": "score.voi_split", "max": 1.0}, {"figure": "score.arand", "max": 0.1},
               {"figure": "evaluation.regions.*.split_rate", "max": 0.5}, {"figure": "left_out", "max": 0}]}

A figure is named as `voxelmill release show` lists it; `*` stands for any part of a name. A gate whose figure is not there
fails, unless it says `"optional": true`.
"""

from __future__ import annotations

import fnmatch
import json
import math
from pathlib import Path
from typing import Any

from ..core.errors import ParameterError

SCORED = ("evaluate",)  # stages whose quality figures are of the merge table of the run, and of no later one
REMAKERS = ("proofread", "remake")  # stages that make a later one
TABLES = {"score": "tables/score.json", "evaluation": "tables/evaluation.json"}


def figures(results: Path) -> dict[str, float]:
    """All numbers that say how good results are: of the scores, and the quality figures of each stage, by dotted name.

    Of several tasks of a stage the sum; `left_out` counts what was left out in all."""
    found: dict[str, float] = {"left_out": 0}
    for name, table in TABLES.items():
        if (results / table).exists():
            found |= dict(flat(json.loads((results / table).read_text()), name))
    edited = any(any((results / "provenance").glob(f"{stage}.*")) for stage in REMAKERS)
    for path in sorted((results / "provenance").glob("*.json")):
        record = json.loads(path.read_text()) if path.stat().st_size else {}
        if not record or (edited and record["stage"] in SCORED):
            continue
        found["left_out"] += len(record.get("left_out", {}))
        for key, value in flat(record.get("quality", {}), record["stage"]):
            found[key] = found.get(key, 0) + value
    return dict(sorted(found.items()))


def flat(value: Any, name: str) -> list[tuple[str, float]]:
    """Numbers in nested objects and lists, by dotted name."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return []
    if isinstance(value, dict):
        return [pair for key, of in value.items() for pair in flat(of, f"{name}.{key}")]
    if isinstance(value, list):
        return [pair for n, of in enumerate(value[:64]) for pair in flat(of, f"{name}.{n}")]
    return [(name, float(value))] if math.isfinite(value) else []


def read(path: Path) -> list[dict[str, Any]]:
    """Gates of a policy. Raises ParameterError for a file that is none, naming what is wrong."""
    try:
        gates = json.loads(path.read_text())["gates"]
        if not isinstance(gates, list):
            raise TypeError("`gates` is no list")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ParameterError(f"--policy {path}: {error}; expected a JSON object with a list `gates`") from None
    for gate in gates:
        limits = [gate[k] for k in ("min", "max") if k in gate] if isinstance(gate, dict) else []
        if not limits or not isinstance(gate.get("figure"), str) or not all(isinstance(v, int | float) for v in limits):
            raise ParameterError(f'--policy {path}: {gate}: expected {{"figure": NAME, "min": NUMBER and/or "max": NUMBER}}')
        if unknown := gate.keys() - {"figure", "min", "max", "optional", "why"}:
            raise ParameterError(
                f"--policy {path}: {', '.join(sorted(unknown))}: unknown; a gate has figure, min, max, optional, why"
            )
    return gates


def check(path: Path, found: dict[str, float]) -> list[dict[str, Any]]:
    """Each gate with what was found of it, whether it passed, and why not in words."""
    rows = []
    for gate in read(path):
        values = {name: v for name, v in found.items() if fnmatch.fnmatchcase(name, gate["figure"])}
        low, high = gate.get("min", -math.inf), gate.get("max", math.inf)
        bad = {name: v for name, v in values.items() if not low <= v <= high}
        missing = not values and not gate.get("optional", False)
        wanted = " and ".join(f"{word} {gate[key]}" for key, word in (("min", "at least"), ("max", "at most")) if key in gate)
        said = [f"{name} is {v:g}, expected {wanted}" for name, v in bad.items()]
        if missing:
            said = [f"{gate['figure']} is not known, expected {wanted}"]
        rows.append({**gate, "found": values, "passed": not said, "why": "; ".join(said)})
    return rows
