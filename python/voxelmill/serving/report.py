"""Report: one HTML page with results, figures, parameters, timings, memory and sizes; opens offline."""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path
from typing import Any, Literal

from ..core.params import Params, param
from ..core.provenance import Task
from ..core.runs import plain, remarks
from ..core.stage import InFiles, Out
from . import report_slices
from .markup import Markup, table

STYLE = """
:root{color-scheme:light}
body{font:15px/1.5 system-ui,sans-serif;margin:0;color:#1b2530;background:#f6f7f9}
main{max-width:1080px;margin:0 auto;padding:24px}
h1{font-size:24px;margin:8px 0}h2{font-size:18px;margin:32px 0 8px}
section,.card{background:#fff;border:1px solid #dfe4ea;border-radius:8px;padding:16px;margin:12px 0}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px}
.card{margin:0}.card b{display:block;font-size:22px;overflow-wrap:anywhere}.card span{color:#5b6875;font-size:13px}
table{border-collapse:collapse;width:100%;font-size:13px}
th,td{text-align:left;padding:4px 8px;border-bottom:1px solid #edf0f3}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
img{max-width:100%;height:auto;display:block;margin:auto}.warn{border-left:4px solid #c0392b}
.wide{grid-column:1/-1}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(460px,1fr));gap:12px}
details summary{cursor:pointer;font-weight:600}code{overflow-wrap:anywhere}
"""

MANY = 16  # tasks of a stage that are listed one by one
LONG = 60  # rows of quality figures from which the table is folded
MOST_PAGES = 6  # of slices; all of them lie beside the report
WIDE = 1800  # px: a figure at least as wide has a row of the page for itself


class Parameters(Params):
    """Report."""

    generate_report: bool = param(True, "Write the report; else the account of the run is kept without a page")
    report_format: Literal["html", "zip"] = param(
        "html",
        "html: one page that holds its pictures; zip: that page, and the pictures once more beside it in one file",
        defaults={"reconstruct": "zip"},
    )
    report_verbose: bool = param(False, "Quality figures of every task, however many; else of many tasks how they spread")
    report_plots: bool = param(
        True, "Interactive plots in the report (adds 5 MB); else tables only", profiles={"minimal": False}
    )


def run(
    p: Parameters,
    task: Task,
    *,
    records: InFiles,
    figures: InFiles | None = None,
    tables: InFiles,
    title: str,
    presets: str = "",
    output: Out | None = None,
    archive: Out | None = None,
) -> None:
    """`presets` says what profiles have changed."""
    if not (p.generate_report and output):
        return
    found = sorted(
        (json.loads(f.read_text()) for f in records.rglob("*.provenance.json") if f.stat().st_size),
        key=lambda r: (r["start"], r["stage"], r["block"]),
    )
    page = page_of(p, found, figures, tables, title, presets)
    output.write_text(page, encoding="utf-8")
    if archive and p.report_format == "zip":
        bundle(archive, page, figures)


def page_of(p: Parameters, found: list[dict], figures: Path | None, tables: Path, title: str, presets: str) -> str:
    """The page, which needs nothing else."""
    drawn = p.report_plots and bool(found)
    body = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p>Voxelmill {html.escape(str(found[0]['code_version']))}, {found[0]['start'][:16].replace('T', ' ')} UTC</p>"
        if found
        else "",
        f"<p>{html.escape(presets[:1].upper() + presets[1:])}</p>" if presets else "",
        cards(found, tables),
        warnings(found),
        report_slices.section(found, tables, p.report_verbose, drawn),
        pictures(figures) if figures else "",
        quality(found, p.report_verbose),
        plots(found) if drawn else "",
        costs(found),
        parameters(found),
        provenance(found),
    ]
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
        f"<title>{html.escape(title)}</title><style>{STYLE}</style>{plotly() if drawn else ''}"
        f"<main>{''.join(body)}</main></html>"
    )


def bundle(path: Path, page: str, figures: Path | None) -> None:
    """Page and pictures as one file; without dates, so that the same report has the same bytes."""
    import zipfile

    name = path.name.removesuffix(".partial").removesuffix(".zip")
    files = {f"{name}.html": page.encode()}
    if figures:
        files |= {f"previews/{f.name}": f.read_bytes() for f in sorted(figures.glob("*.png"))}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for inside, data in files.items():
            made.writestr(zipfile.ZipInfo(inside), data, zipfile.ZIP_DEFLATED)


def plotly() -> str:
    """The script that draws plots, in the page."""
    from plotly.offline import get_plotlyjs

    return f"<script>{get_plotlyjs()}</script>"


def cards(records: list[dict], tables: Path) -> str:
    """The few numbers that say whether the run is good."""
    quality = {k: v for r in records for k, v in r["quality"].items()}
    shown: list[tuple[str, str]] = []
    if "shape" in quality:
        shown.append((" × ".join(str(n) for n in quality["shape"]), "voxels (z, y, x)"))
    shown += [
        (f"{quality[k]:,}", label)
        for k, label in (
            ("segments", "neurites"),
            ("synapses", "synapse candidates"),
            ("edges", "edges"),
            ("cells", "cells"),
            ("tracks", "tracks"),
            ("fovs", "fields of view"),
        )
        if k in quality
    ]
    score = tables / "score.json"
    if score.exists() and score.stat().st_size:
        result = json.loads(score.read_text())
        shown += [
            (f"{result['voi_split']:.2f} / {result['voi_merge']:.2f}", "VOI split / merge (bits)"),
            (f"{result['arand']:.3f}", "adapted Rand error"),
        ]
        if "splits" in result:
            shown.append((f"{result['splits']:,} / {result['merges']:,}", "splits / merges"))
            runs = [result[f"expected_run_length{of}"] for of in ("", "_of_truth")]
            per, unit = (1000, "µm") if result["run_length_unit"] == "nm" else (1, "voxels")
            shown.append((f"{runs[0] / per:.3g} of {runs[1] / per:.3g} {unit}", "expected run length"))
    cpu = sum(r["cpu_s"] for r in records)
    shown.append((f"{cpu:.1f} s", "CPU time of all tasks"))
    return (
        "<div class='cards'>"
        + "".join(f"<div class='card'><b>{html.escape(v)}</b><span>{html.escape(k)}</span></div>" for v, k in shown)
        + "</div>"
    )


def warnings(records: list[dict]) -> str:
    """What was left out, bridged or assumed; never silent."""
    rows = []
    for remark in remarks(records):
        stage, _, what = remark.partition(": ")
        rows.append(f"<li><b>{html.escape(stage)}</b>: {html.escape(what)}</li>")
    return f"<section class='warn'><h2>Please look at</h2><ul>{''.join(rows)}</ul></section>" if rows else ""


def pictures(folder: Path) -> str:
    """All figures; of pages a slice as many as MOST_PAGES, from the first slice to the last."""
    files = [f for f in sorted(folder.glob("*.png")) if f.stat().st_size]
    pages = [f for f in files if f.stem.startswith("slice_z")]
    if len(pages) > MOST_PAGES:
        left = set(pages) - {pages[round(k * (len(pages) - 1) / (MOST_PAGES - 1))] for k in range(MOST_PAGES)}
        files = [f for f in files if f not in left]
    found = [(f.stem, f.read_bytes()) for f in files]
    made = [
        f"<section{' class=wide' if int.from_bytes(data[16:20]) >= WIDE else ''}><img alt='{name}' "
        f"src='data:image/png;base64,{base64.b64encode(data).decode()}'></section>"
        for name, data in found
    ]
    return f"<h2>Figures</h2><div class='figures'>{''.join(made)}</div>" if made else ""


def quality(records: list[dict], verbose: bool = False) -> str:
    """Figures of every task; of a stage with more than MANY, unless verbose, how they are distributed over its tasks."""
    rows: list[tuple] = []
    for stage in dict.fromkeys(r["stage"] for r in records):
        these = [r for r in records if r["stage"] == stage]
        if verbose or len(these) <= MANY:
            rows += [(stage, r["block"], k, tabled(v)) for r in these for k, v in r["quality"].items()]
            continue
        figures: dict[str, list] = {}
        for record in these:
            for name, value in record["quality"].items():
                figures.setdefault(name, []).append(value)
        rows += [(stage, f"{len(these)} tasks", name, summed(values)) for name, values in figures.items()]
    shown = table(("stage", "block", "figure", "value"), rows)
    if len(rows) > LONG:
        shown = f"<details><summary>{len(rows)} figures</summary>{shown}</details>"
    return f"<h2>Quality figures</h2><section>{shown}</section>"


def tabled(value: Any) -> str:
    """A figure; one per item (field of view, section) as a table with an item a row, a list of remarks as a list."""
    if isinstance(value, dict) and value and all(isinstance(of, dict) for of in value.values()):
        names = list(dict.fromkeys(name for of in value.values() for name in of))
        rows = [(item, *(plain(of[name]) if name in of else "" for name in names)) for item, of in value.items()]
        return Markup(table(("", *(name.replace("_", " ") for name in names)), rows))
    if isinstance(value, list) and any(isinstance(one, str) and " " in one for one in value):
        return Markup("<br>".join(html.escape(plain(one)) for one in value))
    return plain(value)


def summed(values: list) -> str:
    """One figure of many tasks: sum and range of numbers; of all else the value, or how many there are."""
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return f"{sum(values):.6g} in all, {min(values):.6g} to {max(values):.6g} a task"
    different = list(dict.fromkeys(map(plain, values)))
    return different[0] if len(different) == 1 else f"{len(different)} different values"


def costs(records: list[dict]) -> str:
    """Per stage: tasks, wall, CPU, start-up, peak memory, bytes."""
    rows = []
    for stage in dict.fromkeys(r["stage"] for r in records):
        these = [r for r in records if r["stage"] == stage]
        seconds = (f"{sum(r[k] for r in these):.2f}" for k in ("wall_s", "cpu_s", "startup_cpu_s"))
        rows.append(
            (
                stage,
                len(these),
                *seconds,
                f"{max(r['peak_memory_bytes'] for r in these) / 2**20:.0f}",
                *(f"{sum(r[k] for r in these) / 2**20:.1f}" for k in ("bytes_in", "bytes_out")),
            )
        )
    head = ("stage", "tasks", "wall s", "CPU s", "start-up CPU s", "peak MB", "MB in", "MB out")
    return "<h2>Time, memory, sizes</h2><section>" + table(head, rows, numeric=1) + "</section>"


def parameters(records: list[dict]) -> str:
    found: dict[str, Any] = {}
    for record in records:
        found |= {f"{k}": v for k, v in record["params"].items()}
    rows = [(f"--{k}", json.dumps(v)) for k, v in sorted(found.items())]
    shown = table(("name", "value"), rows)
    return f"<h2>Parameters</h2><section><details><summary>All of them</summary>{shown}</details></section>"


def provenance(records: list[dict]) -> str:
    """What ran, on what, with which code; the records beside the results have it file by file."""
    hosts = sorted({r["host"] for r in records if "host" in r})
    versions = {key: sorted({str(r[key]) for r in records if r.get(key)}) for key in ("commit", "code_hash", "python")}
    rows: list[tuple] = [(key.replace("_", " "), ", ".join(values)) for key, values in versions.items() if values]
    able = [r.get("device", "cpu") for r in records if r["params"].get("use_gpu")]
    on = {device: able.count(device) for device in sorted(set(able))}
    if on:
        none = "; --use_gpu: CuPy found no GPU, so all ran on the CPU" if set(on) == {"cpu"} else ""
        rows.append(("tasks that can use a GPU", ", ".join(f"{n} on {device}" for device, n in on.items()) + none))
    rows += [("machines", f"{len(hosts)}: {', '.join(hosts[:8])}")] if hosts else []
    # What no task of this run has made, it was given.
    made = {item["digest"] for r in records for item in r.get("outputs", ())}
    given = {item["digest"]: item for r in records for item in r.get("inputs", ()) if item["digest"] not in made}
    rows += [(f"read: {item['name']}", f"{item['path']} ({digest[:12]})") for digest, item in sorted(given.items())]
    if not rows:
        return ""
    shown = table(("", ""), rows)
    return f"<h2>Provenance</h2><section><details><summary>Code, machines and sources</summary>{shown}</details></section>"


def plots(records: list[dict]) -> str:
    """CPU seconds and peak memory per stage; the script is inside the page."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    names = list(dict.fromkeys(r["stage"] for r in records))
    cpu = [sum(r["cpu_s"] for r in records if r["stage"] == n) for n in names]
    peak = [max(r["peak_memory_bytes"] for r in records if r["stage"] == n) / 2**20 for n in names]
    figure = make_subplots(1, 2, subplot_titles=("CPU seconds", "Peak memory of a task (MB)"), horizontal_spacing=0.2)
    figure.add_trace(go.Bar(y=names, x=cpu, orientation="h", marker_color="#1f77b4"), 1, 1)
    figure.add_trace(go.Bar(y=names, x=peak, orientation="h", marker_color="#d95f02"), 1, 2)
    figure.update_yaxes(autorange="reversed")
    figure.update_layout(
        showlegend=False, height=80 + 24 * len(names), margin={"l": 10, "r": 10, "t": 40, "b": 30}, template="plotly_white"
    )
    return (
        "<section>"
        + figure.to_html(full_html=False, include_plotlyjs=False, div_id="costs", config={"displaylogo": False})
        + "</section>"
    )
