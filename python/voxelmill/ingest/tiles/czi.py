"""Tiles of a CZI (Zeiss), each by itself: libCZI gives them put together already, where stitching needs what both show.

A scene is a section. Its tiles are the subblocks, at the places that their directory entries give; channel and z of
one place are one tile. Pixels are decoded here: uncompressed, JPEG XR, Zstandard (also with its bytes sorted).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from ...core.errors import DataError, ParameterError
from ..movies.czi_segments import Segments, Subblock
from .tiling import Found, Tile, Tiling, check_places

PIXELS = {0: "uint8", 1: "uint16", 2: "float32"}
PLAIN, JPEGXR, ZSTD0, ZSTD1 = 0, 4, 5, 6
SORTED_BYTES = 1  # flag of ZSTD1: all low bytes, then all high ones
Place = tuple[int, int, int]  # scene, y, x


def find_czi_tiles(path: Path, channel: int, called: str) -> Found:
    """What a CZI holds, see `plain.find_tiles`."""
    with Segments(path) as segments:
        places = _places(segments, channel, called)
        scale = _scale(segments.xml())
    blocks = [block for planes in places.values() for block in planes.values()]
    types = {block.pixel_type for block in blocks}
    if len(types) > 1 or not types <= PIXELS.keys():
        raise DataError(f"{called}: pixels of types {sorted(types)}; expected Gray8, Gray16 or Gray32Float for all tiles")
    depths = {place: len(planes) for place, planes in places.items()}
    depth = max(depths.values())
    scenes = sorted({scene for scene, *_ in places})
    tiles, left_out = [], {}
    for (scene, y, x), planes in sorted(places.items()):
        name = named(scene, y, x)
        if len(planes) < depth:
            left_out[name] = f"{len(planes)} of {depth} z planes are in the file"
            continue
        first = next(iter(planes.values()))
        tiles.append(Tile(name=name, section=scenes.index(scene), y=y, x=x, height=first.height, width=first.width))
    check_places(tiles, called)
    tiling = Tiling(
        source=called,
        kind="czi",
        channel=channel,
        dtype=PIXELS[types.pop()],
        depth=depth,
        scale=scale,
        sections=[f"scene_{scene}" for scene in scenes],
        corners={scenes.index(s): corner_of(p for p in places if p[0] == s) for s in scenes},
        tiles=tiles,
    )
    return Found(tiling=tiling, left_out=left_out, remarks=[])


def named(scene: int, y: int, x: int) -> str:
    """What a tile is called, by where its file says it lies."""
    return f"scene_{scene}/y{y}_x{x}"


def corner_of(places: Iterable[Place]) -> tuple[float, float]:
    """Least y and x of places."""
    ys, xs = zip(*((y, x) for _, y, x in places))
    return min(ys), min(xs)


def _places(segments: Segments, channel: int, called: str) -> dict[Place, dict[int, Subblock]]:
    """The tiles of one channel: place -> z -> subblock."""
    if not segments.subblocks:
        raise DataError(f"{called}: holds no images")
    for axis in "TVIHRB":
        if len({block.start.get(axis, 0) for block in segments.subblocks}) > 1:
            raise DataError(f"{called}: several {axis} (times, views, phases); expected scenes, channels and z alone")
    channels = sorted({block.start.get("C", 0) for block in segments.subblocks})
    if channel >= len(channels):
        raise ParameterError(f"--channel {channel}: {called} has {len(channels)} channels")
    found: dict[Place, dict[int, Subblock]] = defaultdict(dict)
    for block in segments.subblocks:
        if block.start.get("C", 0) == channels[channel]:
            place = block.start.get("S", 0), block.start["Y"], block.start["X"]
            z = block.start.get("Z", 0)
            if z in found[place]:
                raise DataError(
                    f"{called}: two tiles at y {place[1]}, x {place[2]} of scene {place[0]}; expected one tile a place"
                )
            found[place][z] = block
    return found


def _scale(xml: str) -> tuple[float | None, float | None, float | None]:
    """Pixel size z, y, x in nm, as far as the metadata say; they are in metres."""
    found: dict[str, float] = {}
    try:
        for distance in ElementTree.fromstring(xml).iter("Distance"):
            found[distance.get("Id", "")] = float(distance.findtext("Value") or 0) * 1e9
    except (ElementTree.ParseError, ValueError):
        pass
    z, y, x = (round(found[a], 6) if found.get(a, 0) > 0 else None for a in "ZYX")
    return z, y, x


class CziTiles:
    """Pixels of the tiles of an open file."""

    def __init__(self, path: Path, tiling: Tiling):
        self._segments = Segments(path)
        places = _places(self._segments, tiling.channel, tiling.source)
        self._planes = {named(*place): planes for place, planes in places.items()}
        self._dtype = np.dtype(tiling.dtype)

    def read(self, tile: Tile, y: slice, x: slice) -> np.ndarray:
        """(planes, y, x) of a part of a tile. Raises DataError where it cannot be decoded."""
        planes = self._planes[tile.name]
        return np.stack([self._plane(tile, planes[z])[y, x] for z in sorted(planes)])

    def _plane(self, tile: Tile, block: Subblock) -> np.ndarray:
        shape = block.height, block.width
        try:
            return decoded(self._segments.data(block), block.compression, shape, self._dtype)
        except DataError:
            raise
        except Exception as error:
            raise DataError(f"{tile.name}: cannot be decoded ({type(error).__name__}: {str(error)[:80]})") from None

    def close(self) -> None:
        self._segments.__exit__()


def decoded(data: bytes, compression: int, shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
    """Pixels (y, x) of a subblock's bytes. Raises DataError for a compression that is not read."""
    import imagecodecs

    if compression == JPEGXR:
        return np.asarray(imagecodecs.jpegxr_decode(data), dtype).reshape(shape)
    if compression in (ZSTD0, ZSTD1):
        # ZSTD1 begins with its header's size, then, if that is 3, the flag's tag and the flag
        start = data[0] if compression == ZSTD1 else 0
        apart = start == 3 and data[2] & SORTED_BYTES and dtype.itemsize == 2
        data = bytes(imagecodecs.zstd_decode(data[start:]))
        if apart:
            data = np.frombuffer(data, np.uint8).reshape(2, -1).T.tobytes()
    elif compression != PLAIN:
        raise DataError(f"compression {compression}; readable are none, JPEG XR and Zstandard. Export the file so")
    return np.frombuffer(data, dtype.newbyteorder("<"), shape[0] * shape[1]).reshape(shape).astype(dtype)
