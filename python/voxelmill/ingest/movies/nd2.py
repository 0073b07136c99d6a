"""ND2 movies (Nikon), by the package `nd2`.

Times are the time stamps of the frames (`relativeTimeMs`, milliseconds since the acquisition began); where a
file has none, the period of its time loop. A frame that the file's chunk map does not hold (a stopped
acquisition) would be read as zeros by the package: the map is read here too.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.core.errors import DataError

from .fov import Fov, trimmed
from .movie import Movie
from .ome_xml import pixel_size_of
from .times import best

SIGNATURE = b"ND2 CHUNK MAP SIGNATURE 0000001!"


class _Unmapped:
    """An open file, but no `io` class: nd2 maps those into memory, and mapped pages add up."""

    def __init__(self, path: Path):
        self._file = open(path, "rb")  # noqa: SIM115 (closed by its user)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class Nd2Movie(Movie):
    """An ND2 file: positions are fields of view."""

    file_type = "nd2"

    def __init__(self, path: Path):
        self.path = path
        stored = stored_frames(path)
        import nd2

        self._last: tuple[int, NDArray] = (-1, np.zeros(0))  # channels share a sequence: read it once
        self._open = _Unmapped(path)
        try:
            self._file = nd2.ND2File(self._open)
            self._read_metadata(stored)
        except BaseException:
            self.close()
            raise

    def _read_metadata(self, stored: set[int] | None) -> None:
        file, sizes = self._file, self._file.sizes
        if file.is_rgb:
            raise DataError(f"{self.path}: colour (RGB) images are not supported; export single channels")
        unknown = set(sizes) - set("TPZCYX")
        if unknown:
            raise DataError(f"{self.path}: axes {sorted(unknown)} are not supported; export time, position, channel and z")
        n_t, n_p, n_z = (sizes.get(axis, 1) for axis in "TPZ")
        self._sequence = {tuple(i.get(axis, 0) for axis in "PTZ"): k for k, i in enumerate(file.loop_indices)}
        self._held = set(range(len(self._sequence))) if stored is None else stored
        self.dtype = np.dtype(file.dtype)
        names = [c.channel.name or f"Channel {i}" for i, c in enumerate(file.metadata.channels or [])]
        n_c = sizes.get("C", 1)
        self.channel_names = tuple(names[i] if i < len(names) else f"Channel {i}" for i in range(n_c))
        voxel, step = file.voxel_size(), self._period()
        pixel_size, notes = pixel_size_of((float(voxel.x), "µm"), (float(voxel.y), "µm"))
        fovs = []
        for p in range(n_p):
            stored_planes = [[self._sequence.get((p, t, z), -1) in self._held for z in range(n_z)] for t in range(n_t)]
            there = np.repeat(np.array(stored_planes, bool)[:, None], n_c, axis=1)
            frames = trimmed(there)
            stamps = (self._times(p, there[:frames]), "ND2 frame time stamps")
            times, source = best(
                [stamps, (np.arange(frames) * step, "ND2 time loop period (frames have no time stamps)")], frames
            )
            fovs.append(
                Fov(
                    self._position_name(p),
                    sizes["Y"],
                    sizes["X"],
                    frames,
                    n_z,
                    times,
                    source,
                    step,
                    pixel_size,
                    self.channel_names,
                    there[:frames],
                    n_t,
                    notes,
                    stage_um=self._stage(p, there[:frames]),
                )
            )
        self.fovs = tuple(fovs)

    def _times(self, p: int, there: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Minutes of each frame, of the first channel and the first z plane that is there; NaN where there is no
        stamp. there: (t, c, z)."""
        times = np.full(len(there), np.nan)
        for t in np.flatnonzero(there.any(axis=(1, 2))).tolist():
            try:
                frame: Any = self._file.frame_metadata(self._sequence[p, t, int(there[t, 0].argmax())])
                times[t] = frame.channels[0].time.relativeTimeMs / 60_000
            except (KeyError, IndexError, AttributeError, TypeError, ValueError):
                continue
        return times

    def _stage(self, p: int, there: NDArray[np.bool_]) -> tuple[float, float] | None:
        """Where the stage was at the first frame, y and x in µm. there: (t, c, z)."""
        planes = np.argwhere(there[:, 0])
        try:
            frame: Any = self._file.frame_metadata(self._sequence[p, *planes[0].tolist()])
            x, y, _ = frame.channels[0].position.stagePositionUm
            return float(y), float(x)
        except (KeyError, IndexError, AttributeError, TypeError, ValueError):
            return None

    def _period(self) -> float:
        """Minutes between frames by the time loop; NaN where there is none, or more than one phase."""
        for loop in self._file.experiment:
            phases = getattr(loop.parameters, "phases", None) or [loop.parameters]
            period = getattr(phases[0], "periodMs", 0)
            if loop.type.endswith("TimeLoop") and period and len(phases) == 1:
                return period / 60_000
        return np.nan

    def _position_name(self, p: int) -> str:
        for loop in self._file.experiment:
            if loop.type == "XYPosLoop" and p < len(loop.parameters.points):
                return loop.parameters.points[p].name or f"Position {p}"
        return f"Position {p}"

    def _plane(self, fov: int, t: int, channel: int, z: int) -> NDArray:
        number = self._sequence[fov, t, z]
        if self._last[0] != number:
            self._last = (number, self._file.read_frame(number))
        planes = self._last[1]
        return planes[channel] if planes.ndim == 3 else planes

    def close(self) -> None:
        self._last = (-1, np.zeros(0))
        self._open.close()


def stored_frames(path: Path) -> set[int] | None:
    """Numbers of the frames whose data lie within the file, by its chunk map; None for the JPEG 2000 kind of
    ND2.

    Raises:
        DataError: the map, which is written last, is not there: the file is cut off.
    """
    with open(path, "rb") as file:
        if file.read(4) != b"\xda\xce\xbe\x0a":
            return None
        size = file.seek(0, 2)
        file.seek(max(size - 40, 0))
        tail = file.read(40)
        at = struct.unpack("<Q", tail[32:])[0] if len(tail) == 40 and tail.startswith(SIGNATURE) else size
        if at + 16 > size:
            raise DataError(
                f"{path}: the file is cut off or was never finished (no chunk map at its end); "
                "copy it again from the microscope"
            )
        file.seek(at)
        _, name_length, data_length = struct.unpack("<IIQ", file.read(16))
        file.seek(at + 16 + name_length)
        data = file.read(min(data_length, size))
    frames, start = set(), 0
    while (end := data.find(b"!", start)) >= 0 and end + 17 <= len(data):
        name = data[start:end]
        offset, length = struct.unpack_from("<QQ", data, end + 1)
        start = end + 17
        if name == SIGNATURE[:-1]:
            break
        if name.startswith(b"ImageDataSeq|") and offset + length <= size:
            frames.add(int(name[13:]))
    return frames
