"""Join segments: batches in any order; one that is missing is an error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from voxelmill.inference import section_linking
from voxelmill.testing.stages import record_of, run_stage


@pytest.fixture
def borders(tmp_path: Path) -> list[Path]:
    """Three batches of one section: 1 and 2, 11 and 12, 21; 2 goes on as 11 and 21."""
    paths = []
    for n, (ids, pair) in enumerate((([1, 2], (2, 11)), ([11, 12], (11, 21)), ([21], None))):
        rows = np.array([pair] if pair else []).reshape(-1, 2).astype(np.uint64)
        size = np.full((len(rows), 2), 500)
        _, border = section_linking.link(
            np.array(ids), section_linking.Overlaps(rows, size[:, 0], size), first_ends=10 * n + 9
        )
        paths.append(tmp_path / f"{n}.npz")
        section_linking.save(paths[-1], border)
    return paths


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_every_batch_learns_its_numbers(tmp_path: Path, borders: list[Path], order: tuple[int, ...]):
    names = ["0-0", "1-3", "4-4"]
    assert (
        run_stage(
            "inference.join_segments",
            tmp_path,
            borders=[borders[i] for i in order],
            blocks=[names[i] for i in order],
            joined=[f"{names[i]}.npz" for i in order],
        )
        == 0
    )
    found = [section_linking.load(tmp_path / f"{name}.npz", section_linking.Joined) for name in names]
    assert [one.first for one in found] == [1, 3, 4]
    assert [one.merged.tolist() for one in found] == [[], [0], [0]]
    assert [one.segment.tolist() for one in found] == [[], [2], [2]]
    assert record_of(tmp_path, "join_segments")["quality"] == {"segments": 3, "joined": 2}


def test_a_batch_that_is_missing_is_an_error(tmp_path: Path, borders: list[Path], capsys):
    assert (
        run_stage(
            "inference.join_segments",
            tmp_path,
            borders=[borders[0], borders[2]],
            blocks=["0-0", "4-4"],
            joined=["a.npz", "b.npz"],
        )
        == 65
    )
    assert "shards 1 to 3 are missing" in capsys.readouterr().err
