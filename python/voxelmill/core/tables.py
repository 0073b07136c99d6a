"""Tables that people give, and those that stages leave each other: CSV with a header, columns in any order.

UTF-8, with or without a byte order mark; line ends of any system; lines that begin with # say nothing.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .errors import DataError

Row = dict[str, str]


def read(path: Path, needed: Sequence[str] = (), known: Sequence[str] = ()) -> tuple[list[str], list[tuple[int, Row]]]:
    """The names of the columns; of each row its line and its cells: empty where there are none.

    Columns that are needed, or known, are found however they are capitalised. Raises DataError where it is no text, lacks a
    column or has one twice, or where a row has more cells than columns."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        names, found = parse(file, path.name, needed, known)
        return names, list(found)


def rows(path: Path, needed: Sequence[str] = ()) -> list[Row]:
    """The rows alone."""
    return [row for _, row in read(path, needed)[1]]


def parse(
    lines: Iterable[str], name: str, needed: Sequence[str] = (), known: Sequence[str] = ()
) -> tuple[list[str], Iterator[tuple[int, Row]]]:
    """As `read`, row by row, of text; `name` is what the table is called in errors."""
    reader = csv.reader("" if line.startswith("#") else line for line in lines)
    with _text(name):
        header = next((row for row in reader if row), [])
    usual = {column.lower(): column for column in (*known, *needed)}
    names = [usual.get(cell.strip().lower(), cell.strip()) for cell in header]
    missing = [column for column in needed if column not in names]
    if missing:
        there = ", ".join(names)[:80] or "nothing"
        divided = next((f"; columns divided by {what}, save it with commas" for c, what in DIVIDED if c in there), "")
        raise DataError(f"{name}: no column {', '.join(missing)}; expected {', '.join(needed)}, found {there}{divided}")
    twice = [column for column in names if column and names.count(column) > 1]
    if twice:
        raise DataError(f"{name}: column {twice[0]} stands there twice; keep one")
    return names, _rows(reader, names, name)


DIVIDED = ((";", "semicolons"), ("\t", "tabs"))


def _rows(reader: Iterator[list[str]], names: list[str], name: str) -> Iterator[tuple[int, Row]]:
    with _text(name):
        for row in reader:
            line = reader.line_num  # type: ignore[attr-defined]
            if any(cell.strip() for cell in row[len(names) :]):
                raise DataError(
                    f"{name}, line {line}: {len(row)} cells; expected {len(names)}. Write decimals with a point, and put "
                    "text that has a comma in quotes"
                )
            if row:
                yield line, dict(zip(names, (*map(str.strip, row), *[""] * len(names)), strict=False))


@contextmanager
def _text(name: str) -> Iterator[None]:
    try:
        yield
    except (UnicodeDecodeError, csv.Error):
        raise DataError(f"{name}: not a CSV table as UTF-8 text; save it as such") from None
