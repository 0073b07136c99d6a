"""Create a mosaic grid: the raw tiles of a slice side by side in one store, a chunk a tile, overlap not removed.

Of each tile: the camera's shift is undone, the galvo's return cut off, old recordings are turned, voxels made of the size
that was asked for. The galvo's shift is found once for a slice, from some of its tiles; where that is not sure, A-lines
stay as they are recorded, the return cut off at their end.

A task holds a file of the store, --sharding_factor x --sharding_factor tiles, and one raw tile. A tile that cannot be read
is left out by name; its place holds 0, as that of one that was never recorded.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..core import manifest, slices
from ..core.device import choose
from ..core.errors import DataError
from ..core.params import param
from ..core.provenance import Task
from ..core.shared import Device, Resolution, Strict
from ..core.space import Axis, Space
from ..core.stage import In, Out
from ..core.volume import Image, Layout, create_image
from ..ingest.list_tiles import UM_PER_MM, Recorded
from ..ingest.tiles.oct import RawTile, acquired, read_table, read_tile
from .galvo import find_shift, profile, without_return
from .resampling import along_axes, sizes_at, weights

LOOKED_AT = 5  # tiles of a slice whose galvo return is looked for
EMPTY = 20.0  # mean of a tile that shows nothing


class Parameters(Recorded, Resolution, Device, Strict):
    """Mosaic grids of raw OCT tiles."""

    axial_resolution: float = param(1.36, "Distance of samples along depth, which raw tiles do not state", unit="µm", gt=0)
    sharding_factor: int = param(4, "A file of a mosaic grid holds as many tiles along each side; memory follows it", ge=1)
    fix_galvo_shift: bool = param(True, "Find where the galvo's return lies in B-scans, and cut it off there")
    galvo_confidence_threshold: float = param(0.6, "How sure that must be, to be believed", ge=0, le=1)
    fix_camera_shift: bool = param(False, "Roll A-lines so that the saturated first one comes first; mend it")


@dataclass(frozen=True)
class Galvo:
    """What was found of a slice: galvo_shift in A-lines, how sure, whether it is applied, and of how many tiles."""

    slice: int
    galvo_shift: int
    galvo_confidence: float
    galvo_fix: bool
    looked_at: int


def run(p: Parameters, task: Task, *, source: Path, tiles: In, slice: str, output: Out, galvo: Out) -> None:
    """`source` is no `In`: the tile table stands for it."""
    number = slices.number_of(slice)
    listed = read_table(tiles, number)
    found = find_galvo(p, source, listed)
    lay, space = planned(p, listed)
    image = create_image(output, lay, space)
    corners = [(i, j) for i in range(lay.grid[1]) for j in range(lay.grid[2])]
    bad: dict[str, str] = {}
    lost: dict[str, int] = {}
    work = partial(fill_shard, p, source, listed, found, image)
    for unread, digests, holes in task.each(work, corners, "files of tiles written"):
        bad |= unread
        lost |= holes
        for folder, digest in digests.items():
            task.used(source / folder, digest)
    for name, why in bad.items():
        task.quarantine([name], why)
    if len(bad) == len(listed):
        task.leave_out(f"none of its {len(listed)} tiles can be read; the first: {next(iter(bad.values()))}")
    task.arrays(p.use_gpu)
    galvo.write_text(json.dumps(asdict(found)))
    task.report(
        tiles=len(listed) - len(bad),
        **{k: v for k, v in asdict(found).items() if k != "slice"},
        **remarks(p, listed, found, lost),
    )


def planned(p: Parameters, tiles: list[RawTile]) -> tuple[Layout, Space]:
    """The mosaic grid of a slice: its array, and its space in mm (origin 0: `shifts_xy.csv` says where slices lie)."""
    size, native = tiles[0].shape(p.preprocess), voxel_size(p, tiles[0])
    chunk, steps = sizes_at(p.resolution, size, native)
    n_mx, n_my = (max(k) - min(k) + 1 for k in ([t.mx for t in tiles], [t.my for t in tiles]))
    shard = [min(p.sharding_factor, n) for n in (n_mx, n_my)]
    axes = [Axis(name, "space", "millimeter") for name in "zyx"]
    return (
        Layout(
            (chunk[0], n_mx * chunk[1], n_my * chunk[2]),
            "float32",
            chunk,
            (chunk[0], shard[0] * chunk[1], shard[1] * chunk[2]),
        ),
        Space.of(axes, [um / UM_PER_MM for um in native]).level(steps),
    )


def voxel_size(p: Parameters, tile: RawTile) -> tuple[float, float, float]:
    """(depth, dim 1, dim 2) um, as recorded."""
    _, n1, n2 = tile.shape(p.preprocess)
    along1, along2 = tile.field(p.preprocess)
    return p.axial_resolution, along1 / n1, along2 / n2


def fill_shard(
    p: Parameters, source: Path, tiles: list[RawTile], found: Galvo, image: Image, corner: tuple[int, int]
) -> tuple[dict[str, str], dict[str, str], dict[str, int]]:
    """Write a file of the store. By folder: why tiles could not be read, the digests of those that were, and how many of
    their samples are no number."""
    lay = image.layout()
    first = [k * s for k, s in zip(corner, lay.shard[1:])]
    last = [min(a + s, n) for a, s, n in zip(first, lay.shard[1:], lay.shape[1:])]
    values = np.zeros((lay.shape[0], *(b - a for a, b in zip(first, last))), np.float32)
    mx, my = min(t.mx for t in tiles), min(t.my for t in tiles)
    bad: dict[str, str] = {}
    digests: dict[str, str] = {}
    holes: dict[str, int] = {}
    for tile in tiles:
        a, b = (tile.mx - mx) * lay.chunk[1] - first[0], (tile.my - my) * lay.chunk[2] - first[1]
        if not (0 <= a < values.shape[1] and 0 <= b < values.shape[2]):
            continue
        try:
            raw, lost = acquired(read_tile(source, tile))
            values[:, a : a + lay.chunk[1], b : b + lay.chunk[2]] = as_seen(p, raw, tile, found)
            holes |= {tile.folder: lost} if lost else {}
            digests[tile.folder] = manifest.digest_of(source / tile.folder)
        except DataError as error:
            bad[tile.folder] = str(error)
    image.write((slice(0, lay.shape[0]), *map(slice, first, last)), values)
    return bad, digests, holes


def as_seen(p: Parameters, raw: np.ndarray, tile: RawTile, found: Galvo) -> np.ndarray:
    """A raw tile (z, lines, B-scans) as it goes into the grid: (z, dim 1, dim 2)."""
    if p.fix_camera_shift:
        raw = without_camera_shift(raw)
    scan = without_return(raw, found.galvo_shift, tile.nx) if found.galvo_fix else raw[:, : tile.nx]
    if p.preprocess:
        scan = turned(scan)
    native = voxel_size(p, tile)
    size, steps = sizes_at(p.resolution, scan.shape, native)
    if size == scan.shape:
        return scan
    matrices = [weights(n, m, step) for n, m, step in zip(scan.shape, size, steps)]
    return along_axes(scan, matrices, choose(p.use_gpu)[0])


def turned(scan: np.ndarray) -> np.ndarray:
    """Old recordings the right way round: mirrored at the other diagonal of the plane, which is its own inverse."""
    return scan.transpose(0, 2, 1)[:, ::-1, ::-1]


def without_camera_shift(raw: np.ndarray) -> np.ndarray:
    """A-lines (axis 1) rolled so that the brightest, saturated one comes first, and is as its neighbour then."""
    first = int(raw.mean((0, 2), dtype=np.float64).argmax())
    rolled = np.roll(raw, -first, axis=1)
    rolled[:, 0] = rolled[:, 1]
    return rolled


def find_galvo(p: Parameters, source: Path, tiles: list[RawTile]) -> Galvo:
    """The galvo's shift, from LOOKED_AT tiles between 20 % and 80 % of the slice that show something."""
    n_extra, profiles = tiles[0].n_extra, []
    middle = tiles[int(0.2 * len(tiles)) : max(1, int(np.ceil(0.8 * len(tiles))))]
    order = sorted(range(len(middle)), key=lambda i: (i % max(1, len(middle) // LOOKED_AT) != 0, i))  # spread first
    for i in order if n_extra else []:
        try:
            raw, _ = acquired(read_tile(source, middle[i]))
        except DataError:
            continue  # said where the tile is wanted
        if p.fix_camera_shift:
            raw = without_camera_shift(raw)
        one = profile(raw, choose(p.use_gpu)[0])
        if one.mean() >= EMPTY:
            profiles.append(one)
        if len(profiles) == LOOKED_AT:
            break
    shift, sure = find_shift(profiles, n_extra)
    fix = p.fix_galvo_shift and bool(profiles) and sure >= p.galvo_confidence_threshold
    return Galvo(tiles[0].slice, shift, round(sure, 4), fix, len(profiles))


def remarks(p: Parameters, tiles: list[RawTile], found: Galvo, lost: dict[str, int]) -> dict[str, list[str]]:
    """What a user must know: that the galvo's return was not found where there is one, and what is no number."""
    notes = []
    if p.fix_galvo_shift and tiles[0].n_extra and not found.galvo_fix:
        sure = f"sure by {found.galvo_confidence:.2f}, below {p.galvo_confidence_threshold:g}"
        why = sure if found.looked_at else "its tiles are empty"
        notes.append(f"slice {found.slice}: the galvo's return was not found ({why}); A-lines stay as recorded")
    if lost:
        notes.append(
            f"slice {found.slice}: {sum(lost.values())} samples of {len(lost)} tiles are NaN or infinite, most in "
            f"{max(lost, key=lambda name: lost[name])}; they count as not acquired"
        )
    return {"notes": notes} if notes else {}
