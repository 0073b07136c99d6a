"""Movie figures: what was found in the first fields of view, to be looked at.

    fov_000_1_cells     contact sheet: frames over the whole movie, outlines and ids of the tracked cells
    fov_000_2_lineages  tracks over time, joined where cells divide
    fov_000_3_traces    features over time, cell by cell, with median and quartiles
    fov_000_4_counts    cells over time
    fov_000_movie.gif   the whole frame over time, with outlines

A track has the same colour everywhere. Pictures and plots are PNG and PDF, the same bytes every time. Frames are
read one by one; what is kept of them has the size of the picture.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.params import param
from ..core.pictures import save_both
from ..core.provenance import Task
from ..core.shared import Strict
from ..core.stage import In, OutFiles
from ..timelapse.store import Facts, each_fov, fov_name, fovs_in
from .field import Field, colour_number, colour_table, spread
from .field_plots import count_plot, lineage_tree, trace_plots
from .figures import Figures

SHEET_FRAMES = 12
SHEET_WIDTH = 10.0  # inches
CELLS_SHOWN = 60  # in a picture of the sheet, about: it is a window where the field has more
MOVIE_SIDE, MOVIE_FRAMES, MOVIE_BYTES = 512, 60, 8 << 20
GREYS = 32  # of the movie's palette, besides the colours of tracks


class Parameters(Figures, Strict):
    """Figures of movies."""

    figure_fovs: int = param(
        6, "Fields of view that get figures: the first ones of those processed", ge=0, le=1000, profiles={"minimal": 1}
    )


def run(p: Parameters, task: Task, *, movie: In, tracked: In, traces: In, facts: In, batch: str, output: OutFiles) -> None:
    known = Facts.read(facts)
    shown = [fov for fov in fovs_in(tracked) if fov in known.chosen[: p.figure_fovs]]
    each_fov(task, known, shown, partial(draw, p, known, movie, tracked, traces, output), output=output)
    for path in sorted(output.glob("fov_*/*")):
        path.rename(output / f"{path.parent.name}_{path.name}")
    for folder in output.glob("fov_*/"):
        folder.rmdir()


def draw(p: Parameters, known: Facts, movie: Path, tracked: Path, traces: Path, output: Path, fov: int) -> dict[str, Any]:
    """Draw the figures of a field of view; what they show, in numbers."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"font.size": 9, "axes.titlesize": 10, "axes.spines.top": False, "axes.spines.right": False})
    folder = output / fov_name(fov)
    folder.mkdir(parents=True)
    field = Field.open(movie, tracked, traces, known, fov)
    which = f"Field of view {fov}"
    if p.figure_fovs < len(known.chosen):
        which += f" (figures are made of the first {p.figure_fovs} of {len(known.chosen)})"
    limits, pictures = contact_sheet(field, which, p.figure_dpi)
    save_both(pictures, folder / "1_cells", p.figure_dpi)
    save_both(lineage_tree(field, which), folder / "2_lineages", p.figure_dpi)
    save_both(trace_plots(field, which), folder / "3_traces", p.figure_dpi)
    save_both(count_plot(field, which), folder / "4_counts", p.figure_dpi)
    (folder / "movie.gif").write_bytes(overlay_movie(field, limits))
    return {
        "tracks": len(field.tracks),
        "divisions": len(field.mothers),
        "kept": len(field.kept),
        "left_out": dict(field.reasons),
    }


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
        rows, columns = (
            np.minimum(((np.arange(n) + 0.5) / n * m).astype(int), m - 1) for n, m in zip(self.size, (y1 - y0, x1 - x0))
        )
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


def busy_window(field: Field) -> tuple[int, int, int, int]:
    """The whole frame, or a window where the cells are, of about `CELLS_SHOWN` cells that are wide enough to see."""
    _, height, width = field.view.shape
    if not len(field.nodes):
        return 0, 0, height, width
    cells = len(field.nodes) / max(1, len(np.unique(field.nodes["frame"])))
    side = min(max(height, width) * (CELLS_SHOWN / cells) ** 0.5, 45 * field.diameter)
    h, w = (n if side > 0.75 * n else int(max(side, 32)) for n in (height, width))
    y0, x0 = (
        int(np.clip(np.median(field.nodes[a]) - n / 2, 0, full - n)) for a, n, full in (("y", h, height), ("x", w, width))
    )
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

    sisters = any(field.sisters(frames[k - 1] + 1 if k else 0, t) for k, t in enumerate(frames))
    legend = ["white line: sisters of a division since the picture before"] if sisters else []
    if (h, w) != field.view.shape[1:]:
        legend.append(f"shown are {w} × {h} of {field.view.width} × {field.view.height} px")
    row_height, top = wide * h / w + 0.24, 0.38 if legend else 0.22
    height = top + row_height * rows
    figure = plt.figure(figsize=(wide * columns, height))
    for k, (t, picture) in enumerate(zip(frames, pictures)):
        row, column = divmod(k, columns)
        ax = figure.add_axes(
            (column / columns, 1 - (top + (row + 1) * row_height) / height, 0.985 / columns, (row_height - 0.24) / height)
        )
        ids = lens.outlines(field.labels(t), field.diameter)
        rgb = np.repeat(to_grey(picture, limits)[..., None], 3, axis=-1)
        rgb[ids > 0] = colour_table()[colour_number(ids[ids > 0])]
        letters = int(np.clip(field.diameter * lens.zoom / 3, dpi / 15, dpi / 8))
        pen = Pen.on(np.rint(rgb * 255).astype(np.uint8), letters)
        pen.mark(field, lens, t, frames[k - 1] + 1 if k else 0)
        if k == 0:
            pen.bar(field, lens)
        ax.imshow(pen.image, interpolation="antialiased")
        empty = f": {why}" if (why := field.empty(t)) else ""
        ax.set_title(f"{field.time(t)} (frame {t}{empty})", fontsize=8, pad=2)
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
        size = max(self.size, min(height // 16, 36))  # readable where the page shows the sheet at half its size
        font, line = self.font.font_variant(size=size), max(3, size // 5)
        left, y, right = 6, height - 5 - line, 6 + round(length * lens.zoom)
        self.draw.rectangle((0, y - 1.7 * size, max(right, font.getlength(label) + 6) + 6, height), 0)
        self.draw.line(((left, y), (right, y)), self.white, line)
        self.draw.text((left, y - line - size // 4), label, self.white, font, "ls")


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
