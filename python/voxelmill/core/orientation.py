"""Which way the axes of a volume point, in letters: `PIR` is dim 0 to posterior, dim 1 to inferior, dim 2 to right.

    letters   R / L        A / P        S / I           RAS: the frame whose first axis points to the right, whose
              right, left  front, back  up, down        second to the front, whose third up (NIfTI; brain atlases)

A store has its axes z, y, x in dim 0, 1, 2, so a store in RAS has the code SAR. 48 codes are sound: three letters, one of
each pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations, product

import numpy as np

PAIRS = ("RL", "AP", "SI")  # the axes of the frame; the first letter is the positive direction
RAS = "SAR"  # of a store (z, y, x) that lies in RAS
CODES = tuple("".join(code) for order in permutations(PAIRS) for code in product(*order))


PATTERN = "^(|[RL]([AP][SI]|[SI][AP])|[AP]([RL][SI]|[SI][RL])|[SI]([RL][AP]|[AP][RL]))$"


def directions(code: str) -> np.ndarray:
    """(3, 3) from steps along dim 0, 1, 2 to steps along R, A, S: one entry of 1 or -1 in each row and column."""
    made = np.zeros((3, 3))
    for dim, letter in enumerate(code):
        axis = next(n for n, pair in enumerate(PAIRS) if letter in pair)
        made[axis, dim] = 1 if letter == PAIRS[axis][0] else -1
    return made


def affine(code: str, scale: Sequence[float], origin: Sequence[float]) -> np.ndarray:
    """(4, 4) from voxels (dim 0, 1, 2) of an array to R, A, S, in the unit of scale and origin.

    Positions keep their numbers: 3 mm along an axis that points to the left is -3 mm along R."""
    turn, made = directions(code), np.eye(4)
    made[:3, :3], made[:3, 3] = turn * np.asarray(scale), turn @ np.asarray(origin)
    return made
