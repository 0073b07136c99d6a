"""Correct bias field: values of every level, strength, blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from voxelmill.core import plans
from voxelmill.core.volume import open_image
from voxelmill.testing.subject import corrected, lit_sections


def test_tissue_is_evenly_bright_on_every_level(tmp_path: Path):
    path, plan, of_section, of_volume, inside = lit_sections(tmp_path)
    made = open_image(corrected(tmp_path, path, plan))
    before, after = open_image(path).read(), made.read()
    truth = before / np.exp(of_section + of_volume)
    for values, most in ((before, 1.0), (after, 0.5)):
        off = np.log(values[inside] / truth[inside]).std() / (of_section + of_volume)[inside].std()
        assert off <= most + 1e-6
    assert np.array_equal(after == 0, before == 0)
    fine, coarse = after[:60, :60, :70].reshape(12, 5, 12, 5, 14, 5).mean((1, 3, 5)), made.read(level=2)[:12, :12, :14]
    whole = inside[:60, :60, :70].reshape(12, 5, 12, 5, 14, 5).all((1, 3, 5))
    whole[np.arange(12) * 5 // 16 != (np.arange(12) * 5 + 4) // 16] = False  # of two sections
    assert whole.sum() > 500 and np.allclose(fine[whole], coarse[whole], rtol=0.05)  # the mean of what is corrected
    assert made.spaces == open_image(path).spaces


def test_strength_and_blocks(tmp_path: Path):
    path, plan, *_ = lit_sections(tmp_path)
    none = open_image(corrected(tmp_path / "none", path, plan, bias_strength=0)).read()
    half = open_image(corrected(tmp_path / "half", path, plan, bias_strength=0.5)).read()
    full = open_image(corrected(tmp_path / "full", path, plan)).read()
    raw = open_image(path).read()
    there = raw > 0
    assert np.array_equal(none, raw)
    assert np.allclose(np.log(half[there] / raw[there]) * 2, np.log(full[there] / raw[there]), atol=1e-4)
    many = open_image(corrected(tmp_path / "many", path, plan, blocks=3))
    assert len(plans.read(tmp_path / "many/blocks.csv")) > len(plans.read(tmp_path / "full/blocks.csv"))
    assert np.array_equal(many.read(), full)
