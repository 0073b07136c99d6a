"""Movie figures: what was found in the first fields of view, to be looked at.

    fov_000_1_cells     contact sheet: frames over the whole movie, outlines and ids of the tracked cells
    fov_000_2_lineages  tracks over time, joined where cells divide
    fov_000_3_traces    features over time, cell by cell, with median and quartiles
    fov_000_movie.gif   the whole frame over time, with outlines

A track has the same colour everywhere. Pictures and plots are PNG and PDF, the same bytes every time. Frames are
read one by one; what is kept of them has the size of the picture.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.movie import Facts, View, each_fov, fov_name, fovs_in, open_channel
from ..core.params import param
from ..core.provenance import Task
from ..core.shared import Strict
from ..core.stage import In, Out
from ..inference.track_cells import load_tracks
from ..inference.tracking import Tracks
from ..postprocess.traces import left_out_name, read_csv, traces_name
from .figures import Figures, coloured, save

SHEET_FRAMES = 12
SHEET_WIDTH = 10.0  # inches
CELLS_SHOWN = 60  # in a picture of the sheet, about: it is a window where the field has more
TREE_TRACKS = 60
LINES = 100  # cells drawn in a plot of traces, kept and left out each; median and quartiles are of all
PANELS = 12
MOVIE_SIDE, MOVIE_FRAMES, MOVIE_BYTES = 512, 60, 8 << 20
GREYS, COLOURS = 32, 64  # of the movie's palette
UNITS = {"area": "px", "intensity_total": "counts", "intensity_mean": "counts", "intensity_variance": "counts²"}
Table = dict[str, NDArray[Any]]


class Parameters(Figures, Strict):
    """Figures of movies."""

    figure_fovs: int = param(6, "Fields of view that get figures: the first ones of those processed", ge=0, le=1000)


def run(p: Parameters, task: Task, *, movie: In, tracked: In, traces: In, facts: In, batch: str, output: Out) -> None:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"font.size": 9, "axes.titlesize": 10, "axes.spines.top": False,
                                "axes.spines.right": False})
    task.block, known = batch, Facts.read(facts)
    shown = known.chosen[:p.figure_fovs]

    def draw(fov: int) -> dict[str, Any]:
        folder = output / fov_name(fov)
        folder.mkdir(parents=True)
        field = Field.open(movie, tracked, traces, known, fov)
        which = f"Field of view {fov}"
        if len(shown) < len(known.chosen):
            which += f" (figures are made of the first {len(shown)} of {len(known.chosen)})"
        limits, pictures = contact_sheet(field, which, p.figure_dpi)
        save(pictures, folder / "1_cells", p.figure_dpi)
        save(lineage_tree(field, which), folder / "2_lineages", p.figure_dpi)
        save(trace_plots(field, which), folder / "3_traces", p.figure_dpi)
        (folder / "movie.gif").write_bytes(overlay_movie(field, limits))
        return {"tracks": len(field.tracks), "divisions": len(field.mothers), "kept": len(field.kept),
                "left_out": dict(field.reasons)}

    each_fov(task, known, [f for f in fovs_in(tracked) if f in shown], draw, output=output, strict=p.strict)
    for path in sorted(output.glob("fov_*/*")):
        path.rename(output / f"{path.parent.name}_{path.name}")
    for folder in output.glob("fov_*/"):
        folder.rmdir()


@dataclass(frozen=True)
class Field:
    """One field of view: its tables, and how to read a frame.

    nodes, tracks: as in `Tracks`, without regions that no track has.
    table, dropped: traces of the cells that were kept, and of those that a filter left out.
    """

    view: View
    pixel_size_um: float | None
    image: Callable[[int], NDArray]
    labels: Callable[[int], NDArray]
    nodes: NDArray
    tracks: NDArray
    table: Table
    dropped: Table
    channels: dict[int, str]  # that are measured, besides phase contrast

    @classmethod
    def open(cls, movie: Path, tracked: Path, traces: Path, known: Facts, fov: int) -> Field:
        found: Tracks = load_tracks(tracked / fov_name(fov) / "tracks.npz")
        folder = traces / fov_name(fov)
        kept, rest = (folder / name(known.base, fov) for name in (traces_name, left_out_name))
        names = known.known.get("channel_names", [])
        return cls(known.views[fov], known.pixel_size_um, open_channel(movie, fov, next(iter(known.images()))).read,
                   open_channel(tracked, fov, known.tracked()).read, found.nodes[found.nodes["track_id"] > 0],
                   found.tracks, read_csv(kept) if kept.exists() else {}, read_csv(rest) if rest.exists() else {},
                   {c: names[c] if c < len(names) else "" for c in known.fluorescence})

    @property
    def minutes(self) -> NDArray[np.float64]:
        return np.asarray(self.view.times, float)

    def time(self, t: int) -> str:
        """When frame t was taken."""
        return f"{self.view.times[t]:.2f}".rstrip("0").rstrip(".") + " min"

    @property
    def counts(self) -> str:
        """How many tracks and divisions there are."""
        if not len(self.tracks):
            return "no cell was tracked"
        return ", ".join(f"{n} {name}{'s' * (n != 1)}" for n, name in ((len(self.tracks), "track"),
                                                                      (len(self.mothers), "division")))

    @property
    def mothers(self) -> NDArray:
        """Track ids of the cells that divided."""
        return np.unique(self.tracks["parent"][self.tracks["parent"] > 0])

    @property
    def kept(self) -> NDArray:
        """Track ids of the cells in the table of traces."""
        return np.unique(self.table.get("cell", np.zeros(0, int)))

    @property
    def reasons(self) -> dict[str, int]:
        """How many cells have no traces, by reason."""
        if not self.dropped:
            missing = len(self.tracks) - len(self.kept)
            return {"not measured": missing} if missing else {}
        first = np.unique(self.dropped["cell"], return_index=True)[1]
        return {str(r): int(n) for r, n in zip(*np.unique(self.dropped["reason"][first], return_counts=True))}

    @property
    def diameter(self) -> float:
        """Median width of a cell, px; that of the frame where there is none."""
        areas = self.nodes["area"]
        return float(np.sqrt(4 / np.pi * np.median(areas))) if len(areas) else float(min(self.view.shape[1:]))

    def at(self, t: int) -> NDArray:
        """The nodes of frame t."""
        low, high = np.searchsorted(self.nodes["frame"], [t, t + 1])
        return self.nodes[low:high]

    def sisters(self, first: int, last: int) -> list[NDArray]:
        """(2, 2) y, x of the two daughters in frame `last`, of divisions in the frames from `first` to it."""
        here = self.at(last)
        place = {int(n["track_id"]): (n["y"], n["x"]) for n in here}
        born = self.tracks[(self.tracks["parent"] > 0) & (self.tracks["first"] >= first)
                           & np.isin(self.tracks["track_id"], here["track_id"])]
        pairs = (born["track_id"][born["parent"] == m].tolist() for m in np.unique(born["parent"]))
        return [np.array([place[i] for i in pair]) for pair in pairs if len(pair) == 2]


# ---- pictures ------------------------------------------------------------------------------------

def colour_number(ids: NDArray) -> NDArray:
    """Which of the `COLOURS` each track has."""
    return (np.asarray(ids, np.int64) - 1) % COLOURS


def colour_table() -> NDArray[np.float32]:
    """(COLOURS, 3) RGB, 0-1, strong enough for thin lines."""
    return np.clip((coloured(np.arange(1, COLOURS + 1)) - 0.2) / 0.8, 0, 1)


def plot_colours(ids: NDArray) -> NDArray[np.float32]:
    """Colours of tracks on white paper: a little darker."""
    return colour_table()[colour_number(ids)] * 0.85


@dataclass(frozen=True)
class Lens:
    """A window of the frame, [y0, x0, y1, x1] px, and `zoom` picture pixels per pixel."""

    window: tuple[int, int, int, int]
    zoom: float

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the picture."""
        y0, x0, y1, x1 = self.window
        return max(1, round((y1 - y0) * self.zoom)), max(1, round((x1 - x0) * self.zoom))

    def picture(self, frame: NDArray) -> NDArray[np.float32]:
        """The frame as seen: averaged where it shrinks, whole pixels where it grows."""
        import cv2

        y0, x0, y1, x1 = self.window
        part = np.ascontiguousarray(frame[y0:y1, x0:x1], np.float32)
        return cv2.resize(part, self.size[::-1], interpolation=cv2.INTER_AREA if self.zoom < 1 else cv2.INTER_NEAREST)

    def outlines(self, labels: NDArray, diameter: float) -> NDArray:
        """Ids along the inner edge of each cell, thin where cells are small; 0 elsewhere."""
        y0, x0, y1, x1 = self.window
        rows, columns = (np.minimum(((np.arange(n) + 0.5) / n * m).astype(int), m - 1)
                         for n, m in zip(self.size, (y1 - y0, x1 - x0)))
        seen = labels[y0:y1, x0:x1][rows][:, columns]
        edge = np.zeros(seen.shape, bool)
        for d in range(1, 1 + int(np.clip(diameter * self.zoom / 12, 1, 4))):
            down, right = seen[d:] != seen[:-d], seen[:, d:] != seen[:, :-d]
            edge[d:] |= down
            edge[:-d] |= down
            edge[:, d:] |= right
            edge[:, :-d] |= right
        return np.where(edge, seen, 0)

    def place(self, yx: NDArray) -> NDArray[np.float64]:
        """(n, 2) y, x in the frame -> in the picture; pixel centres are whole numbers in both."""
        return (np.asarray(yx, float) - self.window[:2] + 0.5) * self.zoom - 0.5

    def inside(self, nodes: NDArray) -> NDArray:
        """The nodes whose centroid is seen."""
        y0, x0, y1, x1 = self.window
        return nodes[(nodes["y"] >= y0) & (nodes["y"] < y1) & (nodes["x"] >= x0) & (nodes["x"] < x1)]


def spread(count: int, most: int) -> list[int]:
    """At most `most` of the numbers below `count`, evenly from the first to the last."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()


def busy_window(field: Field) -> tuple[int, int, int, int]:
    """The whole frame, or a window where the cells are, of about `CELLS_SHOWN` cells that are wide enough to see."""
    _, height, width = field.view.shape
    if not len(field.nodes):
        return 0, 0, height, width
    cells = len(field.nodes) / max(1, len(np.unique(field.nodes["frame"])))
    side = min(max(height, width) * (CELLS_SHOWN / cells) ** 0.5, 45 * field.diameter)
    h, w = (n if side > 0.75 * n else int(max(side, 32)) for n in (height, width))
    y0, x0 = (int(np.clip(np.median(field.nodes[a]) - n / 2, 0, full - n))
              for a, n, full in (("y", h, height), ("x", w, width)))
    return y0, x0, y0 + h, x0 + w


def round_bar(pixel_size_um: float | None, width: float) -> tuple[float, str]:
    """A bar of a round length, about a fifth of `width` px: its length in px, and its label."""
    unit, size = ("µm", pixel_size_um) if pixel_size_um else ("px", 1.0)
    wanted = width * size / 5
    length = max((m * 10.0**e for e in range(-3, 8) for m in (1, 2, 5) if m * 10.0**e <= wanted), default=wanted)
    return length / size, f"{length:g} {unit}"


def contact_sheet(field: Field, which: str, dpi: int) -> tuple[tuple[float, float], Any]:
    """The grey limits that suit the movie, and the sheet."""
    import matplotlib.pyplot as plt

    frames, window = spread(field.view.n_frames, SHEET_FRAMES), busy_window(field)
    h, w = window[2] - window[0], window[3] - window[1]
    columns = int(np.clip(round((len(frames) * 1.3 * h / w) ** 0.5), 1, len(frames)))
    rows, wide = -(-len(frames) // columns), SHEET_WIDTH / max(columns, 2)
    lens = Lens(window, wide * dpi / w)
    pictures = [lens.picture(field.image(t)) for t in frames]
    limits = grey_limits(pictures)

    legend = ["white line: sisters of a division since the picture before"] if len(field.mothers) else []
    if (h, w) != field.view.shape[1:]:
        legend.append(f"shown are {w} × {h} of {field.view.width} × {field.view.height} px")
    row_height, top = wide * h / w + 0.24, 0.38 if legend else 0.22
    height = top + row_height * rows
    figure = plt.figure(figsize=(wide * columns, height))
    for k, (t, picture) in enumerate(zip(frames, pictures)):
        row, column = divmod(k, columns)
        ax = figure.add_axes((column / columns, 1 - (top + (row + 1) * row_height) / height,
                              0.985 / columns, (row_height - 0.24) / height))
        ids = lens.outlines(field.labels(t), field.diameter)
        rgb = np.repeat(to_grey(picture, limits)[..., None], 3, axis=-1)
        rgb[ids > 0] = colour_table()[colour_number(ids[ids > 0])]
        letters = int(np.clip(field.diameter * lens.zoom / 3, dpi / 15, dpi / 8))
        pen = Pen.on(np.rint(rgb * 255).astype(np.uint8), letters)
        pen.mark(field, lens, t, frames[k - 1] + 1 if k else 0)
        if k == 0:
            pen.bar(field, lens)
        ax.imshow(pen.image, interpolation="antialiased")
        ax.set_title(f"{field.time(t)} (frame {t})", fontsize=8, pad=2)
        ax.set_axis_off()
    figure.text(0, 1, f"{which}: {field.counts}", fontsize=11, va="top")
    figure.text(0, 1 - 0.2 / height, "; ".join(legend), fontsize=8, va="top", color="0.3")
    return limits, figure


def grey_limits(pictures: list[NDArray]) -> tuple[float, float]:
    """Black and white: medians over the pictures, so that a blank or saturated frame does not set them."""
    low, high = np.median([np.percentile(p, (0.5, 99.5)) for p in pictures], axis=0)
    return float(low), float(max(high, low + 1))


def to_grey(picture: NDArray, limits: tuple[float, float]) -> NDArray[np.float32]:
    return np.clip((picture - limits[0]) / (limits[1] - limits[0]), 0, 1)


@dataclass(frozen=True)
class Pen:
    """Writes on a picture, in white with a black rim."""

    image: Any
    draw: Any
    font: Any
    white: Any
    size: int  # of letters, px

    @classmethod
    def on(cls, pixels: NDArray[np.uint8], size: int) -> Pen:
        """On RGB, or on numbers of the movie's palette."""
        from matplotlib import get_data_path
        from PIL import Image, ImageDraw, ImageFont

        image = Image.fromarray(pixels)
        draw = ImageDraw.Draw(image)
        draw.fontmode = "L" if pixels.ndim == 3 else "1"  # numbers of colours cannot be mixed
        font = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)
        return cls(image, draw, font, (255, 255, 255) if pixels.ndim == 3 else GREYS - 1, size)

    def write(self, x: float, y: float, text: str, anchor: str) -> None:
        self.draw.text((x, y), text, self.white, self.font, anchor, stroke_width=max(1, self.size // 9), stroke_fill=0)

    def line(self, *points: tuple[float, float]) -> None:
        for colour, extra in ((0, 3), (self.white, 1)):
            self.draw.line(points, colour, self.size // 4 + extra)

    def mark(self, field: Field, lens: Lens, t: int, first: int) -> None:
        """Ids, where cells are wide enough, and sisters of the divisions in the frames from `first` to t."""
        for pair in field.sisters(first, t):
            self.line(*(tuple(xy) for xy in lens.place(pair)[:, ::-1].tolist()))
        if field.diameter * lens.zoom >= 1.6 * self.size:
            seen = lens.inside(field.at(t))
            for name, (y, x) in zip(seen["track_id"].tolist(), lens.place(np.stack([seen["y"], seen["x"]], axis=1))):
                self.write(x, y, str(name), "mm")

    def bar(self, field: Field, lens: Lens) -> None:
        height, width = lens.size
        length, label = round_bar(field.pixel_size_um, width / lens.zoom)
        left, y, right = 6, height - 7, 6 + round(length * lens.zoom)
        self.draw.rectangle((0, y - 1.6 * self.size, max(right, self.font.getlength(label) + 6) + 6, height), 0)
        self.draw.line(((left, y), (right, y)), self.white, 3)
        self.write(left, y - 4, label, "ls")


# ---- movie ---------------------------------------------------------------------------------------

def overlay_movie(field: Field, limits: tuple[float, float]) -> bytes:
    """An animated GIF of at most `MOVIE_FRAMES` frames and `MOVIE_BYTES` bytes: browsers, slides and Fiji open it."""
    ramp = np.repeat(np.linspace(0, 255, GREYS)[:, None], 3, axis=1)
    palette = np.rint(np.concatenate([ramp, colour_table() * 255])).astype(np.uint8).tobytes()
    longest, side = max(field.view.shape[1:]), float(MOVIE_SIDE)
    while True:
        zoom = side / longest if longest > side else float(side // longest)
        images = list(movie_frames(field, Lens((0, 0, *field.view.shape[1:]), zoom), limits))
        for image in images:
            image.putpalette(palette)
        held = io.BytesIO()
        images[0].save(held, "GIF", save_all=True, append_images=images[1:], duration=150, loop=0, optimize=False)
        if held.tell() <= MOVIE_BYTES or side < 64:
            return held.getvalue()
        side *= 0.9 * (MOVIE_BYTES / held.tell()) ** 0.5


def movie_frames(field: Field, lens: Lens, limits: tuple[float, float]) -> Iterator[Any]:
    """Pictures of numbers of the palette: greys, then the colours of the tracks. Sisters are marked for a while."""
    frames = spread(field.view.n_frames, MOVIE_FRAMES)
    for k, t in enumerate(frames):
        pixels = np.rint(to_grey(lens.picture(field.image(t)), limits) * (GREYS - 1)).astype(np.uint8)
        ids = lens.outlines(field.labels(t), field.diameter)
        pixels[ids > 0] = GREYS + colour_number(ids[ids > 0])
        pen = Pen.on(pixels, 9)
        pen.mark(field, lens, t, frames[k - 3] + 1 if k > 2 else 0)
        pen.bar(field, lens)
        pen.draw.rectangle((0, 0, pen.font.getlength("00000.0 min"), 14), 0)
        pen.write(4, 2, field.time(t), "lt")
        yield pen.image


# ---- lineages ------------------------------------------------------------------------------------

def families(tracks: NDArray, most: int) -> list[int]:
    """At most `most` track ids, mothers before daughters, family by family: the largest first, then the longest."""
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
    return [i for tree in trees for i in tree][:most]


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

    order, daughters = families(field.tracks, TREE_TRACKS), daughters_of(field.tracks)
    rows = tree_rows(order, daughters)
    leaves = max(rows.values(), default=0) + 1
    figure, ax = plt.subplots(figsize=(9, 1.4 + 0.17 * max(leaves, 6)), layout="constrained")
    track = {int(r["track_id"]): r for r in field.tracks if int(r["track_id"]) in rows}
    minutes, shades = field.minutes, dict(zip(order, plot_colours(np.array(order, np.int64))))
    whole, seen, colours, joins = [], [], [], []
    extent = max(minutes[-1] - minutes[0], 1e-6)
    for i in order:
        y, frames = rows[i], field.nodes["frame"][field.nodes["track_id"] == i]
        whole.append([(minutes[track[i]["first"]], y), (minutes[track[i]["last"]], y)])
        for part in np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1):
            seen.append([(minutes[part[0]], y), (minutes[part[-1]] + 3e-3 * extent, y)])  # one frame is a dot
            colours.append(shades[i])
        mother = int(track[i]["parent"])
        if mother in rows:
            start = minutes[track[i]["first"]]
            joins.append([(minutes[track[mother]["last"]], rows[mother]), (start, rows[mother]), (start, y)])
        beside, align = ((2, 1.5), ("left", "bottom")) if mother in rows else ((-3, 0), ("right", "center"))
        ax.annotate(str(i), (minutes[track[i]["first"]], y), beside, textcoords="offset points", fontsize=6,
                    ha=align[0], va=align[1], color="0.25")
    ax.add_collection(LineCollection(joins, colors="0.35", linewidths=0.9, zorder=1))
    ax.add_collection(LineCollection(whole, colors="0.6", linewidths=0.7, linestyles="dotted", zorder=1))
    ax.add_collection(LineCollection(seen, colors=colours, linewidths=2.6, capstyle="round", zorder=2))
    ax.set_xlim(minutes[0] - 0.04 * extent, minutes[-1] + 0.02 * extent)
    ax.set_ylim(leaves - 0.2, -0.8)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.set_xlabel("time (min)")
    total = len(field.tracks)
    title = f"{which}: {field.counts}"
    if total > len(order):
        title += f"\n{len(order)} tracks shown, the largest families first; {total - len(order)} are not"
    ax.set_title(title, loc="left")
    if not total:
        empty(ax, "no cell was tracked")
    return figure


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


def curves(table: Table, column: str) -> tuple[NDArray, list[NDArray]]:
    """Cell ids, and minutes and values (n, 2) of each."""
    order = np.lexsort([table["time"], table["cell"]])
    ids, first = np.unique(table["cell"][order], return_index=True)
    points = np.stack([table["time"], table[column]], axis=1)[order]
    return ids, np.split(points, first[1:]) if len(ids) else []


def trace_plots(field: Field, which: str) -> Any:
    import matplotlib.pyplot as plt
    from matplotlib.collections import LineCollection

    cells = len(field.kept) + len(field.dropped.get("cell", ()))
    labels = columns_shown(field.table or field.dropped, field.channels) if cells else {}
    shown = list(labels)[:PANELS]
    columns = min(3, max(1, len(shown)))
    rows = max(1, -(-len(shown) // columns))
    figure, axes = plt.subplots(rows, columns, figsize=(max(3.6 * columns, 6), 2.6 * rows + 0.9), sharex=True,
                                layout="constrained", squeeze=False)
    for column, ax in zip(shown, axes.flat):
        for table, width, alpha, grey in ((field.dropped, 0.6, 1.0, True), (field.table, 0.6, 0.6, False)):
            if column in table:
                ids, lines = curves(table, column)
                some = spread(len(ids), LINES)
                shades = ["0.75"] if grey else plot_colours(ids[some])
                ax.add_collection(LineCollection([lines[k] for k in some], colors=shades, lw=width, alpha=alpha))
        times, quartiles = quartiles_of(field.table, column)
        ax.fill_between(times, quartiles[0], quartiles[2], fc=(0, 0, 0, 0.18), ec="black", lw=0.7, zorder=3)
        ax.plot(times, quartiles[1], color="black", lw=1.6, zorder=4)
        ax.autoscale_view()
        ax.set_ylabel(labels[column])
        ax.ticklabel_format(axis="y", scilimits=(-3, 5))
    for ax in axes.flat[len(shown):]:
        ax.set_axis_off()
    for ax in axes[-1]:
        ax.set_xlabel("time (min)")
    figure.suptitle(trace_title(field, which, len(labels) - len(shown)), x=0.01, ha="left", fontsize=10)
    if not shown:
        empty(axes[0, 0], "no feature to show" if cells else "no cell was measured")
    return figure


def quartiles_of(table: Table, column: str) -> tuple[NDArray, NDArray]:
    """Times (n,) and quartiles (3, n) over the cells of each time."""
    if column not in table or not len(table["time"]):
        return np.zeros(0), np.zeros((3, 0))
    good = np.isfinite(table[column])
    times, group = np.unique(table["time"][good], return_inverse=True)
    order = np.argsort(group, kind="stable")
    parts = np.split(table[column][good][order], np.cumsum(np.bincount(group))[:-1]) if len(times) else []
    return times, np.array([np.percentile(part, (25, 50, 75)) for part in parts]).reshape(-1, 3).T


def trace_title(field: Field, which: str, hidden: int) -> str:
    left = ", ".join(f"{n} {reason}" for reason, n in field.reasons.items())
    title = f"{which}: traces of {len(field.kept)} of {len(field.tracks)} cells"
    title += f"\nleft out{' (grey)' if field.dropped else ''}: {left}" if left else ""
    if len(field.kept):
        title += "\nblack: median, band: quartiles of all that were kept"
    if max(len(field.kept), sum(field.reasons.values())) > LINES:
        title += f"; at most {LINES} lines of kept and left out each"
    return title + (f"; {hidden} more features are in the tables" if hidden else "")
