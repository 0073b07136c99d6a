"""The trace table of a field of view: filters that report what they drop, and CSV.

A table is a dict of equally long columns, as `features.TraceBuilder.table` makes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.core.errors import DataError, ParameterError

Table = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class FilterReport:
    """How many cells a filter kept, how many it dropped, and why.

    short, border: cell ids that were dropped, by reason; a cell that fails both counts as short.
    notes: what the user has to know, one line each.
    """

    cells: int
    kept: int
    short: list[int]
    border: list[int]
    min_frames: int
    border_margin: int
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        reasons = {
            f"fewer than {self.min_frames} frames": len(self.short),
            f"a place within {self.border_margin} px of the border": len(self.border),
        }
        dropped = ", ".join(f"{n} with {why}" for why, n in reasons.items() if n)
        kept = f"{self.kept} of {self.cells} cells kept" + (f"; dropped {dropped}" if dropped else "")
        return ". ".join([kept, *self.notes])


def filter_traces(
    table: Table, shape: tuple[int, int], n_frames: int, min_frames: int = -1, border_margin: int = -1
) -> tuple[Table, FilterReport]:
    """Drop cells that are seen in too few frames, or that ever come near the border.

    A limit that no cell could meet is lowered, and a note says so: a movie shorter than `min_frames` keeps
    the cells seen in all its frames; an image without a pixel further than `border_margin` from its border
    drops only cells that touch the border, since those are cut.

    Args:
        table: columns of `features.TraceBuilder.table`.
        shape: (height, width) of the frames, px.
        n_frames: frames of the movie.
        min_frames: least number of rows of a cell (seed: 30); -1 = `usual_frames`.
        border_margin: px; a cell whose bounding box is ever nearer is dropped whole (seed: 50); -1 = `usual_margin`.

    Raises:
        ParameterError: a limit is negative.
    """
    if min(min_frames, border_margin) < -1:
        raise ParameterError(f"min_frames {min_frames}, border_margin {border_margin}: expected 0 or more (-1: the usual)")
    notes = []
    if min_frames == -1:
        min_frames = usual_frames(n_frames)
    if border_margin == -1:
        border_margin = usual_margin(table, shape)
    if min_frames > n_frames:
        notes.append(
            f"The movie has {n_frames} frame{'s' * (n_frames != 1)}, fewer than min_frames = {min_frames}: cells seen in "
            "all of it are kept. Set --min_frames to choose"
        )
        min_frames = n_frames
    if border_margin and 2 * border_margin >= min(shape):
        notes.append(
            f"Frames of {shape[0]} x {shape[1]} px have no inside with border_margin = "
            f"{border_margin}: only cells that touch the border are dropped. Set --border_margin "
            "to choose"
        )
        border_margin = 1
    ids, cell, count = np.unique(table["cell"], return_inverse=True, return_counts=True)
    short = count < min_frames
    near = (
        (table["bbox_y0"] < border_margin)
        | (table["bbox_x0"] < border_margin)
        | (table["bbox_y1"] > shape[0] - border_margin)
        | (table["bbox_x1"] > shape[1] - border_margin)
    )
    border = np.zeros(len(ids), bool)
    border[cell[near]] = True
    border &= ~short
    keep = ~(short | border)
    if len(ids) and not keep.any():
        notes.append("No cell is left: lower --min_frames or --border_margin")
    report = FilterReport(
        len(ids), int(keep.sum()), ids[short].tolist(), ids[border].tolist(), min_frames, border_margin, notes
    )
    rows = keep[cell]
    return {name: column[rows] for name, column in table.items()}, report


def usual_frames(n_frames: int) -> int:
    """30 frames, as the seed has it, and at most a third of the movie: cells that divide in it are seen for a part."""
    return min(30, -(-n_frames // 3))


def usual_margin(table: Table, shape: tuple[int, int]) -> int:
    """A cell's width, px, by the median box of the table; at most 50 px, as the seed has it, and a tenth of the frame."""
    height, width = table["bbox_y1"] - table["bbox_y0"], table["bbox_x1"] - table["bbox_x0"]
    cell = float(np.median(np.sqrt(height * width))) if len(height) else 50.0
    return max(1, round(min(cell, 50.0, min(shape) / 10)))


def left_out(table: Table, report: FilterReport) -> Table:
    """The rows that `filter_traces` dropped from `table`: not `good`, and with a column `reason`."""
    short = np.isin(table["cell"], report.short)
    rows = short | np.isin(table["cell"], report.border)
    reasons = np.where(short, f"seen in under {report.min_frames} frames", f"within {report.border_margin} px of the border")
    found = {name: column[rows] for name, column in table.items()}
    return found | {"good": np.zeros(len(found["cell"]), bool), "reason": reasons[rows]}


def traces_name(base: str, fov: int) -> str:
    """File name of the traces of one field of view: `{base}_fov_{fov:03d}_traces.csv`."""
    return f"{base}_fov_{fov:03d}_traces.csv"


def left_out_name(base: str, fov: int) -> str:
    """File name of the traces of the cells that were left out: `{base}_fov_{fov:03d}_left_out.csv`."""
    return f"{base}_fov_{fov:03d}_left_out.csv"


def write_csv(path: str | Path, table: Table) -> None:
    """Write a table: a header line, floats as `%.6f`, all else as it is."""
    columns = list(table.values())
    formats = ["%.6f" if c.dtype.kind == "f" else "%s" if c.dtype.kind in "bU" else "%d" for c in columns]
    line = ",".join(formats) + "\n"
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(",".join(table) + "\n")
        file.writelines(line % row for row in zip(*(c.tolist() for c in columns)))


def read_csv(path: str | Path) -> Table:
    """Read what `write_csv` wrote, with the same types.

    Raises:
        DataError: no header, or a line with another number of fields.
    """
    import csv

    with open(path, encoding="utf-8", newline="") as file:
        rows = [row for row in csv.reader(line for line in file if not line.startswith("#")) if row]
    if not rows:
        raise DataError(f"{path}: empty, expected a header line; run the extraction again")
    names, body = rows[0], rows[1:]
    for k, row in enumerate(body, start=2):
        if len(row) != len(names):
            raise DataError(
                f"{path}: line {k} has {len(row)} fields, expected {len(names)}; the file is "
                "damaged, run the extraction again"
            )
    return {name: _parse([row[i] for row in body], name) for i, name in enumerate(names)}


def _parse(words: list[str], name: str) -> NDArray[Any]:
    if name == "reason":
        return np.array(words, str)
    if name == "good":
        return np.array([w.strip().lower() in ("true", "1", "1.0") for w in words], bool)
    whole = name in ("fov", "cell", "frame") or name.startswith("bbox_")
    numbers = np.array([float(w) if w.strip() else np.nan for w in words], np.float64)
    return numbers.astype(np.int64) if whole else numbers
