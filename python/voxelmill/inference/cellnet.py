"""A small convolutional network that finds cells in phase contrast, in numpy alone.

It sees a frame shrunk so that a cell is 8 px wide, and gives three maps: how likely a pixel is cell, how
central it is in its cell, and by how much the cells are wider or narrower than 8 px. A U-Net of 52,000
weights: three levels, additive skips, no layer at full size (pixels are folded 2 x 2 into channels at the
way in and unfolded at the way out).

Its weights, in `cells_model`, are trained by `benchmarks/train_cellnet.py` on made movies and on frames drawn by
hand: T98G (MIT, Okinawa Institute of Science and Technology), C2C12 (Ker et al. 2018, CC BY 4.0,
doi 10.1038/sdata.2018.237) and bacteria (MIT, B. Gallusser).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core import models

MODEL = Path(__file__).with_name("cells_model")
WIDTH = 8.0  # px, what a cell's width is brought to
_HAZE = 3 * WIDTH  # px, structure wider than this is illumination
_FOLD = 8  # sides are padded to a multiple of this: three halvings

Maps = NDArray[np.float32]


@cache
def weights() -> Mapping[str, NDArray[np.float32]]:
    """The trained weights by layer, float32: `name.weight` (out, in, k, k) and `name.bias` (out,).

    Raises DataError where they are not those of their card."""
    return models.load(MODEL).arrays()


def flatten(small: NDArray[np.float32]) -> NDArray[np.float32]:
    """Even out illumination and contrast of a shrunk frame (y, x): what the network sees.

    Background near 0, its noise near 1, and strong contrast compressed. A frame without contrast gives zeros.
    """
    import cv2

    # the haze is smooth, so a quarter of the size shows it as well
    size = small.shape[::-1]
    coarse = cv2.resize(small, tuple(max(1, n // 4) for n in size), interpolation=cv2.INTER_AREA)
    haze = cv2.GaussianBlur(coarse, (0, 0), _HAZE / 4, borderType=cv2.BORDER_REFLECT)
    out = small - cv2.resize(haze, size, interpolation=cv2.INTER_LINEAR)
    noise = 1.4826 * float(np.median(np.abs(out[::2, ::2])))
    # rounding of counts as large as these is no contrast
    floor = 1e-5 * max(float(np.abs(small).max(initial=0)), 1e-30)
    return np.arcsinh(out / np.float32(max(noise, floor)))


def _conv(w: Mapping[str, Maps], name: str, x: Maps, relu: bool = True) -> Maps:
    """Convolution 3 x 3 or 1 x 1 of maps (channel, y, x), zeros beyond the border.

    3 x 3: the three horizontal shifts are laid side by side once; a vertical shift is then only another
    start in memory, so the whole is three matrix products.
    """
    kernel, bias = w[name + ".weight"], w[name + ".bias"]
    (out_n, in_n, side, _), (_, rows, cols) = kernel.shape, x.shape
    if side == 1:
        out = kernel.reshape(out_n, in_n) @ x.reshape(in_n, -1)
    else:
        beside = np.zeros((3, in_n, rows + 2, cols), np.float32)
        beside[0, :, 1:-1, 1:] = x[:, :, :-1]
        beside[1, :, 1:-1] = x
        beside[2, :, 1:-1, :-1] = x[:, :, 1:]
        flat = beside.reshape(3 * in_n, -1)
        taps = np.ascontiguousarray(kernel.transpose(2, 0, 3, 1)).reshape(3, out_n, -1)
        out = taps[0] @ flat[:, : rows * cols]
        for dy in (1, 2):
            out += taps[dy] @ flat[:, dy * cols : (dy + rows) * cols]
    out += bias[:, None]
    if relu:
        np.maximum(out, 0, out=out)
    return out.reshape(out_n, rows, cols)


def _halve(x: Maps) -> Maps:
    rows = np.maximum(x[:, ::2], x[:, 1::2])
    return np.maximum(rows[:, :, ::2], rows[:, :, 1::2])


def _add_doubled(x: Maps, small: Maps) -> Maps:
    c, rows, cols = small.shape
    return (x.reshape(c, rows, 2, cols, 2) + small[:, :, None, :, None]).reshape(x.shape)


def predict(x: NDArray[np.float32], w: Mapping[str, Maps] | None = None) -> tuple[Maps, Maps, Maps]:
    """Run the network on a flattened, shrunk frame (y, x), `flatten`ed.

    Returns (cell, centre, scale): cell and centre are float32 (y, x) logits, > 0 where likely; scale is
    float32 (about y / 2, x / 2), log2 of the cells' width over 8 px, meaningful inside cells.
    """
    w = weights() if w is None else w
    height, width = x.shape
    x = np.pad(x, ((0, -height % _FOLD), (0, -width % _FOLD)), mode="symmetric")
    rows, cols = x.shape[0] // 2, x.shape[1] // 2
    folded = x.reshape(rows, 2, cols, 2).transpose(1, 3, 0, 2).reshape(4, rows, cols)

    fine = _conv(w, "e1b", _conv(w, "e1a", folded))
    middle = _conv(w, "e2b", _conv(w, "e2a", _halve(fine)))
    coarse = _conv(w, "e3a", _halve(middle))
    coarse = _conv(w, "e3b", coarse) + coarse
    y = _conv(w, "d2", _add_doubled(middle, _conv(w, "l3", coarse, relu=False)))
    y = _conv(w, "d1", _add_doubled(fine, _conv(w, "l2", y, relu=False)))
    y = _conv(w, "h", y, relu=False)

    maps = y[:8].reshape(2, 2, 2, rows, cols).transpose(0, 3, 1, 4, 2).reshape(2, 2 * rows, 2 * cols)
    scale = y[8, : (height + 1) // 2, : (width + 1) // 2]
    return maps[0, :height, :width], maps[1, :height, :width], scale
