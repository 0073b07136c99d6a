"""CZI movies (Zeiss), by the package `pylibCZIrw`.

Fields of view are the scenes, also of unequal size and with gaps in their numbers; the tiles of a mosaic scene are
put together by libCZI. Which planes and tiles there are is what the subblock directory says: libCZI reads what is
not there as black. Frames count from the first that the file holds. Times are real ones, in this order: the
TimeStamps attachment; the acquisition times of the subblocks, which also tell the scenes apart; the interval in
the XML.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.core.errors import DataError

from .czi_segments import Segments, Subblock
from .fov import Fov, trimmed
from .movie import Movie
from .ome_xml import pixel_size_of
from .times import best, usable

PIXEL_TYPES = {0: ("Gray8", np.uint8), 1: ("Gray16", np.uint16), 2: ("Gray32Float", np.float32)}  # as subblocks number them
OTHERS = {3: "Bgr24", 4: "Bgr48", 8: "Bgr96Float", 9: "Bgra32", 10: "Gray64ComplexFloat", 12: "Gray32", 13: "Gray64Float"}
Key = tuple[int, int, int, int]  # scene, t, c, z as the file numbers them


class CziMovie(Movie):
    """A CZI file: scenes are fields of view."""

    file_type = "czi"

    def __init__(self, path: Path):
        self.path = path
        with Segments(path) as segments:
            if not segments.subblocks:
                raise DataError(f"{path}: holds no images")
            self._tiles = _tiles(segments.subblocks)
            from pylibCZIrw import czi

            self._context = czi.open_czi(str(path))
            self._file = self._context.__enter__()
            try:
                self._read_metadata(segments)
            except BaseException:
                self.close()
                raise

    def _read_metadata(self, segments: Segments) -> None:
        box = self._file.total_bounding_box
        more = [axis for axis in "VIHRB" if axis in box and box[axis][1] - box[axis][0] > 1]
        if more:
            raise DataError(
                f"{self.path}: dimensions {', '.join(more)} (views, illuminations, phases) are "
                "not supported; export time, scene, channel and z"
            )
        keys = np.array(sorted(self._tiles))
        self._first = keys.min(axis=0)
        n_t, n_c, n_z = (keys.max(axis=0) - self._first + 1)[1:].tolist()
        self._types = {key: _pixel_type(key, tiles, path=self.path) for key, tiles in self._tiles.items()}
        self.dtype = max((np.dtype(PIXEL_TYPES[t][1]) for t in self._types.values()), key=lambda d: d.itemsize)
        self._has_scenes = any("S" in block.start for block in segments.subblocks)
        self._scenes = np.unique(keys[:, 0]).tolist()
        self._boxes = [_box([b for key, tiles in self._tiles.items() if key[0] == s for b in tiles]) for s in self._scenes]
        xml = self._file.metadata
        names, (pixel_size, notes) = _channel_names(xml, n_c), _pixel_size(xml)
        there = np.zeros((len(self._scenes), n_t, n_c, n_z), bool)
        for key in self._tiles:
            t, c, z = (np.array(key) - self._first)[1:]
            there[self._scenes.index(key[0]), t, c, z] = True
        fovs = []
        for scene, (left, top, width, height), held in zip(self._scenes, self._boxes, there):
            frames = trimmed(held)
            fovs.append(
                Fov(
                    f"Scene {scene}",
                    height,
                    width,
                    frames,
                    n_z,
                    np.full(frames, np.nan),
                    pixel_size_um=pixel_size,
                    channels=names,
                    there=held[:frames],
                    planned=n_t,
                    origin_um=(top * pixel_size, left * pixel_size) if pixel_size else None,
                )
            )
        self.fovs, self.channel_names = tuple(fovs), names
        self._most = {
            s: max(len(tiles) for key, tiles in self._tiles.items() if key[0] == scene)
            for s, scene in enumerate(self._scenes)
        }
        self.fovs = tuple(replace(f, notes=notes + self._gaps(i)) for i, f in enumerate(self.fovs))
        times, source, step = self._times(segments, n_t, xml)
        self.fovs = tuple(
            replace(f, times=row[: f.n_frames], time_source=source if np.isfinite(row).any() else "", step=step)
            for f, row in zip(self.fovs, times)
        )

    def _gaps(self, fov: int) -> tuple[str, ...]:
        """A note where the tiles of a scene never cover it."""
        scene = self._scenes[fov]
        covered = self._covered([b for key, tiles in self._tiles.items() if key[0] == scene for b in tiles], fov)
        if covered is None:
            return ()
        share = 1 - covered.mean()
        return (f"{share:.0%} of its picture lie outside all tiles of the mosaic: they are left out everywhere.",)

    def _times(self, segments: Segments, n_t: int, xml: dict) -> tuple[NDArray, str, float]:
        """Minutes (scene, t), where they come from, and the step by the XML."""
        n_s, (_, t0, c0, z0) = len(self._scenes), self._first.tolist()
        interval = _at(xml, "Information", "Image", "Dimensions", "T", "Positions", "Interval")
        step = float(_at(interval, "Increment") or 0) / 60 if isinstance(interval, dict) else 0.0
        step = step if step > 0 else np.nan
        stamps = segments.time_stamps()
        if n_s == 1 and usable(stamps, n_t):
            return stamps[None] / 60, "CZI TimeStamps", step
        acquired = np.full((n_s, n_t), np.nan)
        by_frame: dict[tuple[int, int], Subblock] = {}
        for key in sorted(self._tiles, key=lambda k: (k[2] != c0, k[3] != z0)):
            by_frame.setdefault(key[:2], self._tiles[key][0])
        for (scene, t), block in by_frame.items():
            acquired[self._scenes.index(scene), t - t0] = segments.acquired(block)
        if np.isfinite(acquired).any():
            zero = float(stamps.min()) if stamps.size else 0.0
            acquired = (acquired - np.nanmin(acquired) + zero) / 60
        rows, sources = [], []
        for s, fov in enumerate(self.fovs):
            shared = stamps.reshape(n_t, n_s).T[s] if len(stamps) == n_t * n_s else stamps
            clocks = [
                (acquired[s, : fov.n_frames], "CZI acquisition times of the subblocks"),
                (shared[: fov.n_frames] / 60, "CZI TimeStamps" + (" (the same for all scenes)" if shared is stamps else "")),
            ]
            known = [c for c in clocks if len(shared) == n_t or c is clocks[0]]
            row, source = best([*known, (np.arange(fov.n_frames) * step, "CZI time interval in the XML")], fov.n_frames)
            rows.append(np.concatenate([row, np.full(n_t - len(row), np.nan)]))
            sources.append(source)
        return np.array(rows), next((s for s in sources if s), ""), step

    def _plane(self, fov: int, t: int, channel: int, z: int) -> NDArray:
        key = self._key(fov, t, channel, z)
        scene = self._scenes[fov] if self._has_scenes else None
        pixels = PIXEL_TYPES[self._types[key]][0]  # else libCZI takes the channel's first for all
        plane = dict(zip("TCZ", key[1:]))
        return self._file.read(roi=self._boxes[fov], plane=plane, scene=scene, pixel_type=pixels)[..., 0]

    def _type(self, fov: int, channel: int) -> np.dtype:
        scene, c = self._scenes[fov], channel + int(self._first[2])
        found = {PIXEL_TYPES[t][1] for (s, _, k, _), t in self._types.items() if (s, k) == (scene, c)}
        return max(map(np.dtype, found), key=lambda d: d.itemsize, default=self.dtype)

    def _is_partial(self, fov: int, t: int, channel: int, z: int) -> bool:
        return len(self._tiles[self._key(fov, t, channel, z)]) < self._most[fov]

    def _mask(self, fov: int, t: int, channel: int, z: int) -> NDArray[np.bool_] | None:
        return self._covered(self._tiles[self._key(fov, t, channel, z)], fov)

    def _covered(self, tiles: list[Subblock], fov: int) -> NDArray[np.bool_] | None:
        """The pixels (y, x) of a scene that lie in a tile; None: all."""
        left, top, width, height = self._boxes[fov]
        covered = np.zeros((height, width), bool)
        for tile in tiles:
            x, y = tile.start["X"] - left, tile.start["Y"] - top
            covered[max(y, 0) : y + tile.height, max(x, 0) : x + tile.width] = True
        return None if covered.all() else covered

    def _key(self, fov: int, t: int, channel: int, z: int) -> Key:
        """The file's own numbers of a plane: they need not begin at 0."""
        _, t0, c0, z0 = self._first.tolist()
        return self._scenes[fov], t + t0, channel + c0, z + z0

    def close(self) -> None:
        context, self._context = self._context, None
        if context is not None:
            context.__exit__(None, None, None)


def _tiles(blocks: list[Subblock]) -> dict[Key, list[Subblock]]:
    """The tiles of each plane; an absent dimension counts as 0."""
    found: dict[Key, list[Subblock]] = defaultdict(list)
    for block in blocks:
        s, t, c, z = (block.start.get(axis, 0) for axis in "STCZ")
        found[s, t, c, z].append(block)
    return dict(found)


def _pixel_type(key: Key, tiles: list[Subblock], path: Path) -> int:
    """The pixel type of a plane, which all its tiles must have; channels and scenes may differ."""
    types = {tile.pixel_type for tile in tiles}
    if len(types) == 1 and types <= PIXEL_TYPES.keys():
        return types.pop()
    names = {number: name for number, (name, _) in PIXEL_TYPES.items()} | OTHERS
    found = ", ".join(names.get(t, f"type {t}") for t in sorted(types))
    raise DataError(
        f"{path}: scene {key[0]}, frame {key[1]}, channel {key[2]}: pixels are {found}, expected one of "
        f"{', '.join(name for name, _ in PIXEL_TYPES.values())} for all tiles of a plane; export it so"
    )


def _box(tiles: list[Subblock]) -> tuple[int, int, int, int]:
    """Left, top, width and height of what tiles cover."""
    corners = [(b.start["X"], b.start["Y"], b.start["X"] + b.width, b.start["Y"] + b.height) for b in tiles]
    left, top = min(c[0] for c in corners), min(c[1] for c in corners)
    return left, top, max(c[2] for c in corners) - left, max(c[3] for c in corners) - top


def _at(tree: Any, *path: str) -> Any:
    """The value below nested dicts, or None; the root elements of CZI metadata are passed over."""
    for key in ("ImageDocument", "Metadata"):
        tree = tree.get(key, tree) if isinstance(tree, dict) else tree
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _listed(value: Any) -> list:
    return value if isinstance(value, list) else [] if value is None else [value]


def _channel_names(xml: dict, n: int) -> tuple[str, ...]:
    channels = _listed(_at(xml, "Information", "Image", "Dimensions", "Channels", "Channel"))
    names = [c.get("@Name") or c.get("Fluor") for c in channels if isinstance(c, dict)]
    return tuple((names[i] if i < len(names) else None) or f"Channel {i}" for i in range(n))


def _pixel_size(xml: dict) -> tuple[float | None, tuple[str, ...]]:
    """Scaling along X and Y; CZI stores metres."""
    sides = {d.get("@Id"): float(d.get("Value") or 0) for d in _listed(_at(xml, "Scaling", "Items", "Distance"))}
    side, notes = pixel_size_of((sides.get("X", 0.0), "m"), (sides.get("Y", 0.0), "m"))
    return side and round(side, 9), notes
