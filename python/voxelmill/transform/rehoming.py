"""Steps of the stage between slices that are none of the tissue: a glitch of the encoder, a jump by whole tiles.

A glitch moves one slice, and the next step takes it back:

    place   o   o               o   o        steps   .  +g  -g  .       the sum of both is right: the
            |   |       o       |   |                                   slice is put half way
            +---+-------+-------+---+--> slice
"""

from __future__ import annotations

import numpy as np


def round_trips(steps: np.ndarray, reach: float, fraction: float) -> np.ndarray:
    """Rows i of steps (n, 2), mm, of which i and i + 1 are a way there and back; no row in two of them.

    reach      mm: shorter steps are none
    fraction   of the longer step that may remain of both together
    """
    long = np.linalg.norm(steps, axis=1)
    rest = np.linalg.norm(steps[:-1] + steps[1:], axis=1)
    longer = np.maximum(long[:-1], long[1:])
    candidates = (longer > reach) & (rest < fraction * longer)
    found: list[int] = []
    # The cleanest first: of three steps there, back and there again only one pair is the glitch.
    for i in sorted(np.flatnonzero(candidates), key=lambda i: (rest[i] / longer[i], i)):
        if all(abs(i - k) > 1 for k in found):
            found.append(int(i))
    return np.array(sorted(found), int)


def smoothed_out(steps: np.ndarray, trips: np.ndarray) -> np.ndarray:
    """The steps with each round trip made two equal steps: what follows lies where it did."""
    out = steps.copy()
    for i in trips:
        out[i] = out[i + 1] = (steps[i] + steps[i + 1]) / 2
    return out


def without_tiles(steps: np.ndarray, tile: float, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """The steps less whole tiles, each axis by itself, and where something was taken off: (n, 2), (n, 2) bool.

    tile        mm: field of view of a tile
    tolerance   of a tile that a step may differ from a multiple, and be one
    """
    count = np.rint(steps / tile)
    jumped = (count != 0) & (np.abs(steps - count * tile) <= tolerance * tile)
    return steps - np.where(jumped, count * tile, 0), jumped
