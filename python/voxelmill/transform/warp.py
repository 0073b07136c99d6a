"""Where the content of a section goes, and how a region of the result is sampled: once.

Axes and signs. All coordinates are (y, x) in px, y down, x right, pixel centres at whole numbers,
pixel [0, 0] at (0, 0). A transform moves *content*: a dot at `raw` is seen at `raw + (dy, dx)`.

      raw   x ->                 aligned, (dy, dx) = (2, 5)     rotation_deg > 0 turns content
      . . . . . . . . . .        . . . . . . . . . .            counter-clockwise on the screen:
    y . . . # . . . . . .        . . . . . . . . . .                   ^
    | . . . . . . . . . .        . . . . . . . . . .                   |  +x goes to -y,
    v . . . . . . . . . .        . . . . . . . . # .                   +---> x     +y goes to +x
      . . . . . . . . . .        . . . . . . . . . .                about the section's centre

Rendering asks the other way round (which raw position does this output pixel show?):

    raw = inverse(matrix) @ aligned + field(aligned)

so the displacement field lives on the grid of the *output* and nothing has to be inverted numerically.

Sampling positions are whole numbers of 1/256 px, made from absolute output coordinates *before* the
window's offset is subtracted, which is a whole number too. So a region has the same bytes whether it is
rendered whole or in tiles. (OpenCV before 5, and its cubic, go on to round to 1/32 px: off by at most
1/64 px, 0.009 px rms.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ..core.errors import DataError, ParameterError

SUBPIXEL = 256  # positions are multiples of 1/256 px: exact in float32 over 65536 px
_FINE = 64  # parts of that in which the terms of a position are summed
_REACH = 30000  # px: what a region may read across, a bound of cv2.remap
INTERPOLATIONS = ("nearest", "linear", "cubic")
_IDENTITY = np.eye(2, 3)


# --- 2x3 matrices, (y, x) order -------------------------------------------------------------------


def centre_of(shape: Sequence[int]) -> tuple[float, float]:
    """The centre (y, x) of a section of shape (ny, nx), in px: halfway between first and last pixel."""
    return (shape[0] - 1) / 2, (shape[1] - 1) / 2


def rigid_matrix(dy: float, dx: float, rotation_deg: float, centre: Sequence[float]) -> np.ndarray:
    """2x3 matrix, (y, x) order: turn content about `centre` (y, x), then add (dy, dx) px."""
    a = np.deg2rad(rotation_deg)
    c, s = np.cos(a), np.sin(a)
    cy, cx = centre
    return np.array([[c, -s, cy - c * cy + s * cx + dy], [s, c, cx - s * cy - c * cx + dx]])


def rigid_parameters(matrix: np.ndarray, centre: Sequence[float]) -> tuple[float, float, float]:
    """(dy, dx, rotation_deg) of a rigid 2x3 matrix about `centre`; the inverse of `rigid_matrix`."""
    y, x = apply(matrix, np.asarray(centre, float))
    turn = np.rad2deg(np.arctan2(matrix[1, 0] - matrix[0, 1], matrix[0, 0] + matrix[1, 1]))
    return float(y - centre[0]), float(x - centre[1]), float(turn)


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (..., 2) as (y, x) through a 2x3 matrix."""
    y, x = points[..., 0], points[..., 1]  # element by element: a product of matrices may depend on threads
    return np.stack([m[0] * y + m[1] * x + m[2] for m in matrix], -1)


def compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """The 2x3 matrix that does `inner` first, then `outer`."""
    return np.hstack([outer[:, :2] @ inner[:, :2], (outer[:, :2] @ inner[:, 2] + outer[:, 2])[:, None]])


def invert(matrix: np.ndarray) -> np.ndarray:
    """The 2x3 matrix that undoes `matrix`."""
    (a, b), (c, d) = matrix[:, :2].tolist()
    if a * d == b * c:
        raise ParameterError(f"transform: matrix {matrix.tolist()} cannot be undone; expected full rank")
    back = np.array([[d, -b], [-c, a]]) / (a * d - b * c)
    return np.hstack([back, -(back @ matrix[:, 2])[:, None]])


def sample_grid(grid: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Bilinear values of `grid` (2, gy, gx) at grid positions y, x (any equal shape), held at the rim.

    Element by element in float64, so a value does not depend on which others are asked for.
    """
    (iy, jy, fy), (ix, jx, fx) = _between(y, grid.shape[1]), _between(x, grid.shape[2])
    top = grid[:, iy, ix] * (1 - fx) + grid[:, iy, jx] * fx
    low = grid[:, jy, ix] * (1 - fx) + grid[:, jy, jx] * fx
    return top * (1 - fy) + low * fy


# --- the transform of one section -----------------------------------------------------------------


@dataclass(frozen=True)
class SectionTransform:
    """Where the content of one section goes.

    matrix   (2, 3) float64, (y, x) order: aligned = matrix @ raw (without the field).
    field    None, or (2, gy, gx) float32: px (y, x) added to the raw position that an output pixel
             shows; node [i, j] stands at output (i * spacing, j * spacing), bilinear between, held
             beyond the rim.
    spacing  px between nodes.
    """

    matrix: np.ndarray
    field: np.ndarray | None = None
    spacing: int = 16

    def __post_init__(self) -> None:
        if self.matrix.shape != (2, 3) or not np.isfinite(self.matrix).all():
            raise ParameterError(f"transform: matrix is {self.matrix.tolist()}; expected 2x3 finite numbers")
        if self.field is not None and (self.field.ndim != 3 or self.field.shape[0] != 2 or self.spacing < 1):
            raise ParameterError(
                f"transform: field has shape {self.field.shape}, spacing {self.spacing}; "
                "expected (2, gy, gx) and a spacing of 1 px or more"
            )

    @property
    def is_identity(self) -> bool:
        """True when rendering would copy the section."""
        return bool((self.matrix == _IDENTITY).all() and (self.field is None or not self.field.any()))

    def then(self, outer: SectionTransform) -> SectionTransform:
        """This transform, then `outer`, as one transform, so that pixels are interpolated once.

        Exact for matrices. raw(a) = A^-1(B^-1 a + g(a)) + f(B^-1 a + g(a)): a field that results is
        sampled anew on the finer of the two grids, exact at its nodes and bilinear between.
        """
        matrix = compose(outer.matrix, self.matrix)
        if self.field is None and outer.field is None:
            return SectionTransform(matrix)
        grids = [t for t in (self, outer) if t.field is not None]
        spacing = min(t.spacing for t in grids)
        gy, gx = (max(t.field.shape[k] * t.spacing for t in grids) // spacing for k in (1, 2))  # type: ignore[union-attr]
        at = np.stack(np.meshgrid(np.arange(gy), np.arange(gx), indexing="ij"), -1) * float(spacing)
        raw = np.moveaxis(self.positions(*outer.positions(at[..., 0], at[..., 1])), 0, -1)
        field = np.moveaxis(raw - apply(invert(matrix), at), -1, 0)
        return SectionTransform(matrix, field.astype(np.float32), spacing)

    def positions(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Raw positions (2, ...) that the output positions y, x (float64, broadcastable) show."""
        m = invert(self.matrix)
        raw = [m[k, 0] * y + m[k, 1] * x + m[k, 2] for k in (0, 1)]
        if self.field is None:
            return np.stack(raw)
        y, x = np.broadcast_arrays(y, x)
        return np.stack(raw) + sample_grid(self.field, y / self.spacing, x / self.spacing)

    def content(self, points: np.ndarray, steps: int = 20) -> np.ndarray:
        """Aligned positions of raw points (..., 2): the inverse of `positions`, by fixed-point steps.

        The field must be gentle (change by less than 1 px per px); then the result is good to 1e-6 px.
        """
        at = apply(self.matrix, np.asarray(points, float))
        for _ in range(steps if self.field is not None else 0):
            missed = np.moveaxis(self.positions(at[..., 0], at[..., 1]), 0, -1) - points
            at = at - apply(self.matrix, missed) + self.matrix[:, 2]
        return at


Region = tuple[int, int, int, int]  # y0, y1, x0, x1, half-open, in output px
Span = tuple[int, int, int]  # along one axis: the pixel positions start from, least and greatest in 1/256 px


def source_window(transform: SectionTransform, region: Region, source_shape: Sequence[int]) -> Region:
    """Which window (y0, y1, x0, x1) of the source an output region reads; empty (0, 0, 0, 0) when none.

    Tight to a pixel or two, never too small: a block has to read no more than this.
    """
    return _window(_positions(transform, region)[1], source_shape)


def render(
    source: Any, transform: SectionTransform, region: Region | None = None, *, interpolation: str = "linear", fill: float = 0
) -> np.ndarray:
    """Sample an output region of a section, with one interpolation.

    source         (ny, nx) array, or anything with `shape`, `dtype` and slices (tensorstore, zarr); only
                   the window the region needs is read.
    region         (y0, y1, x0, x1) in output px; None for the source's own grid; may reach beyond it (a
                   larger canvas starts at negative coordinates).
    interpolation  nearest (labels, any integer type), linear or cubic (images).
    fill           value of pixels whose position lies outside the source, more than half a px
                   beyond its outermost pixel centres.

    Returns (y1 - y0, x1 - x0) in the source's dtype. Byte-identical for any tiling. Work memory is
    about 60 bytes per output px: call it by blocks. Raises ParameterError for an unknown
    interpolation, DataError for a source that is not 2-D or has a dtype that cannot be interpolated.
    """
    if interpolation not in INTERPOLATIONS:
        raise ParameterError(f"render: interpolation is {interpolation!r}; expected one of {INTERPOLATIONS}")
    if len(source.shape) != 2 or 0 in source.shape:
        raise DataError(f"render: section has shape {tuple(source.shape)}; expected (y, x), not empty")
    if region is None:
        region = (0, source.shape[0], 0, source.shape[1])
    if transform.is_identity and region == (0, source.shape[0], 0, source.shape[1]):
        return np.array(source[:, :])
    dtype = np.dtype(getattr(source.dtype, "numpy_dtype", source.dtype))
    positions, spans = _positions(transform, region)
    y0, y1, x0, x1 = _window(spans, source.shape)
    if y1 <= y0:
        return np.full(positions[0].shape, fill, dtype)
    window = np.ascontiguousarray(source[y0:y1, x0:x1])
    outside = None
    for p, (corner, low, high), start, n in zip(positions, spans, (y0, x0), source.shape):
        p += (corner - start) * SUBPIXEL
        first, last = -start * SUBPIXEL - SUBPIXEL // 2, (n - 1 - start) * SUBPIXEL + SUBPIXEL // 2
        if low < -SUBPIXEL // 2 or high > (n - 1) * SUBPIXEL + SUBPIXEL // 2:
            beyond = (p < first) | (p > last)
            outside = beyond if outside is None else outside | beyond
            np.clip(p, first, last, out=p)
    if interpolation == "nearest":
        y, x = ((p + SUBPIXEL // 2) // SUBPIXEL for p in positions)
        out = window[np.clip(y, 0, y1 - y0 - 1), np.clip(x, 0, x1 - x0 - 1)]
    else:
        out = _remap(window, positions, interpolation)
    if outside is not None:
        out[outside] = fill
    return out


def _positions(transform: SectionTransform, region: Region) -> tuple[list[np.ndarray], list[Span]]:
    """Raw positions of a region's pixels, [y, x] in 1/256 px from a whole pixel on, int32, and their spans.

    A sum of a term of the row and a term of the column in whole 1/64 of 1/256 px, so that it is exact and
    a pixel's position cannot depend on the tile it is rendered in.
    """
    y0, y1, x0, x1 = region
    if y1 <= y0 or x1 <= x0:
        raise ParameterError(f"render: region {region} is empty; expected y0 < y1 and x0 < x1")
    y, x = np.arange(y0, y1, dtype=float), np.arange(x0, x1, dtype=float)
    m = invert(transform.matrix)
    out: list[np.ndarray] = []
    spans: list[Span] = []
    for k in (0, 1):
        rows = np.rint((m[k, 0] * y + m[k, 2]) * (SUBPIXEL * _FINE)).astype(np.int64) + _FINE // 2
        columns = np.rint(m[k, 1] * x * (SUBPIXEL * _FINE)).astype(np.int64)
        corner = (int(rows.min()) + int(columns.min())) // (SUBPIXEL * _FINE)
        rows -= corner * (SUBPIXEL * _FINE)
        if int(rows.max()) + int(columns.max()) >= _REACH * SUBPIXEL * _FINE:
            raise ParameterError(f"render: region {region} reads across more than {_REACH} px; ask for less")
        p = rows.astype(np.int32)[:, None] + columns.astype(np.int32)
        if transform.field is not None:
            p += _field_on(transform.field[k], y / transform.spacing, x / transform.spacing)
        p >>= 6
        if transform.field is None:
            low, high = ((int(f(rows)) + int(f(columns))) >> 6 for f in (np.min, np.max))
        else:
            low, high = int(p.min()), int(p.max())
        spans.append((corner, corner * SUBPIXEL + low, corner * SUBPIXEL + high))
        out.append(p)
    return out, spans


def _field_on(field: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A component of a field on the lattice of grid positions y by x, bilinear, in terms of `_positions`."""
    (iy, jy, fy), (ix, jx, fx) = _between(y, field.shape[0]), _between(x, field.shape[1])
    rows = field[iy] * (1 - fy)[:, None] + field[jy] * fy[:, None]
    rows *= SUBPIXEL * _FINE
    left = rows[:, ix]
    return np.rint(left + (rows[:, jx] - left) * fx).astype(np.int32)


def _between(p: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The nodes below and above grid positions p of n nodes, and the part of the way between them."""
    p = np.clip(p, 0, n - 1)
    i = p.astype(np.intp)
    return i, np.minimum(i + 1, n - 1), p - i


def _window(spans: Sequence[Span], shape: Sequence[int]) -> Region:
    """The source window that positions read, with the reach of cubic interpolation, clipped to the source."""
    bounds: list[int] = []
    for (_, least, greatest), n in zip(spans, shape):
        low, high = max(least // SUBPIXEL - 1, 0), min(greatest // SUBPIXEL + 4, n)
        if low >= n or high <= 0:
            return 0, 0, 0, 0
        bounds += [low, high]
    return bounds[0], bounds[1], bounds[2], bounds[3]


def _remap(window: np.ndarray, positions: Sequence[np.ndarray], interpolation: str) -> np.ndarray:
    """Values of the window at positions in 1/256 px from its first pixel; the rim is continued outward."""
    import cv2

    if window.dtype not in (np.uint8, np.uint16, np.int16, np.float32, np.float64):
        raise DataError(
            f"render: a section of {window.dtype} cannot be interpolated; convert it to uint8, "
            "uint16, int16, float32 or float64, or use interpolation='nearest' for labels"
        )
    if interpolation == "linear":
        y, x = (p.astype(np.float32) * np.float32(1 / SUBPIXEL) for p in positions)
        return cv2.remap(window, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    fraction = _cubic_fractions()
    y, x = ((p // SUBPIXEL).astype(np.float32) + fraction[p & (SUBPIXEL - 1)] for p in positions)
    return cv2.remap(window, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


@cache
def _cubic_fractions() -> np.ndarray:
    """For each 1/256 px the fraction to ask OpenCV's cubic for.

    Its kernel (a = -0.75; only a = -0.5 reproduces a ramp, Keys 1981) moves content by up to 0.05 px. The
    mean position of its four weights at fraction g is g + g (1 - g) (1 - 2 g) / 2; this is the inverse.
    """
    g = np.arange(SUBPIXEL + 1) / SUBPIXEL
    inverse = np.interp(g[:-1], g + g * (1 - g) * (1 - 2 * g) / 2, g)
    return (np.rint(inverse * SUBPIXEL) / SUBPIXEL).astype(np.float32)


# --- made misalignment ----------------------------------------------------------------------------


def simulate_jitter(n_sections: int, sigma_px: float, seed: int) -> np.ndarray:
    """Random content shifts (n_sections, 2) as (dy, dx) in px, normal with `sigma_px` per axis.

    Section z's shift depends on seed and z alone, so blocks of a stack agree. Raises ParameterError.
    """
    if n_sections < 0 or not sigma_px >= 0:
        raise ParameterError(f"simulate_misalignment: {n_sections} sections, sigma {sigma_px} px; expected 0 or more of both")
    return np.random.default_rng(seed).normal(0.0, sigma_px, (n_sections, 2))


def shift_transform(dy: float, dx: float) -> SectionTransform:
    """The transform that adds (dy, dx) px to the position of the content."""
    return SectionTransform(np.array([[1.0, 0.0, dy], [0.0, 1.0, dx]]))
