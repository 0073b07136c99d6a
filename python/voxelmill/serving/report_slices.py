"""The report's section of a series of slices: what became of each, which pairs were believed, and how far slices drifted.

It is made of the tables that a run leaves, whichever of them are there: `slice_config_final.csv`, `common_space.csv`,
`z_matches.csv`, `stacking_decisions.csv`; and of the tasks' records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from ..core import slice_config, slices
from ..core.runs import plain
from ..core.slice_config import SliceConfig
from ..core.tables import rows as rows_of
from .markup import Markup, table

Row = dict[str, str]
IDS = ("fixed_id", "moving_id")
COLOURS = {"stacked": "#1e8449", "interpolated": "#b9770e", "full": "#1e8449", "rotation only": "#b9770e"}
BAD = "#c0392b"
FEW = 16  # slices whose steps are shown one by one


@dataclass
class Series:
    """By number of slice: rows of the tables; `lost`: why a task left one out."""

    config: SliceConfig = field(default_factory=SliceConfig)
    places: dict[int, Row] = field(default_factory=dict)
    stacked: dict[int, Row] = field(default_factory=dict)
    pairs: list[Row] = field(default_factory=list)
    lost: dict[int, str] = field(default_factory=dict)

    @property
    def numbers(self) -> range:
        """From the first slice to the last, missing ones included."""
        known = sorted({*self.config.rows, *self.places, *self.stacked})
        return range(known[0], known[-1] + 1) if known else range(0)

    def state(self, n: int) -> tuple[str, str]:
        """What became of a slice, and why."""
        row = self.config.rows.get(n, {})
        if n in self.stacked:
            made = self.config.flag(n, "interpolated")
            return ("interpolated", row.get("interpolation_method_used", "")) if made else ("stacked", "")
        if self.config.flag(n, "auto_excluded"):
            return "left out", row.get("auto_exclude_reason", "")
        if n in self.lost:
            return "failed", self.lost[n]
        if self.config.flag(n, "interpolation_failed"):
            return "gap", row.get("interpolation_fallback_reason", "")
        if n in self.config.rows and self.config.flag(n, "use") is False:
            return "not used", row.get("exclude_reason") or row.get("notes", "")
        return "missing", "never imaged, or not among what was given"

    def before(self, n: int) -> Row:
        """The pair of a slice with the nearest one before it, both imaged: what is interpolated is like it anyhow."""
        imaged = [row for row in self.pairs if not any(self.config.flag(int(row[k]), "interpolated") for k in IDS)]
        found = [row for row in imaged if int(row["moving_id"]) == n]
        return max(found, key=lambda row: int(row["fixed_id"]), default={})


def read(records: Sequence[dict], tables: Path) -> Series:
    """What is known of the slices of a run."""
    path = tables / "slice_config_final.csv"
    config = slice_config.read(path) if path.exists() and path.stat().st_size else SliceConfig()
    lost: dict[int, str] = {}
    for record in records:
        for item, why in record.get("left_out", {}).items():
            if item.removeprefix("z").isdigit():
                lost.setdefault(int(item.removeprefix("z")), why)
    places, stacked = (
        {slices.number_of(row["slice_id"]): row for row in rows(tables / name)}
        for name in ("common_space.csv", "z_matches.csv")
    )
    return Series(config, places, stacked, rows(tables / "stacking_decisions.csv"), lost)


def rows(path: Path) -> list[Row]:
    return rows_of(path) if path.exists() else []


def section(records: Sequence[dict], tables: Path, verbose: bool, drawn: bool) -> str:
    """HTML; nothing for a run without slices."""
    series = read(records, tables)
    if not series.stacked:
        return ""
    return "".join(
        [
            "<h2>Slices</h2>",
            summary(series),
            excluded(series),
            drift(series) if drawn else "",
            every_slice(series),
            every_pair(series),
            steps(records) if verbose or len(series.numbers) <= FEW else "",
        ]
    )


def summary(series: Series) -> str:
    states = Counter(series.state(n)[0] for n in series.numbers)
    near = [row for n in series.stacked if (row := series.before(n))]
    uses = Counter(row["use"] for row in near)
    shown = [(str(n), state) for state, n in states.items()]
    shown += [(str(n), f"pairs of neighbours: {use}") for use, n in uses.items()]
    shown += [(f"{median(float(row['confidence']) for row in near):.2f}", "their confidence, median")] if near else []
    return (
        "<div class='cards'>"
        + "".join(f"<div class='card'><b>{n}</b><span>{what}</span></div>" for n, what in shown)
        + "</div>"
    )


def excluded(series: Series) -> str:
    """Every slice that is not in the volume as it was imaged, and why."""
    found = [(slices.name_of(n), *series.state(n)) for n in series.numbers if series.state(n)[0] != "stacked"]
    if not found:
        return ""
    made = [(name, coloured(state), why) for name, state, why in found]
    return f"<section class='warn'><h3>Not in the volume as imaged</h3>{table(('slice', 'state', 'why'), made)}</section>"


def every_slice(series: Series) -> str:
    head = ("slice", "state", "place dim 1, px", "place dim 2, px", "first plane", "planes off", "shift dim 1, px",
            "shift dim 2, px", "turn, deg", "confidence", "correlation in depth", "quality", "remarks")  # fmt: skip
    made = []
    for n in series.numbers:
        place, laid, pair = series.places.get(n, {}), series.stacked.get(n, {}), series.before(n)
        off = float(laid["first_plane"]) - float(laid["expected_plane"]) if laid else None
        figures = (
            place.get("dim1_px"), place.get("dim2_px"), laid.get("first_plane"), off, laid.get("dim1_px"),
            laid.get("dim2_px"), laid.get("rotation_deg"), pair.get("confidence"), pair.get("z_correlation"),
            series.config.rows.get(n, {}).get("quality_score"),
        )  # fmt: skip
        state, why = series.state(n)
        made.append((slices.name_of(n), coloured(state), *map(short, figures), remarks(series, n, why)))
    note = (
        "<p>Place: by the stage. Shift, turn: what the volume adds. Confidence: of the pair with the imaged slice before.</p>"
    )
    return f"<section><h3>Every slice</h3>{note}{table(head, made, 2)}</section>"


def remarks(series: Series, n: int, why: str) -> str:
    """What the tables say in words."""
    row, laid = series.config.rows.get(n, {}), series.stacked.get(n, {})
    said = [why] if why else []
    said += ["stage jumped here, mended"] if series.config.flag(n, "rehomed") else []
    said += ["step of the stage is doubtful"] if series.config.flag(n, "rehoming_reliable") is False else []
    off = [
        f"{short(laid.get(f'doubt_{unit}'))} {unit}" for unit in ("px", "deg") if float(laid.get(f"doubt_{unit}") or 0) > 0
    ]
    said += [f"behind a gap, or held by no pair: may lie {' and '.join(off)} off"] if off else []
    said += [row["notes"]] if row.get("notes") and row["notes"] not in why else []
    return "; ".join(said)


def every_pair(series: Series) -> str:
    """Which transforms were used, how, and why not."""
    if not series.pairs:
        return ""
    head = ("pair", "used", "status", "why", "confidence", "in depth", "in plane", "dim 1, px", "dim 2, px", "turn, deg")
    figures = ("confidence", "z_correlation", "correlation", "dim1_px", "dim2_px", "rotation_deg")
    made = [
        (
            f"z{row['fixed_id']}\u2060–\u2060z{row['moving_id']}", coloured(row["use"]), row["status"], row["why"],
            *(short(row[name]) for name in figures),
        )
        for row in series.pairs
    ]  # fmt: skip
    note = "<p>Neighbours, and slices two apart, which hold them where both are deep enough to show the same.</p>"
    return f"<section><h3>Transforms of pairs, and what was decided</h3>{note}{table(head, made, 4)}</section>"


def steps(records: Sequence[dict]) -> str:
    """What each step on a slice measured."""
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        if record["stage"] in slices.STEPS:
            found.setdefault(slices.label_of(record["block"]), {}).update(record["quality"])
    names = list(dict.fromkeys(name for of in found.values() for name in of))
    if not names:
        return ""
    # Figures down, slices across: there are more figures than fit into a row.
    blocks = sorted(found, key=slices.in_order)
    made = [(name.replace("_", " "), *(short(found[b].get(name)) for b in blocks)) for name in names]
    return f"<section><h3>What the steps on each slice measured</h3>{table(('', *blocks), made, 1)}</section>"


def short(value: Any) -> str:
    """A figure to four digits."""
    try:
        return f"{float(value) + 0.0:.4g}"
    except (TypeError, ValueError):
        return "" if value is None else plain(value)


def coloured(word: str) -> Markup:
    return Markup(f"<b style='color:{COLOURS.get(word, BAD)}'>{word}</b>")


def drift(series: Series) -> str:
    """Where the stage says that slices lie, what the volume adds, and how sure neighbours are."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    titles = ("Place by the stage (px from the first)", "Shift added (px)", "Turn added (deg)", "Pairs of neighbours")
    figure = make_subplots(2, 2, subplot_titles=titles, shared_xaxes="all", vertical_spacing=0.13, horizontal_spacing=0.08)

    def line(at: int, x: list[int], y: list[float], name: str, colour: str) -> None:
        mode = {"mode": "lines+markers", "line": {"color": colour, "width": 1.5}, "marker": {"size": 5}}
        said = {"name": name, "legendgroup": name, "showlegend": at != 1}  # the first two share their colours
        figure.add_trace(go.Scatter(x=x, y=y, **said, **mode), at // 2 + 1, at % 2 + 1)

    both = (("dim 1", "#1f77b4"), ("dim 2", "#d95f02"))
    for k, (name, colour) in enumerate(both, 1):
        at = {n: float(row[f"dim{k}_px"]) for n, row in sorted(series.places.items())}
        line(0, list(at), [v - next(iter(at.values())) for v in at.values()], name, colour)
        line(1, list(series.stacked), [float(row[f"dim{k}_px"]) for row in series.stacked.values()], name, colour)
    line(2, list(series.stacked), [float(row["rotation_deg"]) for row in series.stacked.values()], "turn", "#2c7a51")
    near = {n: series.before(n) for n in series.stacked if series.before(n)}
    for name, colour in (("confidence", "#6c3483"), ("z_correlation", "#7f8c8d")):
        line(3, list(near), [float(row[name]) for row in near.values()], name.replace("z_correlation", "in depth"), colour)
    odd = [n for n in series.numbers if series.state(n)[0] != "stacked"]
    for n in odd:
        figure.add_vrect(x0=n - 0.5, x1=n + 0.5, fillcolor=BAD, opacity=0.12, line_width=0)
    figure.update_yaxes(range=[0, 1.05], row=2, col=2)
    figure.update_xaxes(title_text="slice", row=2)
    figure.update_layout(height=560, template="plotly_white", margin={"l": 10, "r": 10, "t": 60, "b": 30},
                         legend={"orientation": "h", "y": -0.12})  # fmt: skip
    shown = figure.to_html(full_html=False, include_plotlyjs=False, div_id="drift", config={"displaylogo": False})
    note = "<p>Red: slices that are not in the volume as imaged.</p>" if odd else ""
    return f"<section><h3>Drift</h3>{shown}{note}</section>"
