"""Section-wise denoising and local contrast: a light Gaussian, then CLAHE.

The classic notebook method (Gaussian sigma 0.7, ``equalize_adapthist`` clip 0.01) with one change: the
grid of contrast tiles is anchored at the section's first pixel and has a fixed tile size, so that a
block sees exactly the tiles that the whole section sees. Any block, read with its halo, gives the bytes
that the whole section would give. CLAHE after K. Zuiderveld, "Contrast Limited Adaptive Histogram
Equalization", Graphics Gems IV (1994).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..core.errors import DataError

BLUR_RADIUS = 3  # px: 4 sigma at the default sigma; the kernel is this wide at any sigma that is allowed
MAX_SIGMA = 1.0
EMPTY = ((0, 9), (255, 33))  # a patch of one grey level so many px wide is no data: black, or a bright rim
TILES = (16, 32, 64, 128, 256, 512)

Range = tuple[int, int]


def halo(tile: int = 64) -> int:
    """Pixels that a block needs on each in-plane side for any tile grid offset: ``1.5 * tile + 3``."""
    return tile + tile // 2 + BLUR_RADIUS


def source_range(start: int, stop: int, size: int, tile: int = 64) -> Range:
    """The rows (or columns) ``[lo, hi)`` of a section that rows ``[start, stop)`` of the result depend on.

    A pixel is interpolated between the tiles whose centres surround it, so the range runs over whole
    tiles, plus the blur radius. ``size`` is the section's extent along this axis.
    """
    first = max((start - tile // 2) // tile, 0)
    last = (stop - 1 + tile // 2) // tile
    return max(first * tile - BLUR_RADIUS, 0), min((last + 1) * tile + BLUR_RADIUS, size)


def to_uint8(volume: np.ndarray, window: tuple[float, float] | None = None) -> np.ndarray:
    """Map the window ``(lo, hi)`` of grey values to 0..255; values outside are clipped.

    uint8 without a window passes unchanged. Raises ``DataError`` for another dtype without a window, for
    an empty window, and for values that are not finite.
    """
    if window is None:
        if volume.dtype == np.uint8:
            return volume
        raise DataError(
            f"contrast: the volume is {volume.dtype} and has no intensity window; expected uint8, or a "
            "window (lo, hi) of grey values that become 0 and 255"
        )
    lo, hi = window
    if not lo < hi:
        raise DataError(f"contrast: the intensity window is ({lo}, {hi}); expected lo < hi")
    scaled = volume.astype(np.float32)
    if volume.dtype.kind == "f" and not np.isfinite(scaled).all():
        bad = np.argwhere(~np.isfinite(scaled))[0].tolist()
        raise DataError(f"contrast: a value at index {bad} (z, y, x of the block) is not finite; repair the source")
    scaled -= np.float32(lo)
    scaled *= np.float32(255.0 / (hi - lo))
    np.clip(scaled, 0, 255, out=scaled)
    np.rint(scaled, out=scaled)
    return scaled.astype(np.uint8)


def no_data(section: np.ndarray, reach: int = 32) -> np.ndarray:
    """Where a uint8 section (y, x) shows nothing, being black or white all around: beyond the imaged area, or lost.

    Single black or white pixels are data. What lies beyond the array is taken for what it would have to be.
    reach: px around a pixel that may be looked at; patches that need more are data."""
    import cv2

    found = np.zeros(section.shape, bool)
    for level, side in (patch for patch in EMPTY if patch[1] <= reach + 1):
        same = (section == level).view(np.uint8)
        if same.any():
            found |= cv2.morphologyEx(same, cv2.MORPH_OPEN, np.ones((side, side), np.uint8)) > 0
    return found


def negative(sections: np.ndarray) -> np.ndarray:
    """Of uint8 grey values 1 to 255, as `enhance` gives them; 0 is no data, and stays."""
    return -sections  # modulo 256


def enhance(
    sections: np.ndarray,
    *,
    section_shape: tuple[int, int] | None = None,
    origin: tuple[int, int] = (0, 0),
    core: tuple[Range, Range] | None = None,
    window: tuple[float, float] | None = None,
    sigma: float = 0.7,
    clip_limit: float = 0.01,
    tile: int = 64,
) -> np.ndarray:
    """Denoise and equalise sections, each by itself.

    Args:
        sections: ``(z, y, x)``, whole sections or a window of them.
        section_shape: ``(y, x)`` of the whole section; by default that of ``sections``.
        origin: ``(y, x)`` in the section of ``sections[:, 0, 0]``, px.
        core: ``((y0, y1), (x0, x1))`` in the section: what to return; by default all of ``sections``.
        window: grey values that become 0 and 255; needed for any dtype but uint8.
        sigma: Gaussian sigma, px, at most 1; 0 leaves it out.
        clip_limit: largest share of a tile's pixels that one of 256 grey levels may hold before the
            excess is spread over all levels (scikit-image's convention).
        tile: side of a contrast tile, px: a power of two, so that positions within the grid are exact
            in any block.

    Returns:
        uint8 array ``(z, y1 - y0, x1 - x0)``; 0 is no data (see `no_data`), and nothing else is.

    Raises:
        DataError: parameter out of bounds, or ``sections`` lacks pixels that the core depends on.
    """
    import cv2

    if sections.ndim != 3 or 0 in sections.shape:
        raise DataError(f"contrast: sections have shape {sections.shape}; expected non-empty (z, y, x)")
    if tile not in TILES:
        raise DataError(f"contrast: tile is {tile}; expected one of {TILES} px")
    if not 0 <= sigma <= MAX_SIGMA:
        raise DataError(f"contrast: sigma is {sigma}; expected 0..{MAX_SIGMA} px")
    if not 0 < clip_limit <= 1:
        raise DataError(f"contrast: clip_limit is {clip_limit}; expected more than 0 and at most 1")
    shape = section_shape or sections.shape[1:]
    spans = core or [(o, o + n) for o, n in zip(origin, sections.shape[1:], strict=True)]
    needed = [source_range(*span, size, tile) for span, size in zip(spans, shape, strict=True)]
    _require(needed, origin, sections.shape[1:])

    (y0, y1), (x0, x1) = ((lo - o, hi - o) for (lo, hi), o in zip(needed, origin, strict=True))
    source = to_uint8(sections[:, y0:y1, x0:x1], window)
    # After the blur, keep whole tiles only; the last tile of a section is completed by reflection.
    trim, pad, grid, crop = [], [], [], []
    for (lo, hi), (start, stop), size in zip(needed, spans, shape, strict=True):
        first = -(-lo // tile) * tile  # lo is 0 or lies a blur radius before a tile
        end = hi if hi == size else hi - BLUR_RADIUS
        fill = -(end - first) % tile
        trim.append(slice(first - lo, end - lo))
        pad.append(fill)
        grid.append((end - first + fill) // tile)
        crop.append(slice(start - first, stop - first))
    clahe = cv2.createCLAHE(clipLimit=clip_limit * 256, tileGridSize=(grid[1], grid[0]))
    side = 2 * BLUR_RADIUS + 1

    out = np.empty((len(source), *(stop - start for start, stop in spans)), np.uint8)
    for section, target in zip(source, out, strict=True):
        empty = no_data(section, tile // 2)[trim[0], trim[1]][crop[0], crop[1]]
        if sigma:
            section = cv2.GaussianBlur(section, (side, side), sigma)
        section = np.pad(section[trim[0], trim[1]], ((0, pad[0]), (0, pad[1])), mode="reflect")
        target[:] = np.maximum(clahe.apply(section)[crop[0], crop[1]], 1)
        target[empty] = 0
    return out


def _require(needed: Sequence[Range], origin: tuple[int, int], extent: Sequence[int]) -> None:
    for axis, (lo, hi), start, size in zip("yx", needed, origin, extent, strict=True):
        if lo < start or hi > start + size:
            raise DataError(
                f"contrast: along {axis} the block holds pixels [{start}, {start + size}) but its core "
                f"depends on [{lo}, {hi}); read it with the halo that source_range() or halo() gives"
            )
