"""A folder of sections, one TIFF or PNG each, in the places that their numbers give them."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import DataError
from ...core.volume import Region
from . import png
from .source import Source, Wanted
from .tiff_pages import check_page, full, greys, listening, mirrored, part, plane, transparent


def natural(name: str) -> list[Any]:
    """Sort key: `z2` before `z10`."""
    return [int(p) if p.isdigit() else p.lower() for p in re.split(r"(\d+)", name)]


TIFFS, PNGS = (".tif", ".tiff"), (".png",)


def open_folder(path: Path, wanted: Wanted) -> Source:
    """A folder of one-page TIFFs, else of grey PNGs, in natural order; gaps in their numbers are missing sections."""
    there = sorted((p for p in path.iterdir() if p.name[0] != "."), key=lambda p: natural(p.name))
    tiffs, pngs = ([p for p in there if p.suffix.lower() in kind] for kind in (TIFFS, PNGS))
    files = tiffs or pngs
    if not files:
        raise DataError(
            f"{path.name}: neither a Zarr store nor a folder of TIFF or PNG sections; "
            "expected zarr.json, .zgroup, .zarray, info, *.tif or *.png in it"
        )
    kinds: dict[tuple, list[str]] = {}
    doubts = [f"{len(pngs)} PNG files beside its TIFF sections are not read"] if tiffs and pngs else []
    for file in files:
        if file.stat().st_size == 0:
            raise DataError(f"{file.name}: the file is empty (0 bytes); copy it again")
        shape, dtype, said = _header(file, wanted.labels)
        doubts += said
        kinds.setdefault((shape, str(dtype)), []).append(file.name)
    if len(kinds) > 1:
        usual = max(kinds, key=lambda k: len(kinds[k]))
        odd = next(kind for kind in kinds if kind != usual)
        raise DataError(f"{kinds[odd][0]}: {odd[0]} {odd[1]}; expected {usual[0]} {usual[1]} as in the other sections")
    (shape, kind), _ = next(iter(kinds.items()))
    in_order, remarks = numbered(files)
    made = folder(path, [file.name if file else "" for file in in_order], shape, kind, wanted.labels)
    made.remarks = [*remarks, *dict.fromkeys(doubts)]
    return made


def folder(path: Path, names: list[str], shape: tuple[int, ...], dtype: str, labels: bool = False) -> Source:
    """A folder of sections whose headers are known: file names in z order, `""` where one is missing."""

    def read(region: Region) -> np.ndarray:
        zs = range(*region[0].indices(len(names)))
        out = np.zeros((len(zs), *(len(range(*s.indices(n))) for s, n in zip(region[1:], shape))), dtype)
        for n, z in enumerate(zs):
            if names[z]:
                out[n] = _part(path / names[z], region[1], region[2], labels)
        return out

    height, width = shape
    return Source(
        path.name,
        "tiff folder",
        (len(names), height, width),
        np.dtype(dtype),
        read,
        missing=[z for z, name in enumerate(names) if not name],
        sections=names,
    )


def _header(file: Path, labels: bool) -> tuple[tuple[int, int], np.dtype, list[str]]:
    """Height and width of a section, type of its values, and remarks."""
    import tifffile

    if file.suffix.lower() in PNGS:
        return png.header(file, labels)
    with listening(file), tifffile.TiffFile(file) as tif:
        page, said = _section(tif, file)
        check_page(page, file.stat().st_size, file, labels)
        return plane(page), greys(page, file, labels)[0], said + mirrored(page) + transparent(page)


def _part(file: Path, rows: slice, columns: slice, labels: bool) -> np.ndarray:
    """Values (y, x) of a part of a section."""
    import tifffile

    if file.suffix.lower() in PNGS:
        return png.read(file, rows, columns)
    with listening(file), tifffile.TiffFile(file) as tif:
        page, _ = _section(tif, file)
        return greys(page, file, labels)[1](part(page, rows, columns))


def _section(tif: Any, file: Path) -> tuple[Any, list[str]]:
    """The page that is the section, and remarks. Raises DataError where several may be."""
    pages, said = full(tif.pages)
    if len(pages) != 1:
        raise DataError(f"{file.name}: {len(pages)} pages; expected one section per file")
    return pages[0], said


def numbered(files: list[Path]) -> tuple[list[Path | None], list[str]]:
    """Files by their running number, None where one is missing; in order where no number runs. And remarks.

    The running number is the one that differs in every file and mostly goes on by the same step (0, 10, 20), so that a
    gap is seen and a time of day is not taken for a number. Of a section that comes twice with the same bytes one is
    kept. Raises DataError where they differ."""
    files, remarks = _once(files)
    numbers, best = [_numbers(file) for file in files], list[Path | None]()
    for column in zip(*numbers) if len({len(n) for n in numbers}) == 1 else ():
        if len(set(column)) == len(files):
            ordered = sorted(column)
            steps = [b - a for a, b in itertools.pairwise(ordered)]
            step = math.gcd(*steps) or 1
            most = 100 if 2 * steps.count(step) >= len(steps) else 2
            if (ordered[-1] - ordered[0]) // step < most * len(files):
                by_number = {(n - ordered[0]) // step: file for n, file in zip(column, files)}
                slots = [by_number.get(n) for n in range(max(by_number) + 1)]
                best = slots if not best or len(slots) <= len(best) else best
    if not best and len(files) > 1:
        remarks.append("the names do not number the sections; taken in their order, and gaps cannot be seen")
    return best or list(files), remarks


def _numbers(file: Path) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", file.stem))


def _once(files: list[Path]) -> tuple[list[Path], list[str]]:
    """One file for each set of numbers."""
    from ...core.manifest import digest_file

    kept: dict[Any, Path] = {}
    remarks = []
    for file in files:
        first = kept.setdefault(_numbers(file) or file.name, file)
        if first is not file:
            if digest_file(first) != digest_file(file):
                raise DataError(f"{first.name}, {file.name}: the same section twice, with unlike content; keep one")
            remarks.append(f"{file.name}: the same as {first.name}; left out")
    return list(kept.values()), remarks
