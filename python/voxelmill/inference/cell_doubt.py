"""Whether the cell network can be believed on a movie: by its own maps, without truth.

settled     share of what looks like a cell that became one: where the maps contradict each other, little does
agreement   F1 at IoU 0.5 between outlines at the width that was found and at slightly other ones, the lower of two
wider       log2 of how much wider the cells look than the width that they were shown at

Settled and agreement together (their mean) are above SURE on all images that the network was trained for (T98G 0.70 and
more, C2C12, bacteria, made movies), and below it in brightfield and on most of DIC, fluorescence and inverted contrast
that are outlined badly. Chosen on the parts of these sets that are not held back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .cell_flows import WIDTH

OTHER_WIDTHS = (0.8, 1.25)  # times the width
SURE = 0.68  # mean of settled and agreement, below which outlines are doubtful
MOST_WIDER = 0.3
FEWEST, USUAL = 5, 0.85  # cells, below which agreement says nothing, and what is taken in its place
LEAST_SEEN = 2 * WIDTH**2  # px of shrunk frames that look like a cell, below which there is nothing to judge


@dataclass(frozen=True)
class Look:
    """One frame as the network saw it. seen: px that look like a cell; settled: px of these that became one; wider:
    median over them, log2; same, cells: matched outlines and outlines in all, summed over OTHER_WIDTHS."""

    seen: int
    settled: int
    wider: float
    same: tuple[int, ...]
    cells: tuple[int, ...]


def matched(a: NDArray, b: NDArray) -> int:
    """How many labels of a (y, x) have one of b with IoU above 0.5: no label can have two."""
    whole = [np.bincount(labels.ravel()) for labels in (a, b)]
    both = (a > 0) & (b > 0)
    pair, overlap = np.unique(a[both].astype(np.int64) * len(whole[1]) + b[both], return_counts=True)
    of_a, of_b = np.divmod(pair, len(whole[1]))
    return int(np.count_nonzero(2 * overlap > whole[0][of_a] + whole[1][of_b] - overlap))


def doubts(looks: Sequence[Look], width: float) -> list[str]:
    """What is doubtful, one line each; nothing where all is well or there is nothing to judge."""
    looks = [look for look in looks if look.seen]
    seen = sum(look.seen for look in looks)
    if seen < LEAST_SEEN:
        return []
    said = []
    settled = sum(look.settled for look in looks) / seen
    cells = [max(sum(look.cells[k] for look in looks), 1) for k in range(len(OTHER_WIDTHS))]
    few = min(cells) < 2 * FEWEST
    agreement = USUAL if few else min(2 * sum(look.same[k] for look in looks) / n for k, n in enumerate(cells))
    if (settled + agreement) / 2 < SURE:
        also = "" if few else f", and outlines at other widths agree with these by F1 {agreement:.2f}"
        said.append(
            f"the outlines of cells are doubtful: {settled:.0%} of what looks like a cell became one{also}. The image may "
            "be no phase contrast (brightfield, DIC, fluorescence, inverted), out of focus or of another scale; look at the "
            "contact sheet. --segmentation_method logstd or a plug-in may do better, --cell_diameter sets the width."
        )
    wider = float(np.median([look.wider for look in looks]))
    if abs(wider) > MOST_WIDER:
        said.append(
            f"cells look {2**wider:.2g} times as wide as the {width:.3g} px that they were taken for: give --cell_diameter "
            f"{width * 2**wider:.2g}, or resample the images where this is less than 5 or more than 80 px."
        )
    return said
