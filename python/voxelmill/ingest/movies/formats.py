"""Time-lapse movies of any kind, read one plane at a time.

    with open_movie("run.nd2", z_plane="max") as movie:
        movie.require(channels=[0, 1])
        for fov in movie.parse_fovs("0-3"):
            for t in range(movie.fovs[fov].n_frames):
                frame = movie.read_frame(fov, t, channel=0)  # uint16 (y, x)

Readers: `nd2` (ND2), `czi` (CZI), `tiff` (OME-TIFF, ImageJ and plain TIFF), `zarr`
(OME-Zarr). The kind is told from the first bytes, not from the name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from voxelmill.core.errors import DataError, ParameterError

from .movie import Movie, ZChoice, has_frames, usable


def open_movie(
    path: str | Path,
    *,
    z_plane: ZChoice | None = None,
    convert: bool = False,
    frame_interval: float = 10.0,
    time_mapping: Mapping[int, float] | None = None,
) -> Movie:
    """Open a movie of any supported kind.

    Args:
        path: ND2, CZI, OME-TIFF or TIFF file, or OME-Zarr store.
        z_plane: index of the plane to read, or "max"; needed where there are several.
        convert: accept other types than uint8 and uint16: values are rounded to whole counts.
        frame_interval: minutes between frames, used only when the file has no times (noted then).
        time_mapping: minutes per frame index, in place of the file's times; must hold every frame.

    Raises:
        DataError: not there, empty, damaged, cut off, or of no known kind.
        ParameterError: a time is missing from `time_mapping`, or `frame_interval` is not positive.
    """
    path = Path(path)
    if frame_interval <= 0:
        raise ParameterError(f"frame_interval is {frame_interval}, expected minutes above 0")
    reader = _reader(path)
    try:
        movie = reader(path)
    except (DataError, ParameterError):
        raise
    except ModuleNotFoundError as error:
        raise ParameterError(
            f"{path}: reading it needs the package {error.name}; pip install 'voxelmill[timelapse]'"
        ) from error
    except Exception as error:
        raise DataError(
            f"{path}: cannot be opened ({type(error).__name__}: {error}); the file is damaged "
            "or cut off, copy it again from the microscope"
        ) from error
    try:
        _check(movie)
        movie.z_plane, movie.convert = z_plane, convert
        _settle_times(movie, frame_interval, time_mapping)
    except BaseException:
        movie.close()
        raise
    return movie


def _reader(path: Path):
    """The class that reads this kind of file."""
    if path.is_dir():
        from .zarr import ZarrMovie

        return ZarrMovie
    if not path.exists():
        raise DataError(f"{path}: no such file; check --input")
    with open(path, "rb") as file:
        head = file.read(16)
    if not head:
        raise DataError(f"{path}: the file is empty; copy it again from the microscope")
    if head.startswith(b"ZISRAWFILE"):
        from .czi import CziMovie

        return CziMovie
    if head.startswith(b"\xda\xce\xbe\x0a") or head[4:8] == b"jP  ":
        from .nd2 import Nd2Movie

        return Nd2Movie
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        from .tiff import TiffMovie

        return TiffMovie
    raise DataError(f"{path}: not an ND2, CZI, TIFF or OME-Zarr movie (it begins with {head[:4]!r}); convert it to OME-TIFF")


def _check(movie: Movie) -> None:
    """Something is there; fields of view without frames are noted: they harm no other."""
    if not movie.channel_names or not any(has_frames(f) for f in movie.fovs):
        raise DataError(f"{movie.path}: holds no images")
    empty = [str(i) for i, f in enumerate(movie.fovs) if not has_frames(f)]
    if empty:
        movie.notes += (f"Without a single frame: field of view {', '.join(empty)}.",)


def _settle_times(movie: Movie, frame_interval: float, mapping: Mapping[int, float] | None) -> None:
    """Times from the user, from the file, or, as a last resort, from the frame interval."""
    known = all(usable(f.times, f.n_frames) for f in movie.fovs)
    if mapping is not None:
        for f in movie.fovs:
            missing = [t for t in range(f.n_frames) if t not in mapping]
            if missing:
                raise ParameterError(
                    f"time_mapping has no time for frame {missing[0]}; give minutes for each of the {f.n_frames} frames"
                )
        times = [np.array([mapping[t] for t in range(f.n_frames)], float) for f in movie.fovs]
        movie.time_source = "time_mapping"
    elif known:
        times = [np.asarray(f.times, float) for f in movie.fovs]
    else:
        times = [np.arange(f.n_frames) * float(frame_interval) for f in movie.fovs]
        movie.time_source = f"frame number x {frame_interval:g} min (the file has no times)"
        if any(f.n_frames > 1 for f in movie.fovs):
            movie.notes += (
                f"The file has no usable times: frames are taken to be {frame_interval:g} min apart. Set --frame_interval.",
            )
    movie.fovs = tuple(replace(f, times=t) for f, t in zip(movie.fovs, times))
