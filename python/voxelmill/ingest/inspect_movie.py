"""Inspect movie: what a time-lapse file holds, and what of it is to be processed.

Checks channels, fields of view, z, times and pixels before any work begins; pixels are read only where `--convert`
must know their range. Writes `movie.json`, on which all later stages rely, and the batches of fields of view that
tasks work on.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from ..core import files, plans
from ..core.errors import DataError, ParameterError
from ..core.manifest import digest_of
from ..core.params import Params, param
from ..core.provenance import Task
from ..core.shared import Given, Strict
from ..core.stage import In, Out
from ..timelapse.parameters import Copying
from .movies.conversion import check_pixels
from .movies.formats import open_movie, use_times
from .movies.movie import Movie, ZChoice, base_name

ASSUMED_INTERVAL = 10.0  # minutes, where neither the file nor the user says


class Reading(Params):
    """How frames are read from a movie."""

    z_plane: str = param(
        "", "z plane to read, or max for the maximum of all; needed where there are several", pattern=r"^(max|\d+)?$"
    )
    z_is_time: bool = param(False, "The z planes of the file are the frames of a movie, saved with the wrong axis")
    convert: bool = param(False, "Accept other pixels than uint8 and uint16, rounded to whole counts, never clipped")
    convert_factor: float = param(
        1.0, "With --convert, what pixels are multiplied by before they are rounded; a ratio image needs 10000 or so", gt=0
    )


class Parameters(Given, Reading, Copying, Strict):
    """What of a movie is processed."""

    pc_channel: str | None = param(
        None, "Phase-contrast channel, by number or name, in which cells are found; without one, cells are not looked for"
    )
    fl_channels: tuple[str, ...] = param((), "Fluorescence channels to measure, by number or name: 1,2 or GFP,mCherry")
    fovs: str = param("all", "Fields of view: 0-3, 2, 0-1,4 or all")
    batch_size: int = param(
        2, "Fields of view that one task works on, one after the other", ge=1, le=1000, profiles={"aggressive": 8}
    )
    frame_interval: float | None = param(
        None, "Minutes between frames, in place of the file's own times (10 where there are none)", unit="min", gt=0
    )
    frame_times: tuple[float, ...] | None = param(None, "Minutes of each frame, in place of the file's own times", unit="min")


def run(p: Parameters, task: Task, *, source: In, facts: Out, batch_list: Out) -> None:
    location = p.input or str(source)
    if p.frame_times and p.frame_interval:
        raise ParameterError("--frame_interval and --frame_times both give times; leave one out")
    with open_as(source, p) as movie:
        chosen = movie.parse_fovs(p.fovs)
        if not (p.pc_channel or p.fl_channels):
            raise ParameterError(
                f"{location}: no channel was chosen; give --pc_channel, --fl_channels or both. "
                f"The file has {', '.join(f'{i} {n}' for i, n in enumerate(movie.channel_names))}"
            )
        movie.choose(chosen)
        phase = movie.parse_channel(p.pc_channel) if p.pc_channel else None
        measured = sorted({movie.parse_channel(name) for name in p.fl_channels})
        wanted = sorted({*measured, *([] if phase is None else [phase])})
        movie.require(wanted, chosen)
        if p.frame_times or p.frame_interval:
            take_times(movie, p, chosen)
        lacking = {fov: movie.lacks(fov, wanted) for fov in chosen}
        if p.strict and any(lacking.values()):
            fov = next(f for f, said in lacking.items() if said)
            raise DataError(f"{location}: {movie.named([fov], lacking[fov][0])} Leave --strict out to go on without")
        check_pixels(movie, chosen, wanted)
        notes = movie.notes_of(chosen)
        notes += [movie.named(fovs, note) for note, fovs in shared(lacking).items()]
        if movie.factor != 1 and movie.dtype.kind == "f":
            notes.append(f"Intensities are those of the file times {movie.factor:g} (--convert_factor).")
        found: dict[str, Any] = movie.describe(chosen) | {
            "file_path": location,
            "base_name": base_name(location),
            "notes": notes,
            "chosen": chosen,
            "pc_channel": phase,
            "fl_channels": measured,
        }
        plan = plans.by_items(chosen, p.batch_size)
        plans.write(batch_list, [{**row, "files": key_of(movie, plans.within(row["block"], chosen))} for row in plan])
        digest = digest_of_files(source, movie.files)
    facts.write_text(json.dumps(found, indent=1, allow_nan=False))
    frames = sum(found["fovs"][fov]["n_frames"] for fov in chosen)
    task.report(
        fovs=len(chosen),
        frames=frames,
        channels=found["channel_names"],
        times_from=found["time_source"],
        pixel_size_um=found["pixel_size_um"],
        digest=digest,
        notes=found["notes"],
    )


def shared(lacking: dict[int, list[str]]) -> dict[str, list[int]]:
    """What is said -> the fields of view that it is said of."""
    found: dict[str, list[int]] = {}
    for fov, said in lacking.items():
        for note in said:
            found.setdefault(note, []).append(fov)
    return found


def digest_of_files(source: Path, files: tuple[Path, ...]) -> str:
    """Of the movie; one in several files has that of them all, in order of their names."""
    if len(files) < 2 or source.is_dir():
        return digest_of(source)
    both = "\n".join(f"{file.name} {digest_of(file)}" for file in files)
    return hashlib.sha256(both.encode()).hexdigest()


def key_of(movie: Movie, fovs: list[int]) -> str:
    """Of the files that fields of view are read from."""
    if movie.archive:
        return files.key(movie.archive.parent, [movie.archive.name])
    beside = movie.path.parent
    found = {Path(os.path.relpath(file, beside)) for fov in fovs for file in movie.files_of(fov)}
    folders = {name for name in found if (beside / name).is_dir()}
    names = {f"{name}/{inside}" for name in folders for inside in files.below(beside / name)}
    return files.key(beside, names | {str(name) for name in found - folders})


def open_as(source: Path, reading: Reading) -> Movie:
    """Open a movie as the parameters say; a link is followed, so that files beside the movie are found."""
    z: ZChoice | None = None if not reading.z_plane else "max" if reading.z_plane == "max" else int(reading.z_plane)
    return open_movie(
        source.resolve(),
        z_plane=z,
        z_is_time=reading.z_is_time,
        convert=reading.convert,
        factor=reading.convert_factor,
        frame_interval=ASSUMED_INTERVAL,
    )


def take_times(movie: Movie, p: Parameters, chosen: list[int]) -> None:
    """Times of the user in place of the file's.

    Raises ParameterError where they are too few, too many, or do not rise."""
    name = "--frame_times" if p.frame_times else "--frame_interval"
    longest = max(movie.fovs[fov].n_frames for fov in chosen)
    times = p.frame_times or [t * p.frame_interval for t in range(longest)]  # type: ignore[operator]
    use_times(movie, dict(enumerate(times)), chosen, name)
