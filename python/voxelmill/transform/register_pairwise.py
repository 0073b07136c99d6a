"""Register a pair of slices: what is left between them when they lie where the stage says, and at which depth they meet.

    fixed    0 ---------- surface              A new surface lies one interval below the old one, so plane m of moving
             |                                 is looked for at m + interval of fixed, give or take the allowed drift.
             m + interval ====== slab ======
    moving   m            ====== slab ======

Slabs are averaged over planes against speckle, registered (`registration.py`), and laid on each other at every depth in
reach; the depth where planes are most alike wins, to a part of a voxel, and the slabs there are registered once more.

Where fixed ends above that, beside a gap, its last planes are registered with the first ones of moving that are most like
them. Tissue changes from plane to plane, so thin slabs that lie close serve better than thick ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..core import slices
from ..core.device import choose
from ..core.errors import DataError
from ..core.params import param
from ..core.provenance import Task
from ..core.shared import Device, Sectioning
from ..core.space import NM_PER_MM, one_size
from ..core.stage import In, Out
from ..core.volume import Image, open_image
from .bandpass import prepare
from .pair_results import PairResult
from .pairs import THRESHOLDS, Pair, Surface, confidence, judged, write_itk, write_metrics
from .registration import estimate_pair
from .warp import apply, centre_of, compose

SLAB = 8  # planes averaged where a pair is looked for
FINE = 4  # planes averaged where it is measured
NEAR = 1.0  # px: what a few planes say farther from what more of them say is not believed
THIN = 2  # planes averaged where no plane is seen by both
FINEST = 1024  # px: longer side at which shifts are measured
SEARCHED = 384  # px: longer side at which depths are compared
TILE = 512  # px a side, read at a time
Initial = Literal["both", "none", "com", "gradient"]


class Expected(Surface, Sectioning):
    """Where planes of a pair meet."""

    registration_allowed_drifting_mm: float = param(0.1, "Depths looked at, to either side of the expected", unit="mm", ge=0)


class Parameters(Expected, Device):
    """Pairwise registration."""

    registration_transform: Literal["euler", "translation"] = param("euler", "What is looked for: shift and turn, or shift")
    registration_max_translation: float = param(200.0, "Farthest shift that is believed", unit="px", gt=0)
    registration_max_rotation: float = param(5.0, "Largest turn that is believed", unit="deg", gt=0)
    registration_initial_alignment: Initial = param(
        "both",
        "Starts that are tried: where the stage says (none), centres of mass (com), edges (gradient); the best is taken",
    )


@dataclass(frozen=True)
class Reach:
    """Planes: first of moving, where it is expected in fixed, how far from it is looked."""

    first: int
    expected: float
    drift: int


def run(p: Parameters, task: Task, *, fixed: In, moving: In, name: str, transform: Out, metrics: Out, offsets: Out) -> None:
    task.arrays(p.use_gpu)
    numbers = (number(fixed), number(moving))
    images = (open_image(fixed), open_image(moving))
    pair, matrix = registered(p, images, numbers)
    made_up = [slices.name_of(n) for n, path in zip(numbers, (fixed, moving), strict=True) if "interpolated" in path.name]
    if made_up:
        pair = pair.model_copy(
            update={"status": "error", "why": f"{' and '.join(made_up)} interpolated: no tissue of its own"}
        )
    write_metrics(metrics, pair)
    write_itk(transform, matrix, images[0].shape[1:])  # type: ignore[arg-type]
    offsets.write_text(f"{round(pair.fixed_z)} {round(pair.moving_z)}\n")
    task.report(**pair.model_dump(exclude={"fixed", "moving"}))


def number(path: Path) -> int:
    """Of `slice_z07_normalize.ome.zarr`."""
    return slices.number_of(path.name.split("_")[1], path.name)


def registered(p: Parameters, images: tuple[Image, Image], numbers: tuple[int, int]) -> tuple[Pair, np.ndarray]:
    """The pair, and the matrix from px of fixed to px of moving. Raises DataError for slices that are not on one canvas."""
    fixed, moving = images
    about, reach, beside = expectation(p, images, numbers)
    shared = fixed.shape[0] - reach.expected
    thin = shared < THIN
    if not thin:
        found, z, z_correlation = matched(p, fixed, moving, reach)
    elif shared + reach.first + reach.drift >= 0:
        found, z = across(p, fixed, moving, reach), reach.expected
        z_correlation = found.correlation
    else:
        begins = f"plane {reach.expected:.0f}, where the next slice begins"
        why = f"{fixed.shape[0]} planes end above {begins}: nothing is seen by both"
        return Pair(**about, fixed_z=reach.expected, why=why), np.eye(2, 3)
    off = apply(found.matrix, np.array(centre_of(found.shape))) - centre_of(found.shape) - beside
    turn = float(np.rad2deg(np.arctan2(found.matrix[1, 0], found.matrix[0, 0])))
    pair = Pair(
        **about, fixed_z=z, dim1_px=float(off[0]), dim2_px=float(off[1]), rotation_deg=turn, z_correlation=z_correlation,
        correlation=found.correlation, thin=thin,
    )  # fmt: skip
    return believed(p, pair, found)


def expectation(
    p: Expected, images: tuple[Image, Image], numbers: tuple[int, int]
) -> tuple[dict[str, Any], Reach, np.ndarray]:
    """What is known of a pair beforehand: what `Pair` says of it, where its planes are looked for, and the px by which
    pixel p of moving lies beside pixel p of fixed, left of whole pixels. Raises DataError as `registered` does."""
    fixed, moving = images
    if fixed.shape[1:] != moving.shape[1:] or not one_size(fixed.scale, moving.scale):
        raise DataError(
            f"slices {numbers[0]} and {numbers[1]}: {fixed.shape[1:]} px of {fixed.scale} nm and {moving.shape[1:]} of "
            f"{moving.scale} nm; expected both on one canvas, as bring_to_common_space leaves them"
        )
    step = fixed.scale[0] / NM_PER_MM
    first = min(p.moving_slice_first_index, moving.shape[0] - 1)
    expected = first + (numbers[1] - numbers[0]) * p.registration_slicing_interval_mm / step
    about: dict[str, Any] = {"fixed": numbers[0], "moving": numbers[1], "moving_z": first, "expected_z": expected}
    beside = (np.array(fixed.origin[1:]) - moving.origin[1:]) / fixed.scale[1:]
    return about, Reach(first, expected, round(p.registration_allowed_drifting_mm / step)), beside


def believed(p: Parameters, pair: Pair, found: PairResult) -> tuple[Pair, np.ndarray]:
    """Within the bounds, or as the stage says."""
    most = (p.registration_max_translation, p.registration_max_rotation)
    why = "" if found.trusted else "nothing was found that both show"
    if pair.translation > most[0] or abs(pair.rotation_deg) > most[1]:
        why = f"{pair.translation:.0f} px, {pair.rotation_deg:.1f} deg: beyond what is believed"
    if why:
        nothing = {"dim1_px": 0.0, "dim2_px": 0.0, "rotation_deg": 0.0, "why": why, "status": "error"}
        return pair.model_copy(update=nothing), np.eye(2, 3)
    alike = min(1.0, pair.correlation / THRESHOLDS["correlation"][2]) if pair.thin else pair.z_correlation
    sure = confidence(alike, pair.translation, pair.rotation_deg, most)
    return judged(pair.model_copy(update={"confidence": sure})), found.matrix


def matched(p: Parameters, fixed: Image, moving: Image, reach: Reach) -> tuple[PairResult, float, float]:
    """The transform, the plane of fixed that plane `reach.first` of moving lies on, and the correlation there."""
    both = int(np.clip(fixed.shape[0] - round(reach.expected), THIN, SLAB))  # what fixed does not show is not averaged
    planes = range(reach.first, min(reach.first + both, moving.shape[0]))
    z = min(reach.expected, fixed.shape[0] - 1)
    begun = round(z)
    found = best_start(p, *slabs(fixed, moving, (begun, reach.first), len(planes)))
    z, correlation = depth_of(fixed, moving, found.matrix, reach, planes)
    met = (round(z), reach.first)
    if met[0] != begun:
        again = best_start(p, *slabs(fixed, moving, met, len(planes)))
        found = again if again.trusted else found
    if min(len(planes), fixed.shape[0] - met[0]) > FINE:
        found = finely(p, found, *slabs(fixed, moving, met, FINE))
    return found, z, correlation


def finely(p: Parameters, found: PairResult, fixed: np.ndarray, moving: np.ndarray) -> PairResult:
    """`found`, measured anew on means of FINE planes: light and speckle weigh the planes of both slices unlike, which
    moves the mean of many planes of slanting tissue more than that of few."""
    middle = np.array(centre_of(found.shape))
    off = apply(found.matrix, middle) - middle
    y, x = (round(float(o)) for o in off)
    fine = from_start(p, fixed, moving, (y, x))
    near = np.linalg.norm(apply(fine.matrix, middle) - middle - off) < NEAR
    return replace(found, matrix=fine.matrix) if found.trusted and fine.trusted and near else found


def across(p: Parameters, fixed: Image, moving: Image, reach: Reach) -> PairResult:
    """The transform between the last planes of fixed and those of moving, down to `reach.first`, that are most alike."""
    deepest = slab(fixed, fixed.shape[0] - THIN, THIN)
    found = [best_start(p, deepest, slab(moving, m, THIN)) for m in range(min(reach.first, moving.shape[0] - THIN) + 1)]
    return max(found, key=lambda r: (r.trusted, r.correlation))


def slabs(fixed: Image, moving: Image, at: tuple[int, int], planes: int) -> tuple[np.ndarray, np.ndarray]:
    """Means from planes `at` on, of as many planes of both: `planes`, or what the one that ends sooner has left.

    Tissue slants: means of unlike numbers of planes would show unlike places."""
    most = max(1, min(planes, fixed.shape[0] - at[0], moving.shape[0] - at[1]))
    return slab(fixed, at[0], most), slab(moving, at[1], most)


def slab(image: Image, z: int, planes: int) -> np.ndarray:
    """Mean of `planes` planes from z on, or of those that there are: (dim 1, dim 2) float32."""
    z = int(np.clip(z, 0, image.shape[0] - 1))
    out = np.empty(image.shape[1:], np.float32)
    for tile in tiles(image.shape[1:], TILE):
        out[tile] = image.read((slice(z, min(z + planes, image.shape[0])), *tile)).mean(0, dtype=np.float32)
    return out


def tiles(shape: Sequence[int], side: int) -> Iterator[tuple[slice, slice]]:
    """Of a plane: what is read at a time. Chunks are many planes deep, so that planes are not read one by one."""
    for y in range(0, shape[0], side):
        for x in range(0, shape[1], side):
            yield slice(y, min(y + side, shape[0])), slice(x, min(x + side, shape[1]))


# --- in the plane ---------------------------------------------------------------------------------


def best_start(p: Parameters, fixed: np.ndarray, moving: np.ndarray) -> PairResult:
    """The registration from the start that ends with the highest correlation."""
    begun = starts(p.registration_initial_alignment, fixed, moving, choose(p.use_gpu)[0])
    results = [from_start(p, fixed, moving, at) for at in begun]
    return max(results, key=lambda r: (r.trusted, r.correlation))


def from_start(p: Parameters, fixed: np.ndarray, moving: np.ndarray, start: tuple[int, int]) -> PairResult:
    """Registration of `moving`, shifted by whole px so that its pixel p + start comes to p."""
    level: Literal["rigid", "translation"] = "rigid" if p.registration_transform == "euler" else "translation"
    pyramids = [prepare(image, full=True, max_size=FINEST) for image in (fixed, shifted(moving, start))]
    found = estimate_pair(*pyramids, level=level, max_rotation_deg=p.registration_max_rotation)
    back = np.array([[1.0, 0, start[0]], [0, 1, start[1]]])
    return replace(found, matrix=compose(back, found.matrix)) if found.trusted else found


def shifted(image: np.ndarray, by: tuple[int, int]) -> np.ndarray:
    """out[p] = image[p + by]; 0 beyond the rim."""
    out = np.zeros_like(image)
    to = tuple(slice(max(0, -b), min(n, n - b)) for b, n in zip(by, image.shape, strict=True))
    out[to] = image[tuple(slice(s.start + b, s.stop + b) for s, b in zip(to, by, strict=True))]
    return out


def starts(initial: Initial, fixed: np.ndarray, moving: np.ndarray, xp: Any = np) -> list[tuple[int, int]]:
    """Shifts in whole px to begin with, each once."""
    found = []
    if initial in ("gradient", "both"):
        found.append(by_edges(fixed, moving, xp))
    if initial in ("com", "both"):
        found.append(tuple(np.rint(middle(moving) - middle(fixed)).astype(int).tolist()))
    inside = [at for at in found if all(2 * abs(a) < n for a, n in zip(at, fixed.shape, strict=True))]
    # A pixel more or less is what registration itself finds.
    return list(dict.fromkeys((0, 0) if max(map(abs, at)) <= 4 else at for at in inside)) or [(0, 0)]


def middle(image: np.ndarray) -> np.ndarray:
    """Centre of mass (dim 1, dim 2)."""
    total = float(image.sum(dtype=np.float64)) or 1.0
    return np.array([np.arange(n) @ image.sum(1 - k, dtype=np.float64) / total for k, n in enumerate(image.shape)])


def by_edges(fixed: np.ndarray, moving: np.ndarray, xp: Any = np) -> tuple[int, int]:
    """Phase correlation of gradient magnitudes; of CuPy's arrays where `xp` is CuPy."""
    import cv2
    from scipy import ndimage

    factor = max(1, -(-max(fixed.shape) // SEARCHED))
    size = (fixed.shape[1] // factor, fixed.shape[0] // factor)
    small = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in (fixed, moving)]
    edges = [ndimage.gaussian_gradient_magnitude(image, 2.0).astype(np.float64) for image in small]
    window = cv2.createHanningWindow(size, cv2.CV_64F)
    if xp is not np:
        return tuple(n * factor for n in phase_correlation(edges[0] * window, edges[1] * window, xp))  # type: ignore[return-value]
    (x, y), _ = cv2.phaseCorrelate(edges[0], edges[1], window)
    return round(y * factor), round(x * factor)


def phase_correlation(fixed: np.ndarray, moving: np.ndarray, xp: Any) -> list[int]:
    """The whole shift, px along both axes, by which the content of `fixed` lies on in `moving` (Kuglin and Hines 1975)."""
    cross = xp.conj(xp.fft.rfft2(xp.asarray(fixed))) * xp.fft.rfft2(xp.asarray(moving))
    surface = xp.fft.irfft2(cross / xp.maximum(xp.abs(cross), 1e-12), fixed.shape)
    peak = np.unravel_index(int(surface.argmax()), fixed.shape)
    return [int(p) - n if p > n // 2 else int(p) for p, n in zip(peak, fixed.shape, strict=True)]


# --- in depth -------------------------------------------------------------------------------------


def depth_of(fixed: Image, moving: Image, matrix: np.ndarray, reach: Reach, planes: range) -> tuple[float, float]:
    """Depth at which planes of both are most alike, and how alike they are there."""
    low = max(0, int(np.floor(reach.expected)) - reach.drift)
    high = min(fixed.shape[0], int(np.ceil(reach.expected)) + reach.drift + len(planes))
    factor = max(1, -(-max(fixed.shape[1:]) // SEARCHED))
    deep, other = small(fixed, range(low, high), factor), small(moving, planes, factor)
    laid = np.stack([on_fixed(plane, smaller(matrix, factor)) for plane in other])
    use = (deep.min(0) > 0) & (laid.min(0) > 0)
    if use.sum() < 64:
        return reach.expected, 0.0
    a, b = (standard(np.stack([high_pass(plane, use)[use] for plane in stack])) for stack in (deep, laid))
    alike = a @ b.T  # [depth, plane of the slab]
    last = min(high - low - 1, 2 * reach.drift + 1)
    scores = np.array([np.mean([alike[k + m, m] for m in range(len(planes)) if k + m < len(a)]) for k in range(last + 1)])
    k = int(scores.argmax())
    part = 0.0
    if 0 < k < len(scores) - 1:
        before, here, after = scores[k - 1 : k + 2]
        bend = before - 2 * here + after
        part = float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5)) if bend < 0 else 0.0
    return low + k + part, float(scores[k])


def on_fixed(plane: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """A plane of moving as fixed would show it."""
    from .registration import _warped

    return _warped(plane, matrix, plane.shape)


def small(image: Image, planes: range, factor: int) -> np.ndarray:
    """(planes, dim 1, dim 2) float32: means of factor x factor px, 0 where one of them is 0."""
    out = np.empty((len(planes), *(n // factor for n in image.shape[1:])), np.float32)
    for y, x in tiles([n * factor for n in out.shape[1:]], TILE // factor * factor):
        values = image.read((slice(planes.start, planes.stop), y, x)).astype(np.float32)
        ny, nx = values.shape[1] // factor, values.shape[2] // factor
        parts = values.reshape(len(planes), ny, factor, nx, factor)
        at = (slice(y.start // factor, y.start // factor + ny), slice(x.start // factor, x.start // factor + nx))
        out[(slice(None), *at)] = np.where((parts > 0).all((2, 4)), parts.mean((2, 4)), 0)
    return out


def smaller(matrix: np.ndarray, factor: int) -> np.ndarray:
    """A matrix between px, for px p that are means of factor x factor, with centres at factor p + (factor - 1) / 2."""
    beside = (factor - 1) / 2
    move = matrix[:, :2] @ [beside, beside] + matrix[:, 2] - beside
    return np.hstack([matrix[:, :2], move[:, None] / factor])


def high_pass(plane: np.ndarray, use: np.ndarray) -> np.ndarray:
    """Grain between 1 and 6 px, shading taken out."""
    import cv2

    level = np.where(use, plane, plane[use].mean()).astype(np.float32)
    return cv2.GaussianBlur(level, (0, 0), 1.0) - cv2.GaussianBlur(level, (0, 0), 6.0)


def standard(rows: np.ndarray) -> np.ndarray:
    """Each row of mean 0 and length 1."""
    rows = rows - rows.mean(1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
