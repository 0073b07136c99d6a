"""Plain tiles: pictures with positions, of any microscope, as one or more sections of a stack.

    folder of TIFFs                   one section; tiles of several pages are stacks of planes, placed as one
    folder with sub-folders of TIFFs  a section each, in the order of their numbers; a number that is missing stays empty
    CZI                               a section each scene, positions from its metadata (`czi.py`)

`find_tiles` says what there is (`tiling.py`), a `Reader` gives its pixels.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import DataError
from ...core.space import common
from ..volumes.sections import natural, numbered
from ..volumes.source import Source, Wanted
from ..volumes.tiff import open_stack
from .czi import CziTiles, find_czi_tiles
from .positions import Positions, read_positions, table_in
from .tiling import Found, Tile, Tiling, check_places

TIFF = (".tif", ".tiff")
UNKNOWN = (None, None, None)
MOST_OPEN = 64  # files at a time


def find_tiles(source: Path, table: Path | None, channel: int, called: str, table_called: str) -> Found:
    """What an input holds. The names are what input and table are called in errors.

    Raises DataError naming what is wrong with tiles or positions; single tiles that are missing or unreadable are left out.
    """
    if source.is_file() and source.suffix.lower() == ".czi":
        if table:
            raise DataError(f"--tile_positions {table_called}: positions of {called} stand in its metadata; leave it out")
        return find_czi_tiles(source, channel, called)
    if not source.is_dir():
        raise DataError(f"{called}: expected a folder of TIFF tiles, a folder with such a folder for each section, or a CZI")
    folders, remarks = _sections(source, called)
    left_out: dict[str, str] = {}
    tiles: list[Tile] = []
    corners = {}
    kinds: dict[tuple[str, int], str] = {}
    scales: list[Any] = []
    for section, folder in enumerate(folders):
        if folder is None:
            remarks.append(f"section {section} is missing: its planes stay empty")
            continue
        listed, files, lacking, beside = _matched(source, folder, table, called, table_called)
        remarks += [beside] if beside else []
        left_out |= lacking
        corners[section] = min(y for y, _ in listed.values()), min(x for _, x in listed.values())
        for name in files:
            try:
                with _opened(source / name, channel) as tile:
                    kinds.setdefault((tile.dtype.name, tile.shape[0]), name)
                    remarks += [f"tiles: {said}" for said in tile.remarks if f"tiles: {said}" not in remarks]
                    scales.append(tile.voxel_size)
                    y, x = listed[name]
                    tiles.append(Tile(name=name, section=section, y=y, x=x, height=tile.shape[1], width=tile.shape[2]))
            except DataError as error:
                left_out[name] = str(error)
    if not tiles:
        raise DataError(
            f"{called}: none of {len(left_out)} tiles can be read; the first: {next(iter(left_out.values()), '')}"
        )
    dtype, depth = _one_kind(kinds, called)
    check_places(tiles, table_called or called)
    tiling = Tiling(
        source=called,
        kind="tiff",
        channel=channel,
        dtype=dtype,
        depth=depth,
        scale=common(scales) or UNKNOWN,
        sections=["" if folder is None else folder.name if folder != source else "all" for folder in folders],
        corners=corners,
        tiles=tiles,
    )
    return Found(tiling=tiling, left_out=left_out, remarks=remarks)


def _tiffs(folder: Path) -> list[str]:
    return sorted((p.name for p in folder.iterdir() if p.suffix.lower() in TIFF and p.name[0] != "."), key=natural)


def _sections(source: Path, called: str) -> tuple[list[Path | None], list[str]]:
    """The folder of each section, None where one is missing; and remarks."""
    below = sorted((p for p in source.iterdir() if p.is_dir() and p.name[0] != "."), key=lambda p: natural(p.name))
    below = [p for p in below if _tiffs(p)]
    if _tiffs(source):
        if below:
            raise DataError(
                f"{called}: tiles in it and in its folder {below[0].name}; expected either tiles, or one folder of tiles "
                "for each section"
            )
        return [source], []
    if not below:
        raise DataError(f"{called}: no TIFF in it or in its folders; expected tiles, or one folder of tiles for each section")
    numbers = [natural(p.name)[1::2] for p in below]
    if len({str(n) for n in numbers}) < len(below):  # the numbers do not tell them apart
        return list(below), []
    return numbered(below)


def _matched(
    source: Path, folder: Path, table: Path | None, called: str, table_called: str
) -> tuple[Positions, list[str], dict[str, str], str]:
    """Of a section: positions by name below the source, names of files that are there, what is missing, a remark.

    A table that names tiles by their file alone holds for every section."""
    inside = "" if folder == source else f"{folder.name}/"
    beside = table_in(folder, inside.rstrip("/") or called) if table is None else table
    rows = read_positions(beside, table_called if table else f"{inside}{beside.name}")
    if table is not None and any("/" in name for name in rows):
        rows = {name: at for name, at in rows.items() if name.startswith(inside) and "/" not in name[len(inside) :]}
        listed = rows
    else:
        listed = {inside + name: at for name, at in rows.items()}
    there = {inside + name for name in _tiffs(folder)}
    files = [name for name in listed if name in there]
    if not files:
        raise DataError(
            f"{inside.rstrip('/') or called}: {table_called or beside.name} names none of its {len(there)} tiles "
            f"({', '.join(sorted(there)[:2])}, ...) but {next(iter(listed))}; expected file names as they stand in the folder"
        )
    lacking = {name: "the table of positions names it, and it is not there" for name in listed if name not in there}
    extra = sorted(there - set(listed), key=natural)
    more = f"{', '.join(extra[:3])}{', ...' if len(extra) > 3 else ''}: no position is given; left out ({len(extra)} files)"
    return listed, files, lacking, more if extra else ""


class _opened:
    """An open tile; whatever is wrong with it is a DataError."""

    def __init__(self, path: Path, channel: int):
        if path.stat().st_size == 0:
            raise DataError(f"{path.name}: the file is empty (0 bytes); copy it again")
        self.source = open_stack(path, Wanted("", channel))

    def __enter__(self) -> Source:
        return self.source

    def __exit__(self, *_: object) -> None:
        self.source.close()


def _one_kind(kinds: dict[tuple[str, int], str], called: str) -> tuple[str, int]:
    """dtype and depth of all tiles. Raises DataError naming two tiles that differ."""
    if len(kinds) > 1:
        (one, first), (other, second) = list(kinds.items())[:2]
        told = [
            f"{name} is {dtype}, {depth} plane{'s' * (depth > 1)}" for (dtype, depth), name in ((one, first), (other, second))
        ]
        raise DataError(f"{called}: {' and '.join(told)}; expected tiles of one type and depth")
    (kind,) = kinds
    if np.dtype(kind[0]).kind not in "uf":
        raise DataError(f"{called}: {kind[0]} pixels; expected uint8, uint16 or float32")
    return kind


class Pixels:
    """Pixels of one tile, read when they are asked for: `[..., y, x]` of (planes, y, x), or all of them by `np.asarray`."""

    def __init__(self, shape: tuple[int, ...], read: Callable[[slice, slice], np.ndarray]):
        self.shape, self._read = shape, read

    def __getitem__(self, region: Any) -> np.ndarray:
        return self._read(*region[-2:])

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        return self._read(slice(None), slice(None))


class Reader:
    """Pixels of the tiles of a tiling. Files stay open, MOST_OPEN at a time; workers open their own."""

    def __init__(self, source: Path, tiling: Tiling):
        self.source, self.tiling = source, tiling
        self._open: OrderedDict[str, Any] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict()}

    def __call__(self, tile: Tile) -> Pixels:
        """What is infinite comes as NaN. Raises DataError, on reading too, where the tile is damaged."""
        read = self._tiff if self.tiling.kind == "tiff" else self._czi
        return Pixels((self.tiling.depth, tile.height, tile.width), lambda y, x: read(tile, y, x))

    def _tiff(self, tile: Tile, y: slice, x: slice) -> np.ndarray:
        if tile.name not in self._open:
            while len(self._open) >= MOST_OPEN:
                self._open.popitem(last=False)[1].close()
            self._open[tile.name] = open_stack(self.source / tile.name, Wanted("", self.tiling.channel))
        self._open.move_to_end(tile.name)
        values = self._open[tile.name].read((slice(None), y, x))
        return values if values.dtype.kind != "f" else np.where(np.isinf(values), values.dtype.type(np.nan), values)

    def _czi(self, tile: Tile, y: slice, x: slice) -> np.ndarray:
        if not self._open:
            self._open["czi"] = CziTiles(self.source, self.tiling)
        return self._open["czi"].read(tile, y, x)
