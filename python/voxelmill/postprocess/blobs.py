"""Synapse candidates by the classic notebook heuristic: dark blobs where two segments meet.

In each section: blobs of the scale-normalised Laplacian of Gaussian (LoG) on inverted intensity
(T. Lindeberg, "Feature detection with automatic scale selection", 1998), kept where the 7 x 7 px around
them hold two segments. Of the two that fill most of it the darker one is called presynaptic. The direction
is a guess: it makes the graph directed, no more.

The scale space is a cascade of small fixed-point blurs (the same bits wherever a block begins) with a
5-point Laplacian of each; from sigma 2 on it goes on at half the resolution. A place keeps the best of its
scales before maxima are sought: blobs within blobs, which the notebook detects and then prunes, never arise.
"""

from __future__ import annotations

import numpy as np

from ..core.errors import DataError

REACH = 3  # px: the neighbourhood is 7 x 7
CELL = 4  # px: at most one candidate per cell of 4 x 4 px and pair of segments
FIXED_POINT = 256  # grey levels are blurred in 16 bits: 256 steps each
HALVE_AT = 2.0  # px: scales from here on are sought on every second pixel,
BEFORE_HALVING = 1.5  # px: once the image is at least this smooth
FOUR = ((0, 0), (0, 1), (1, 0), (1, 1))

# A side's point is its pixel nearest to the blob; it lies in the blob's section.
DTYPE = np.dtype(
    [
        *((name, "<i8") for name in ("z", "y", "x", "pre_y", "pre_x", "post_y", "post_x")),
        *(("sigma", "<f4"), ("pre_pt_root_id", "<u8"), ("post_pt_root_id", "<u8"), ("score", "<f4")),
    ]
)

Range = tuple[int, int]
Side = tuple[np.ndarray, np.ndarray, np.ndarray]  # segment, and from the blob to its nearest pixel of it: y, x


def halo(min_sigma: float = 1.0, max_sigma: float = 4.0, num_sigma: int = 6, spacing: int = 4) -> int:
    """In-plane px around a block on which its candidates depend; no neighbouring sections are needed."""
    cascade = sum(
        (_radius(step) + int(response)) * shrink for shrink, step, response, _ in _cascade(min_sigma, max_sigma, num_sigma)
    )
    return cascade + 2 * (spacing // 2) + 2 + REACH + CELL


def _cascade(min_sigma: float, max_sigma: float, num_sigma: int) -> list[tuple[int, float, bool, float]]:
    """Blurs in turn: (px per sample, sigma of the step in samples, is it a scale, sigma so far in px)."""
    scales = np.linspace(min_sigma, max_sigma, num_sigma)
    fine, coarse = scales[scales < HALVE_AT], scales[scales >= HALVE_AT]
    steps, at = [], 0.0
    for sigma in fine:
        steps.append((1, float(np.sqrt(sigma**2 - at**2)), True, float(sigma)))
        at = sigma
    if coarse.size and at < BEFORE_HALVING:
        steps.append((1, float(np.sqrt(BEFORE_HALVING**2 - at**2)), False, BEFORE_HALVING))
        at = BEFORE_HALVING
    for sigma in coarse:
        steps.append((2, float(np.sqrt(sigma**2 - at**2)) / 2, True, float(sigma)))
        at = sigma
    return steps


def _radius(step: float) -> int:
    return max(int(4 * step + 0.5), 1)


def detect(
    sections: np.ndarray,
    labels: np.ndarray,
    windows: np.ndarray | None = None,
    *,
    first_section: int = 0,
    section_shape: tuple[int, int] | None = None,
    origin: tuple[int, int] = (0, 0),
    core: tuple[Range, Range] | None = None,
    min_sigma: float = 1.0,
    max_sigma: float = 4.0,
    num_sigma: int = 6,
    threshold: float = 0.08,
    min_labelled: int = 10,
    spacing: int = 4,
) -> np.ndarray:
    """Synapse candidates of a block of sections.

    Args:
        sections: uint8 ``(z, y, x)``, dark synapses on bright cytoplasm.
        labels: integer ``(z, y, x)``, segments on the same grid, 0 = none.
        windows: ``(z, 2)``, lowest and highest grey level of each whole section, which become 1 and 0
            of inverted intensity; by default those of ``sections``, which must then be whole.
        first_section: the volume's index of ``sections[0]``.
        section_shape, origin, core: as in `transform.contrast.enhance`; a block needs `halo` px around
            its core, except where the section ends.
        min_sigma, max_sigma, num_sigma: scales of the blobs, px (radius = 1.41 sigma), evenly spaced.
        threshold: least LoG response, in units of inverted intensity (0..1).
        min_labelled: labelled px that the neighbourhood holds at least.
        spacing: a candidate is the strongest response within this many px (Chebyshev).

    Returns:
        Structured array of `DTYPE`, in the order z, y, x (voxel indices in the whole volume). ``score`` is
        the mean inverted intensity of the presynaptic side, 0..1.

    Raises:
        DataError: shapes or dtypes do not fit, or the block lacks its halo.
    """
    if sections.dtype != np.uint8 or sections.ndim != 3 or sections.shape != labels.shape:
        raise DataError(
            f"blobs: sections are {sections.dtype} of shape {sections.shape}, labels of shape "
            f"{labels.shape}; expected uint8 (z, y, x) and labels on the same grid"
        )
    shape = section_shape or sections.shape[1:]
    spans = core or [(o, o + n) for o, n in zip(origin, sections.shape[1:], strict=True)]
    reach = halo(min_sigma, max_sigma, num_sigma, spacing)
    for axis, (start, stop), size, o, n in zip("yx", spans, shape, origin, sections.shape[1:], strict=True):
        if o > max(start - reach, 0) or o + n < min(stop + reach, size):
            raise DataError(
                f"blobs: along {axis} the block holds pixels [{o}, {o + n}) for a core of [{start}, {stop}); "
                f"it needs {reach} px around the core (halo())"
            )
    if windows is None:
        if tuple(sections.shape[1:]) != tuple(shape):
            raise DataError(
                "blobs: a part of a section came without windows; pass each whole section's lowest and highest grey level"
            )
        windows = np.stack([sections.min((1, 2)), sections.max((1, 2))], 1)

    # Every second pixel of the section, not of the block: begin at an even one.
    odd = (origin[0] % 2, origin[1] % 2)
    sections, labels = (volume[:, odd[0] :, odd[1] :] for volume in (sections, labels))
    origin = (origin[0] + odd[0], origin[1] + odd[1])

    steps = _cascade(min_sigma, max_sigma, num_sigma)
    lo, hi = np.asarray(windows, float).reshape(-1, 2).T
    span = np.maximum(hi - lo, 1.0)
    found = [_blobs(image, threshold * s, steps, spacing) for image, s in zip(sections, span, strict=True)]
    z = np.repeat(np.arange(len(found)), [len(y) for y, _, _ in found])
    y, x, sigma = (np.concatenate(column) for column in zip(*found, strict=True))
    inside = np.ones(len(z), bool)  # away from the frame of the section
    for at, o, size in ((y, origin[0], shape[0]), (x, origin[1], shape[1])):
        inside &= (at + o >= 2) & (at + o < size - 2)
    z, y, x, sigma = z[inside], y[inside], x[inside], sigma[inside]

    rows = np.zeros(len(z), DTYPE)
    rows["z"], rows["y"], rows["x"], rows["sigma"] = first_section + z, y + origin[0], x + origin[1], sigma
    kept, pre, post, score = _pair_up(sections, labels, (z, y, x), min_labelled, lo[z], span[z])
    rows = rows[kept]
    rows["score"] = score
    for name, (ids, dy, dx) in (("pre", pre), ("post", post)):
        rows[f"{name}_pt_root_id"], rows[f"{name}_y"], rows[f"{name}_x"] = ids, rows["y"] + dy, rows["x"] + dx
    rows = _one_per_cell(rows)
    (y0, y1), (x0, x1) = spans
    rows = rows[(rows["y"] >= y0) & (rows["y"] < y1) & (rows["x"] >= x0) & (rows["x"] < x1)]
    return rows[np.lexsort((rows["x"], rows["y"], rows["z"]))]


def _blobs(
    image: np.ndarray, threshold: float, steps: list[tuple[int, float, bool, float]], spacing: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Position and scale of dark blobs: maxima of ``sigma**2 * laplacian`` over place and scale."""
    import cv2

    blurred: np.ndarray = image.astype(np.uint16) * FIXED_POINT
    pitch = 1
    best, scale = np.zeros(image.shape, np.float32), np.zeros(image.shape, np.float32)
    fine = best
    for shrink, step, is_scale, sigma in steps:
        if shrink != pitch:
            fine, pitch = best, shrink
            blurred = np.ascontiguousarray(blurred[::2, ::2])
            best, scale = _best_of_four(best, scale)
        side = 2 * _radius(step) + 1
        blurred = cv2.GaussianBlur(blurred, (side, side), step)
        if is_scale:
            response = cv2.Laplacian(blurred, cv2.CV_32F, ksize=1, scale=(sigma / shrink) ** 2 / FIXED_POINT)
            scale[response > best] = sigma
            cv2.max(best, response, best)
    side = 2 * (spacing // pitch) + 1
    peak = (best > threshold) & (best == cv2.dilate(best, np.ones((side, side), np.uint8)))
    y, x = np.nonzero(peak)
    sigmas = scale[y, x]
    if pitch == 2:  # back to the pixel: for fine scales the best of its four
        y, x, is_fine = 2 * y, 2 * x, sigmas < HALVE_AT
        fine = np.pad(fine, [(0, size % 2) for size in image.shape])
        best_of_four = np.argmax(np.stack([fine[y + dy, x + dx] for dy, dx in FOUR]), axis=0)
        offset = np.array(FOUR)[best_of_four] * is_fine[:, None]
        y, x = y + offset[:, 0], x + offset[:, 1]
    return y, x, sigmas


def _best_of_four(best: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The highest of 2 x 2 px with its scale."""
    pad = [(0, n % 2) for n in best.shape]
    best, scale = np.pad(best, pad), np.pad(scale, pad)
    top, top_scale = best[::2, ::2].copy(), scale[::2, ::2].copy()
    for dy, dx in FOUR[1:]:
        other = best[dy::2, dx::2]
        np.copyto(top_scale, scale[dy::2, dx::2], where=other > top)
        np.maximum(top, other, out=top)
    return top, top_scale


def _pair_up(
    sections: np.ndarray,
    labels: np.ndarray,
    at: tuple[np.ndarray, np.ndarray, np.ndarray],
    min_labelled: int,
    lo: np.ndarray,
    span: np.ndarray,
) -> tuple[np.ndarray, Side, Side, np.ndarray]:
    """Which blobs have two segments around them; and the pre and post side and score of those.

    Two ids within a square imply a boundary in it, so that needs no test of its own.
    """
    z, y, x = at
    reach = np.arange(-REACH, REACH + 1)
    near_y, near_x = y[:, None, None] + reach[:, None], x[:, None, None] + reach
    outside = (near_y < 0) | (near_y >= labels.shape[1]) | (near_x < 0) | (near_x >= labels.shape[2])
    where = z[:, None, None], near_y.clip(0, labels.shape[1] - 1), near_x.clip(0, labels.shape[2] - 1)
    area = (2 * REACH + 1) ** 2
    around = np.where(outside, 0, labels[where]).reshape(-1, area)
    grey = sections[where].reshape(-1, area)

    # Runs of equal ids in each sorted neighbourhood; the two longest are the partners.
    ids = np.sort(around, axis=1)
    first_of_run = np.ones(ids.shape, bool)
    first_of_run[:, 1:] = ids[:, 1:] != ids[:, :-1]
    start = np.flatnonzero(first_of_run)
    count = np.diff(start, append=ids.size)
    row, segment = start // area, ids.ravel()[start]
    real = segment > 0
    row, segment, count = row[real], segment[real], count[real]
    rank = np.lexsort((segment, -count, row))
    row, segment = row[rank], segment[rank]
    labelled, distinct = np.bincount(row, count, len(z)), np.bincount(row, minlength=len(z))
    kept = np.flatnonzero((distinct >= 2) & (labelled >= min_labelled))
    longest = np.searchsorted(row, kept)
    a, b = segment[longest], segment[longest + 1]
    far = (reach[:, None] ** 2 + reach**2).ravel()
    dark, nearest = [], []
    for side in (a, b):
        mask = around[kept] == side[:, None]
        dark.append(1.0 - ((grey[kept] * mask).sum(1) / mask.sum(1) - lo[kept]) / span[kept])
        nearest.append(np.where(mask, far, area).argmin(1))
    first = dark[0] >= dark[1]

    def side_of(ids: tuple[np.ndarray, np.ndarray], at: tuple[np.ndarray, np.ndarray]) -> Side:
        dy, dx = np.divmod(np.where(first, *at), len(reach))
        return np.where(first, *ids), dy - REACH, dx - REACH

    return kept, side_of((a, b), (nearest[0], nearest[1])), side_of((b, a), (nearest[1], nearest[0])), np.maximum(*dark)


def _one_per_cell(rows: np.ndarray) -> np.ndarray:
    """The best of the rows that share a cell of the section's 4 px grid and both segments."""
    keys = rows["pre_pt_root_id"], rows["post_pt_root_id"], rows["x"] // CELL, rows["y"] // CELL, rows["z"]
    order = np.lexsort((rows["x"], rows["y"], -rows["score"], *keys))
    repeated = np.ones(max(len(rows) - 1, 0), bool)
    for key in keys:
        repeated &= key[order][1:] == key[order][:-1]
    return rows[np.delete(order, np.flatnonzero(repeated) + 1)]
