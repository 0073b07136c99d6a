"""`voxelmill score`: two label volumes, laid where they say that they lie."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from voxelmill import cli
from voxelmill.testing.stages import make_store

IDS = np.random.default_rng(0).integers(1, 9, (6, 20, 24)).astype(np.uint32)
SIZE = (30.0, 8.0, 8.0)


def store(path: Path, corner: tuple[int, ...], shape: tuple[int, ...], origin: bool = True) -> str:
    """A part of IDS; voxel 0 of IDS is (5, 5, 5) of the source."""
    part = IDS[tuple(slice(c, c + n) for c, n in zip(corner, shape, strict=True))]
    at = tuple((5 + c) * s for c, s in zip(corner, SIZE, strict=True)) if origin else None
    return str(make_store(path, part, SIZE, label=True, origin=at))


@pytest.mark.parametrize("more", [[], ["--per-slice"]])
def test_volumes_that_overlap_are_scored_where_they_do(tmp_path: Path, capsys, more: list[str]):
    truth = store(tmp_path / "t.ome.zarr", (0, 0, 0), (6, 20, 24))
    part = store(tmp_path / "p.ome.zarr", (2, 3, 4), (3, 16, 18))
    assert cli.main(["score", truth, part, *more]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["arand"] == pytest.approx(0, abs=1e-9)
    assert "share (3, 16, 18) (z, y, x); the rest is left out" in said.err
    assert cli.main(["score", part, truth, *more]) == 0
    assert json.loads(capsys.readouterr().out)["arand"] == pytest.approx(0, abs=1e-9)


def test_two_of_one_shape_of_which_one_says_nothing_lie_on_each_other(tmp_path: Path, capsys):
    truth = store(tmp_path / "t.ome.zarr", (0, 0, 0), (6, 20, 24), origin=False)
    found = store(tmp_path / "p.ome.zarr", (0, 0, 0), (6, 20, 24))
    assert cli.main(["score", truth, found]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["arand"] == pytest.approx(0, abs=1e-9) and not said.err


def test_volumes_that_cannot_be_laid_over_each_other_are_refused(tmp_path: Path, capsys):
    one = store(tmp_path / "a.ome.zarr", (0, 0, 0), (2, 8, 8))
    other = store(tmp_path / "b.ome.zarr", (3, 10, 10), (2, 8, 8))
    assert cli.main(["score", one, other]) == 65 and "do not overlap" in capsys.readouterr().err
    np.save(tmp_path / "c.npy", IDS)
    assert cli.main(["score", one, str(tmp_path / "c.npy")]) == 65 and "expected the same" in capsys.readouterr().err
