"""Pairwise registration of sections: where a section's content lies in its neighbour.

Axes and signs. Arrays are (y, x), y down, x right, pixel centres at whole numbers, pixel [0, 0] at
(0, 0). Here a dot stands at (y, x) = (1, 3) in `fixed` and at (3, 8) in `moving`:

      fixed   x ->               moving  x ->
      . . . . . . . . . .        . . . . . . . . . .      matrix leads from fixed to moving:
    y . . . # . . . . . .        . . . . . . . . . .          matrix @ (1, 3, 1) = (3, 8)
    | . . . . . . . . . .        . . . . . . . . . .      dy, dx, rotation_deg are what to *add to the
    v . . . . . . . . . .        . . . . . . . . # .      content of moving* to lay it on fixed:
      . . . . . . . . . .        . . . . . . . . . .          (dy, dx) = (-2, -5)

Levels, each started from the one before:

translation, rigid   cross-correlation of the coarsest level of a pyramid, then Gauss-Newton steps with the
             gradient of the fixed image (Lucas and Kanade 1981; inverse compositional form of Baker and
             Matthews 2004), its fixed point is the maximum of the correlation of the overlap.
elastic      adds a smooth displacement field, see `flow`.

Images are band-passed first, so brightness, shading and contrast do not matter; large areas of one value
(padding, lost bands) have no weight. A result that does not raise the correlation is not kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..core.errors import DataError, ParameterError
from .bandpass import RIM, Layer, Prepared, View, padded, prepare, tile_sums
from .flow import displacement, on_layer, remapped
from .pair_results import LEVELS, Level, PairResult
from .warp import apply, centre_of, rigid_matrix

CHANCE = 6.0  # standard deviations that the best of many chance correlations stays below
SURE = 0.7  # coarse correlation at which no other shift is looked for
LOST = 0.3  # coarse correlation below which other rotations are tried
DEGREES = 6.0  # between rotations tried; Gauss-Newton steps find the rest
GUARD = 0.02  # loss of correlation that interpolation and another overlap can explain


def estimate_pair(
    fixed: Any,
    moving: Any,
    *,
    level: Level = "rigid",
    max_size: int | None = None,
    max_rotation_deg: float = 24.0,
    min_correlation: float = 0.1,
    smoothness: float = 32.0,
    numbers: tuple[int, int] = (0, 1),
) -> PairResult:
    """Find where the content of `fixed` lies in `moving`.

    fixed, moving      sections (ny, nx) of equal shape and any real dtype, or what `prepare` made of them
    level              'translation', 'rigid' or 'elastic'
    max_size           px: the longer side of the finest layer used; None for 320, elastic 1024
    max_rotation_deg   rotations tried when the direct way finds nothing; 0 for none
    min_correlation    a result whose correlation times overlap is less is not trusted, nor is one that an
                       unlike section might reach by chance
    smoothness         px: sigma of the finest window of the elastic level
    numbers            section numbers, carried into the result

    Never worse than nothing: falls back to the level below, at last the identity ('none'), when the
    correlation of the overlap falls. Deterministic. Raises DataError, ParameterError.
    """
    if level not in LEVELS[1:]:
        raise ParameterError(f"alignment level is {level!r}; expected one of {LEVELS[1:]}")
    a, b = (
        s if isinstance(s, Prepared) else prepare(s, full=level == "elastic", max_size=max_size, name=f"section {n}")
        for s, n in zip((fixed, moving), numbers)
    )
    if a.shape != b.shape:
        raise DataError(
            f"sections {numbers[0]} and {numbers[1]}: shapes {a.shape} and {b.shape}; expected the same, pad them first"
        )
    nothing = PairResult(
        *numbers,
        "none",
        np.eye(2, 3),
        None,
        16,
        0.0,
        0.0,
        1.0,
        np.zeros_like(a.layers[-1].tile_power),
        (a.blank, b.blank),
        a.shape,
    )
    if a.blank or b.blank:
        return nothing
    before = _correlation_as_is(a.layers[-1], b.layers[-1])
    nothing = replace(nothing, correlation=before, correlation_before=before)
    turn = level != "translation"
    stop = -1 if level == "elastic" and len(a.layers) > 2 else None  # half the resolution will do here

    def refined(parameters: Sequence[float]) -> PairResult:
        for layers in zip(a.layers[1:stop], b.layers[1:stop]):
            parameters, _ = _gauss_newton(*layers, parameters, turn, evened=not turn and layers[0] is a.layers[-1])
        matrix = _matrix(parameters, centre_of(a.shape))
        return _at(replace(nothing, level="rigid" if turn else "translation", matrix=matrix), a, b)

    best = _better(nothing, refined(_search(a, b, turn, max_rotation_deg)), a, min_correlation)
    if not best.trusted:  # the coarsest layer may mislead where the finest, as it lies, does not
        best = _better(nothing, refined((0.0, 0.0, 0.0)), a, min_correlation)
    if level == "elastic" and best.trusted:
        field, spacing = displacement(best.matrix, a, b, smoothness)
        bent = replace(best, level="elastic", field=field, spacing=spacing)
        best = _better(best, _at(bent, a, b), a, min_correlation)
    return best if best.trusted else _at(best, a, b)


def _better(best: PairResult, found: PairResult, a: Prepared, min_correlation: float) -> PairResult:
    """`found` if it explains enough of the fixed section to be trusted, and no less than `best` does."""
    chance = CHANCE * a.layers[-1].spread / max(found.overlap, 1e-9) ** 0.5
    enough = found.correlation * found.overlap >= min_correlation and found.correlation >= chance
    return found if enough and found.correlation >= best.correlation - GUARD else best


# --- translation and rotation ---------------------------------------------------------------------
# Parameters are (turn in radians, dy, dx in px of the section) of the map fixed -> moving, about the centre.


def _matrix(parameters: Sequence[float], centre: Sequence[float]) -> np.ndarray:
    return rigid_matrix(parameters[1], parameters[2], math.degrees(parameters[0]), centre)


def _warped(image: np.ndarray, matrix: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """`image` seen from the fixed section: out(p) = image(matrix @ p), 0 beyond its rim."""
    import cv2

    xy = np.array([[matrix[1, 1], matrix[1, 0], matrix[1, 2]], [matrix[0, 1], matrix[0, 0], matrix[0, 2]]])
    return cv2.warpAffine(
        image,
        xy,
        (shape[1], shape[0]),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=0,
    )


def _area(matrix: np.ndarray, shape: Sequence[int]) -> tuple[int, int, int, int]:
    """A rectangle (y0, y1, x0, x1) of fixed whose pixels all fall inside moving, (0, 0, 0, 0) if there is none.

    Margins are even and at least RIM, so that small moves all ask for the same one.
    """
    bounds: list[int] = []
    for k in (0, 1):  # how far a pixel moves along k is extreme at the corners
        by_y, by_x, move = matrix[k].tolist()
        by_y, by_x = (by_y - 1, by_x) if k == 0 else (by_y, by_x - 1)
        ends = [(y, x) for y in (0, shape[0] - 1) for x in (0, shape[1] - 1)] if by_y or by_x else [(0, 0)]
        moves = [move + by_y * y + by_x * x for y, x in ends]
        first, last = (max(RIM, 2 * math.ceil(m / 2)) for m in (-min(moves), max(moves)))
        bounds += [first, shape[k] - last]
    return (0, 0, 0, 0) if bounds[1] < bounds[0] + 4 or bounds[3] < bounds[2] + 4 else tuple(bounds)  # type: ignore


def _seen(
    fixed: Layer, moving: Layer, matrix: np.ndarray, area: tuple[int, int, int, int]
) -> tuple[np.ndarray, np.ndarray | None]:
    """`moving` on an area of fixed, and where both have signal there (None for everywhere), float32."""
    y0, y1, x0, x1 = area
    size = (y1 - y0, x1 - x0)
    if fixed.mask is moving.mask is None and matrix.tolist() == [[1, 0, 0], [0, 1, 0]]:
        return moving.image[y0:y1, x0:x1], None
    local = matrix.copy()
    local[:, 2] += matrix[:, 0] * y0 + matrix[:, 1] * x0
    m = _warped(moving.image, local, size)
    if fixed.mask is None and moving.mask is None:
        return m, None
    both = (_warped(moving.signal, local, size) > 0.999).astype(np.float32)
    if fixed.mask is not None:
        both *= fixed.mask[y0:y1, x0:x1] > 0.999
    return m * both, both


def _search(a: Prepared, b: Prepared, turn: bool, max_rotation_deg: float) -> Sequence[float]:
    """Parameters on the coarsest layer: from where it lies, else from any shift, else from any shift and turn."""
    start, correlation = _gauss_newton(a.layers[0], b.layers[0], (0.0, 0.0, 0.0), turn)
    if correlation >= max(SURE, CHANCE * a.layers[0].spread):
        return start
    start, correlation = _correlate(a, b, 0.0, turn)
    if turn and correlation < max(LOST, CHANCE * a.layers[0].spread):
        turns = np.arange(DEGREES, max_rotation_deg + 1e-9, DEGREES)
        tried = [(start, correlation)] + [_correlate(a, b, float(s * t), turn) for t in turns for s in (1, -1)]
        start, _ = max(tried, key=lambda found: found[1])
    return start


def _correlate(a: Prepared, b: Prepared, turn_deg: float, turn: bool) -> tuple[Sequence[float], float]:
    """Best shift of the coarsest layer at one rotation, refined, and its correlation."""
    layer = b.layers[0]
    spectrum, size = b.spectrum, padded(layer.image.shape)
    if turn_deg:
        matrix = rigid_matrix(0, 0, turn_deg, centre_of(layer.image.shape))
        spectrum = np.fft.rfft2(_warped(layer.image, matrix, layer.image.shape), size)
    surface = np.fft.irfft2(np.conj(a.spectrum) * spectrum, size)
    peak = divmod(int(surface.argmax()), size[1])
    shift = [p - n if p > n // 2 else p for p, n in zip(peak, size)]
    y, x = apply(rigid_matrix(0, 0, turn_deg, (0, 0)), np.array(shift)).tolist()
    start = (math.radians(turn_deg), y * layer.scale, x * layer.scale)
    return _gauss_newton(a.layers[0], layer, start, turn)


def _gauss_newton(
    fixed: Layer,
    moving: Layer,
    parameters: Sequence[float],
    turn: bool,
    steps: int = 12,
    tolerance: float = 0.01,
    evened: bool = False,
) -> tuple[Sequence[float], float]:
    """Refine parameters on one layer until a step moves no pixel by `tolerance` px of it; the correlation.

    evened   as for `Layer.view`"""
    k, radius = 4 if turn else 3, max(fixed.image.shape) / 2
    angle, y, x = parameters[0], parameters[1] / fixed.scale, parameters[2] / fixed.scale
    correlation = -1.0
    for _ in range(steps):
        matrix = _matrix((angle, y, x), fixed.centre)
        area = _area(matrix, fixed.image.shape)
        if not any(area):
            return parameters, -1.0
        m, both = _seen(fixed, moving, matrix, area)
        view = fixed.view(*area, turn, evened)
        if both is not None:
            view = View(view.rows * both.ravel())
        ff, (fm, *by_slope) = float(view.sums[0, 0]), np.einsum("ki,i->k", view.rows[:k], m.ravel())
        correlation = fm / max((ff * _dot(m, m)) ** 0.5, 1e-9)
        if fm <= 0.02 * ff:  # nothing in common here: leave it to the guard
            return parameters, correlation
        # fixed explains fm/ff * fixed of moving; without this factor noise would shorten the steps.
        rest = view.sums[0, 1:k] - np.array(by_slope) * (ff / fm)
        dy, dx, *turned = ((view.turned if turn else view.shifted) * rest).sum(1).tolist()
        c, s = math.cos(angle), math.sin(angle)
        y, x, angle = y + c * dy - s * dx, x + s * dy + c * dx, angle + sum(turned)
        if abs(dy) + abs(dx) + abs(sum(turned)) * radius < tolerance:
            break
    return (angle, y * fixed.scale, x * fixed.scale), correlation


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    """Sum of products; unlike that of BLAS the same for any number of threads."""
    return float((a * b).sum())


# --- quality --------------------------------------------------------------------------------------


def _correlation_as_is(fixed: Layer, moving: Layer) -> float:
    """Correlation of two layers as they lie."""
    inner = np.s_[RIM:-RIM, RIM:-RIM]
    f, m = fixed.image[inner], moving.image[inner]
    if fixed.mask is not None or moving.mask is not None:
        both = (fixed.signal * moving.signal)[inner]
        f, m = f * both, m * both
    power = _dot(f, f) * _dot(m, m)
    return _dot(f, m) / power**0.5 if power > 0 else 0.0


def _at(result: PairResult, a: Prepared, b: Prepared) -> PairResult:
    """The result with its correlation, overlap and agreement, measured on the finest layer."""
    fixed, moving = a.layers[-1], b.layers[-1]
    f, m, both = fixed.image, np.zeros_like(fixed.image), None
    if result.field is None:
        matrix = on_layer(result.matrix, fixed)
        y0, y1, x0, x1 = area = _area(matrix, f.shape)
        m[y0:y1, x0:x1], part = _seen(fixed, moving, matrix, area) if any(area) else (0, None)
        power, overlap = float(fixed.view(*area).sums[0, 0]), (y1 - y0) * (x1 - x0) / m.size
        if part is not None:
            both = np.zeros_like(f)
            both[y0:y1, x0:x1] = part
    else:
        y, x = ((np.arange(n) + 0.5) * fixed.scale - 0.5 for n in f.shape)
        at = result.positions(np.stack(np.meshgrid(y, x, indexing="ij"), -1))
        seen, both = remapped(tuple(np.moveaxis(fixed.positions(at), -1, 0).astype(np.float32)), moving, fixed)
        m = seen * both
    ff, fm, mm = fixed.tile_power, tile_sums(f * m), tile_sums(m * m)
    if both is not None:
        ff = tile_sums(f * f * both)
        power, overlap = float(ff.sum()), float(both.mean())
    power *= float(mm.sum())
    return replace(
        result,
        correlation=float(fm.sum()) / power**0.5 if power > 0 else 0.0,
        overlap=overlap,
        agreement=fm / np.sqrt(np.maximum(ff * mm, 1e-9)),
    )


# --- many pairs -----------------------------------------------------------------------------------


def neighbour_pairs(n_sections: int, neighbours: int, first: int = 0, stop: int | None = None) -> list[tuple[int, int]]:
    """Pairs (z, z + 1) .. (z, z + neighbours) whose first section is in [first, stop): a task's share."""
    stop = n_sections if stop is None else stop
    return [(z, z + d) for z in range(first, min(stop, n_sections)) for d in range(1, neighbours + 1) if z + d < n_sections]


def estimate_pairs(
    read: Callable[[int], Any],
    pairs: Iterable[tuple[int, int]],
    *,
    level: Level = "rigid",
    max_size: int | None = None,
    max_rotation_deg: float = 24.0,
    min_correlation: float = 0.1,
    smoothness: float = 32.0,
) -> list[PairResult]:
    """`estimate_pair` for many pairs; read(z) gives section z.

    Each section is read and prepared once and let go after its last pair, so memory holds as many prepared
    sections as the pairs in hand reach across. A result depends on its two sections alone, so stacks may be
    cut into tasks anywhere.
    """
    todo = sorted(pairs)
    last = {z: k for k, pair in enumerate(todo) for z in pair}
    ready: dict[int, Prepared] = {}
    out = []
    for k, pair in enumerate(todo):
        for z in pair:
            if z not in ready:
                ready[z] = prepare(read(z), full=level == "elastic", max_size=max_size, name=f"section {z}")
        out.append(
            estimate_pair(
                ready[pair[0]],
                ready[pair[1]],
                level=level,
                smoothness=smoothness,
                max_rotation_deg=max_rotation_deg,
                min_correlation=min_correlation,
                numbers=pair,
            )
        )
        for z in pair:
            if last[z] == k:
                del ready[z]
    return out
