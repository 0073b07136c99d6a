"""The slice configuration: which slices are used, and what each stage has found out about them (CSV).

    slice_id,use,exclude_reason,quality_score,...
    00,false,calibration,,...
    01,true,,,...

A stage that knows more makes a new file of the one that it got (`stamp`); nobody writes into a file that another has.
Columns that are not known are kept, after those that are.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import slices, tables
from .errors import DataError

COLUMNS = (
    "slice_id", "use", "exclude_reason", "quality_score", "galvo_confidence", "galvo_fix", "notes", "rehomed",
    "rehoming_reliable", "auto_excluded", "auto_exclude_reason", "interpolated", "interpolation_failed",
    "interpolation_method_used", "interpolation_fallback_reason",
)  # fmt: skip
TRUE, FALSE = ("true", "1", "yes", "y", "t"), ("false", "0", "no", "n", "f")


@dataclass
class SliceConfig:
    """rows: slice -> column -> text, `slice_id` left out; extra: columns beyond COLUMNS, in their order."""

    rows: dict[int, dict[str, str]] = field(default_factory=dict)
    extra: list[str] = field(default_factory=list)

    @property
    def used(self) -> list[int]:
        """Slices that take part, in order."""
        return [n for n in sorted(self.rows) if self.flag(n, "use") is not False and not self.flag(n, "auto_excluded")]

    def flag(self, number: int, column: str) -> bool | None:
        """A yes or no; None where nothing is said, or nothing is known of the slice."""
        return parsed(self.rows.get(number, {}).get(column, ""), f"slice {number}, {column}")

    def stamped(self, found: Mapping[int, Mapping[str, Any]]) -> SliceConfig:
        """With values by slice and column; a slice that was not known comes in with use=false."""
        rows = {n: dict(row) for n, row in self.rows.items()}
        extra = list(self.extra)
        for number, values in found.items():
            row = rows.setdefault(number, {"use": "false"})
            row.update({name: written(value) for name, value in values.items()})
            extra += [name for name in values if name not in COLUMNS and name not in extra]
        return SliceConfig(rows, extra)


def parsed(text: str, where: str) -> bool | None:
    """Raises DataError for what is neither yes nor no."""
    word = text.strip().lower()
    if word in ("", "nan", "none"):
        return None
    if word not in TRUE + FALSE:
        raise DataError(f"slice_config: {where} is {text!r}; expected true or false")
    return word in TRUE


def written(value: Any) -> str:
    """As a cell: booleans in small letters, numbers to six digits."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def read(path: Path) -> SliceConfig:
    """Raises DataError for a table without the column `slice_id`, and for a slice that comes twice."""
    names, rows = tables.read(path, ("slice_id",), COLUMNS)
    config = SliceConfig(extra=[name for name in names if name and name not in COLUMNS])
    for line, row in rows:
        number = slices.number_of(row.pop("slice_id"), f"{path.name}, line {line}")
        if number in config.rows:
            raise DataError(f"{path.name}, line {line}: slice {number} comes twice; leave one row")
        config.rows[number] = {name: value for name, value in row.items() if name}
    for number in config.rows:
        config.flag(number, "use")
    return config


def write(path: Path, config: SliceConfig) -> None:
    """Whole or not at all."""
    names = [*COLUMNS, *config.extra]
    partial = path.with_name(path.name + ".new")
    with open(partial, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(names)
        for number in sorted(config.rows):
            row = config.rows[number]
            table.writerow([f"{number:02d}", *(row.get(name, "") for name in names[1:])])
    os.replace(partial, path)


def of(numbers: Iterable[int], exclude_first: int = 0) -> SliceConfig:
    """A new one: all slices used but for the first ones, with which the microscope was set up."""
    rows = {}
    for place, number in enumerate(sorted(numbers)):
        out = place < exclude_first
        rows[number] = {"use": written(not out)}
        if out:
            rows[number] |= {"exclude_reason": "calibration", "notes": "calibration_slice"}
    return SliceConfig(rows)
