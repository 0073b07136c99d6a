"""Plots of a field of view: who divided into whom, features over time, how many cells there are.

A cell that is not seen for a while leaves a gap; one that is seen in a single frame is a dot.
"""

from __future__ import annotations

from textwrap import fill
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ingest.movies.ranges import listed
from .field import Field, Table, plot_colours, spread

TREE_TRACKS = 200
LINES = 100  # cells drawn in a plot of traces, kept and left out each; median and quartiles are of all
ENOUGH = 5  # cells that have a median and quartiles worth drawing
PANELS = 12
UNITS = {"area": "px", "intensity_total": "counts", "intensity_mean": "counts", "intensity_variance": "counts²"}


# ---- lineages ------------------------------------------------------------------------------------


def families(tracks: NDArray, most: int) -> list[int]:
    """At most `most` track ids, mothers before daughters, family by family: the largest first, then the longest.

    Families are whole, so that no daughter is shown without her sister, and one that no longer fits makes room for smaller
    ones; of the largest, where it is too large by itself, the first generations are shown."""
    daughters = daughters_of(tracks)
    span = dict(zip(tracks["track_id"].tolist(), (tracks["last"] - tracks["first"] + 1).tolist()))
    trees = []
    for root in tracks["track_id"][tracks["parent"] == 0].tolist():
        tree, ahead = [], [root]
        while ahead:
            tree.append(ahead.pop())
            ahead += daughters.get(tree[-1], [])[::-1]
        trees.append(tree)
    trees.sort(key=lambda tree: (-len(tree), -sum(span[i] for i in tree), tree[0]))
    shown: list[int] = []
    for tree in trees:
        if len(shown) + len(tree) <= most:
            shown += tree
        elif tree is trees[0]:
            shown += first_generations(tree, daughters, most)
    return shown


def first_generations(tree: list[int], daughters: dict[int, list[int]], most: int) -> list[int]:
    """At most `most` of a family, in its order, sisters together."""
    kept = [tree[0]]
    for mother in kept:  # it grows
        sisters = daughters.get(mother, [])
        if len(kept) + len(sisters) > most:
            break
        kept += sisters
    return [i for i in tree if i in set(kept)]


def daughters_of(tracks: NDArray) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for child, mother in zip(tracks["track_id"].tolist(), tracks["parent"].tolist()):
        if mother:
            found.setdefault(mother, []).append(child)
    return found


def tree_rows(order: list[int], daughters: dict[int, list[int]]) -> dict[int, float]:
    """Height of each track: those without daughters one below the other, a mother amid her daughters."""
    rows: dict[int, float] = {}
    below = {i: [d for d in daughters.get(i, []) if d in set(order)] for i in order} if daughters else {}
    for i in order:
        if not below.get(i):
            rows[i] = float(len(rows))
    for i in reversed(order):
        if below.get(i):
            rows[i] = float(np.mean([rows[d] for d in below[i]]))
    return rows


def lineage_tree(field: Field, which: str) -> Any:
    import matplotlib.pyplot as plt
    from matplotlib.collections import LineCollection

    if field.view.n_frames == 1 and len(field.tracks):
        figure, ax = plt.subplots(figsize=(9, 1.4), layout="constrained")
        ax.set_axis_off()
        ax.set_title(f"{which}: {field.counts}", loc="left")
        empty(ax, "a single frame: there is nothing to follow")
        return figure
    order, daughters = families(field.tracks, TREE_TRACKS), daughters_of(field.tracks)
    rows = tree_rows(order, daughters)
    leaves = max(rows.values(), default=0) + 1
    figure, ax = plt.subplots(figsize=(9, 1.4 + (0.17 if leaves <= 60 else 0.11) * max(leaves, 6)), layout="constrained")
    track = {int(r["track_id"]): r for r in field.tracks if int(r["track_id"]) in rows}
    minutes, shades = field.minutes, dict(zip(order, plot_colours(np.array(order, np.int64))))
    whole, seen, colours, joins, dots = [], [], [], [], []
    extent = max(minutes[-1] - minutes[0], 1e-6)
    for i in order:
        y, frames = rows[i], field.nodes["frame"][field.nodes["track_id"] == i]
        whole.append([(minutes[track[i]["first"]], y), (minutes[track[i]["last"]], y)])
        for part in np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1):
            if len(part) == 1:
                dots.append((minutes[part[0]], y, shades[i]))
                continue
            seen.append([(minutes[part[0]], y), (minutes[part[-1]], y)])
            colours.append(shades[i])
        mother = int(track[i]["parent"])
        if mother in rows:
            start = minutes[track[i]["first"]]
            joins.append([(minutes[track[mother]["last"]], rows[mother]), (start, rows[mother]), (start, y)])
        beside, align = ((2, 1.5), ("left", "bottom")) if mother in rows else ((-3, 0), ("right", "center"))
        ax.annotate(
            str(i),
            (minutes[track[i]["first"]], y),
            beside,
            textcoords="offset points",
            fontsize=6,
            ha=align[0],
            va=align[1],
            color="0.25",
        )
    ax.add_collection(LineCollection(joins, colors="0.35", linewidths=0.9, zorder=1))
    ax.add_collection(LineCollection(whole, colors="0.6", linewidths=0.7, linestyles="dotted", zorder=1))
    ax.add_collection(LineCollection(seen, colors=colours, linewidths=2.6, capstyle="round", zorder=2))
    if dots:
        ax.scatter([d[0] for d in dots], [d[1] for d in dots], s=14, c=[d[2] for d in dots], linewidths=0, zorder=2)
    ax.set_xlim(minutes[0] - 0.04 * extent, minutes[-1] + 0.02 * extent)
    ax.set_ylim(leaves - 0.2, -0.8)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    time_axis(ax, minutes)
    total = len(field.tracks)
    title = f"{which}: {field.counts}"
    if total > len(order):
        what = "the largest families that fit, or the first generations of the largest"
        title += f"\n{len(order)} tracks shown, {what}; {total - len(order)} are not"
    ax.set_title(title, loc="left")
    if not total:
        empty(ax, "no cell was tracked")
    return figure


def time_axis(ax: Any, minutes: NDArray) -> None:
    """Name the axis of time; of a single frame it has one tick."""
    ax.set_xlabel("time (min)")
    if len(minutes) == 1:
        ax.set_xlim(minutes[0] - 1, minutes[0] + 1)
        ax.set_xticks(minutes)


def empty(ax: Any, text: str) -> None:
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color="0.4", fontsize=11)


# ---- traces --------------------------------------------------------------------------------------


def columns_shown(table: Table, channels: dict[int, str]) -> dict[str, str]:
    """Columns that are plotted, area and fluorescence, with what stands on their axis."""
    shown = {}
    for column in table:
        feature, _, channel = column.rpartition("_ch_")
        if not channel.isdigit() or (int(channel) not in channels and feature != "area"):
            continue
        unit = f" ({UNITS[feature]})" if feature in UNITS else ""
        name = f"\nchannel {channel} {channels[int(channel)]}".rstrip() if int(channel) in channels else ""
        shown[column] = feature.replace("_", " ") + unit + name
    return shown


def curves(table: Table, column: str) -> tuple[NDArray, list[list[NDArray]]]:
    """Cell ids and, of each, its stretches (n, 2) of minutes and values: parted where it was not seen or measured."""
    order = np.lexsort([table["frame"], table["cell"]])
    ids, first = np.unique(table["cell"][order], return_index=True)
    points = np.stack([table["time"], table[column], table["frame"]], axis=1)[order]
    found = []
    for line in np.split(points, first[1:]) if len(ids) else []:
        line = line[np.isfinite(line[:, 1])]
        parts = np.split(line[:, :2], np.flatnonzero(np.diff(line[:, 2]) > 1) + 1)
        found.append([part for part in parts if len(part)])
    return ids, found


def trace_plots(field: Field, which: str) -> Any:
    import matplotlib.pyplot as plt
    from matplotlib.collections import LineCollection

    cells = len(field.kept) + len(field.dropped.get("cell", ()))
    labels = columns_shown(field.table or field.dropped, field.channels) if cells else {}
    shown = list(labels)[:PANELS]
    columns = min(3, max(1, len(shown)))
    rows = max(1, -(-len(shown) // columns))
    figure, axes = plt.subplots(
        rows, columns, figsize=(max(3.6 * columns, 6), 2.6 * rows + 0.9), sharex=True, layout="constrained", squeeze=False
    )
    for column, ax in zip(shown, axes.flat):
        for table, width, alpha, grey in ((field.dropped, 0.6, 1.0, True), (field.table, 0.6, 0.6, False)):
            if column in table:
                ids, lines = curves(table, column)
                some = spread(len(ids), LINES)
                shades = np.full((len(some), 3), 0.75) if grey else plot_colours(ids[some])
                parts = [(part, shade) for k, shade in zip(some, shades) for part in lines[k]]
                long = [(part, shade) for part, shade in parts if len(part) > 1]
                ax.add_collection(LineCollection([p for p, _ in long], colors=[c for _, c in long], lw=width, alpha=alpha))
                single = [(part[0], shade) for part, shade in parts if len(part) == 1]
                if single:
                    places = np.array([p for p, _ in single])
                    ax.scatter(*places.T, s=7, c=[c for _, c in single], alpha=alpha, linewidths=0, zorder=2)
        times, quartiles = quartiles_of(field.table, column, field.minutes)
        if len(field.kept) >= ENOUGH:
            ax.fill_between(times, quartiles[0], quartiles[2], fc=(0, 0, 0, 0.18), ec="black", lw=0.7, zorder=3)
            ax.plot(times, quartiles[1], color="black", lw=1.6, zorder=4)
        ax.autoscale_view()
        ax.set_ylabel(labels[column])
        ax.ticklabel_format(axis="y", scilimits=(-3, 5))
    for ax in axes.flat[len(shown) :]:
        ax.set_axis_off()
    for k in range(columns):  # the lowest that is shown of each column says the time
        ax = axes.flat[max(range(k, max(len(shown), k + 1), columns))]
        time_axis(ax, field.minutes)
        ax.tick_params(labelbottom=True)
    width = int(14 * figure.get_figwidth())  # letters of a line
    title = [fill(line, width) for line in trace_title(field, which, len(labels) - len(shown)).split("\n")]
    figure.suptitle("\n".join(title), x=0.01, ha="left", fontsize=10)
    if not shown:
        empty(axes[0, 0], "no feature to show" if cells else "no cell was measured")
    return figure


def quartiles_of(table: Table, column: str, minutes: NDArray | None = None) -> tuple[NDArray, NDArray]:
    """Times (n,) and quartiles (3, n) over the cells of each time; NaN at those of `minutes` that have none."""
    if column not in table or not len(table["time"]):
        return np.zeros(0), np.zeros((3, 0))
    good = np.isfinite(table[column])
    times, group = np.unique(table["time"][good], return_inverse=True)
    order = np.argsort(group, kind="stable")
    parts = np.split(table[column][good][order], np.cumsum(np.bincount(group))[:-1]) if len(times) else []
    quartiles = np.array([np.percentile(part, (25, 50, 75)) for part in parts]).reshape(-1, 3).T
    if minutes is None or not len(times):
        return times, quartiles
    every = np.union1d(times, minutes)
    held = np.full((3, len(every)), np.nan)
    held[:, np.searchsorted(every, times)] = quartiles
    return every, held


def trace_title(field: Field, which: str, hidden: int) -> str:
    left = ", ".join(f"{n} {reason}" for reason, n in field.reasons.items())
    title = f"{which}: traces of {len(field.kept)} of {len(field.tracks)} cells"
    title += f"\nleft out{' (grey)' if field.dropped else ''}: {left}" if left else ""
    if len(field.kept) >= ENOUGH:
        title += "\nblack: median, band: quartiles of all that were kept"
    if max(len(field.kept), sum(field.reasons.values())) > LINES:
        title += f"\nat most {LINES} lines of kept and left out each"
    return title + (f"; {hidden} more features are in the tables" if hidden else "")


# ---- counts --------------------------------------------------------------------------------------


def count_plot(field: Field, which: str) -> Any:
    """Cells over time: all that were found, and those whose traces were kept; nothing where nothing was to be seen."""
    import matplotlib.pyplot as plt

    frames = np.arange(field.view.n_frames)
    found = np.bincount(field.nodes["frame"], minlength=len(frames)).astype(float)
    kept = np.bincount(field.table.get("frame", np.zeros(0, int)), minlength=len(frames)).astype(float)
    figure, ax = plt.subplots(figsize=(9, 3), layout="constrained")
    blank = {t for t in np.flatnonzero(found == 0).tolist() if t not in field.gaps and field.blank(t)}
    size = 3 if len(frames) < 80 else 1.5
    # the wider line is seen where both are the same
    for values, colour, name, wide in ((found, "0.25", "found", 2.5), (kept, "tab:blue", "with a trace", 1.0)):
        values[sorted(field.gaps | blank)] = np.nan
        ax.plot(field.minutes, values, color=colour, lw=1.4 * wide, marker="o", ms=size * wide**0.7, label=name)
    ax.locator_params(axis="y", integer=True)
    ax.set_ylim(0, max(1.0, float(np.nanmax(found, initial=0)) * 1.08))
    time_axis(ax, field.minutes)
    ax.set_ylabel("cells")
    ax.legend(frameon=False, loc="lower right")
    left = (("not recorded", field.gaps), ("blank or saturated", blank))
    said = "".join(f"\n{what}: frame {listed(sorted(frames))}" for what, frames in left if frames)
    ax.set_title(f"{which}: cells over time{said}", loc="left")
    return figure
