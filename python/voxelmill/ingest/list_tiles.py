"""List tiles: what the raw OCT tiles of all slices are, where the stage says that slices lie, and what cannot work.

Tiles that are missing or unreadable, or of another size than the others of their slice, are left out by name: the mosaic
grid holds 0 there. `shifts_xy.csv` says how slices lie to each other:

    shift = mosaic_min[fixed] - mosaic_min[moving]        mosaic_min: stage position of the edge of a slice's mosaic grid
    slice `moving` lies at position[fixed] - shift        x along dim 1, y along dim 2
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np

from ..core import files, plans, shifts, slices
from ..core.errors import DataError
from ..core.params import Params, param
from ..core.provenance import Task
from ..core.shared import Given, Strict
from ..core.space import one_size
from ..core.stage import Out, OutFiles
from .tiles.oct import RawTile, files_of, find_tiles, number_of, read_info, write_table

UM_PER_MM = 1000
OFF_GRID = 0.25  # of a field of view that a tile may lie beside the grid of its slice


class Recorded(Params):
    """How raw OCT tiles were recorded."""

    preprocess: bool = param(False, "Tiles were recorded the old way, turned and mirrored: turn them back")


class Parameters(Given, Recorded, Strict):
    """Raw OCT tiles."""

    use_old_folder_structure: bool = param(False, "Folders of tiles lie directly in --input, not one folder a slice")


def run(
    p: Parameters, task: Task, *, source: Path, tiles: Out, of_slices: OutFiles, slice_list: Out, tables: OutFiles
) -> None:
    """`source` is no `In`: it is far too large for a digest; the table has names, sizes and places of all tiles.

    A slice has a table of its own and, in the list, the key of its files: what changes in another slice changes neither."""
    name = p.input or str(source)
    folders = find_tiles(source, name, p.use_old_folder_structure)
    read = task.each_sound(partial(read_info, source), folders, "tiles listed", name=str)
    by_slice: dict[int, list[RawTile]] = {}
    there = {folder.rsplit("/", 1)[-1] for folder in folders}
    for _, tile in read:
        by_slice.setdefault(tile.slice, []).append(tile)
    for n, of in by_slice.items():
        by_slice[n] = alike(task, of)
        if lacking := missing(n, by_slice[n], there):
            task.quarantine(lacking, "no such tile")
    if not by_slice:
        raise DataError(f"{name}: none of {len(folders)} tiles has a usable info.txt; the first: {first_reason(task)}")
    for n, count in Counter(number_of(folder) for folder in folders).items():
        if n not in by_slice:
            task.quarantine([slices.name_of(n)], f"none of its {count} tiles has a usable info.txt")
    write_table(tiles, [tile for n in sorted(by_slice) for tile in by_slice[n]])
    of_slices.mkdir()
    for n, of in by_slice.items():
        write_table(of_slices / f"{slices.name_of(n)}.csv", of)
    keys = {n: files.key(source, (name for t in of for name in files_of(source, t.folder))) for n, of in by_slice.items()}
    plans.write(slice_list, [{**row, "files": keys[int(row["slice"])]} for row in slices.tasks(by_slice)])
    tables.mkdir()
    extents = {n: extent(of, p.preprocess) for n, of in by_slice.items()}
    shifts.write(tables / "shifts_xy.csv", shifts.estimate(extents), pixel(by_slice[min(by_slice)][0], p.preprocess))
    notes = [note for n in sorted(by_slice) for note in remarks(n, by_slice[n], p.preprocess)]
    if notes and p.strict:
        raise DataError(f"{name}: {'; '.join(notes)}; --strict false goes on all the same")
    task.report(slices=len(by_slice), tiles=sum(map(len, by_slice.values())), **({"notes": notes} if notes else {}))


def first_reason(task: Task) -> str:
    return next(iter(task.left_out.values()))


def alike(task: Task, tiles: list[RawTile]) -> list[RawTile]:
    """Those of the size that most tiles of a slice have; others are quarantined."""
    sizes = Counter(tile.size for tile in tiles)
    like = {size: {other for other in sizes if other[:4] == size[:4] and one_size(other[4:], size[4:])} for size in sizes}
    usual = max(sizes, key=lambda size: (sum(sizes[other] for other in like[size]), sizes[size]))
    odd = [tile for tile in tiles if tile.size not in like[usual]]
    if odd:
        words = "(nz, nx, n_extra, ny, width, height)"
        task.quarantine([t.folder for t in odd], f"{words} {odd[0].size}; expected {usual}, as most of its slice")
    return [tile for tile in tiles if tile.size in like[usual]]


def missing(n: int, tiles: list[RawTile], there: set[str]) -> list[str]:
    """Names of the tiles that the grid of a slice lacks, but for those that are there and have been left out."""
    have = {(t.mx, t.my) for t in tiles}
    xs, ys = zip(*have)
    digits = [max(2, len(str(v))) for v in (max(xs), max(ys), n)]
    lacking = [(x, y) for x in range(min(xs), max(xs) + 1) for y in range(min(ys), max(ys) + 1) if (x, y) not in have]
    names = [f"tile_x{x:0{digits[0]}d}_y{y:0{digits[1]}d}_z{n:0{digits[2]}d}" for x, y in lacking]
    return [name for name in names if name not in there]


def extent(tiles: list[RawTile], legacy: bool) -> shifts.Extent:
    """Where the mosaic grid of a slice begins on the stage: its first tile's edge, whose position is that of its middle."""
    x, y = np.min([(t.x, t.y) for t in tiles], axis=0) - np.array(tiles[0].field(legacy)) / 2 / UM_PER_MM
    across = [{t.mx for t in tiles}, {t.my for t in tiles}]
    return shifts.Extent((float(x), float(y)), (max(across[0]) - min(across[0]) + 1, max(across[1]) - min(across[1]) + 1))


def pixel(tile: RawTile, legacy: bool) -> tuple[float, float]:
    """mm along dim 1 and dim 2, as recorded."""
    (_, n1, n2), (along1, along2) = tile.shape(legacy), tile.field(legacy)
    return along1 / n1 / UM_PER_MM, along2 / n2 / UM_PER_MM


def remarks(n: int, tiles: list[RawTile], legacy: bool) -> list[str]:
    """What is odd about where the tiles of a slice lie: against their numbers, or not in a grid, or without overlap."""
    found = []
    index = np.array([(t.mx, t.my) for t in tiles], float)
    at = np.array([(t.x, t.y) for t in tiles])
    fields = np.array(tiles[0].field(legacy)) / UM_PER_MM
    for axis, name in enumerate("xy"):
        if np.ptp(index[:, axis]) == 0:
            continue
        step, first = np.polyfit(index[:, axis], at[:, axis], 1)
        off = np.abs(at[:, axis] - first - step * index[:, axis]).max()
        if step <= 0:
            found.append(f"slice {n}: stage {name} falls as tile {name} grows; shifts between slices may have the wrong sign")
        elif off > OFF_GRID * fields[axis]:
            found.append(f"slice {n}: a tile lies {off:.3f} mm beside its place in a regular grid, along {name}")
        elif step >= fields[axis]:
            found.append(f"slice {n}: tiles lie {step:.3f} mm apart along {name} and show {fields[axis]:.3f} mm: no overlap")
    return found
