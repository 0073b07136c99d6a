"""Rows of tables that figures show; never a whole table in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

BATCH_ROWS = 1 << 17  # of a table, in memory at a time


def pick(
    path: Path, names: tuple[str, ...], keep: Callable[[dict[str, np.ndarray]], np.ndarray], most: int
) -> tuple[dict[str, np.ndarray], int]:
    """Columns of the first `most` rows that `keep` (columns of a batch -> mask) takes, and how many it takes.

    No more than these and one batch are in memory, however long the table is."""
    import pyarrow.parquet as pq

    parts: list[dict[str, np.ndarray]] = []
    taken = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH_ROWS, columns=list(names)):
            rows = {name: batch[name].to_numpy() for name in names}
            places = np.flatnonzero(keep(rows))
            parts.append({name: column[places[: max(most - taken, 0)]] for name, column in rows.items()})
            taken += len(places)
    return {name: np.concatenate([np.zeros(0, np.uint8), *(part[name] for part in parts)]) for name in names}, taken


def rows_in(path: Path) -> int:
    import pyarrow.parquet as pq

    return pq.read_metadata(path).num_rows
