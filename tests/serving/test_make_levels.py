"""Levels made block by block are the same; what is finer than their voxels is damped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from voxelmill.core import manifest, plans
from voxelmill.core.volume import open_image
from voxelmill.testing.subject import published, stack


def test_levels_do_not_depend_on_blocks(tmp_path: Path):
    store = stack(tmp_path, np.random.default_rng(0).random((40, 70, 90)))
    whole, parts = published(tmp_path / "whole", store), published(tmp_path / "parts", store, blocks=5)
    rows = plans.read(tmp_path / "parts/levels.csv")
    assert {row["id"][0] for row in rows} == {"1", "2", "3"} and not plans.read(tmp_path / "whole/levels.csv")
    files = {p.relative_to(whole): p.read_bytes() for p in whole.rglob("*") if p.is_file()}
    assert files == {p.relative_to(parts): p.read_bytes() for p in parts.rglob("*") if p.is_file()}
    assert (whole / "0/c/0/0/0").stat().st_ino == (store / "0/c/0/0/0").stat().st_ino  # linked
    assert manifest.verify(parts, deep=True)


def test_fine_texture_does_not_alias(tmp_path: Path):
    """Stripes a voxel wide are grey at 25 um and more; nearest voxels of them would be stripes again."""
    stripes = np.zeros((10, 10, 200)) + np.arange(200) % 2
    path = published(tmp_path, stack(tmp_path, stripes))
    for n in (1, 2, 3):
        values = open_image(path).level(n).read().result()
        assert abs(values[..., 1:-1] - 0.5).max() <= 0.11, n
