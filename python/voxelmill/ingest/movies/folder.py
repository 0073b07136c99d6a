"""A folder of frames as a movie: one TIFF or PNG file a plane.

Names as Micro-Manager gives them (`img_000000000_GFP_000.tif`, `img_channel000_position000_time000000000_z000.tif`)
or with the usual letters (`run_s2_w1GFP_t003.TIF`, `a_t01_c1_z2.tif`, `xy1c2t10.tif`) say frame, channel, plane and
field of view; names that say a part (`img_001_GFP.tif`, `B02_t3.tif`) are completed by what changes in them, with a
note; any others are frames of one channel in natural order (`frame_names`). Subfolders (`Pos0`, ...) are fields of view.
Micro-Manager's `metadata.txt` gives times, pixel size and channel names.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.core.errors import DataError
from voxelmill.core.files import below

from ..volumes import png
from .fov import Fov, trimmed
from .frame_names import NAMED, channel_name, clock, natural, places
from .movie import Movie
from .ome_tiff import OmeTiffMovie, Pages, has_ome_xml
from .tiff import TiffMovie

FRAMES, PNGS = (".tif", ".tiff"), (".png",)
ENTRY = re.compile(r'"(Summary|FrameKey-[^"]*|Metadata-[^"]*)"\s*:\s*(?=\{)')
OTHERS = (".nd2", ".czi", ".lsm", ".stk", ".zarr", ".ome.xml")
LOSSY = (".jpg", ".jpeg", ".bmp", ".gif")  # pictures for the eye


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr store."""
    return any((path / name).exists() for name in ("zarr.json", ".zgroup", ".zattrs", ".zarray"))


class FolderMovie(Movie):
    """Single planes in files; folders and position numbers are fields of view."""

    file_type = "folder"

    def __init__(self, path: Path):
        self.path = path
        there = [f for f in map(path.joinpath, below(path)) if not f.name.startswith(".")]
        tiffs, pngs = ([f for f in there if f.suffix.lower() in kind] for kind in (FRAMES, PNGS))
        held = sorted(f.name for f in path.iterdir() if f.name.lower().endswith(OTHERS)) if path.is_dir() else []
        files = sorted(tiffs or ([] if held else pngs), key=lambda f: natural(str(f.relative_to(path))))
        if not files:
            pictures = sorted(f.name for f in there if f.suffix.lower() in LOSSY)
            hint = "give one movie, or a folder of TIFF or PNG frames"
            if held:
                hint = f"it holds {', '.join(held[:3])}: give one of them"
            elif pictures:
                hint = f"it holds {pictures[0]}, a picture and no counts: export the frames as TIFF or PNG"
            raise DataError(f"{path}: not an OME-Zarr group, and holds no TIFF or PNG files; {hint}")
        self._refuse_movies(files)
        found, guessed = places(files, path)
        self._files: dict[tuple[int, int, int, int], Path] = {}
        order = [str(name) for name in _entries(files[0].parent)[0].get("Summary", {}).get("ChNames", ())]
        channels = sorted({c for _, c, _, _ in found.values()}, key=lambda c: (c in order and order.index(c), natural(c)))
        views = sorted({v for v, *_ in found.values()}, key=natural)
        first_t = min(t for *_, t, _ in found.values())
        first_z = min(z for *_, z in found.values())
        for file, (view, channel, t, z) in found.items():
            self._files[views.index(view), t - first_t, channels.index(channel), z - first_z] = file
        self._first_t = first_t
        n_t, n_c, n_z = (max(at[k] for at in self._files) + 1 for k in (1, 2, 3))
        if n_t * n_c * n_z > 100 * len(files) + 1000:
            raise DataError(
                f"{path}: by their names its {len(files)} files are some of {n_t} frames x {n_c} channels x {n_z} planes; "
                "give the frames of one movie, numbered one after the other"
            )
        names = tuple(map(channel_name, channels))
        if len(set(names)) < len(names):  # two wavelengths of one name
            names = tuple(c.replace(NAMED, " ") for c in channels)
        self.fovs = tuple(self._fov(v, view, names, (n_t, n_c, n_z)) for v, view in enumerate(views))
        self.channel_names = self.fovs[0].channels
        self.dtype = read_plane(files[0]).dtype
        self.files = tuple(files)
        beside = f"{len(pngs)} PNG files beside its TIFF frames are not read."
        self.notes = (*((guessed,) if guessed else ()), *((beside,) if tiffs and pngs else ()), *header(files[0])[2])

    def _fov(self, v: int, view: str, names: tuple[str, ...], size: tuple[int, int, int]) -> Fov:
        there = np.zeros(size, bool)
        for at in self._files:
            if at[0] == v:
                there[at[1:]] = True
        first = next(file for at, file in sorted(self._files.items()) if at[0] == v)
        shape, as_shown, _ = header(first)
        if len(shape) != 2:
            raise DataError(f"{first}: colour (RGB) images are not supported; save single channels")
        frames = trimmed(there)
        own = {file.name: at[1] for at, file in self._files.items() if at[0] == v}
        times, pixel_size, step, given, stage = _micro_manager(first.parent, frames, own, self._first_t)
        notes = _entries(first.parent)[1] + as_shown
        source = "Micro-Manager metadata.txt" if np.isfinite(times).any() else ""
        if not source and not np.isfinite(step):
            held = {t: [f.name for at, f in self._files.items() if at[:2] == (v, t)] for t in range(frames)}
            if (named := clock(held)) is not None:
                times, source = np.array(named), "times in the names of the files"
                notes += ("its times are those in the names of its files.",)
        if pixel_size is None:
            pixel_size, said = _pixel_size(first)
            notes += said
        return Fov(
            view or "Image 0",
            *shape,
            frames,
            size[2],
            times,
            source,
            step,
            pixel_size,
            given if len(given) == len(names) and all(n.startswith("Channel ") for n in names) else names,
            there[:frames],
            size[0],
            notes,
            stage_um=stage,
        )

    def files_of(self, fov: int) -> tuple[Path, ...]:
        return tuple(file for at, file in self._files.items() if at[0] == fov)

    def _refuse_movies(self, files: list[Path]) -> None:
        """Each file is a single plane; movies among them are to be given one by one."""
        for file in {files[0], files[-1]}:
            if file.suffix.lower() in PNGS:
                several = False
            elif len(files) > 1 and has_ome_xml(file):
                with OmeTiffMovie(file) as movie:
                    several = max(f.n_frames for f in movie.fovs) > 1 or len(movie.fovs) > 1
            else:
                pages = Pages(file)
                several = len(pages.full) > 1
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


def header(file: Path) -> tuple[tuple[int, ...], tuple[str, ...], list[str]]:
    """Height and width of a frame, notes on its grey values, and remarks."""
    if file.suffix.lower() in PNGS:
        shape, _, said = png.header(file, False)
        return shape, tuple(f"the file {note}." for note in said), []
    page = Pages(file)
    try:
        return page.shape(page.full[0]), page.notes, page.remarks()
    finally:
        page.close()


def read_plane(file: Path) -> NDArray:
    """A PNG, or the only page of a TIFF file.

    Raises:
        DataError: it has several.
    """
    if file.suffix.lower() in PNGS:
        return png.read(file, slice(None), slice(None))
    pages = Pages(file)
    try:
        if len(pages.full) > 1:
            raise DataError(
                f"{file}: holds {len(pages.full)} planes, expected one, as the other files of the folder; take it out"
            )
        return pages.read(pages.full[0])
    finally:
        pages.close()


Told = tuple[NDArray[np.float64], float | None, float, tuple[str, ...], tuple[float, float] | None]


def _pixel_size(file: Path) -> tuple[float | None, tuple[str, ...]]:
    """As the file of a plane says itself, by ImageJ or OME-XML; None, and a note where its unit is not known. What a PNG
    says is the density of a print."""
    if file.suffix.lower() in PNGS:
        return None, ()
    with (OmeTiffMovie if has_ome_xml(file) else TiffMovie)(file) as movie:
        (view, *_) = movie.fovs
        return view.pixel_size_um, tuple(note for note in view.notes if "pixel" in note)


def _entries(folder: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What Micro-Manager's `metadata.txt` holds, and a note where it is cut off, as of an acquisition that was stopped:
    then what is whole of it counts."""
    file = folder / "metadata.txt"
    if not file.is_file():
        return {}, ()
    text = file.read_text(encoding="utf-8", errors="replace")
    try:
        told = json.loads(text)
        return (told, ()) if isinstance(told, dict) else ({}, ())
    except ValueError:
        pass
    whole: dict[str, Any] = {}
    for found in ENTRY.finditer(text):
        with suppress(ValueError):
            whole[found[1]] = json.JSONDecoder().raw_decode(text, found.end())[0]
    return whole, (
        f"Micro-Manager's metadata.txt in {folder.name} is cut off: {len(whole)} entries of it are whole and count.",
    )


def _micro_manager(folder: Path, frames: int, own: dict[str, int], first: int) -> Told:
    """Minutes of each frame, micrometres per pixel, minutes between frames, channel names and position of the stage
    (y, x, µm) by `metadata.txt`.

    own: names of the files of a field of view -> frame. first: the number of frame 0, for entries that name no file.
    """
    times, stage = np.full(frames, np.nan), None
    told, _ = _entries(folder)
    summary = told.get("Summary", {})
    size, interval = summary.get("PixelSize_um") or 0, summary.get("Interval_ms") or 0
    for key, entry in told.items():
        if not isinstance(entry, dict) or "ElapsedTime-ms" not in entry:
            continue
        name = str(entry.get("FileName") or key).replace("\\", "/").rpartition("/")[2]
        t = (
            own.get(name, -1)
            if Path(name).suffix in (*FRAMES, *PNGS)
            else int(entry.get("FrameIndex") or entry.get("Frame") or 0) - first
        )
        if not 0 <= t < frames:
            continue
        size = entry.get("PixelSizeUm") or size
        if stage is None and {"XPositionUm", "YPositionUm"} <= entry.keys():
            stage = float(entry["YPositionUm"]), float(entry["XPositionUm"])
        minutes = float(entry["ElapsedTime-ms"]) / 60_000
        times[t] = minutes if np.isnan(times[t]) else min(times[t], minutes)
    names = tuple(map(str, summary.get("ChNames", ())))
    return times, float(size) or None, float(interval) / 60_000 or np.nan, names, stage
