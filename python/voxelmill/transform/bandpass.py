"""Sections made ready for registration: band-passed pyramids, with areas that hold no signal masked.

Positions. A pixel u of a layer of `scale` s covers section pixels u * s .. u * s + s - 1, so it stands at
section position (u + 0.5) * s - 0.5, along y and along x.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..core.errors import DataError, ParameterError

COARSEST = 64  # px: the pyramid ends when its shorter side is no longer than this
SIZE = 320  # px: longer side of the finest layer; 0.005 px of it are 0.02 px of a section of 1024
FULL_SIZE = 1024  # px: the same for displacement fields, which need to see detail
RIM = 2  # px of a layer that are always left out of account
SMALL = 128  # px: shorter sections are estimated at full resolution at every level
HIGH_PASS = 19  # px of each layer: side of the box whose mean, taken twice, is shading
WIDE = ((HIGH_PASS**2 - 1) / 6) ** 0.5  # px: the standard deviation of that
LOW_PASS = 1.0  # px of each layer: pixel noise is what is finer than this
FLAT = 5  # px, odd: areas of one value that hold a square of this side are no signal
TILE = 32  # px of the finest layer: the least side of a tile of the agreement map


class View:
    """Part of a layer as a linear model of small moves.

    rows     (3 or 4, pixels) float32: image, its change per px along y and along x; and per radian of turn
    sums     of products of the rows
    """

    def __init__(self, rows: np.ndarray):
        self.rows = rows
        self.sums = np.einsum("ki,li->kl", rows, rows).astype(float)  # unlike BLAS the same for any threads
        self._steady = self.sums + np.diag(1e-9 * np.diagonal(self.sums) + 1e-12)

    @cached_property
    def shifted(self) -> np.ndarray:
        """(2, 2): the inverse of the sums over shifts."""
        return np.linalg.inv(self._steady[1:3, 1:3])

    @cached_property
    def turned(self) -> np.ndarray:
        """(3, 3): the same over shifts and turn."""
        return np.linalg.inv(self._steady[1:, 1:])


@dataclass
class Layer:
    """One resolution of a section: `image` (ny, nx) float32, `mask` alike (1 is signal) or None for all."""

    scale: float
    image: np.ndarray
    mask: np.ndarray | None
    centre: tuple[float, float]  # the section's, on this layer
    wide: np.ndarray  # the mean that was taken off, on the scale of the image

    def __post_init__(self) -> None:
        self._views: dict[tuple[int, int, int, int, bool], View] = {}

    @cached_property
    def slopes(self) -> tuple[np.ndarray, np.ndarray]:
        """Central differences along y and x, per px of the layer."""
        import cv2

        return (
            cv2.Sobel(self.image, cv2.CV_32F, 0, 1, ksize=1, scale=0.5),
            cv2.Sobel(self.image, cv2.CV_32F, 1, 0, ksize=1, scale=0.5),
        )

    @property
    def signal(self) -> np.ndarray:
        """The mask, made if need be."""
        return np.ones(self.image.shape, np.float32) if self.mask is None else self.mask

    def view(self, y0: int, y1: int, x0: int, x1: int, turn: bool = False, evened: bool = False) -> View:
        """Part of the layer, kept because steps and pairs ask for the same ones; with its change per turn if need be.

        evened   changes per px hold nothing of what light that grows to one side does to the image"""
        key = (y0, y1, x0, x1, evened)
        known = self._views.get(key)
        if known is None or len(known.rows) < 3 + turn:
            _, gy, gx = rows = [p[y0:y1, x0:x1] for p in (self.image, *self.slopes)]
            if turn:
                y = np.arange(y0, y1, dtype=np.float32)[:, None] - np.float32(self.centre[0])
                x = np.arange(x0, x1, dtype=np.float32) - np.float32(self.centre[1])
                rows.append(gx * y - gy * x)
            stacked = np.array(rows).reshape(len(rows), y1 - y0, x1 - x0)
            if evened:
                stacked[1:] -= _by_light(stacked, self.wide[y0:y1, x0:x1])
            known = self._views[key] = View(stacked.reshape(len(rows), -1))
        return known

    @cached_property
    def tile_power(self) -> np.ndarray:
        """Sums of squares over the tiles of the layer."""
        return tile_sums(self.image * self.image)

    @cached_property
    def spread(self) -> float:
        """Standard deviation of the correlation with an unlike image of the same fineness.

        sqrt(sum of squared autocorrelation / number of pixels) (Bartlett 1946), the autocorrelation taken for
        a Gaussian whose width follows from the slopes.
        """
        ny, nx = self.image.shape
        power, gy, gx = np.diagonal(self.view(RIM, ny - RIM, RIM, nx - RIM).sums).tolist()[:3]
        return (math.pi * power / max((gy * gx) ** 0.5, 1e-9) / (ny * nx)) ** 0.5

    def positions(self, section_positions: np.ndarray) -> np.ndarray:
        """Section positions as positions on this layer."""
        return (section_positions + 0.5) / self.scale - 0.5


@dataclass(frozen=True)
class Prepared:
    """A section ready for registration, so that work is shared by all its pairs.

    shape      (ny, nx) px of the section
    layers     coarse to fine
    blank      the section holds a single value
    """

    shape: tuple[int, int]
    layers: list[Layer]
    blank: bool

    @cached_property
    def spectrum(self) -> np.ndarray:
        """Of the coarsest image, zero-padded to twice its size."""
        return np.fft.rfft2(self.layers[0].image, padded(self.layers[0].image.shape))


def prepare(section: Any, *, full: bool = False, max_size: int | None = None, name: str = "section") -> Prepared:
    """Pyramid of one section.

    section   (ny, nx) array of any real dtype, or anything with `shape`, `dtype` and row slices; read once,
              in strips, so that memory is bounded by max_size and a strip; or what has been `Reduced` as asked for
    full      keep full resolution, which displacement fields need; without it the pyramid stops at half,
              which costs a quarter and finds shifts as well (FIB-25: 0.014 against 0.011 px)
    max_size  px: the longer side of the finest layer kept; None for SIZE, or FULL_SIZE with `full`

    Raises DataError for a section that is not 2-D, under 8 px or not finite; ParameterError for max_size.
    """
    if len(section.shape) != 2 or min(section.shape) < 8:
        raise DataError(f"{name}: shape {tuple(section.shape)}; expected (y, x) of at least 8 px a side")
    shape = (int(section.shape[0]), int(section.shape[1]))
    factor = reduction(shape, full=full, max_size=max_size)
    if isinstance(section, Reduced):
        small = section
        if small.factor != factor:
            raise ParameterError(f"alignment: {name} is reduced {small.factor} times; expected {factor}")
    else:
        small = Reduced(shape, factor)
        for at in Reduced.strips(shape, factor):
            small.add(at, np.asarray(section[at, : shape[1] // factor * factor]))
    image, mask = small.image, small.mask
    if not np.isfinite(image.sum(dtype=np.float64)):
        raise DataError(f"{name}: holds values that are not finite; replace or mask them at ingest")
    blank = bool(image.min() == image.max())
    centre = (shape[0] / 2, shape[1] / 2)
    layers = [_layer(float(factor), image, mask, centre)]
    while min(image.shape) > COARSEST:
        image, mask = _halved(image), None if mask is None else _halved(mask)
        layers.append(_layer(layers[-1].scale * 2, image, mask, centre))
    return Prepared(shape, layers[::-1], blank)


def reduction(shape: tuple[int, int], *, full: bool, max_size: int | None) -> int:
    """How many times smaller the finest layer of a section is; arguments as `prepare`."""
    max_size = (FULL_SIZE if full else SIZE) if max_size is None else max_size
    if max_size < COARSEST:
        raise ParameterError(f"alignment: max_size is {max_size} px; expected {COARSEST} or more")
    factor = -(-max(shape) // max_size)
    return 2 if not full and factor == 1 and min(shape) >= SMALL else factor


def _by_light(rows: np.ndarray, wide: np.ndarray) -> np.ndarray:
    """What a gain, and one that grows along y or x, can explain of all rows (n, y, x) but the first, the image.

    Taken off, least squares give shifts as if the gain were solved for, too (Frisch and Waugh 1933): where two tiles
    overlap, each shows the scene through another slope of the light. Such a slope times a scene, less its wide mean, is
    the slope times the band-passed scene, less the slope of the wide mean: which looks like a shift."""
    import cv2

    _, ny, nx = rows.shape
    image = rows[0]
    y, x = (np.arange(n, dtype=np.float32) - np.float32((n - 1) / 2) for n in (ny, nx))
    by_y, by_x = (cv2.Sobel(wide, cv2.CV_32F, 1 - d, d, ksize=1, scale=0.5) for d in (1, 0))
    gains = np.stack([image, image * y[:, None] - WIDE**2 * by_y, image * x - WIDE**2 * by_x])
    left = np.einsum("kyx,lyx->kl", gains, gains).astype(float)
    right = np.einsum("kyx,lyx->kl", gains, rows[1:]).astype(float)
    share = np.linalg.solve(left + np.diag(1e-9 * np.diagonal(left) + 1e-12), right)
    return np.einsum("kl,kyx->lyx", share.astype(np.float32), gains)


def tile_sums(image: np.ndarray) -> np.ndarray:
    """Sums over a lattice of tiles of at least TILE px a side, at most 8 x 8 of them."""
    counts = [min(8, max(1, n // TILE)) for n in image.shape]
    rows, columns = (np.arange(k) * n // k for n, k in zip(image.shape, counts))
    return np.add.reduceat(np.add.reduceat(image, rows, 0), columns, 1)


def padded(shape: Sequence[int]) -> list[int]:
    """A size that keeps opposite rims apart and is quick to transform."""
    import cv2

    return [cv2.getOptimalDFTSize(2 * n) for n in shape]


class Reduced:
    """Means of factor x factor px of a section, and where there is signal, both float32: all that registration needs.

    Rows come in strips, so that whoever reads many sections from one file can do so strip by strip. Remainders at
    the far rim are left out.
    """

    def __init__(self, shape: tuple[int, int], factor: int):
        self.shape, self.factor = shape, factor
        ny, nx = shape[0] // factor, shape[1] // factor
        self.image, self._mask = np.empty((ny, nx), np.float32), np.ones((ny, nx), np.float32)

    @staticmethod
    def strips(shape: tuple[int, int], factor: int) -> list[slice]:
        """The rows of each strip of a section, for `add`."""
        rows, high = shape[0] // factor * factor, factor * max(8, 2**17 // (factor * shape[1]))
        return [slice(y, min(y + high, rows)) for y in range(0, rows, high)]

    def add(self, at: slice, rows: np.ndarray) -> None:
        """A strip of the section."""
        import cv2

        rows = rows[:, : self.image.shape[1] * self.factor]
        size = (self.image.shape[1], len(rows) // self.factor)
        y = slice(at.start // self.factor, at.stop // self.factor)
        self.image[y] = cv2.resize(rows.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        flat = _flat(rows)
        if flat is not None:
            self._mask[y] -= cv2.resize(flat.astype(np.float32), size, interpolation=cv2.INTER_AREA)

    @property
    def mask(self) -> np.ndarray | None:
        """None for signal everywhere, and where less than a quarter is: then what is flat belongs to the image."""
        return self._mask if 0.25 < float((self._mask > 0.999).mean()) < 1 else None


def _flat(rows: np.ndarray) -> np.ndarray | None:
    """uint8, 1 in areas without signal: squares of FLAT px and more of one value, or strips of 0 at a rim."""
    import cv2

    flat = (rows == 0).view(np.uint8)
    alike = rows[1:, :-1] == rows[:-1, :-1]
    alike &= rows[:-1, 1:] == rows[:-1, :-1]
    flat[:-1, :-1] |= alike
    flat[1:, 1:] |= alike
    # What lies beyond the rim is flat, so that a strip of 0 there counts at any width.
    box = np.ones((FLAT, FLAT), np.uint8)
    flat = cv2.erode(cv2.copyMakeBorder(flat, FLAT, FLAT, FLAT, FLAT, cv2.BORDER_CONSTANT, value=1), box)
    inner = np.s_[FLAT // 2 + 1 : -FLAT // 2, FLAT // 2 + 1 : -FLAT // 2]  # squares that reach it
    return cv2.dilate(flat, box)[FLAT:-FLAT, FLAT:-FLAT] if flat[inner].any() else None


def _halved(image: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 px; an odd last row or column is left out, so that positions keep their law."""
    import cv2

    ny, nx = image.shape[0] // 2, image.shape[1] // 2
    return cv2.resize(image[: 2 * ny, : 2 * nx], (nx, ny), interpolation=cv2.INTER_AREA)


def _layer(scale: float, image: np.ndarray, mask: np.ndarray | None, centre: Sequence[float]) -> Layer:
    """Image less its wide mean, less pixel noise, in standard deviations cut at 3; 0 outside the mask."""
    import cv2

    def wide(x: np.ndarray) -> np.ndarray:
        return cv2.blur(cv2.blur(x, (HIGH_PASS, HIGH_PASS)), (HIGH_PASS, HIGH_PASS))

    def narrow(x: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(x, (0, 0), LOW_PASS)

    if mask is None:
        mean = wide(image)
        out = narrow(image - mean)
    else:
        mask = (mask > 0.999).astype(np.float32)
        mean = wide(image * mask) / np.maximum(wide(mask), 1e-3)
        out = (image - mean) * mask
        out = narrow(out) / np.maximum(narrow(mask), 1e-3) * mask
        mask = cv2.erode(mask, np.ones((3, 3), np.uint8))  # a slope at the rim of a mask is not the image's
    unit = np.float32(float((out * out).mean()) ** 0.5 + 1e-6)
    out /= unit
    mean /= unit
    y, x = (c / scale - 0.5 for c in centre)
    return Layer(scale, np.clip(out, -3, 3, out=out), mask, (y, x), mean)
