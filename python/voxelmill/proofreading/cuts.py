"""Where to split a neurite: the smallest cut between two sets of its supervoxels (max-flow min-cut, Ford and Fulkerson 1956).

source --oo-- sinks of one side ... contact faces as capacities ... other side --oo-- sink
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..core.errors import ParameterError

NEVER = 2**30  # capacity of what must not be cut


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
