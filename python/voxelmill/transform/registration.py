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
elastic      dense Lucas-Kanade steps whose products are averaged over Gaussian windows that shrink from
             four times to once `smoothness` px; where a window holds too little structure, wider windows
             decide. The field is as smooth as its window.

Images are band-passed first, so brightness, shading and contrast do not matter; large areas of one value
(padding, lost bands) have no weight. A result that does not raise the correlation is not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np

from ..core.errors import DataError, ParameterError
from .warp import apply, centre_of, compose, invert, rigid_matrix, rigid_parameters, sample_grid

Level = Literal["none", "translation", "rigid", "elastic"]
LEVELS: tuple[Level, ...] = ("none", "translation", "rigid", "elastic")

COARSEST = 64        # px: the pyramid ends when its shorter side is no longer than this
SMALL = 128          # px: sections shorter than this are estimated at full resolution
HIGH_PASS = 8.0      # px of each level: shading is what is wider than this
LOW_PASS = 1.0       # px of each level: pixel noise is what is finer than this
NODE = 8             # px of a level between nodes of its displacement field
LOST = 0.1           # coarse correlation below which other rotations are tried
DEGREES = 8.0        # between rotations tried; Gauss-Newton steps find the rest
GUARD = 0.01         # loss of correlation that interpolation alone can explain
TILE = 32            # px of the finest level: the least side of a tile of the agreement map
PRIOR = 0.03         # weight of windows three times as wide, which decide where there is no structure


@dataclass(frozen=True)
class Prepared:
    """A section ready for registration, so that work is shared by all its pairs.

    levels holds (px of the section per px of the level, image, mask or None), coarse to fine; spectrum is
    that of the coarsest image, zero-padded to twice its size.
    """

    shape: tuple[int, int]
    levels: list[tuple[float, np.ndarray, np.ndarray | None]]
    spectrum: np.ndarray
    blank: bool


@dataclass(frozen=True)
class PairResult:
    """What registration of a pair found.

    fixed, moving        numbers of the sections, as given to `estimate_pair`
    level                the level whose result this is: 'none' (identity) when nothing better was found
    matrix               (2, 3) float64, (y, x): position in fixed -> position in moving
    field                None or (2, gy, gx) float32 px (y, x), node [i, j] at (i, j) * spacing of fixed:
                         position in moving = matrix @ p + field(p)
    correlation          of the band-passed overlap, at the result; 0 when a section is blank
    correlation_before   at the identity
    overlap              part of fixed that is seen in moving, 0 to 1
    agreement            (ty, tx) float32: the correlation tile by tile of fixed
    blank                whether fixed, moving hold a single value
    shape                (ny, nx) of the sections
    """

    fixed: int
    moving: int
    level: Level
    matrix: np.ndarray
    field: np.ndarray | None
    spacing: int
    correlation: float
    correlation_before: float
    overlap: float
    agreement: np.ndarray
    blank: tuple[bool, bool]
    shape: tuple[int, int]

    @property
    def trusted(self) -> bool:
        """False when the sections have nothing in common that was found; then `matrix` is the identity."""
        return self.level != "none"

    @property
    def correction(self) -> tuple[float, float, float]:
        """(dy, dx, rotation_deg) that lays the content of moving on fixed, about the centre."""
        return rigid_parameters(invert(self.matrix), centre_of(self.shape))

    def positions(self, points: np.ndarray) -> np.ndarray:
        """Positions in moving (..., 2) of points (..., 2), (y, x), of fixed."""
        out = apply(self.matrix, points)
        if self.field is not None:
            nodes = points / self.spacing
            out = out + np.moveaxis(sample_grid(self.field, nodes[..., 0], nodes[..., 1]), 0, -1)
        return out


def prepare(section: Any, *, level: Level = "rigid", max_size: int = 1024, name: str = "section") -> Prepared:
    """Band-passed pyramid of one section.

    section   (ny, nx) array of any real dtype, or anything with `shape`, `dtype` and row slices; read once,
              in strips, so that memory is bounded by max_size and a strip
    level     the elastic level keeps the full resolution; the others stop at half of it, which costs a
              quarter and is as good (0.015 against 0.011 px on FIB-25)
    max_size  px: the longer side of the finest level kept

    Raises DataError for a section that is not 2-D, empty or not finite; ParameterError for a bad level.
    """
    import cv2

    if level not in LEVELS[1:]:
        raise ParameterError(f"alignment level is {level!r}; expected one of {LEVELS[1:]}")
    if len(section.shape) != 2 or min(section.shape) < 8:
        raise DataError(f"{name}: shape {tuple(section.shape)}; expected (y, x) of at least 8 px a side")
    shape = (int(section.shape[0]), int(section.shape[1]))
    factor = -(-max(shape) // max_size)
    if level != "elastic" and factor == 1 and min(shape) >= SMALL:
        factor = 2
    image = _reduced(section, shape, factor, name)
    low, high, _, _ = cv2.minMaxLoc(image)
    mask = None if high == low else _mask(image)
    levels = []
    scale = float(factor)
    while True:
        levels.append((scale, _band_pass(image, mask), mask))
        if min(image.shape) <= COARSEST:
            break
        image, mask, scale = _halved(image), None if mask is None else _halved(mask), scale * 2
    levels.reverse()
    coarse = levels[0][1]
    spectrum = np.fft.rfft2(coarse, _padded(coarse))
    return Prepared(shape, levels, spectrum, blank=high == low)


def estimate_pair(fixed: Any, moving: Any, *, level: Level = "rigid", max_size: int = 1024,
                  max_rotation_deg: float = 24.0, min_correlation: float = 0.1, smoothness: float = 32.0,
                  numbers: tuple[int, int] = (0, 1)) -> PairResult:
    """Find where the content of `fixed` lies in `moving`.

    fixed, moving      sections (ny, nx) of equal shape and any real dtype, or what `prepare` made of them
    level              'translation', 'rigid' or 'elastic'
    max_size           px: the longer side of the finest level used (see `prepare`)
    max_rotation_deg   rotations tried when the direct way finds nothing; 0 for none
    min_correlation    a result whose correlation times overlap is less is not trusted
    smoothness         px: sigma of the finest window of the elastic level
    numbers            section numbers, carried into the result

    Never worse than nothing: falls back to the level below, at last the identity ('none'), when the
    correlation of the overlap falls. Deterministic. Raises DataError, ParameterError.
    """
    if level not in LEVELS[1:]:
        raise ParameterError(f"alignment level is {level!r}; expected one of {LEVELS[1:]}")
    a, b = (s if isinstance(s, Prepared) else prepare(s, level=level, max_size=max_size, name=f"section {n}")
            for s, n in zip((fixed, moving), numbers))
    if a.shape != b.shape:
        raise DataError(f"sections {numbers[0]} and {numbers[1]}: shapes {a.shape} and {b.shape}; "
                        "expected the same, pad them first")
    tiles = np.zeros(_tiles(a.levels[-1][1]).shape, np.float32)
    nothing = PairResult(*numbers, "none", np.eye(2, 3), None, NODE, 0.0, 0.0, 1.0, tiles,
                         (a.blank, b.blank), a.shape)
    if a.blank or b.blank:
        return nothing
    best = _at(nothing, a, b)
    best = replace(best, correlation_before=best.correlation)
    parameters = _search(a, b, 0 if level == "translation" else max_rotation_deg)
    for i in range(len(a.levels)):
        parameters, _ = _gauss_newton(a, b, i, parameters, turn=level != "translation")
    found = replace(best, level="translation" if level == "translation" else "rigid",
                    matrix=_matrix(parameters, centre_of(a.shape)))
    best = _better(best, _at(found, a, b), min_correlation)
    if level == "elastic" and best.trusted:
        best = _better(best, _at(_elastic(best, a, b, smoothness), a, b), min_correlation)
    return best


def _better(best: PairResult, found: PairResult, min_correlation: float) -> PairResult:
    """`found` if it explains enough of the fixed section to be trusted, and no less than `best` does."""
    enough = found.correlation * found.overlap >= min_correlation
    return found if enough and found.correlation >= best.correlation - GUARD else best


# --- preparation ----------------------------------------------------------------------------------

def _reduced(section: Any, shape: tuple[int, int], factor: int, name: str) -> np.ndarray:
    """Means of factor x factor px as float32; rows are read in strips, remainders at the far rim left out."""
    import cv2

    ny, nx = shape[0] // factor, shape[1] // factor
    strip = max(1, 2**25 // (factor * shape[1])) if factor > 1 else ny
    out = np.empty((ny, nx), np.float32)
    for y in range(0, ny, strip):
        rows = np.asarray(section[y * factor:min(y + strip, ny) * factor, :nx * factor])
        if rows.dtype not in (np.uint8, np.uint16, np.float32):
            rows = rows.astype(np.float32)
        part = rows if factor == 1 else cv2.resize(np.ascontiguousarray(rows), (nx, len(rows) // factor),
                                                   interpolation=cv2.INTER_AREA)
        out[y:y + strip] = part
    if not np.isfinite(out.sum(dtype=np.float64)):
        raise DataError(f"{name}: holds values that are not finite; replace or mask them at ingest")
    return out


def _halved(image: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 px; an odd last row or column is left out: positions stay (p + 0.5) / 2 - 0.5."""
    import cv2

    ny, nx = image.shape[0] // 2, image.shape[1] // 2
    return cv2.resize(image[:2 * ny, :2 * nx], (nx, ny), interpolation=cv2.INTER_AREA)


def _mask(image: np.ndarray) -> np.ndarray | None:
    """1 where there is signal, 0 in areas of one value that hold a 7 x 7 square; None when all is signal.

    Also None when less than a quarter is signal: then the flat part is background that belongs to the image.
    """
    import cv2

    box = np.ones((3, 3), np.uint8)
    flat = (cv2.dilate(image, box) == cv2.erode(image, box)).astype(np.uint8)
    if not flat.any():
        return None
    seven = np.ones((7, 7), np.uint8)
    flat = cv2.dilate(cv2.morphologyEx(flat, cv2.MORPH_OPEN, seven, borderValue=1), box)
    if not flat.any() or flat.mean() > 0.75:
        return None
    return 1 - flat.astype(np.float32)


def _band_pass(image: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Image less its wide mean, less pixel noise, in standard deviations cut at 3; 0 outside the mask."""
    import cv2

    def blur(x: np.ndarray, sigma: float) -> np.ndarray:
        return cv2.GaussianBlur(x, (0, 0), sigma)

    if mask is None:
        out = blur(image - blur(image, HIGH_PASS), LOW_PASS)
    else:
        wide = blur(image * mask, HIGH_PASS) / np.maximum(blur(mask, HIGH_PASS), 1e-3)
        out = blur((image - wide) * mask, LOW_PASS) * mask
    out /= np.float32(np.sqrt(float(np.mean(out * out))) + 1e-6)
    return np.clip(out, -3, 3, out=out)


# --- translation and rotation ---------------------------------------------------------------------
# Parameters are (turn in radians, dy, dx in px of the section) of the map fixed -> moving, about the centre.

def _matrix(parameters: np.ndarray, centre: tuple[float, float]) -> np.ndarray:
    return rigid_matrix(parameters[1], parameters[2], np.rad2deg(parameters[0]), centre)


def _on_level(matrix: np.ndarray, scale: float) -> np.ndarray:
    """A matrix between section positions as one between level positions: p = (u + 0.5) * scale - 0.5."""
    half = (scale - 1) / 2
    up = np.array([[scale, 0, half], [0, scale, half]])
    return compose(invert(up), compose(matrix, up))


def _warped(image: np.ndarray, matrix: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """`image` seen from the fixed section: out(p) = image(matrix @ p), 0 beyond its rim."""
    import cv2

    xy = np.array([[matrix[1, 1], matrix[1, 0], matrix[1, 2]], [matrix[0, 1], matrix[0, 0], matrix[0, 2]]])
    return cv2.warpAffine(image, xy, (shape[1], shape[0]), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                          borderMode=cv2.BORDER_CONSTANT, borderValue=0)


def _overlap(mask: np.ndarray | None, image: np.ndarray, matrix: np.ndarray,
             fixed_mask: np.ndarray | None) -> np.ndarray:
    """1 where both sections have signal, seen from the fixed one."""
    seen = _warped(np.ones(image.shape, np.float32) if mask is None else mask, matrix, image.shape) > 0.999
    out = seen.astype(np.float32)
    return out if fixed_mask is None else out * (fixed_mask > 0.999)


def _search(a: Prepared, b: Prepared, max_rotation_deg: float) -> np.ndarray:
    """Start parameters from the coarsest level: no rotation, or the best of several if that fails."""
    start, correlation = _correlate(a, b, 0.0)
    if correlation < LOST:
        turns = np.arange(DEGREES, max_rotation_deg + 1e-9, DEGREES)
        tried = [(start, correlation)] + [_correlate(a, b, float(s * t)) for t in turns for s in (1, -1)]
        start, _ = max(tried, key=lambda found: found[1])
    return start


def _padded(image: np.ndarray) -> list[int]:
    """A size that keeps opposite rims apart and is quick to transform."""
    import cv2

    return [cv2.getOptimalDFTSize(2 * n) for n in image.shape]


def _correlate(a: Prepared, b: Prepared, turn_deg: float) -> tuple[np.ndarray, float]:
    """Best shift of the coarsest level at one rotation, refined, and its correlation."""
    scale, image, _ = b.levels[0]
    spectrum = b.spectrum
    size = _padded(image)
    if turn_deg:
        turned = _warped(image, rigid_matrix(0, 0, turn_deg, centre_of(image.shape)), image.shape)
        spectrum = np.fft.rfft2(turned, size)
    surface = np.fft.irfft2(np.conj(a.spectrum) * spectrum, size)
    shift = [p - n if p > n // 2 else p for p, n in zip(np.unravel_index(int(surface.argmax()), size), size)]
    turn = np.deg2rad(turn_deg)
    shift = apply(rigid_matrix(0, 0, turn_deg, (0, 0)), np.array(shift)) * scale
    return _gauss_newton(a, b, 0, np.array([turn, *shift]), turn=bool(turn_deg))


def _gauss_newton(a: Prepared, b: Prepared, index: int, parameters: np.ndarray, *, turn: bool,
                  steps: int = 12, tolerance: float = 0.01) -> tuple[np.ndarray, float]:
    """Refine parameters on one level until a step moves no pixel by `tolerance` px of it."""
    import cv2

    scale, fixed, fixed_mask = a.levels[index]
    _, moving, moving_mask = b.levels[index]
    ny, nx = fixed.shape
    gy = cv2.Sobel(fixed, cv2.CV_32F, 0, 1, ksize=1, scale=0.5)
    gx = cv2.Sobel(fixed, cv2.CV_32F, 1, 0, ksize=1, scale=0.5)
    slopes = [gy, gx]
    cy, cx = ((c + 0.5) / scale - 0.5 for c in centre_of(a.shape))
    if turn:
        slopes.append(gx * (np.arange(ny, dtype=np.float32) - np.float32(cy))[:, None]
                      - gy * (np.arange(nx, dtype=np.float32) - np.float32(cx)))
    jacobian = np.stack([s.ravel() for s in slopes])
    found, correlation = parameters, -1.0
    for _ in range(steps):
        matrix = _on_level(_matrix(found, centre_of(a.shape)), scale)
        both = _overlap(moving_mask, moving, matrix, fixed_mask)
        f = (fixed * both).ravel()
        m = (_warped(moving, matrix, fixed.shape) * both).ravel()
        ff, fm, mm = float(f @ f), float(f @ m), float(m @ m)
        correlation = fm / max(np.sqrt(ff * mm), 1e-9)
        if fm <= 0.02 * ff:  # nothing in common here: leave it to the guard
            return parameters, correlation
        # fixed explains fm/ff * fixed of moving; without this factor noise would shorten the steps.
        weighted = jacobian * both.ravel()
        normal = (weighted @ jacobian.T).astype(float)
        step = np.linalg.solve(normal + 1e-6 * np.trace(normal) * np.eye(len(normal)),
                               (weighted @ (f - m * np.float32(ff / fm))).astype(float))
        angle = found[0] + (step[2] if turn else 0.0)
        c, s = np.cos(found[0]), np.sin(found[0])
        found = np.array([angle, found[1] + scale * (c * step[0] - s * step[1]),
                          found[2] + scale * (s * step[0] + c * step[1])])
        if np.hypot(step[0], step[1]) + (abs(step[2]) if turn else 0) * max(ny, nx) / 2 < tolerance:
            break
    return found, correlation


# --- displacement fields --------------------------------------------------------------------------

def _elastic(start: PairResult, a: Prepared, b: Prepared, smoothness: float) -> PairResult:
    """Add a smooth field to `start`: windows of 4 to 1.5 smoothness on half, 1.5 to 1 on full resolution."""
    plan: list[tuple[int, Sequence[float]]] = [(-2, (4, 4, 2, 2, 1.5, 1.5)), (-1, (1.5, 1, 1, 1))]
    if len(a.levels) == 1:
        plan = [(-1, (4, 4, 2, 2, 1, 1))]
    sigma = max(smoothness, 2 * NODE * a.levels[-1][0])  # smaller windows would follow the noise
    field = np.zeros((2, 2, 2), np.float32)
    for index, windows in plan:
        field = _flow(start.matrix, a.levels[index], b.levels[index], field, [sigma * w for w in windows])
    scale, image, _ = a.levels[-1]
    spacing = int(2 * NODE * scale)
    nodes = [np.arange(-(-(n - 1) // spacing) + 1) * float(spacing) for n in a.shape]
    y, x = (((p + 0.5) / scale) * g / n - 0.5 for p, g, n in zip(nodes, field.shape[1:], image.shape))
    field = sample_grid(field, *np.meshgrid(y, x, indexing="ij")).astype(np.float32)
    return replace(start, level="elastic", field=field, spacing=spacing)


def _flow(matrix: np.ndarray, fixed_level: tuple, moving_level: tuple, field: np.ndarray,
          windows: Iterable[float]) -> np.ndarray:
    """Lucas-Kanade steps, one a window sigma (px); fields are (2, gy, gx) over the level, in section px."""
    import cv2

    scale, fixed, fixed_mask = fixed_level
    _, moving, moving_mask = moving_level
    ny, nx = fixed.shape
    grid = (-(-nx // NODE), -(-ny // NODE))
    m = _on_level(matrix, scale).astype(np.float32)
    y, x = np.arange(ny, dtype=np.float32)[:, None], np.arange(nx, dtype=np.float32)[None]
    base = [m[k, 0] * y + m[k, 1] * x + m[k, 2] for k in (0, 1)]
    gy = cv2.Sobel(fixed, cv2.CV_32F, 0, 1, ksize=1, scale=0.5)
    gx = cv2.Sobel(fixed, cv2.CV_32F, 1, 0, ksize=1, scale=0.5)
    field = np.stack([cv2.resize(f, grid, interpolation=cv2.INTER_CUBIC) for f in field])
    for window in windows:
        at = [p + cv2.resize(f, (nx, ny), interpolation=cv2.INTER_CUBIC) / np.float32(scale)
              for p, f in zip(base, field)]
        seen, both = _remapped(at, moving, moving_mask, fixed_mask)
        ff, fm = float((fixed * fixed * both).sum()), float((fixed * seen * both).sum())
        if fm <= 0.02 * ff:
            break
        rest = fixed - seen * np.float32(ff / fm)
        wy, wx = gy * both, gx * both
        yy, yx, xx, yr, xr = (_averaged(p, grid, window / scale / NODE)
                              for p in (wy * gy, wy * gx, wx * gx, wy * rest, wx * rest))
        size = np.maximum(yy * xx - yx * yx, 1e-12)
        step = np.stack([xx * yr - yx * xr, yy * xr - yx * yr]) / size
        # A step of more than a fraction of its window is not supported by it.
        step *= np.minimum(1, window / scale / 4 / np.maximum(np.hypot(*step), 1e-6)).astype(np.float32)
        field = field + step * np.float32(scale)
    return field


def _averaged(product: np.ndarray, grid: tuple[int, int], sigma: float) -> np.ndarray:
    """Gaussian mean (sigma in nodes) on the grid, with a little of wider ones for where it is empty."""
    import cv2

    nodes = cv2.resize(product, grid, interpolation=cv2.INTER_AREA)
    near = cv2.GaussianBlur(nodes, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    wide = cv2.GaussianBlur(nodes, (0, 0), 3 * sigma, borderType=cv2.BORDER_REFLECT)
    return near + np.float32(PRIOR) * wide + np.float32(PRIOR**2 * float(nodes.mean()))


# --- quality --------------------------------------------------------------------------------------

def _at(result: PairResult, a: Prepared, b: Prepared) -> PairResult:
    """The result with its correlation, overlap and agreement, measured on the finest level."""
    scale, fixed, fixed_mask = a.levels[-1]
    _, moving, moving_mask = b.levels[-1]
    matrix = _on_level(result.matrix, scale)
    if result.field is None:
        both, seen = _overlap(moving_mask, moving, matrix, fixed_mask), _warped(moving, matrix, fixed.shape)
    else:
        y, x = ((np.arange(n) + 0.5) * scale - 0.5 for n in fixed.shape)
        at = result.positions(np.stack(np.meshgrid(y, x, indexing="ij"), -1))
        at = ((at + 0.5) / scale - 0.5).astype(np.float32)
        seen, both = _remapped((at[..., 0], at[..., 1]), moving, moving_mask, fixed_mask)
    f, m = fixed * both, seen * both
    fm, ff, mm = (_tiles(p) for p in (f * m, f * f, m * m))
    power = float(ff.mean()) * float(mm.mean())
    return replace(result, correlation=float(fm.mean()) / power**0.5 if power > 0 else 0.0,
                   overlap=float(both.mean()), agreement=fm / np.sqrt(np.maximum(ff * mm, 1e-9)))


def _tiles(image: np.ndarray) -> np.ndarray:
    """Means over a lattice of tiles of at least TILE px a side, at most 8 x 8 of them."""
    import cv2

    ny, nx = (min(8, max(1, n // TILE)) for n in image.shape)
    return cv2.resize(image, (nx, ny), interpolation=cv2.INTER_AREA)


def _remapped(at: Sequence[np.ndarray], moving: np.ndarray, moving_mask: np.ndarray | None,
              fixed_mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """`moving` at positions (y, x), and 1 where both sections have signal there."""
    import cv2

    def pick(image: np.ndarray) -> np.ndarray:
        return cv2.remap(image, at[1], at[0], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)

    both = pick(np.ones(moving.shape, np.float32) if moving_mask is None else moving_mask) > 0.999
    if fixed_mask is not None:
        both &= fixed_mask > 0.999
    return pick(moving), both.astype(np.float32)


# --- many pairs -----------------------------------------------------------------------------------

def neighbour_pairs(n_sections: int, neighbours: int, first: int = 0,
                    stop: int | None = None) -> list[tuple[int, int]]:
    """Pairs (z, z + 1) .. (z, z + neighbours) whose first section is in [first, stop): a task's share."""
    stop = n_sections if stop is None else stop
    return [(z, z + d) for z in range(first, min(stop, n_sections)) for d in range(1, neighbours + 1)
            if z + d < n_sections]


def estimate_pairs(read: Callable[[int], Any], pairs: Iterable[tuple[int, int]], *, level: Level = "rigid",
                   max_size: int = 1024, max_rotation_deg: float = 24.0, min_correlation: float = 0.1,
                   smoothness: float = 32.0) -> list[PairResult]:
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
                ready[z] = prepare(read(z), level=level, max_size=max_size, name=f"section {z}")
        out.append(estimate_pair(ready[pair[0]], ready[pair[1]], level=level, smoothness=smoothness,
                                 max_rotation_deg=max_rotation_deg, min_correlation=min_correlation,
                                 numbers=pair))
        for z in pair:
            if last[z] == k:
                del ready[z]
    return out


def pack(pairs: Sequence[PairResult]) -> dict[str, np.ndarray]:
    """Pair results as plain arrays, one row a pair, for `np.savez`; see `unpack`."""
    out: dict[str, np.ndarray] = {}
    for f in fields(PairResult):
        values = [getattr(p, f.name) for p in pairs]
        if f.name == "field":
            some = next((v for v in values if v is not None), np.zeros((2, 0, 0), np.float32))
            out["has_field"] = np.array([v is not None for v in values], bool)
            values = [some * 0 if v is None else v for v in values]
        out[f.name] = np.array(values)
    return out


def unpack(arrays: Mapping[str, np.ndarray]) -> list[PairResult]:
    """Pair results from the arrays of `pack`."""
    columns = {f.name: np.asarray(arrays[f.name]) for f in fields(PairResult)}
    has_field = arrays["has_field"]
    arrays_per_pair = ("matrix", "field", "agreement")
    out = []
    for k in range(len(has_field)):
        row: dict[str, Any] = {n: c[k] if n in arrays_per_pair else c[k].tolist() for n, c in columns.items()}
        row.update(blank=tuple(row["blank"]), shape=tuple(row["shape"]))
        if not has_field[k]:
            row["field"] = None
        out.append(PairResult(**row))
    return out
