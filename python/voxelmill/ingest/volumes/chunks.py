"""Chunks that a source lacks. The standards read them as the fill value: a lost one looks like a dark corner."""

from __future__ import annotations

import itertools

import numpy as np

from ...core.volume import Region
from .source import Chunks


class Lost:
    """Looks through what is read for chunks that are not there, and tells the lost from those never written.

    Only a chunk that reads as the fill value is asked for, once."""

    def __init__(self, chunks: Chunks | None):
        self.chunks = chunks
        self.seen: dict[tuple[int, ...], bool] = {}

    def look(self, values: np.ndarray, region: Region) -> None:
        """Args: values (z, y, x) of a region of the source, whose bounds are numbers."""
        if self.chunks is None:
            return
        spans = [range(r.start // c, -(-r.stop // c)) for r, c in zip(region, self.chunks.shape, strict=True)]
        for index in itertools.product(*spans):
            if index in self.seen:
                continue
            low = [max(i * c, r.start) for i, c, r in zip(index, self.chunks.shape, region, strict=True)]
            high = [min((i + 1) * c, r.stop) for i, c, r in zip(index, self.chunks.shape, region, strict=True)]
            part = values[tuple(slice(a - r.start, b - r.start) for a, b, r in zip(low, high, region, strict=True))]
            self.seen[index] = not _filled(part, self.chunks.fill) or self.chunks.there(tuple(low))

    def add(self, seen: dict[tuple[int, ...], bool]) -> None:
        """What was seen of another part; a chunk that lies in both is as it was seen first."""
        self.seen = {**seen, **self.seen}

    def voxels(self) -> list[list[int]]:
        """First voxel of each chunk that is not there though at least half of its neighbours seen are.

        Where nothing was written, as outside the tissue, most neighbours lack, too."""
        if self.chunks is None or all(self.seen.values()):
            return []
        found = []
        for index in sorted(index for index, there in self.seen.items() if not there):
            near = [self.seen[n] for n in _neighbours(index) if n in self.seen]
            if near and 2 * sum(near) >= len(near):
                found.append([i * c for i, c in zip(index, self.chunks.shape, strict=True)])
        return found


def _filled(values: np.ndarray, fill: object) -> bool:
    """Whether all values are the fill value; the first tells for most."""
    first = values.flat[0]
    if first != fill and (first == first or fill == fill):
        return False
    return bool((values == fill).all() or (fill != fill and (values != values).all()))


def _neighbours(index: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [(*index[:a], index[a] + step, *index[a + 1 :]) for a in range(len(index)) for step in (-1, 1)]
