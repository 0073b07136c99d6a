"""Raw tiles of serial-section OCT: a folder a tile, with `info.txt` and B-scans in `image_*.bin`.

    INPUT/**/tile_x00_y01_z07/      any digits; at any depth below the input, or (the old structure) all directly in it
        info.txt                    lines `key: value`
        image_00000.bin ...         float32, (nz, nx + n_extra, B-scans), the first axis fastest; in order along B-scans

Tile index x and stage x run along dim 1 (A-lines), y along dim 2 (B-scans):

            dim 2 = my = stage y ->
    dim 1   x00_y00   x00_y01
    = mx    x01_y00   x01_y01
    = stage x
       v

Tiles recorded the old way (`--preprocess`) have A-lines along dim 2 and both axes reversed. Thorlabs' `.oct` is not read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from ...core import tables
from ...core.errors import DataError

NAME = re.compile(r"tile_x(\d+)_y(\d+)_z(\d+)")
WHOLE = ("nx", "ny", "n_extra", "top_z", "bottom_z")
REAL = ("width", "height", "stage_x_pos_mm", "stage_y_pos_mm", "stage_z_pos_mm")
FORMAT = "expected folders tile_x<X>_y<Y>_z<Z> with info.txt and image_*.bin"


@dataclass(frozen=True)
class RawTile:
    """One tile: its folder below the input, its indices, sizes in samples, field of view (um), stage position (mm)."""

    folder: str
    slice: int
    mx: int
    my: int
    nz: int
    nx: int  # A-lines of the scan
    n_extra: int  # A-lines of the galvo's return
    ny: int  # B-scans
    width: float  # along A-lines
    height: float  # along B-scans
    x: float
    y: float
    z: float

    @property
    def name(self) -> str:
        return self.folder.rsplit("/", 1)[-1]

    @property
    def size(self) -> tuple[int, int, int, int, float, float]:
        """What the tiles of a slice must have in common."""
        return self.nz, self.nx, self.n_extra, self.ny, self.width, self.height

    def shape(self, legacy: bool) -> tuple[int, int, int]:
        """(nz, dim 1, dim 2) of its scan, the right way round."""
        return (self.nz, self.ny, self.nx) if legacy else (self.nz, self.nx, self.ny)

    def field(self, legacy: bool) -> tuple[float, float]:
        """Field of view along dim 1 and dim 2, um."""
        return (self.height, self.width) if legacy else (self.width, self.height)


def find_tiles(root: Path, name: str, flat: bool = False) -> list[str]:
    """Folders of tiles below `root`, in the order of slice, x, y; `flat`: those directly in it alone.

    Raises DataError where there is none, or two for one place; `name` is what the input is called in errors."""
    found: dict[tuple[int, ...], str] = {}
    for folder in _folders(root, flat):
        mx, my, z = _indices(folder)
        other = found.setdefault((z, mx, my), folder)
        if other != folder:
            raise DataError(f"{name}: {other} and {folder} are one tile; expected one folder for each x, y, z. Move one away")
    if not found:
        raise DataError(f"{name}: {_instead(root, flat)}")
    return [found[key] for key in sorted(found)]


def number_of(folder: str) -> int:
    """The slice of a tile, by the name of its folder."""
    return _indices(folder)[2]


def _indices(folder: str) -> tuple[int, int, int]:
    mx, my, z = (int(n) for n in NAME.fullmatch(folder.rsplit("/", 1)[-1]).groups())  # type: ignore[union-attr]
    return mx, my, z


def _folders(root: Path, flat: bool) -> Iterator[str]:
    for at, names, _ in os.walk(root, followlinks=True):
        names.sort()
        below = Path(at).relative_to(root).as_posix()
        for folder in filter(NAME.fullmatch, names):
            yield folder if below == "." else f"{below}/{folder}"
        names[:] = [] if flat else [n for n in names if not NAME.fullmatch(n)]


def _instead(root: Path, flat: bool) -> str:
    """What there is where no tiles are."""
    if next(root.rglob("*.oct"), None) is not None:
        return f"Thorlabs .oct files are not read; convert them: {FORMAT}"
    if flat and next(_folders(root, False), None):
        return f"tiles lie in folders in it, none directly; give --use_old_folder_structure false; {FORMAT}"
    return f"no tiles in it; {FORMAT}, or TIFF tiles, or a CZI"


def read_info(root: Path, folder: str) -> RawTile:
    """What `info.txt` says of a tile. Raises DataError naming the key that is missing or no number."""
    path = f"{folder}/info.txt"
    try:
        text = (root / path).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; expected one beside the B-scans of each tile") from None
    rows = (line.partition(":") for line in text.splitlines() if ":" in line)
    said = {key.strip(): value.strip() for key, _, value in rows}
    mx, my, z = _indices(folder)
    n = {key: _number(said, key, path) for key in WHOLE + REAL}
    nx, ny, n_extra, top, bottom = (int(n[key]) for key in WHOLE)
    if min(nx, ny, bottom - top + 1, n["width"], n["height"]) <= 0 or n_extra < 0:
        raise DataError(
            f"{path}: nx {nx}, ny {ny}, n_extra {n_extra}, top_z {top}, bottom_z {bottom}, width {n['width']:g}, "
            f"height {n['height']:g}; expected a size above 0 along all axes"
        )
    stage = (n[f"stage_{axis}_pos_mm"] for axis in "xyz")
    return RawTile(folder, z, mx, my, bottom - top + 1, nx, n_extra, ny, n["width"], n["height"], *stage)


def _number(said: Mapping[str, str], key: str, path: str) -> float:
    if key not in said:
        raise DataError(f"{path}: no {key} in it; expected a line `{key}: NUMBER`")
    try:
        value = float(said[key])
        if np.isfinite(value) and (key in REAL or value == int(value)):
            return value
    except ValueError:
        pass
    raise DataError(f"{path}: {key} is {said[key][:40]!r}; expected a {'number' if key in REAL else 'whole number'}")


def files_of(root: Path, folder: str) -> list[str]:
    """Names below `root` of the files that a tile is read from."""
    names = (path.name for path in (root / folder).glob("image_*.bin"))
    return [f"{folder}/info.txt", *(f"{folder}/{name}" for name in sorted(names))]


def read_tile(root: Path, tile: RawTile) -> np.ndarray:
    """(nz, nx + n_extra, ny) float32, as recorded; more B-scans than ny are passed over.

    Raises DataError where B-scans are missing or cut off."""
    lines, files = tile.nx + tile.n_extra, sorted((root / tile.folder).glob("image_*.bin"))
    a_scan = 4 * tile.nz * lines
    parts: list[np.ndarray] = []
    for path in files:
        size = path.stat().st_size
        if size % a_scan:
            raise DataError(
                f"{tile.folder}/{path.name}: {size} bytes; expected a multiple of {a_scan}: float32 B-scans of "
                f"{tile.nz} x {lines} (nx + n_extra), as info.txt says"
            )
        parts.append(np.fromfile(path, "<f4").reshape(-1, lines, tile.nz))
    scans = sum(len(part) for part in parts)
    if scans < tile.ny:
        raise DataError(f"{tile.folder}: {scans} B-scans in {len(files)} image_*.bin; expected {tile.ny}, as info.txt says")
    values = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return values[: tile.ny].transpose(2, 1, 0)


def acquired(values: np.ndarray) -> tuple[np.ndarray, int]:
    """A tile with 0, which is no grey value, in place of what is no number; and how much that is."""
    if np.isfinite(values.sum(dtype=np.float64)):
        return values, 0
    there = np.isfinite(values)
    return np.where(there, values, np.float32(0)), int(values.size - np.count_nonzero(there))


def write_table(path: Path, tiles: list[RawTile]) -> None:
    """A row a tile, a column a field."""
    import csv

    names = [f.name for f in fields(RawTile)]
    with open(path, "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(names)
        table.writerows([getattr(tile, name) for name in names] for tile in tiles)


def read_table(path: Path, number: int | None = None) -> list[RawTile]:
    """The tiles of a table, or of one of its slices."""
    kinds = {f.name: {"str": str, "int": int, "float": float}[str(f.type)] for f in fields(RawTile)}
    rows = [row for row in tables.rows(path, list(kinds)) if number is None or int(row["slice"]) == number]
    return [RawTile(**{name: kind(row[name]) for name, kind in kinds.items()}) for row in rows]
