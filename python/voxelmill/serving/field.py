"""A field of view as its figures see it: tables of cells, frames on demand, and a colour for each track."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core import manifest
from ..inference.track_cells import load_tracks
from ..inference.tracking import Tracks
from ..postprocess.traces import left_out_name, read_csv, traces_name
from ..timelapse.store import Facts, View, acquired_in, channel_path, fov_name, open_channel, saturated_at
from .figures import coloured

COLOURS = 64
Table = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Field:
    """One field of view: its tables, and how to read a frame.

    nodes, tracks: as in `Tracks`, without regions that no track has.
    table, dropped: traces of the cells that were kept, and of those that a filter left out.
    """

    view: View
    pixel_size_um: float | None
    image: Callable[[int], NDArray]
    labels: Callable[[int], NDArray]
    nodes: NDArray
    tracks: NDArray
    table: Table
    dropped: Table
    channels: dict[int, str]  # that are measured, besides phase contrast
    gaps: frozenset[int] = frozenset()  # frames of which nothing was recorded
    top: int = 65535  # value of saturated pixels

    @classmethod
    def open(cls, movie: Path, tracked: Path, traces: Path, known: Facts, fov: int) -> Field:
        found: Tracks = load_tracks(tracked / fov_name(fov) / "tracks.npz")
        folder = traces / fov_name(fov)
        kept, rest = (folder / name(known.base, fov) for name in (traces_name, left_out_name))
        names, view = known.known.get("channel_names", []), known.views[fov]
        acquired = acquired_in(movie, fov, next(iter(known.images().values())))
        masks = ((t, acquired(t)) for t in range(view.n_frames))
        return cls(
            view,
            view.pixel_size_um,
            open_channel(movie, fov, next(iter(known.images()))).read,
            open_channel(tracked, fov, known.tracked()).read,
            found.nodes[found.nodes["track_id"] > 0],
            found.tracks,
            read_csv(manifest.checked(kept)) if kept.exists() else {},
            read_csv(manifest.checked(rest)) if rest.exists() else {},
            {c: names[c] if c < len(names) else "" for c in known.fluorescence},
            frozenset(t for t, mask in masks if mask is not None and not mask.any()),
            saturated_at(channel_path(movie, fov, next(iter(known.images())))),
        )

    @property
    def minutes(self) -> NDArray[np.float64]:
        return np.asarray(self.view.times, float)

    def blank(self, t: int) -> bool:
        """Whether all pixels of frame t have one value, as of a closed shutter or a saturated camera."""
        return bool(self.empty(t))

    def empty(self, t: int) -> str:
        """Why frame t shows nothing: `not recorded`, `saturated` or `blank`; else nothing is said."""
        if t in self.gaps:
            return "not recorded"
        frame = self.image(t)
        if frame.min() < frame.max():
            return ""
        return "saturated" if frame.min() >= self.top else "blank"

    def time(self, t: int) -> str:
        """When frame t was taken."""
        return f"{self.view.times[t]:.2f}".rstrip("0").rstrip(".") + " min"

    @property
    def counts(self) -> str:
        """How many tracks and divisions there are."""
        if not len(self.tracks):
            return "no cell was tracked"
        return ", ".join(
            f"{n} {name}{'s' * (n != 1)}" for n, name in ((len(self.tracks), "track"), (len(self.mothers), "division"))
        )

    @property
    def mothers(self) -> NDArray:
        """Track ids of the cells that divided."""
        return np.unique(self.tracks["parent"][self.tracks["parent"] > 0])

    @property
    def kept(self) -> NDArray:
        """Track ids of the cells in the table of traces."""
        return np.unique(self.table.get("cell", np.zeros(0, int)))

    @property
    def reasons(self) -> dict[str, int]:
        """How many cells have no traces, by reason."""
        if not self.dropped:
            missing = len(self.tracks) - len(self.kept)
            return {"not measured": missing} if missing else {}
        first = np.unique(self.dropped["cell"], return_index=True)[1]
        return {str(r): int(n) for r, n in zip(*np.unique(self.dropped["reason"][first], return_counts=True))}

    @property
    def diameter(self) -> float:
        """Median width of a cell, px; that of the frame where there is none."""
        areas = self.nodes["area"]
        return float(np.sqrt(4 / np.pi * np.median(areas))) if len(areas) else float(min(self.view.shape[1:]))

    def at(self, t: int) -> NDArray:
        """The nodes of frame t."""
        low, high = np.searchsorted(self.nodes["frame"], [t, t + 1])
        return self.nodes[low:high]

    def sisters(self, first: int, last: int) -> list[NDArray]:
        """(2, 2) y, x of the two daughters in frame `last`, of divisions in the frames from `first` to it."""
        here = self.at(last)
        place = {int(n["track_id"]): (n["y"], n["x"]) for n in here}
        born = self.tracks[
            (self.tracks["parent"] > 0) & (self.tracks["first"] >= first) & np.isin(self.tracks["track_id"], here["track_id"])
        ]
        pairs = (born["track_id"][born["parent"] == m].tolist() for m in np.unique(born["parent"]))
        return [np.array([place[i] for i in pair]) for pair in pairs if len(pair) == 2]


def colour_number(ids: NDArray) -> NDArray:
    """Which of the `COLOURS` each track has."""
    return (np.asarray(ids, np.int64) - 1) % COLOURS


def colour_table() -> NDArray[np.float32]:
    """(COLOURS, 3) RGB, 0-1, strong enough for thin lines."""
    return np.clip((coloured(np.arange(1, COLOURS + 1)) - 0.2) / 0.8, 0, 1)


def plot_colours(ids: NDArray) -> NDArray[np.float32]:
    """Colours of tracks on white paper: a little darker."""
    return colour_table()[colour_number(ids)] * 0.85


def spread(count: int, most: int) -> list[int]:
    """At most `most` of the numbers below `count`, evenly from the first to the last."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()
