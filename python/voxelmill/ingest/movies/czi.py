"""CZI movies (Zeiss), by the package `pylibCZIrw`.

Fields of view are the scenes by libCZI's scene rectangles, which are right also for scenes of unequal size
and for files without scene XML; the tiles of a mosaic scene are put together by libCZI. Times are real ones,
in this order: the TimeStamps attachment; the acquisition times of the subblocks, which also tell the scenes
apart; the interval in the XML. libCZI reads a plane that is not there as black: the directory is read here
too, frames missing at the end shorten the scene, and one missing inside is an error when it is read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.core.errors import DataError

from .czi_segments import Segments, Subblock
from .movie import Fov, Movie, usable

PIXEL_TYPES = {"Gray8": np.uint8, "Gray16": np.uint16, "Gray32Float": np.float32}


class CziMovie(Movie):
    """A CZI file: scenes are fields of view."""

    file_type = "czi"

    def __init__(self, path: Path):
        self.path = path
        with Segments(path) as segments:
            first = _first_tiles(segments.subblocks)
            from pylibCZIrw import czi

            self._context = czi.open_czi(str(path))
            self._file = self._context.__enter__()
            try:
                self._read_metadata(segments, first)
            except BaseException:
                self.close()
                raise

    def _read_metadata(self, segments: Segments, first: dict[tuple[int, int, int, int], Subblock]) -> None:
        box = self._file.total_bounding_box
        self._start = {axis: box.get(axis, (0, 1))[0] for axis in "TCZ"}
        n_t, n_c, n_z = (int(np.diff(box.get(axis, (0, 1)))[0]) for axis in "TCZ")
        more = [axis for axis in "VIHRB" if axis in box and box[axis][1] - box[axis][0] > 1]
        if more:
            raise DataError(
                f"{self.path}: dimensions {', '.join(more)} (views, illuminations, phases) are "
                "not supported; export time, scene, channel and z"
            )
        types = {self._file.get_channel_pixel_type(self._start["C"] + c) for c in range(n_c)}
        if len(types) > 1 or not types <= PIXEL_TYPES.keys():
            raise DataError(
                f"{self.path}: pixels are {', '.join(sorted(types))}, expected one of "
                f"{', '.join(PIXEL_TYPES)} for all channels; export it so"
            )
        self.dtype = np.dtype(PIXEL_TYPES[types.pop()])
        rectangles = dict(self._file.scenes_bounding_rectangle_no_pyramid)
        self._scenes: list[tuple[int | None, Any]] = sorted(rectangles.items()) or [
            (None, self._file.total_bounding_rectangle_no_pyramid)
        ]
        xml = self._file.metadata
        self.channel_names = _channel_names(xml, n_c)
        self.pixel_size_um = _pixel_size(xml)
        self._planes = set(first)
        fovs, notes = [], []
        for fov, (scene, rectangle) in enumerate(self._scenes):
            there = [all(self._key(scene, t, c, z) in first for c in range(n_c) for z in range(n_z)) for t in range(n_t)]
            frames = max((t + 1 for t in range(n_t) if there[t]), default=0)
            if frames < n_t:
                notes.append(f"Scene {fov} has {frames} of {n_t} frames: the acquisition was stopped.")
            fovs.append(
                Fov(
                    f"Scene {fov if scene is None else scene}", rectangle.h, rectangle.w, frames, n_z, np.full(frames, np.nan)
                )
            )
        self.fovs, self.notes = tuple(fovs), tuple(notes)
        times, self.time_source = self._times(segments, first, n_t, xml)
        self.fovs = tuple(
            Fov(f.name, f.height, f.width, f.n_frames, f.n_planes, row[: f.n_frames]) for f, row in zip(self.fovs, times)
        )

    def _times(self, segments: Segments, first: dict, n_t: int, xml: dict) -> tuple[NDArray, str]:
        """Minutes (scene, t), and where they come from."""
        n_s = len(self._scenes)
        stamps = segments.time_stamps()
        if n_s == 1 and usable(stamps, n_t):
            return stamps[None] / 60, "CZI TimeStamps"
        acquired = np.full((n_s, n_t), np.nan)
        for fov, (scene, _) in enumerate(self._scenes):
            for t in range(self.fovs[fov].n_frames):
                block = first.get(self._key(scene, t, 0, 0))
                acquired[fov, t] = segments.acquired(block) if block else np.nan
                if np.isnan(acquired[fov, t]):
                    break
        known = all(usable(row[: f.n_frames], f.n_frames) for f, row in zip(self.fovs, acquired))
        if known and np.isfinite(acquired).any():
            zero = stamps.min() if stamps.size else 0.0
            return (acquired - np.nanmin(acquired) + zero) / 60, "CZI acquisition times of the subblocks"
        if usable(stamps, n_t):
            return np.tile(stamps / 60, (n_s, 1)), "CZI TimeStamps (the same for all scenes)"
        if usable(stamps, n_t * n_s):
            return stamps.reshape(n_t, n_s).T / 60, "CZI TimeStamps"
        interval = _at(xml, "Information", "Image", "Dimensions", "T", "Positions", "Interval")
        step = float(_at(interval, "Increment") or 0) if isinstance(interval, dict) else 0.0
        if step > 0:
            start = float(_at(interval, "Start") or 0)
            return np.tile((start + step * np.arange(n_t)) / 60, (n_s, 1)), "CZI time interval in the XML"
        return np.full((n_s, n_t), np.nan), ""

    def _plane(self, fov: int, t: int, channel: int, z: int) -> NDArray:
        scene, rectangle = self._scenes[fov]
        key = self._key(scene, t, channel, z)
        if key not in self._planes:
            raise DataError(
                f"{self.path}: scene {fov}, frame {t}, channel {channel}, plane {z} is not in "
                "the file (a stopped acquisition); leave this field of view out"
            )
        return self._file.read(roi=tuple(rectangle), plane=dict(zip("TCZ", key[1:])), scene=scene)[..., 0]

    def _key(self, scene: int | None, t: int, channel: int, z: int) -> tuple[int, int, int, int]:
        """The file's own numbers of a plane: they need not begin at 0."""
        return scene or 0, t + self._start["T"], channel + self._start["C"], z + self._start["Z"]

    def close(self) -> None:
        context, self._context = self._context, None
        if context is not None:
            context.__exit__(None, None, None)


def _first_tiles(blocks: list[Subblock]) -> dict[tuple[int, int, int, int], Subblock]:
    """One tile of each plane (scene, t, c, z); an absent dimension counts as 0."""
    found: dict[tuple[int, int, int, int], Subblock] = {}
    for block in blocks:
        s, t, c, z = (block.start.get(axis, 0) for axis in "STCZ")
        found.setdefault((s, t, c, z), block)
    return found


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


def _pixel_size(xml: dict) -> float | None:
    """Scaling along X; CZI stores metres."""
    for distance in _listed(_at(xml, "Scaling", "Items", "Distance")):
        if distance.get("@Id") == "X" and float(distance.get("Value") or 0) > 0:
            return round(float(distance["Value"]) * 1e6, 9)
    return None
