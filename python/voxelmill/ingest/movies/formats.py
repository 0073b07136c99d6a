"""Time-lapse movies of any kind, read one plane at a time.

    with open_movie("run.nd2", z_plane="max") as movie:
        movie.require(channels=[0, 1])
        for fov in movie.parse_fovs("0-3"):
            for t in range(movie.fovs[fov].n_frames):
                frame = movie.read_frame(fov, t, channel=0)  # uint16 (y, x)

Readers: `nd2` (ND2), `czi` (CZI), `ome_tiff` (OME-TIFF, also over several files), `tiff` (ImageJ, LSM, MetaMorph and plain
TIFF), `ndtiff` (NDTiff), `zarr` (OME-Zarr), `folder` (a folder of frames), `zipped` (any of these in a zip). The kind is told
from the first bytes, not from the name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from voxelmill.core.errors import DataError, ParameterError

from ..volumes import png
from .fov import Fov, has_frames
from .movie import Movie, ZChoice
from .ranges import listed
from .times import mended, usable

ABOUT_TIMES = (  # notes begin so
    "bad time stamps",
    "it has no usable times",
    "no usable times in the file",
    "its clock starts again",
)


def open_movie(
    path: str | Path,
    *,
    z_plane: ZChoice | None = None,
    z_is_time: bool = False,
    convert: bool = False,
    factor: float = 1.0,
    frame_interval: float = 10.0,
    time_mapping: Mapping[int, float] | None = None,
) -> Movie:
    """Open a movie of any supported kind.

    Args:
        path: ND2, CZI, OME-TIFF or TIFF file, OME-Zarr store, or folder of TIFF or PNG frames.
        z_plane: index of the plane to read, or "max"; needed where a channel has several.
        z_is_time: the z planes are the frames of a movie, saved with the wrong axis.
        convert: accept other types than uint8 and uint16: values, times `factor`, are rounded to whole counts.
        frame_interval: minutes between frames, used only where the file has no times (noted then).
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
        movie.z_plane, movie.convert, movie.factor = z_plane, convert, factor
        if z_is_time:
            _take_z_for_time(movie)
        with suppress(DataError):  # it is for who chooses fields of view to see that they go together
            movie.choose([i for i, f in enumerate(movie.fovs) if has_frames(f)])
        _settle_times(movie, frame_interval)
        if time_mapping is not None:
            use_times(movie, time_mapping, range(len(movie.fovs)))
    except BaseException:
        movie.close()
        raise
    return movie


def _reader(path: Path):
    """The class that reads this kind of file."""
    from .ndtiff import NdTiffMovie, home

    if home(path):
        return NdTiffMovie
    if path.is_dir():
        from .folder import FolderMovie, is_zarr

        if not is_zarr(path):
            return FolderMovie
        from .zarr import ZarrMovie

        return ZarrMovie
    if not path.exists():
        pattern = "; it is a pattern: give the folder" if any(sign in path.name for sign in "*?[") else "; check --input"
        raise DataError(f"{path}: no such file{pattern}")
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
        from .ome_tiff import OmeTiffMovie, has_ome_xml
        from .tiff import TiffMovie

        return OmeTiffMovie if has_ome_xml(path) else TiffMovie
    if head.startswith(b"PK\3\4"):
        from .zipped import open_zip

        return lambda path: open_zip(path, lambda inner: _reader(inner)(inner))
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"<?xml", b"<OME")):
        from .ome_tiff import OmeTiffMovie

        return OmeTiffMovie
    if head.startswith(png.BEGINS):
        raise DataError(f"{path}: a PNG is a single frame; give the folder that holds those of the movie")
    raise DataError(
        f"{path}: not an ND2, CZI, TIFF or OME-Zarr movie, nor OME-XML (it begins with {head[:4]!r}); convert it to OME-TIFF"
    )


def _check(movie: Movie) -> None:
    """Something is there; fields of view without frames are noted: they harm no other."""
    if not any(has_frames(f) for f in movie.fovs):
        broken = next((f.broken for f in movie.fovs if f.broken), "")
        raise DataError(f"{movie.path}: {broken or 'holds no images'}")
    named = next(f for f in movie.fovs if has_frames(f))
    movie.fovs = tuple(f if f.channels else replace(f, channels=named.channels) for f in movie.fovs)
    movie.channel_names = named.channels
    if movie.archive:
        movie.files = ()
        movie.notes += (f"{movie.archive.name} is unpacked in each task that reads it: {movie.path.name} is read.",)
    if len(movie.files) > 1 and movie.file_type != "folder":
        movie.notes += (f"The movie lies in {len(movie.files)} files, {movie.files[0].name} to {movie.files[-1].name}.",)
    empty = [i for i, f in enumerate(movie.fovs) if not has_frames(f) and not f.broken]
    if empty:
        names = ", ".join(movie.fovs[i].name for i in empty[:5]) + (", ..." if len(empty) > 5 else "")
        movie.notes += (f"Without a single frame: field of view {listed(empty)} (image {names}).",)


def _take_z_for_time(movie: Movie) -> None:
    """The planes of every field of view become its frames."""
    swapped = []
    for i, f in enumerate(movie.fovs):
        if f.n_frames > 1:
            raise ParameterError(
                f"{movie.path}: --z_is_time is for a movie that was saved as one z stack, but field of view {i} has "
                f"{f.n_frames} frames of {f.n_planes} planes; choose one with --z_plane"
            )
        there = None if f.there is None else f.there.transpose(2, 1, 0)
        times = np.full(f.n_planes, np.nan)
        swapped.append(
            replace(f, n_frames=f.n_planes, n_planes=f.n_frames, there=there, times=times, time_source="", planned=0)
        )
    movie.fovs, movie.z_is_time = tuple(swapped), True
    movie.notes += ("The z planes of the file are taken for frames (--z_is_time).",)


def use_times(movie: Movie, mapping: Mapping[int, float], fovs: Sequence[int], name: str = "time_mapping") -> None:
    """Minutes per frame index in place of the file's, for these fields of view.

    Raises:
        ParameterError: a frame has no time, there are more times than frames, or they do not rise.
    """
    longest = max(movie.fovs[i].n_frames for i in fovs)
    missing = [t for t in range(longest) if t not in mapping]
    if missing:
        raise ParameterError(f"{name} has no time for frame {missing[0]}; give minutes for each of the {longest} frames")
    if len(mapping) > longest:
        raise ParameterError(f"{name} has {len(mapping)} times for {longest} frames; give one for each frame")
    times = np.array([mapping[t] for t in range(longest)], float)
    if not np.isfinite(times).all():
        raise ParameterError(f"{name} holds times that are not finite")
    falls = np.flatnonzero(np.diff(times) <= 0)
    if len(falls):
        t = int(falls[0])
        raise ParameterError(f"{name} does not rise: frame {t} is at {times[t]:g} min, frame {t + 1} at {times[t + 1]:g} min")
    changed = {}
    for i in fovs:
        f = movie.fovs[i]
        notes = tuple(note for note in f.notes if not note.startswith(ABOUT_TIMES))
        changed[i] = replace(f, times=times[: f.n_frames], time_source=name, notes=notes)
    movie.fovs = tuple(changed.get(i, f) for i, f in enumerate(movie.fovs))


def _settle_times(movie: Movie, frame_interval: float) -> None:
    """Times of each field of view for itself: its stamps, with bad ones replaced; else its step by the file's own
    word; else the step of the others; else the frame interval."""
    fovs = [_with_own_times(f) for f in movie.fovs]
    others = [float(np.median(np.diff(f.times))) for f in fovs if f.n_frames > 1 and usable(f.times, f.n_frames)]
    common = float(np.median(others)) if others else np.nan
    movie.fovs = tuple(_with_times(f, common, frame_interval) for f in fovs)


def _with_own_times(f: Fov) -> Fov:
    """The stamps of a field of view, where they can be believed."""
    if not has_frames(f):
        return f
    if usable(f.times, f.n_frames):
        same = (np.flatnonzero(np.diff(f.times) == 0) + 1).tolist()
        note = f"{ABOUT_TIMES[0]}: frame {listed(same)} has the time of the one before it. Kept; --frame_times replaces them."
        return replace(f, notes=(*f.notes, note)) if same else f
    better = mended(f.times)
    if better is None:
        return f
    times, bad, starts = better
    notes = []
    if bad:
        notes.append(f"{ABOUT_TIMES[0]} of frame {_stamps(f.times, bad)}: replaced by what the frames around them say.")
    if starts:
        step = times[starts[0]] - times[starts[0] - 1]
        notes.append(
            f"{ABOUT_TIMES[3]} at frame {_stamps(f.times, starts)}: the pause before is not in the file and is taken to be "
            f"{step:g} min, the usual step. --frame_times replaces them."
        )
    return replace(f, times=times, notes=(*f.notes, *notes))


def _stamps(times: np.ndarray, frames: list[int]) -> str:
    """`3 (20 min), 7 (none) and 2 more`."""
    said = [f"{t} ({times[t]:g} min)" if np.isfinite(times[t]) else f"{t} (none)" for t in frames[:5]]
    return ", ".join(said) + (f" and {len(frames) - 5} more" if len(frames) > 5 else "")


def _with_times(f: Fov, common: float, frame_interval: float) -> Fov:
    if not has_frames(f) or usable(f.times, f.n_frames):
        return f
    start = float(f.times[0]) if len(f.times) and np.isfinite(f.times[0]) else 0.0
    source, note = f.time_source, ""
    if f.n_frames <= 1:
        step = 0.0
    elif np.isfinite(f.step):
        step, source = f.step, "time step by the file's own word"
    elif np.isfinite(common):
        step, source = common, "the step of the other fields of view"
        note = f"{ABOUT_TIMES[1]}: frames are taken to be {step:g} min apart, as in the other fields of view."
    else:
        step, source = float(frame_interval), f"frame number x {frame_interval:g} min (the file has no times)"
        note = f"{ABOUT_TIMES[2]}: frames are taken to be {frame_interval:g} min apart. Set --frame_interval."
    times = start + step * np.arange(f.n_frames, dtype=np.float64)
    return replace(f, times=times, time_source=source, notes=(*f.notes, note) if note else f.notes)
