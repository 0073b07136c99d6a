"""Service levels of a catalogue: throughput, latency, integrity, cadence, quality and cost of its releases, beside targets.

All from records: of a task its CPU seconds, times, bytes. A task that two releases share counts for the one that made it
first: it was run once. Without a server: `voxelmill slo STORE --out DIR` writes `slo.json` and `slo.html`.
"""

from __future__ import annotations

import html
import itertools
import json
import math
from datetime import datetime
from pathlib import Path
from typing import Any

from ..core.errors import ParameterError
from . import costs, lineage, releases
from .store import Store

PRICES = {"core_hour": 0.04, "gpu_hour": 1.2, "gb_written": 0.0, "gb_month": 0.02}  # of a made-up currency; a parameter
TARGETS: dict[str, dict[str, float]] = {
    "integrity": {"min": 1.0},  # share of releases of which nothing is damaged, at their last check
    "left_out": {"max": 0},
    "wall_hours": {"max": 24},
    "days_since_release": {"max": 90},
}


def read(path: Path | None, known: dict[str, Any], flag: str) -> dict[str, Any]:
    """A JSON object of targets or prices over the defaults. Raises ParameterError for what is none."""
    if path is None:
        return known
    try:
        found = json.loads(path.read_text())
        for name, value in found.items():
            values = value.values() if isinstance(value, dict) else [value]
            if not all(isinstance(v, int | float) and math.isfinite(v) for v in values):
                raise ValueError(name)
        return {**known, **found}
    except (OSError, ValueError, AttributeError) as error:
        raise ParameterError(
            f"{flag} {path}: {error}; expected a JSON object of numbers, as {json.dumps(known)[:80]}"
        ) from None


def measure(
    store: Store, targets: Path | None = None, prices: Path | None = None, moment: datetime | None = None
) -> dict[str, Any]:
    """What each release took and is worth, and which targets are met."""
    price, wanted = read(prices, PRICES, "--prices"), read(targets, TARGETS, "--targets")
    checked = _checked(store)
    rows, spent = [], set[str]()
    with lineage.current(store) as con:
        for row in releases.list_all(store):
            tasks = costs.tasks_of(con, row["tag"])
            rows.append(_release(store, row, [t for t in tasks if t.id not in spent], price, checked))
            rows[-1]["mvoxel_per_core_second"] = _rate(rows[-1]["voxels"], sum(t.cpu_s or 0 for t in tasks))
            spent |= {t.id for t in tasks}
    made = [row["created"] for row in rows if row["created"]]  # the log knows no time of one whose maker died at the end
    since = _days(made[-1], moment) if made else None
    days = [_days(a, _time(b)) for a, b in itertools.pairwise(made)]
    current = next((row for row in rows if row["current"]), None)
    whole = {
        "releases": len(rows),
        "withdrawn": sum(row["status"] == "withdrawn" for row in rows),
        "integrity": _share([row["damaged"] == 0 for row in rows if row["damaged"] is not None]),
        "days_between_releases": sum(days) / len(days) if days else None,
        "days_since_release": since,
        "cost": sum(row["cost"] for row in rows),
    }
    known = {**whole, **({**current, **current["quality"]} if current else {})}
    goals = [_goal(name, limit, known.get(name)) for name, limit in sorted(wanted.items())]
    met = [goal["met"] for goal in goals if goal["met"] is not None]
    return {
        "whole": whole,
        "releases": rows,
        "targets": goals,
        "error_budget": _budget(rows),
        "met": _share(met),
        "prices": price,
    }


def _release(
    store: Store, row: dict[str, Any], tasks: list[costs.Task], price: dict[str, float], checked: dict[str, int]
) -> dict[str, Any]:
    held, took = releases.manifest_of(store, row["tag"]), costs.sums(tasks)
    begun, ended = min((t.started for t in tasks if t.started), default=""), max((t.ended or "" for t in tasks), default="")
    wall = max(0.0, (_time(ended) - _time(begun)).total_seconds() / 3600) if begun and ended else 0.0
    written, kept = took["bytes_out"] / 1e9, sum(size for size, _, _ in held["files"].values()) / 1e9
    voxels = costs.voxels_of(store, row["tag"])
    cost = took["core_hours"] * price["core_hour"] + took["gpu_hours"] * price["gpu_hour"]
    cost += written * price["gb_written"] + kept * price["gb_month"]
    return {
        **{k: row[k] for k in ("tag", "status", "current", "workflow", "created")},
        **{k: took[k] for k in ("tasks", "core_hours", "gpu_hours")},
        "wall_hours": wall,
        "gb_read": took["bytes_in"] / 1e9,
        "gb_written": written,
        "gb_kept": kept,
        "peak_memory_gb": took["peak_memory_bytes"] / 1e9,
        "voxels": voxels,
        "cost": cost,
        "cost_per_gvoxel": costs.per_gvoxel(cost, voxels),
        "core_hours_by_stage": {stage: sums["core_hours"] for stage, sums in costs.by_stage(tasks).items()},
        "damaged": checked.get(row["tag"]),
        "left_out": held["figures"].get("left_out", 0),
        "gates_passed": sum(g["passed"] for g in held["gates"]),
        "gates": len(held["gates"]),
        "quality": {k: v for k, v in held["figures"].items() if k.startswith("score.") and k.count(".") == 1},
    }


def _rate(voxels: int, seconds: float) -> float | None:
    return voxels / 1e6 / seconds if voxels and seconds else None


def _checked(store: Store) -> dict[str, int]:
    """Of each release how many files were damaged when it was last verified."""
    return {e["tag"]: e["damaged"] for e in store.events() if e["action"] == "verify"}


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _days(text: str, moment: datetime | None) -> float:
    then = _time(text)
    return max(0.0, ((moment or datetime.now(then.tzinfo)) - then).total_seconds() / 86400)


def _share(good: list[bool]) -> float | None:
    return sum(good) / len(good) if good else None


def _goal(name: str, limit: dict[str, float], value: float | None) -> dict[str, Any]:
    low, high = limit.get("min", -math.inf), limit.get("max", math.inf)
    return {"name": name, **limit, "value": value, "met": None if value is None else low <= value <= high}


def _budget(rows: list[dict[str, Any]], allowed: float = 0.1) -> dict[str, float]:
    """Of the last ten releases one may be withdrawn: how much of that is used up."""
    last = rows[-10:]
    bad = sum(row["status"] == "withdrawn" for row in last)
    may = allowed * max(len(last), 10)
    return {"allowed": may, "used": bad, "left": max(0.0, may - bad)}


def write(found: dict[str, Any], out: Path) -> None:
    from .store import write_whole

    write_whole(out / "slo.json", json.dumps(found, indent=1))
    write_whole(out / "slo.html", page(found))


STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:80em;margin:2em auto;padding:0 1em;color:#222;background:#fff}
h1{font-size:1.5em}h2{font-size:1.1em;margin-top:2em}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
td,th{padding:.3em .8em;text-align:right;border-bottom:1px solid #ddd}td:first-child,th:first-child{text-align:left}
.wide{font-size:12px}.wide td,.wide th{padding:.3em .4em;white-space:nowrap}
.bad{color:#a02020;font-weight:600}.good{color:#1c6b3c}.dim{color:#777}.bar{fill:#3b6ea5}
svg{width:100%;max-width:700px}svg text{fill:currentColor}
@media(prefers-color-scheme:dark){:root{color-scheme:dark}body{color:#dfe5ec;background:#14181d}th,td{border-color:#343d47}
.bad{color:#ff8a80}.good{color:#6fcf97}.dim{color:#9aa7b4}}
"""


def page(found: dict[str, Any]) -> str:
    """One page without scripts: targets, releases, where the core hours went."""
    goals = "".join(
        f"<tr><td>{_text(g['name'])}</td><td>{_number(g['value'])}</td><td>{_limit(g)}</td>"
        f"<td class={ {True: 'good', False: 'bad', None: 'dim'}[g['met']] }>"
        f"{ {True: 'met', False: 'missed', None: 'not known'}[g['met']] }</td></tr>"
        for g in found["targets"]
    )
    columns = {"status": "status", "workflow": "workflow", "day": "made", "tasks": "tasks", "core_hours": "core h",
               "gpu_hours": "GPU h", "wall_hours": "wall h", "gb_written": "GB written", "gb_kept": "GB kept",
               "mvoxel_per_core_second": "Mvoxel / core s", "cost": "cost", "cost_per_gvoxel": "cost / Gvoxel",
               "damaged": "damaged", "left_out": "left out"}  # fmt: skip
    head = "".join(f"<th>{_text(title)}</th>" for title in columns.values())
    shown = [
        {**r, "day": r["created"][:10], "name": f"{r['tag']}{' (current)' if r['current'] else ''}"}
        for r in found["releases"]
    ]
    rows = "".join(f"<tr><td>{_text(r['name'])}</td>{''.join(_cell(r[c]) for c in columns)}</tr>" for r in shown[::-1])
    budget, whole = found["error_budget"], found["whole"]
    stages: dict[str, float] = next((r["core_hours_by_stage"] for r in found["releases"][::-1] if r["current"]), {})
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>Service levels</title><style>{STYLE}</style><h1>Service levels</h1>"
        f"<p>{whole['releases']} releases, {whole['withdrawn']} withdrawn. Error budget: {budget['used']:g} of "
        f"{budget['allowed']:g} used. Cost in all {whole['cost']:.4g}.</p>"
        f"<h2>Targets</h2><table><tr><th>figure</th><th>value</th><th>target</th><th></th></tr>{goals}</table>"
        f"<h2>Releases</h2><div style='overflow-x:auto'><table class=wide><tr><th>tag</th>{head}</tr>{rows}</table></div>"
        f"<h2>Core hours of the current release</h2>{_bars(stages)}</html>"
    )


def _bars(stages: dict[str, float]) -> str:
    """Bars, longest first; as many as fit a page."""
    shown = list(stages.items())[:12]
    most = max((v for _, v in shown), default=0) or 1
    bars = "".join(
        f"<text x=0 y={n * 24 + 16}>{_text(name)}</text>"
        f"<rect class=bar x=190 y={n * 24 + 4} height=16 width={400 * v / most:.1f} />"
        f"<text x={196 + 400 * v / most:.1f} y={n * 24 + 16}>{v:.3g}</text>"
        for n, (name, v) in enumerate(shown)
    )
    box = f"viewBox='0 0 700 {24 * len(shown) + 8}'"
    return f"<svg {box} role=img aria-label='core hours by stage' font-size=13>{bars}</svg>"


def lines(found: dict[str, Any]) -> list[str]:
    """For people: each target, the error budget, and what each release took."""
    said = {True: "met", False: "MISSED", None: "not known"}
    wide = max((len(g["name"]) for g in found["targets"]), default=0)
    rows = [f"{g['name']:{wide}}  {_number(g['value']):>9}  {_limit(g):16}  {said[g['met']]}" for g in found["targets"]]
    budget, whole = found["error_budget"], found["whole"]
    rows.append(f"error budget: {budget['used']:g} of {budget['allowed']:g} used; cost in all {_number(whole['cost'])}")
    return rows + [
        f"{'*' if r['current'] else ' '} {r['tag']:16} {r['status']:10} {_number(r['core_hours'])} core hours, "
        f"{_number(r['gpu_hours'])} GPU hours, {_number(r['gb_written'])} GB written, cost {_number(r['cost'])}, "
        f"per Gvoxel {_number(r['cost_per_gvoxel'])}"
        for r in found["releases"]
    ]


def _text(value: Any) -> str:
    return html.escape(str(value))


def _number(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else _text(value)


def _cell(value: Any) -> str:
    return f"<td>{_number(value)}</td>"


def _limit(goal: dict[str, Any]) -> str:
    return " and ".join(f"{word} {goal[key]:g}" for key, word in (("min", "at least"), ("max", "at most")) if key in goal)
