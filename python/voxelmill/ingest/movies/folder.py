"""A folder of frames as a movie: one TIFF file a plane.

Names as Micro-Manager gives them (`img_000000000_GFP_000.tif`, `img_channel000_position000_time000000000_z000.tif`)
or with the usual letters (`run_s2_w1GFP_t003.TIF`, `a_t01_c1_z2.tif`, `xy1c2t10.tif`) say frame, channel, plane and
field of view; any others are frames of one channel in natural order. Subfolders (`Pos0`, ...) are fields of view.
Micro-Manager's `metadata.txt` gives times, pixel size and channel names.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.core.errors import DataError
from voxelmill.core.files import below

from .fov import Fov, trimmed
from .movie import Movie
from .ome_tiff import OmeTiffMovie, Pages, has_ome_xml

FRAMES = (".tif", ".tiff")
OTHERS = (".nd2", ".czi", ".zarr", ".ome.xml")
MICRO_MANAGER = (
    re.compile(r"img_(?P<t>\d+)_(?P<c>.*)_(?P<z>\d+)"),
    re.compile(r"img_channel(?P<c>\d+)_position(?P<p>\d+)_time(?P<t>\d+)_z(?P<z>\d+)"),
)
# a letter or word for an axis, then its number; `w1GFP` carries the name of a channel
TOKEN = re.compile(
    r"(?<![A-Za-z])(?P<axis>time|t|frame|channel|ch|c|w|slice|z|position|pos|p|s|xy|fov)[_-]?(?P<n>\d+)"
    r"(?P<name>(?<=[wW]\d)[A-Za-z][\w ]*?)?(?=[_\-. ]|$|[A-Za-z]{1,8}\d)",
    re.IGNORECASE,
)
AXIS = {"time": "t", "frame": "t", "ch": "c", "channel": "c", "w": "c", "slice": "z"} | dict.fromkeys(
    ("pos", "position", "s", "xy", "fov"), "p"
)
Place = tuple[str, str, int, int]  # field of view, channel, t, z


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr store."""
    return any((path / name).exists() for name in ("zarr.json", ".zgroup", ".zattrs", ".zarray"))


def natural(text: str) -> list[Any]:
    """Sort key: `img2` before `img10`."""
    return [int(part) if part.isdigit() else part.casefold() for part in re.split(r"(\d+)", text)]


class FolderMovie(Movie):
    """Single planes in files; folders and position numbers are fields of view."""

    file_type = "folder"

    def __init__(self, path: Path):
        self.path = path
        files = sorted(
            (f for f in map(path.joinpath, below(path)) if f.suffix.lower() in FRAMES and not f.name.startswith(".")),
            key=lambda f: natural(str(f.relative_to(path))),
        )
        if not files:
            held = sorted(f.name for f in path.iterdir() if f.name.lower().endswith(OTHERS)) if path.is_dir() else []
            hint = (
                f"it holds {', '.join(held[:3])}: give one of them" if held else "give one movie, or a folder of TIFF frames"
            )
            raise DataError(f"{path}: not an OME-Zarr group, and holds no TIFF files; {hint}")
        self._refuse_movies(files)
        places, named = _places(files, path)
        self._files: dict[tuple[int, int, int, int], Path] = {}
        channels = sorted({c for _, c, _, _ in places.values()}, key=natural)
        views = sorted({v for v, *_ in places.values()}, key=natural)
        first_t = min(t for *_, t, _ in places.values())
        first_z = min(z for *_, z in places.values())
        for file, (view, channel, t, z) in places.items():
            at = views.index(view), t - first_t, channels.index(channel), z - first_z
            if at in self._files:
                raise DataError(
                    f"{path}: {self._files[at].name} and {file.name} are the same frame by their names; take one out"
                )
            self._files[at] = file
        n_t, n_c, n_z = (max(at[k] for at in self._files) + 1 for k in (1, 2, 3))
        if n_t * n_c * n_z > 100 * len(files) + 1000:
            raise DataError(
                f"{path}: by their names its {len(files)} files are some of {n_t} frames x {n_c} channels x {n_z} planes; "
                "give the frames of one movie, numbered one after the other"
            )
        names = tuple(f"Channel {c}" if c.isdigit() or not c else c for c in channels)
        self.fovs = tuple(self._fov(v, view, names, (n_t, n_c, n_z)) for v, view in enumerate(views))
        self.channel_names = self.fovs[0].channels
        self.dtype = read_plane(files[0]).dtype
        self.files = tuple(files)
        if not named and len(files) > 1:
            self.notes = (
                f"The names of the files do not say what they are: all are taken for frames of one channel, "
                f"{files[0].name} to {files[-1].name} in natural order.",
            )

    def _fov(self, v: int, view: str, names: tuple[str, ...], size: tuple[int, int, int]) -> Fov:
        there = np.zeros(size, bool)
        for at in self._files:
            if at[0] == v:
                there[at[1:]] = True
        first = next(file for at, file in sorted(self._files.items()) if at[0] == v)
        shape = read_plane(first).shape
        if len(shape) != 2:
            raise DataError(f"{first}: colour (RGB) images are not supported; save single channels")
        frames = trimmed(there)
        times, pixel_size, step, given, stage = _micro_manager(first.parent, frames)
        return Fov(
            view or "Image 0",
            *shape,
            frames,
            size[2],
            times,
            "Micro-Manager metadata.txt" if np.isfinite(times).any() else "",
            step,
            pixel_size,
            given if len(given) == len(names) and all(n.startswith("Channel ") for n in names) else names,
            there[:frames],
            size[0],
            stage_um=stage,
        )

    def files_of(self, fov: int) -> tuple[Path, ...]:
        return tuple(file for at, file in self._files.items() if at[0] == fov)

    def _refuse_movies(self, files: list[Path]) -> None:
        """Each file is a single plane; movies among them are to be given one by one."""
        for file in {files[0], files[-1]}:
            if len(files) > 1 and has_ome_xml(file):
                with OmeTiffMovie(file) as movie:
                    several = max(f.n_frames for f in movie.fovs) > 1 or len(movie.fovs) > 1
            else:
                pages = Pages(file)
                several = len(pages) > 1
                pages.close()
            if several:
                raise DataError(
                    f"{self.path}: {file.name} is a movie, not a frame; give the file itself (where its positions lie in "
                    "several files, any one of them)"
                )

    def _type(self, fov: int, channel: int) -> np.dtype:
        file = next((file for at, file in sorted(self._files.items()) if (at[0], at[2]) == (fov, channel)), None)
        return self.dtype if file is None else read_plane(file).dtype

    def _plane(self, fov: int, t: int, channel: int, z: int) -> NDArray:
        return read_plane(self._files[fov, t, channel, z])


def read_plane(file: Path) -> NDArray:
    """The first page of a TIFF file."""
    pages = Pages(file)
    try:
        return pages.read(0)
    finally:
        pages.close()


def _places(files: list[Path], root: Path) -> tuple[dict[Path, Place], bool]:
    """What each file is by its name, and whether the names say so; else frames in natural order, folder by folder."""
    for read in (*(lambda stem, form=form: _by_form(form, stem) for form in MICRO_MANAGER), _by_tokens):
        found: dict[Path, Place] = {}
        for file in files:
            said = read(file.stem)
            if said is None:
                break
            folder = str(file.parent.relative_to(root)) if file.parent != root else ""
            view = " ".join(word for word in (folder, said.get("p", "")) if word)
            found[file] = view, said.get("c", ""), int(said.get("t", 0)), int(said.get("z", 0))
        if len(found) == len(files) and len(set(found.values())) == len(files):
            return found, True
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    for file in files:
        by_folder[file.parent].append(file)
    return {
        file: (str(folder.relative_to(root)) if folder != root else "", "", t, 0)
        for folder, held in by_folder.items()
        for t, file in enumerate(held)
    }, False


def _by_form(form: re.Pattern[str], stem: str) -> dict[str, str] | None:
    match = form.fullmatch(stem)
    return match.groupdict() if match else None


def _by_tokens(stem: str) -> dict[str, str] | None:
    """Axis -> number (or, of a channel, its name); None where a name says nothing, or the same twice."""
    found: dict[str, str] = {}
    for token in TOKEN.finditer(stem):
        axis = AXIS.get(token["axis"].lower(), token["axis"].lower())
        if axis in found:
            return None
        found[axis] = token["name"] or token["n"]
    return found or None


Told = tuple[NDArray[np.float64], float | None, float, tuple[str, ...], tuple[float, float] | None]


def _micro_manager(folder: Path, frames: int) -> Told:
    """Minutes of each frame, micrometres per pixel, minutes between frames, channel names and position of the stage
    (y, x, µm) by `metadata.txt`."""
    times, file = np.full(frames, np.nan), folder / "metadata.txt"
    nothing: Told = times, None, np.nan, (), None
    if not file.is_file():
        return nothing
    try:
        told = json.loads(file.read_text(encoding="utf-8", errors="replace"))
    except ValueError:  # one of a stopped acquisition is not closed
        return nothing
    summary, stage = told.get("Summary", {}), None
    size, interval = summary.get("PixelSize_um") or 0, summary.get("Interval_ms") or 0
    for entry in told.values():
        if not isinstance(entry, dict) or "ElapsedTime-ms" not in entry:
            continue
        size = entry.get("PixelSizeUm") or size
        if stage is None and {"XPositionUm", "YPositionUm"} <= entry.keys():
            stage = float(entry["YPositionUm"]), float(entry["XPositionUm"])
        t = int(entry.get("FrameIndex") or entry.get("Frame") or 0)
        if 0 <= t < frames:
            minutes = float(entry["ElapsedTime-ms"]) / 60_000
            times[t] = minutes if np.isnan(times[t]) else min(times[t], minutes)
    names = tuple(map(str, summary.get("ChNames", ())))
    return times, float(size) or None, float(interval) / 60_000 or np.nan, names, stage
