"""Incidents: what a bad artifact has touched, what to do about it, a memo and a checklist made from what was found.

bad artifact --forward--> tasks, files, releases        figures by region, of the release before and of the bad one
                                 |                                       |
                          what is affected                      where it got worse: rollback, patch, or constrain
"""

from __future__ import annotations

import html
import itertools
import json
import re
import shlex
from pathlib import Path
from typing import Any

from ..core.errors import DataError
from . import differences, policies, queries, regions, releases
from .store import Store, reading, write_whole

WORSE = 1.25  # times the figure of the release before: a region that got so much worse is named
LOWER_IS_BETTER = ("voi_split", "voi_merge", "voi", "arand", "splits", "merges", "split_rate", "merge_rate", "left_out")
MOSTLY = 0.5  # share of regions from which on a fault is one of the whole and not of a part


def open_incident(store: Store, bad: str, out: Path) -> dict[str, Any]:
    """Trace an artifact forward, judge the releases that hold what came of it, propose what to do; write `incident.json`,
    `memo.md`, `checklist.md` and `memo.html` into a folder. Nothing of the catalogue changes but its log.

    Raises DataError where nothing is known by the word, or the folder is not empty."""
    if out.exists() and any(out.iterdir()):
        raise DataError(f"{out}: not empty; give a folder of its own to each incident")
    found = queries.trace(store, bad, forward=True)
    states = releases.status(store)
    rows = [_judged(store, tag, found, states) for tag in store.tags() if tag in found["releases"]]
    current = store.current()
    facts = {
        "bad": bad,
        "digests": found["start"],
        "tasks": found["tasks"],
        "files": [{k: f[k] for k in ("tag", "path")} for f in found["files"]],
        "releases": rows,
        "current": current,
        "current_affected": current in found["releases"],
        "queries": _queries(found["files"]),
    }
    good = [tag for tag in states if states[tag] == "good" and tag not in found["releases"]]
    facts["proposal"] = propose(facts, releases.before(store, current, good) if current else None)
    with store.lock("incident open"):
        event = store.record("incident", bad=bad, releases=found["releases"], files=len(found["files"]))
    facts |= {"number": event["seq"], "opened": event["time"], "by": event["who"]}
    memo, steps = memo_of(facts), checklist(facts)
    write_whole(out / "incident.json", json.dumps(facts, indent=1))
    write_whole(out / "memo.md", memo)
    write_whole(out / "checklist.md", steps)
    write_whole(out / "memo.html", page(memo, steps))
    return facts


def _judged(store: Store, tag: str, found: dict[str, Any], states: dict[str, str]) -> dict[str, Any]:
    """A release that the fault touches, beside the last one before it that it does not."""
    base = releases.before(store, tag, [t for t in states if t not in found["releases"]])
    now = releases.manifest_of(store, tag)["figures"]
    then = releases.manifest_of(store, base)["figures"] if base else {}
    worse = worsened(then, now)
    change = differences.diff(store, base, tag) if base else {}
    return {
        "tag": tag,
        "status": states[tag],
        "files": sum(f["tag"] == tag for f in found["files"]),
        "of": len(releases.manifest_of(store, tag)["files"]),
        "beside": base,
        "worse": worse,
        "regions": sorted({region for row in worse if (region := region_of(row["figure"]))}),
        "boxes": _boxes(store, tag),
        "all_regions": sorted({region for name in now if (region := region_of(name))}),
        "neurites": {k: change["neurites"][k] for k in ("split", "merged")} if "neurites" in change else {},
        "edges": {k: change["edges"][k] for k in ("gained", "lost")} if "edges" in change else {},
    }


def _boxes(store: Store, tag: str) -> dict[str, str]:
    """Where the regions of a release's evaluation lie: Z0,Y0,X0,Z1,Y1,X1."""
    path = regions.files_of(store, tag) / policies.TABLES["evaluation"]
    with reading(path):
        found = json.loads(path.read_text()).get("regions", {}) if path.exists() else {}
    return {name: row["box"] for name, row in found.items() if "box" in row}


def worsened(then: dict[str, float], now: dict[str, float]) -> list[dict[str, Any]]:
    """Figures, of those where less is better, that are worse by WORSE and by more than noise in the last digit."""
    rows = []
    for name in sorted(then.keys() & now.keys()):
        if name.split(".")[-1] in LOWER_IS_BETTER and now[name] > max(then[name] * WORSE, then[name] + 1e-6):
            rows.append({"figure": name, "before": then[name], "now": now[name]})
    return rows


def region_of(figure: str) -> str:
    """The region in a figure's name, `....regions.NAME....`; empty where it is of the whole."""
    parts = figure.split(".")
    return parts[parts.index("regions") + 1] if "regions" in parts[:-2] else ""


def _queries(files: list[dict[str, Any]]) -> list[str]:
    """What answers of the server rest on what is affected."""
    rests = {
        "volumes/": "/data (volumes), /segments (points)",
        "tables/merge": "/segments, /neurites, /edits",
        "tables/edges": "/neurites/*/partners, /paths",
        "tables/synapses": "/neurites/*/synapses",
        "tables/neurons": "/neurites",
        "meshes/": "/data (meshes)",
        "skeletons/": "/data (skeletons)",
    }
    return [what for begin, what in rests.items() if any(f["path"].startswith(begin) for f in files)]


def propose(facts: dict[str, Any], back: str | None) -> dict[str, Any]:
    """Rollback, patch or constrained release, and why.

    Nothing that is current is touched: nothing to serve otherwise. Most regions, or figures of the whole, are worse: roll
    back. A part of the regions: serve the rest. No release to go back to: patch."""
    current = next((row for row in facts["releases"] if row["tag"] == facts["current"]), None)
    if current is None:
        return {
            "action": "none",
            "to": None,
            "why": "the current release holds nothing that came of it; withdraw those that do",
        }
    bad, known = current["regions"], current["all_regions"]
    if bad and known and len(bad) <= MOSTLY * len(known):
        masks = [current["boxes"][region] for region in bad if region in current["boxes"]]
        without = {"regions": bad, "of": current["tag"], "masks": masks}
        why = f"worse in {len(bad)} of {len(known)} regions ({', '.join(bad)}); the others stand"
        if back:
            return {
                "action": "rollback",
                "to": back,
                "then": "constrained release without these regions",
                "why": why,
                **without,
            }
        return {"action": "constrain", "to": None, "why": why, **without}
    if back:
        why = "worse in most regions" if bad else "what came of it is all over the release"
        return {"action": "rollback", "to": back, "regions": bad, "why": f"{why}; {back} holds nothing of it"}
    return {"action": "patch", "to": None, "regions": bad, "why": "no good release without it is there to go back to"}


def commands_of(facts: dict[str, Any]) -> list[str]:
    """What does it, in order."""
    plan = facts["proposal"]
    reason = "--reason " + shlex.quote(f"incident {facts.get('number', '')}: {facts['bad']}")  # a shell reads it
    said = {
        "rollback": [f"voxelmill release rollback STORE {plan['to']} {reason}"],
        "none": [
            f"voxelmill release withdraw STORE {row['tag']} {reason}" for row in facts["releases"] if row["status"] == "good"
        ],
        "patch": [
            "run the affected stages again with a good artifact, then voxelmill release create STORE --results DIR --tag NEW"
        ],
    }.get(plan["action"], [])
    if plan.get("masks"):
        said.append(f"voxelmill release create STORE --from {plan['of']} --mask {' '.join(plan['masks'])} --tag NEW {reason}")
    elif plan["action"] == "constrain":
        said.append(f"voxelmill release create STORE --from {plan['of']} --mask Z0,Y0,X0,Z1,Y1,X1 --tag NEW {reason}")
    return said


def memo_of(facts: dict[str, Any]) -> str:
    """The memo, Markdown: what is known is filled in; what only people know is asked for."""
    plan = facts["proposal"]
    lines = [
        f"# Incident {facts['number']}: {facts['bad']}",
        "",
        f"Opened {facts['opened']} by {facts['by']}. Current release: {facts['current'] or 'none'}, "
        f"{'affected' if facts['current_affected'] else 'not affected'}.",
        "",
        "## What is affected",
        "",
        f"{len(facts['tasks'])} tasks and {len(facts['files'])} published files in {len(facts['releases'])} of the releases. "
        f"Answers of the server that rest on them: {'; '.join(facts['queries']) or 'none'}.",
        "",
        "| release | status | files | beside | worse | neurites split | merged | edges gained | lost |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in facts["releases"]:
        n, e = row["neurites"], row["edges"]
        cells = (n.get("split", ""), n.get("merged", ""), e.get("gained", ""), e.get("lost", ""))
        lines.append(
            f"| {row['tag']} | {row['status']} | {row['files']} of {row['of']} | {row['beside'] or '-'} | "
            f"{len(row['worse'])} figures | {' | '.join(map(str, cells))} |"
        )
    for row in facts["releases"]:
        if row["worse"]:
            lines += ["", f"Figures of {row['tag']} that are worse than those of {row['beside']}:", ""]
            lines += [f"- {w['figure']}: {w['before']:.4g} -> {w['now']:.4g}" for w in row["worse"][:50]]
    lines += [
        "",
        "## What is proposed",
        "",
        f"**{plan['action']}**{' to ' + plan['to'] if plan['to'] else ''}: {plan['why']}.",
    ]
    if plan.get("then"):
        lines.append(f"Then a {plan['then']}.")
    lines += ["", *(f"    {command}" for command in commands_of(facts)), "", "## Tasks", ""]
    lines += [
        f"- {t['stage']}{'.' + t['block'] if t['block'] else ''}, run {t['run']}, {t['started']}"
        for t in facts["tasks"][:200]
    ]
    lines += [
        "",
        "## To be filled in by people",
        "",
        "- How it was noticed, and when:",
        "- Cause:",
        "- Who was told:",
        "- What prevents it next time (a gate in the release policy, a test, a review):",
        "",
    ]
    return "\n".join(lines)


def checklist(facts: dict[str, Any]) -> str:
    """The release checklist, with what this incident adds."""
    gates = sorted({w["figure"] for row in facts["releases"] for w in row["worse"]})
    lines = [
        "# Release checklist",
        "",
        "- [ ] `voxelmill release verify STORE TAG`: nothing damaged",
        "- [ ] `voxelmill archive verify STORE`: nothing damaged",
        "- [ ] `voxelmill release diff STORE OLD NEW`: splits and merges looked at",
        f"- [ ] the new release holds nothing that came of {facts['bad']} (`voxelmill trace STORE {facts['bad']} --forward`)",
    ]
    lines += [f"- [ ] gate in the policy: {name}" for name in gates[:50]]
    lines += [f"- [ ] region {r} looked at by a person" for r in facts["proposal"].get("regions") or []]
    return "\n".join([*lines, "- [ ] users of affected releases told", "- [ ] memo filled in and kept", ""])


STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#1b2530}
h1{font-size:1.4em;overflow-wrap:anywhere}h2{font-size:1.1em;margin-top:1.6em}li,p{overflow-wrap:anywhere}
table{border-collapse:collapse;font-size:13px;display:block;overflow-x:auto}
th,td{text-align:left;padding:.3em .7em;border-bottom:1px solid #ddd}
pre{background:#f3f5f7;padding:.7em;white-space:pre-wrap;overflow-wrap:anywhere}hr{margin:2.5em 0}
@media(prefers-color-scheme:dark){:root{color-scheme:dark}body{color:#dfe5ec;background:#14181d}
pre{background:#1c2229}th,td{border-color:#343d47}}
"""


def page(memo: str, steps: str) -> str:
    """Memo and checklist as one page."""
    head = "<meta charset=utf-8><meta name=viewport content='width=device-width'><title>Incident</title>"
    head += f"<style>{STYLE}</style>"
    return f"<!doctype html><html lang=en>{head}<body>{rendered(memo)}<hr>{rendered(steps)}</body></html>"


def rendered(text: str) -> str:
    """The Markdown that `memo_of` and `checklist` write, as HTML: headings, paragraphs, lists, tables, commands."""
    parts = []
    for kind, lines in itertools.groupby(text.split("\n"), _kind):
        rows = [html.escape(line) for line in lines]
        if kind == "#":
            parts += [f"<h{len(r.split()[0])}>{r.lstrip('# ')}</h{len(r.split()[0])}>" for r in rows]
        elif kind == "-":
            items = "".join(f"<li>{r[2:].replace('[ ]', '&#9744;', 1)}" for r in rows)
            parts.append(f"<ul>{items}</ul>")
        elif kind == "|":
            cells = [[cell.strip() for cell in r.strip("|").split("|")] for r in rows if "---" not in r]
            made = "".join("<tr>" + "".join(f"<{'td' if n else 'th'}>{c}" for c in row) for n, row in enumerate(cells))
            parts.append(f"<table>{made}</table>")
        elif kind == " ":
            parts.append(f"<pre>{chr(10).join(r.strip() for r in rows)}</pre>")
        elif kind:
            parts.append(f"<p>{' '.join(rows)}</p>")
    return re.sub(r"`(.*?)`", r"<code>\1</code>", re.sub(r"\*\*(.*?)\*\*", r"<b>\1</b>", "".join(parts)))


def _kind(line: str) -> str:
    """The sign that a line of Markdown begins with; `p` for words, empty for nothing."""
    return line[:1] if line[:1] in ("#", "-", "|", " ", "") else "p"
