"""Whether the cell network can be believed on a movie: by its own maps, without truth.

settled     share of what looks like a cell that became one: where the maps contradict each other, little does
agreement   F1 at IoU 0.5 between outlines at the width that was found and at slightly other ones, the lower of two
wider       log2 of how much wider the cells look than the width that they were shown at
flow        mean length of the arrows in what looks like a cell: 1 where all agree on the way to the middle
halo        how bright the image is just outside cells, in units of the background's noise (arcsinh): phase contrast has one
dark        how far the image goes below the background in and around cells, where 1 is how far it goes above it
below       share of what lies in cells that is darker than 90 % of the background: what gamma and clipped shadows leave
lit         how far all places agree on a direction along which things are bright on one side and dark on the other: in DIC

Settled and agreement together (their mean) are above SURE on all images that the network was trained for (T98G, C2C12,
bacteria, made movies), settled is 0.58 and more, flow is 0.65 and more, halo 0.9 and more, dark 0.33 and more. Inverted,
the halo is -0.6 and less; in DIC and far out of focus settled and agreement together are 0.46 to 0.78, flow mostly below
0.7, and where relief is faint outlines may agree at all widths while settled is 0.57 and less; where the true cells glow,
dark is 0.02 and less, or 0.12 where they are so dim that it is noise, and below 0.04 and less. Gamma 3 and shadows clipped
at 30 % take dark of phase contrast down to 0.01, below to 0.07 (0.04 in two of seven C2C12 fields). Lit is 0.57 and less;
made cells in DIC at any angle are above 0.85. Chosen on the parts of these sets that are not held back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import cell_flows
from .cell_flows import WIDTH

OTHER_WIDTHS = (0.8, 1.25)  # times the width
SURE = 0.68  # mean of settled and agreement, below which outlines are doubtful
LEAST_SETTLED = 0.56
LEAST_FLOW = 0.64
LEAST_HALO = 0.3
LEAST_DARK = 0.15
LEAST_BELOW = 0.05
MOST_LIT = 0.65
MOST_WIDER = 0.3
FEWEST, USUAL = 5, 0.85  # cells, below which agreement says nothing, and what is taken in its place
LONGEST = 9  # px of shrunk frames from a bright side to a dark one
PLACE = round(1.5 * WIDTH)  # px, side of what is one place
LEAST_SEEN = 2 * WIDTH**2  # px of shrunk frames that look like a cell, below which next to nothing does
NOTHING = (
    "next to nothing looks like a cell in the frames that were looked at. If there are cells, the image may be no phase "
    "contrast (DIC, brightfield, fluorescence), out of focus, noisy or of another scale; look at the contact sheet."
)
DIC = (
    "the image is not of a kind that the network knows: cells are bright on one side and dark on the other, as in DIC. Their "
    "outlines are doubtful; look at the contact sheet."
)


@dataclass(frozen=True)
class Look:
    """One frame as the network saw it. seen: px that look like a cell; settled: px of these that became one; wider:
    median over them, log2; flow, halo, dark, below, lit: as above; same, cells: matched outlines and outlines in all, at
    each of OTHER_WIDTHS."""

    seen: int
    settled: int
    wider: float
    flow: float
    halo: float
    same: tuple[int, ...]
    cells: tuple[int, ...]
    dark: float = 1.0
    lit: float = 0.0
    below: float = 0.0


def matched(a: NDArray, b: NDArray) -> int:
    """How many labels of a (y, x) have one of b with IoU above 0.5: no label can have two."""
    whole = [np.bincount(labels.ravel()) for labels in (a, b)]
    both = (a > 0) & (b > 0)
    pair, overlap = np.unique(a[both].astype(np.int64) * len(whole[1]) + b[both], return_counts=True)
    of_a, of_b = np.divmod(pair, len(whole[1]))
    return int(np.count_nonzero(2 * overlap > whole[0][of_a] + whole[1][of_b] - overlap))


def flow_of(maps: NDArray[np.float32], seen: NDArray[np.bool_]) -> float:
    """Mean length of the flow (maps (5, y, x)) in what looks like a cell; 1 where nothing does."""
    return float(np.hypot(maps[3], maps[4])[seen].mean()) if seen.any() else 1.0


def halo_of(small: NDArray[np.float32], inside: NDArray[np.bool_]) -> float:
    """Mean of a shrunk frame, as the network sees it, in the 2 px around cells; LEAST_HALO where there is nothing around."""
    import cv2

    around = (cv2.dilate(inside.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0) & ~inside
    return float(cell_flows.normalise(small)[around].mean()) if around.any() else LEAST_HALO


def dark_of(small: NDArray[np.float32], inside: NDArray[np.bool_]) -> tuple[float, float]:
    """How far a shrunk frame goes below its background in and within 4 px of cells, over how far above, and the share of
    what lies in cells that is darker than 90 % of the background (half of what is as dark; 0 where most of the background
    has one value); 1 and 1 where there is nothing to judge. The background is what lies elsewhere, or all where that is
    next to nothing."""
    import cv2

    near = cv2.dilate(inside.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    if not near.any():
        return 1.0, 1.0
    shadow, level = np.percentile(small[~near] if np.mean(~near) > 0.02 else small, (10, 50))
    low, high = np.percentile(small[near], (2, 98))
    cells = small[inside]
    below = np.mean(cells < shadow) + np.mean(cells == shadow) / 2 if shadow < level else 0.0
    return float((level - low) / max(high - level, 1e-6)), float(below)


def lit_of(small: NDArray[np.float32]) -> float:
    """How far the places of a shrunk frame agree that things are brighter on one side, along whichever direction: 0 to 1.

    The sum of I(r)^2 I(r + s) over r is as large at -s as at s where bright and dark sides have no order. Where it differs
    most, the difference is summed by places, each capped at what 90 % have so that a single thing does not decide, and
    compared with the sum of its absolute values.
    """
    import cv2

    image = np.clip(cv2.GaussianBlur(cell_flows.normalise(small), (0, 0), 1), -4, 4)
    image -= image.mean()
    (height, width), far = image.shape, LONGEST
    padded = tuple(cv2.getOptimalDFTSize(n + 2 * far) for n in image.shape)
    spectra = np.fft.rfft2(image**2, padded), np.fft.rfft2(image, padded)
    third = np.roll(np.fft.irfft2(np.conj(spectra[0]) * spectra[1], padded), (far, far), (0, 1))[: 2 * far + 1, : 2 * far + 1]
    y, x = np.mgrid[-far : far + 1, -far : far + 1]
    odd = np.where((np.hypot(y, x) >= 2) & (np.hypot(y, x) <= far), third - third[::-1, ::-1], 0)
    y, x = np.unravel_index(np.argmax(odd), odd.shape)
    around = np.pad(image, far)
    there, back = (around[j : j + height, i : i + width] for j, i in ((y, x), (2 * far - y, 2 * far - x)))
    places = tuple(max(1, n // PLACE) for n in (width, height))
    sums = cv2.resize(image**2 * (there - back), places, interpolation=cv2.INTER_AREA)
    cap = np.quantile(np.abs(sums), 0.9)
    sums = np.clip(sums, -cap, cap)
    return float(sums.sum() / max(np.abs(sums).sum(), 1e-12))


def doubts(looks: Sequence[Look], width: float) -> list[str]:
    """What is doubtful, one line each; nothing where all is well or nothing was looked at."""
    if not looks:
        return []
    seen = sum(look.seen for look in looks)
    if seen < LEAST_SEEN:
        return [NOTHING] + [DIC] * (float(np.median([look.lit for look in looks])) > MOST_LIT)
    looks = [look for look in looks if look.seen]
    said = []
    settled = sum(look.settled for look in looks) / seen
    cells = [max(sum(look.cells[k] for look in looks), 1) for k in range(len(OTHER_WIDTHS))]
    few = min(cells) < 2 * FEWEST
    agreement = USUAL if few else min(2 * sum(look.same[k] for look in looks) / n for k, n in enumerate(cells))
    flow = sum(look.flow * look.seen for look in looks) / seen
    halo = float(np.median([look.halo for look in looks]))
    if (settled + agreement) / 2 < SURE or settled < LEAST_SETTLED or flow < LEAST_FLOW:
        also = "" if few else f", and outlines at other widths agree with these by F1 {agreement:.2f}"
        said.append(
            f"the outlines of cells are doubtful: {settled:.0%} of what looks like a cell became one{also}, arrows to "
            f"the middles of cells are {flow:.2f} long (1: sure). The image may be no phase contrast (brightfield, DIC, "
            "fluorescence, inverted), out of focus or of another scale; look at the contact sheet. --segmentation_method "
            "logstd or a plug-in may do better, --cell_diameter sets the width."
        )
    if halo < LEAST_HALO:
        said.append(
            "the outlines of cells are doubtful: there is no bright halo around them, as phase contrast has. The image may "
            "be inverted (then turn its grey values round), DIC, brightfield or out of focus; look at the contact sheet."
        )
    dark, below = (float(np.median(shares)) for shares in zip(*((look.dark, look.below) for look in looks)))
    if dark < LEAST_DARK and below < LEAST_BELOW:
        said.append(
            "the image is not of a kind that the network knows: nothing in or around cells is darker than the background, as "
            "in fluorescence. Outlines may be right all the same; look at the contact sheet."
        )
    if float(np.median([look.lit for look in looks])) > MOST_LIT:
        said.append(DIC)
    wider = float(np.median([look.wider for look in looks]))
    if abs(wider) > MOST_WIDER:
        said.append(
            f"cells look {2**wider:.2g} times as wide as the {width:.3g} px that they were taken for: give --cell_diameter "
            f"{width * 2**wider:.2g}, or resample the images where this is less than 5 or more than 80 px."
        )
    return said
