"""Where the tiles of a mosaic lie, from what they share with their neighbours.

Axes and signs. A position (y, x) is where pixel [0, 0] of a tile lies on the mosaic, y down, x right, px.
A seam's offset is position[b] - position[a]: what a shows at p, b shows at p - offset.

      a . . . . . . .                  offset = (1, 5)
      . . . . . b-+-+ . .              the overlap is what both show:
      . . . . . | | | . .              a[1:, 5:] and b[:-1, :-5]
      . . . . . +-+-+ . .
                . . . . .

1. Seams: the overlap of each two neighbours, registered to a fraction of a pixel (`registration`), first as the
   stage says they lie, then again at the shift that was found, so that nearly all of the overlap is used. A band-pass
   needs room: of overlaps that are narrow the slopes are registered (`narrow_overlap`).
2. Positions: all seams together (`offsets`), weighted by what they are worth, gross errors rejected. A tile whose
   seams say nothing (empty, agarose) keeps the place that the stage gives it beside its neighbours.

A tile is read once; of those read, only the strips that a neighbour still waits for are held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..core.errors import DataError
from . import narrow_overlap
from .bandpass import COARSEST
from .offsets import Offsets, median
from .registration import estimate_pair, prepare

LEAST = 8  # px of overlap, in both directions, in which a shift can be found
HALVED = 64  # px: from this width on a first look at half the resolution will do
NARROW = 24  # px: of overlaps less wide, slopes are registered
POOR = 0.7  # correlation of a seam that glints may have misled
BETTER = 1.25  # times the correlation: of two places the right one; where neither has it, nobody knows
DOUBTFUL = 0.4  # of its correlation is then left, so that it is told as a poor one
GLINT = 3  # standard deviations of the bulk: what is brighter or darker is cut off for a second try
FEW = 4  # looks of which the first registration takes one
CORNER = 0.4  # of the largest overlap of a tile: in a grid whose tiles overlap by less, pairs at corners have less
ERROR = 0.5, 3.0  # px by which a right seam may miss the joint solution: as it is, and where tiles are bent

Read = Callable[[int], np.ndarray]


@dataclass(frozen=True)
class Seam:
    """The overlap of tiles a and b.

    offset       (2,) px: position[b] - position[a]; as the stage has it where the overlap says nothing
    correlation  of the overlap, band-passed, at the offset
    weight       what the offset is worth: 1 / variance up to a factor; 0 where nothing was found
    residual     px by which the joint solution misses it
    """

    a: int
    b: int
    offset: np.ndarray
    correlation: float
    weight: float
    residual: float = 0.0

    @property
    def quality(self) -> float:
        """The correlation, less where the joint solution contradicts the seam; 0 where nothing was found."""
        return self.correlation * min(1.0, 1.0 / max(self.residual, 1e-9)) if self.weight > 0 else 0.0


@dataclass(frozen=True)
class Placement:
    """Tiles, placed.

    positions  (n, 2) px, on the mosaic of the nominal ones: their mean is the same
    quality    (n,) mean quality of a tile's seams; 0: its place is the stage's
    beyond     seams that were found farther from where the stage has them than tiles may be moved
    """

    positions: np.ndarray
    quality: np.ndarray
    seams: list[Seam]
    beyond: int = 0


def place(read: Read, nominal: np.ndarray, shapes: np.ndarray, reach: int = 32) -> Placement:
    """Place the tiles of a mosaic.

    read     of the number of a tile, its pixels (ny, nx) or (looks, ny, nx)
    nominal  (n, 2) positions as the stage has them, px
    shapes   (n, 2) px
    reach    px by which the stage may be wrong from tile to tile
    """
    pairs = neighbours(nominal, shapes)
    return solve(list(measure(read, nominal, shapes, pairs, reach)), nominal, shapes)


def neighbours(nominal: np.ndarray, shapes: np.ndarray, reach: int = 0) -> list[tuple[int, int]]:
    """Pairs a < b that overlap by LEAST px and more both ways, but not those that touch only at a corner of a grid.

    Such a pair adds nothing where both have a seam with a third: an overlap is left out when it is less than CORNER of
    the largest of either tile. With `reach` (px) those too that may overlap by as much if they lie closer by that."""
    n = len(nominal)
    order = np.argsort(nominal[:, 0], kind="stable")
    y, height = nominal[order, 0], float(shapes[:, 0].max(initial=0))
    area: dict[tuple[int, int], float] = {}
    for k in range(n):
        a = order[k]
        others = order[k + 1 : np.searchsorted(y, y[k] + height + reach, "left")]
        high = np.minimum(nominal[a] + shapes[a], nominal[others] + shapes[others])
        sides = high - np.maximum(nominal[a], nominal[others])
        near = (sides >= LEAST - reach).all(1)
        for b, side in zip(others[near].tolist(), sides[near]):
            area[min(int(a), b), max(int(a), b)] = float(np.maximum(side, 1).prod())
    largest = np.zeros(n)
    for (a, b), size in area.items():
        largest[a], largest[b] = max(largest[a], size), max(largest[b], size)
    return sorted(p for p, size in area.items() if size >= CORNER * min(largest[p[0]], largest[p[1]]))


def measure(
    read: Read, nominal: np.ndarray, shapes: np.ndarray, pairs: Iterable[tuple[int, int]], reach: int
) -> Iterable[Seam]:
    """The seams of pairs, as soon as both tiles of one have been read; tiles are read in the order of their rows."""
    partners: dict[int, list[int]] = {}
    for a, b in pairs:
        partners.setdefault(a, []).append(b)
        partners.setdefault(b, []).append(a)
    waiting: dict[tuple[int, int], Strip] = {}
    for tile in sorted(partners, key=lambda t: (nominal[t, 0], nominal[t, 1])):
        pixels = np.asarray(read(tile))
        pixels = pixels if pixels.ndim == 3 else pixels[None]
        if pixels.shape[1:] != tuple(shapes[tile]):
            raise DataError(f"tile {tile}: {pixels.shape[1:]} px; expected {tuple(shapes[tile].tolist())}")
        for other in sorted(partners[tile]):
            mine = Strip.cut(pixels, nominal[other] - nominal[tile], shapes[other], reach)
            theirs = waiting.pop((other, tile), None)
            if theirs is None:
                waiting[tile, other] = mine
            elif tile < other:
                yield seam(tile, other, mine, theirs, nominal[other] - nominal[tile], reach)
            else:
                yield seam(other, tile, theirs, mine, nominal[tile] - nominal[other], reach)


@dataclass(frozen=True)
class Strip:
    """Part of a tile that its neighbour may show: pixels (looks, y, x), the first of them at `corner` of the tile."""

    pixels: np.ndarray
    corner: np.ndarray

    @classmethod
    def cut(cls, tile: np.ndarray, offset: np.ndarray, other: Sequence[int], reach: int) -> Strip:
        """What a tile whose neighbour lies at `offset` shares with it, `reach` px more on all sides."""
        first = np.clip(np.floor(offset).astype(int) - reach, 0, tile.shape[1:])
        last = np.clip(np.ceil(offset).astype(int) + other + reach, 0, tile.shape[1:])
        # a copy, so that the tile itself can go
        return cls(tile[:, first[0] : last[0], first[1] : last[1]].copy(), first)

    def few(self) -> Strip:
        """One look of FEW: where to look closer is seen in these."""
        return replace(self, pixels=self.pixels[len(self.pixels) // FEW :: FEW] if len(self.pixels) >= FEW else self.pixels)

    def matt(self) -> Strip:
        """Without what stands out by more than GLINT: reflections move with the lamp, not with the scene."""
        middle = np.median(self.pixels)
        bulk = GLINT * 1.4826 * np.median(np.abs(self.pixels - middle.astype(np.float32)))
        return replace(self, pixels=np.clip(self.pixels.astype(np.float32), middle - bulk, middle + bulk))

    def __getitem__(self, box: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        (y0, x0), (y1, x1) = (edge - self.corner for edge in box)
        return self.pixels[:, y0:y1, x0:x1]

    @property
    def end(self) -> np.ndarray:
        return self.corner + self.pixels.shape[1:]


def seam(a: int, b: int, of_a: Strip, of_b: Strip, nominal: np.ndarray, reach: int) -> Seam:
    """Register the overlap of two tiles; a poor seam once more without glints, if it then fits better elsewhere. One that
    fits as well elsewhere is told as poor."""
    found = _seam(a, b, of_a, of_b, nominal, reach)
    if found.correlation >= POOR or (_size(of_a, of_b, nominal) < NARROW).any():
        return found
    again = _seam(a, b, of_a.matt(), of_b.matt(), nominal, reach)
    if again.weight <= 0 or (found.weight > 0 and np.abs(again.offset - found.offset).max() <= ERROR[1]):
        return found
    if again.correlation > BETTER * found.correlation:
        return again
    doubtful = again.correlation > found.correlation / BETTER
    return replace(found, correlation=DOUBTFUL * found.correlation, weight=DOUBTFUL**2 * found.weight) if doubtful else found


def _seam(a: int, b: int, of_a: Strip, of_b: Strip, nominal: np.ndarray, reach: int) -> Seam:
    """The seam: where the stage says it is, else anywhere within reach, then once more there."""
    nothing = Seam(a, b, np.asarray(nominal, float), 0.0, 0.0)
    if (_size(of_a, of_b, nominal) < NARROW).any():
        return _narrow(nothing, of_a, of_b, reach)
    few = _overlap(nothing, of_a.few(), of_b.few(), full=False, half=True)
    if few.weight > 0 and (_size(of_a, of_b, few.offset) >= NARROW).all():
        fine = _overlap(few, of_a, of_b, full=True)
        if fine.weight > 0:
            return fine
    coarse = _overlap(nothing, of_a, of_b, full=False)
    if coarse.weight <= 0:
        coarse = _register(nothing, *_whole(of_a, of_b), full=False)
    if coarse.weight > 0 and (_size(of_a, of_b, coarse.offset) < NARROW).any():
        return _narrow(nothing, of_a, of_b, reach)
    fine = _overlap(coarse, of_a, of_b, full=True) if coarse.weight > 0 else coarse
    return fine if fine.weight > 0 else coarse


def _size(of_a: Strip, of_b: Strip, offset: np.ndarray) -> np.ndarray:
    """(2,) px that both strips show at an offset."""
    return np.minimum(of_a.end, of_b.end + offset) - np.maximum(of_a.corner, of_b.corner + offset)


def _narrow(nothing: Seam, of_a: Strip, of_b: Strip, reach: int) -> Seam:
    """The seam of an overlap without room for a band-pass."""
    corners = of_a.corner - of_b.corner
    first, last = (np.rint(nothing.offset - corners + by).astype(int) for by in (-reach, reach))
    found = narrow_overlap.find(of_a.pixels, of_b.pixels, first, last)
    if found is None:
        return nothing
    c2 = min(found.correlation, 0.999) ** 2
    return replace(nothing, offset=found.shift + corners, correlation=found.correlation, weight=found.pixels * c2 / (1 - c2))


def _overlap(known: Seam, of_a: Strip, of_b: Strip, full: bool, half: bool = False) -> Seam:
    """Register what both strips show if the offset is as known so far."""
    shift = np.rint(known.offset).astype(int)
    first = np.maximum(of_a.corner, of_b.corner + shift)
    last = np.minimum(of_a.end, of_b.end + shift)
    if (last - first < LEAST).any():
        return replace(known, weight=0.0)
    return _register(known, of_a[first, last], first, of_b[first - shift, last - shift], first - shift, full, half)


def _whole(of_a: Strip, of_b: Strip) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Both strips, cut to one size, and their corners."""
    size = np.minimum(of_a.pixels.shape[1:], of_b.pixels.shape[1:])
    return of_a[of_a.corner, of_a.corner + size], of_a.corner, of_b[of_b.corner, of_b.corner + size], of_b.corner


def _register(
    known: Seam,
    one: np.ndarray,
    corner: np.ndarray,
    other: np.ndarray,
    other_corner: np.ndarray,
    full: bool,
    half: bool = False,
) -> Seam:
    """The seam from two parts (looks, y, x) of one size at given corners of a and b: look by look, weighed together.

    full     at full resolution; else a part that is wide enough is halved
    half     halve a part of HALVED px already, for a first look"""
    total, power, correlation = np.zeros(2), 0.0, 0.0
    most = max(COARSEST, -(-max(one.shape[1:]) // 2)) if half and min(one.shape[1:]) >= HALVED else 2**14
    for of_a, of_b in zip(one, other, strict=True):
        found = estimate_pair(*(prepare(part, full=full, max_size=most) for part in (of_a, of_b)), level="translation")
        if found.trusted:
            c2 = min(found.correlation, 0.999) ** 2
            weight = of_a.size * found.overlap * c2 / (1 - c2)
            total += weight * (corner - other_corner - found.matrix[:, 2])
            power += weight
            correlation = max(correlation, found.correlation)
    if power <= 0:
        return replace(known, weight=0.0)
    return replace(known, offset=total / power, correlation=correlation, weight=power)


def solve(seams: list[Seam], nominal: np.ndarray, shapes: np.ndarray) -> Placement:
    """Positions from seams; deviations from the nominal ones are solved for, so that what is untied keeps its place."""
    seams = sorted(seams, key=lambda s: (s.a, s.b))
    found = [s for s in seams if s.weight > 0]
    ends = [(s.a, s.b) for s in seams]
    n, by_distance = len(nominal), lambda e: float(np.abs(nominal[e[1]] - nominal[e[0]]).sum())
    near = sorted(ends, key=by_distance) + [(k - 1, k) for k in range(1, n)]
    usual = median([s.weight for s in found]) if found else 1.0
    graph = Offsets([(s.a, s.b) for s in found], [s.weight / usual for s in found], np.arange(n), near, n, ends)
    moved = [s.offset - (nominal[s.b] - nominal[s.a]) for s in found]
    positions = nominal + graph.solve_despite(np.array(moved).reshape(-1, 2), *ERROR)
    return judged(seams, positions)


def judged(seams: list[Seam], positions: np.ndarray) -> Placement:
    """Positions, and how well seams agree with them."""
    n = len(positions)
    seams = [replace(s, residual=float(np.hypot(*(positions[s.b] - positions[s.a] - s.offset)))) for s in seams]
    mine: list[list[float]] = [[] for _ in range(n)]
    for s in seams:
        mine[s.a].append(s.quality)
        mine[s.b].append(s.quality)
    return Placement(positions, np.array([np.mean(q) if q else 0.0 for q in mine]), seams)
