"""A region of a volume with every section moved: one interpolation, and no more of the source in memory than the
region needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..core.volume import Image, Region
from . import warp


def render_region(
    source: Image, moves: Sequence[warp.SectionTransform], region: Region, interpolation: str = "linear"
) -> np.ndarray:
    """A (z, y, x) region of an image as its sections' transforms have it; `moves` are those of the region's sections.

    Sections are read together while they need much the same part (`runs`), since a chunk holds several. Values from
    beyond the source are 0."""
    z, y, x = region
    part = (y.start, y.stop, x.start, x.stop)
    out = np.zeros(tuple(s.stop - s.start for s in region), source.dtype)
    windows = [warp.source_window(move, part, source.shape[1:]) for move in moves]
    for run, (y0, y1, x0, x1) in runs(windows):
        held = source.read((slice(z.start + run.start, z.start + run.stop), slice(y0, y1), slice(x0, x1)))
        for n in range(run.start, run.stop):
            if windows[n][1] > windows[n][0]:
                view = Window(held[n - run.start], (y0, x0), source.shape[1:])
                out[n] = warp.render(view, moves[n], part, interpolation=interpolation)
    return out


def runs(windows: Sequence[warp.Region]) -> Iterator[tuple[slice, warp.Region]]:
    """Runs of sections and the window around theirs, of at most twice the area of the largest single one.

    Sections whose window is empty belong to any run; a run of nothing else is not given."""
    most = 2 * max(map(_area, windows), default=0)
    first, around = 0, (0, 0, 0, 0)
    for n, window in enumerate(windows):
        if not _area(window):
            continue
        both = _union(around, window) if _area(around) else window
        if _area(both) > most:
            yield slice(first, n), around
            first, both = n, window
        around = both
    if _area(around):
        yield slice(first, len(windows)), around


def _area(window: warp.Region) -> int:
    return (window[1] - window[0]) * (window[3] - window[2])


def _union(a: warp.Region, b: warp.Region) -> warp.Region:
    return min(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), max(a[3], b[3])


class Window:
    """Part of a section that answers slices in the section's own coordinates."""

    def __init__(self, values: np.ndarray, corner: Sequence[int], shape: Sequence[int]):
        self.values, self.corner, self.shape, self.dtype = values, corner, shape, values.dtype

    def __getitem__(self, at: Any) -> np.ndarray:
        y, x = (
            slice((s.start or 0) - c, (n if s.stop is None else s.stop) - c)
            for s, c, n in zip(at, self.corner, self.shape, strict=True)
        )
        return self.values[y, x]
