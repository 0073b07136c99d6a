"""The galvo return of raw OCT tiles: A-lines that were recorded while the mirror flew back, and where they begin.

A B-scan has nx A-lines of the scan and n_extra of the return, recorded in a ring that starts somewhere:

    recorded   s3 s4 s5 r0 r1 | s0 s1 s2          nx = 6, n_extra = 2, shift = 3:
    rolled     s0 s1 s2 s3 s4 s5 | r0 r1          rolled by +shift the scan comes first

The return is darker than what lies beside it, in nearly every B-scan: a step down where it begins and a step up
n_extra lines later. Steps are taken between neighbouring lines, so that the place is exact (the method of linumpy takes
them one line off).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.device import on_host
from ..core.errors import DataError

LOOKED_AT = 64  # B-scans of a tile
DROP, GOOD_DROP = 0.1, 0.3  # relative: a clear one, one that leaves no doubt


def profile(tile: np.ndarray, xp: Any = np) -> np.ndarray:
    """(lines, B-scans) of a raw tile (z, lines, B-scans): means over depth, of LOOKED_AT B-scans evenly from all, made on the
    array module `xp`."""
    every = max(1, tile.shape[2] // LOOKED_AT)
    return on_host(xp.asarray(tile[:, :, ::every]).mean(0, dtype=np.float64), xp)


def find_shift(profiles: Sequence[np.ndarray], n_extra: int) -> tuple[int, float]:
    """Shift by which the ring is to be rolled, and how sure that is, 0 to 1; one for all tiles of a slice.

    profiles   of some tiles that show something, each (lines, B-scans)
    Raises DataError where a profile has no more lines than the return.
    """
    if not profiles or n_extra < 1:
        return 0, 0.0
    lines = profiles[0].shape[0]
    if any(p.shape[0] != lines for p in profiles) or lines <= n_extra:
        raise DataError(
            f"galvo: tiles of {sorted({p.shape[0] for p in profiles})} lines; expected one number, above {n_extra}"
        )
    total = np.zeros(lines)
    for one in profiles:
        logs = np.log(np.maximum(one, 1e-3 * max(float(np.median(one)), 1e-12)))
        step = logs - np.roll(logs, 1, axis=0)  # step[i]: from line i - 1 to line i
        total += np.maximum(-np.median(step, axis=1), 0) * np.maximum(np.roll(np.median(step, axis=1), -n_extra), 0)
    first = int(total.argmax())  # of the return
    return (lines - n_extra - first) % lines, float(np.mean([_confidence(p, first, n_extra) for p in profiles]))


def _confidence(one: np.ndarray, first: int, n_extra: int) -> float:
    """How clearly the return is darker than the lines on either side of it, over the B-scans."""
    ring = np.roll(one, -first, axis=0)
    margin = min(2 * max(10, n_extra // 2), (len(one) - n_extra) // 2)
    beside = np.concatenate([ring[n_extra : n_extra + margin], ring[-margin:]]).mean(0) if margin else np.zeros(1)
    drop = 1 - ring[:n_extra].mean(0) / np.maximum(beside, 1e-12)
    share = float((drop > 0).mean())
    if share < 0.5:
        return 0.3 * share
    return 0.4 * share + 0.35 * float((drop > DROP).mean()) + 0.25 * float(np.clip(drop.mean() / GOOD_DROP, 0, 1))


def without_return(tile: np.ndarray, shift: int, nx: int) -> np.ndarray:
    """The scan of a raw tile (z, lines, B-scans): (z, nx, B-scans), rolled by `shift`."""
    first = -shift % tile.shape[1]
    lines = (first + np.arange(nx)) % tile.shape[1]
    return tile[:, lines]
