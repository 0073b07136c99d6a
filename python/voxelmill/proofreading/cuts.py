"""Where to split a neurite: the smallest cut between two sets of its supervoxels (max-flow min-cut, Ford and Fulkerson 1956).

source --oo-- supervoxels of one side ... contact faces as capacities ... of the other side --oo-- sink

The smallest cut between two single supervoxels is often the one around one of them. So each stands for what lies near it,
tried at several distances; of these cuts that with the least of each side's contacts in it is taken.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..core.errors import ParameterError

NEVER = 2**30  # capacity of what must not be cut
NEAR = (0.0, 0.15, 0.3, 0.45)  # shares of the way between the sides; below a half, so that what is near one is not near both


def natural(
    count: int, ends: np.ndarray, faces: np.ndarray, keep: Sequence[int], take: Sequence[int]
) -> tuple[np.ndarray, int]:
    """As `smallest`, of sides grown to what lies near them: the cut of the least `cut / contacts of one side + cut / contacts
    of the other` (normalised cut, Shi and Malik 2000). A contact of f faces is 1 / f long."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import dijkstra

    graph = coo_array((1 / np.maximum(faces, 1), (ends[:, 0], ends[:, 1])), shape=(count, count)).tocsr()
    from_keep, from_take = (dijkstra(graph, False, np.asarray(side), min_only=True) for side in (keep, take))
    way = from_keep[np.asarray(take)].min()
    best, least = smallest(count, ends, faces, keep, take), np.inf
    for share in NEAR if np.isfinite(way) else ():
        grown = (np.flatnonzero(near <= share * way) for near in (from_keep, from_take))
        side, cost = smallest(count, ends, faces, *(near.tolist() for near in grown))
        inner = [faces[(side[ends] == one).any(axis=1)].sum() for one in (False, True)]
        if (worth := sum(cost / max(n, 1) for n in inner)) < least:
            best, least = (side, cost), worth
    return best


def smallest(
    count: int, ends: np.ndarray, faces: np.ndarray, keep: Sequence[int], take: Sequence[int]
) -> tuple[np.ndarray, int]:
    """Which of `count` supervoxels go with `take`, and the faces that are cut.

    Args:
        ends: (n, 2) places of supervoxels that touch.
        faces: (n,) over how many faces.
        keep, take: places that must come to lie on either side.

    What touches neither side stays with `keep`. Raises ParameterError where the two name one supervoxel."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order, maximum_flow

    if set(keep) & set(take):
        raise ParameterError("both sides name the same supervoxel: it cannot be split; give points further apart")
    source, sink = count, count + 1
    capacity = np.minimum(faces, NEVER // 4).astype(np.int32)
    rows = np.concatenate([ends[:, 0], ends[:, 1], np.full(len(take), source), np.asarray(keep, np.int64)])
    columns = np.concatenate([ends[:, 1], ends[:, 0], np.asarray(take, np.int64), np.full(len(keep), sink)])
    values = np.concatenate([capacity, capacity, np.full(len(take) + len(keep), NEVER, np.int32)])
    graph = coo_array((values, (rows, columns)), shape=(count + 2, count + 2)).tocsr()
    flow = maximum_flow(graph, source, sink)
    residual = graph - flow.flow
    residual.data[residual.data < 0] = 0
    residual.eliminate_zeros()
    reached = breadth_first_order(residual, source, return_predecessors=False)
    side = np.zeros(count, bool)
    side[reached[reached < count]] = True
    return side, int(flow.flow_value)
