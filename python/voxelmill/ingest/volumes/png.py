"""Grey PNG, as a section of a folder. It is decoded whole: the format knows no parts.

Palettes of greys and samples below 8 bits are read as they look; a constant alpha channel is left out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...core.errors import DataError
from .streams import whole

MOST_RATIO = 10_000  # bytes decoded per byte on disk; deflate packs 1032 to 1 at best
BEGINS = b"\x89PNG\r\n\x1a\n"
SAMPLES = {0: "grey", 2: "colours", 3: "a palette", 4: "grey with alpha", 6: "colours with alpha"}


def header(path: Path, labels: bool) -> tuple[tuple[int, int], np.dtype, list[str]]:
    """Height and width, type of the values, and remarks. Raises DataError for what is no grey plane, or no ids."""
    with open(path, "rb") as file:
        head = file.read(33)
    if len(head) < 33 or not head.startswith(BEGINS) or head[12:16] != b"IHDR":
        raise DataError(f"{path.name}: not a whole PNG; copy it again")
    width, height = (int.from_bytes(head[n : n + 4], "big") for n in (16, 20))
    bits, colour = head[24], head[25]
    if colour not in (0, 3, 4):
        raise DataError(f"{path.name}: {SAMPLES.get(colour, 'of no kind')}; expected a grey plane (y, x)")
    if labels and (colour == 3 or bits < 8):
        raise DataError(f"{path.name}: {SAMPLES[colour]} of {bits} bits as labels; expected grey values of 8 or 16 bits, ids")
    if not width or not height or height * width * max(bits // 8, 1) > MOST_RATIO * path.stat().st_size:
        raise DataError(f"{path.name}: claims to be {height} x {width}; the header is damaged")
    kind = np.dtype(np.uint16 if bits == 16 else np.uint8)
    return (height, width), kind, ["has an alpha channel, which is the same everywhere; left out"] if colour == 4 else []


def read(path: Path, rows: slice, columns: slice) -> np.ndarray:
    """A part (y, x). Raises DataError for a palette of colours, and alpha that differs from pixel to pixel."""
    import imagecodecs

    with whole(path, "PNG"):
        values = imagecodecs.png_decode(path.read_bytes())
        if values.ndim == 3 and values.shape[2] in (2, 4):
            if values[..., -1].min() != values[..., -1].max():
                raise DataError(f"{path.name}: has transparency that differs from pixel to pixel; save it without")
            values = values[..., :-1]
        if values.ndim == 3:
            if (values != values[..., :1]).any():
                raise DataError(f"{path.name}: a palette of colours; expected a grey plane, or a palette of greys")
            values = values[..., 0]
    return np.ascontiguousarray(values[rows, columns])
