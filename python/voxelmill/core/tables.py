"""Tables that people give: CSV with a header, columns in any order."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from .errors import DataError


def read(path: Path, needed: Sequence[str]) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The names of the columns; of each row its line and its cells: empty where there are none, none beyond the columns.

    Raises DataError where it is no text, or lacks a column."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file)
            found = [(lines.line_num, row) for row in lines if row]
    except (UnicodeDecodeError, csv.Error):
        raise DataError(f"{path.name}: not a CSV table as UTF-8 text; save it as such") from None
    names = [name.strip() for name in found[0][1]] if found else []
    missing = [name for name in needed if name not in names]
    if missing:
        there = ", ".join(names)[:80] or "nothing"
        raise DataError(f"{path.name}: no column {', '.join(missing)}; expected {', '.join(needed)}, found {there}")
    return names, [(line, dict(zip(names, row + [""] * len(names), strict=False))) for line, row in found[1:]]
