"""Made synapse candidates, as a file of stage `synapses`."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def write(
    path: Path, z: np.ndarray, y: np.ndarray, x: np.ndarray, pre: np.ndarray, post: np.ndarray, score: np.ndarray
) -> Path:
    """Arrays of one length; both sides' points are the candidate's, and each segment is one supervoxel."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"z": z, "y": y, "x": x, "size": np.full(len(z), 6, np.int32), "score": score.astype(np.float32)}
    for side, ids in (("pre", pre), ("post", post)):
        columns |= {f"{side}_z": z, f"{side}_y": y, f"{side}_x": x}
        columns |= {f"{side}_pt_{kind}_id": ids.astype(np.uint64) for kind in ("root", "supervoxel")}
    pq.write_table(pa.table(columns), path)
    return path
