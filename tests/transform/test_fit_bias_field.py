"""Fit bias field: each mode takes out what it says; sections begin at surfaces."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from voxelmill.core import plans
from voxelmill.core.volume import open_image
from voxelmill.testing.stages import record_of, run_stage
from voxelmill.testing.subject import lit_sections
from voxelmill.transform.fit_bias_field import Bias, held


def fitted(folder: Path, path: Path, plan: Path, **flags: object) -> Bias:
    out = {"bias": "bias.json", "picture": "bias.png", "block_list": "blocks.csv"}
    assert run_stage("transform.fit_bias_field", folder, volume=path, plan=plan, **out, **flags) == 0
    return Bias.model_validate_json((folder / "bias.json").read_text())


@pytest.mark.parametrize("mode", ["global", "per_section", "two_pass"])
def test_each_mode_takes_out_what_it_says(tmp_path: Path, mode: str):
    path, plan, of_section, of_volume, inside = lit_sections(tmp_path)
    bias = fitted(tmp_path, path, plan, bias_mode=mode)
    image = open_image(path)
    found = bias.log_at([o / 1e6 + s / 1e6 * np.arange(n) for o, s, n in zip(image.origin, image.scale, image.shape)])
    left = {}
    for name, truth in (("section", of_section), ("volume", of_volume), ("both", of_section + of_volume)):
        left[name] = float((found - truth)[inside].std()) / float(truth[inside].std())
    best = {"global": "volume", "per_section": "section", "two_pass": "both"}[mode]
    assert left[best] < 0.55 and left[best] == min(left.values()), left
    assert (bias.volume is None) == (mode == "per_section")
    assert all((section is None) == (mode == "global") for section in bias.sections)


def test_every_level_has_its_blocks_and_bare_sections_are_named(tmp_path: Path):
    path, plan, *_ = lit_sections(tmp_path, bare=2)
    bias = fitted(tmp_path, path, plan, bias_mode="per_section")
    rows = plans.read(tmp_path / "blocks.csv")
    assert {row["block"].split(".")[0] for row in rows} == {"0", "1", "2", "3"}
    assert bias.sections[2] is None and record_of(tmp_path, "fit_bias_field")["quality"]["sections_without_gain"] == ["z02"]
    assert json.loads(plan.read_text())["slices"][1]["z"] * 0.01 + 1 - 0.005 == pytest.approx(bias.begins[1])


def test_what_is_held_is_small(tmp_path: Path):
    path, *_ = lit_sections(tmp_path)
    image = open_image(path)
    assert held(image, 1e6)[0].shape == image.shape and held(image, 1e6, 2)[0].shape == image.level(2).shape
    level, places = held(image, 20_000)
    assert level.shape == image.level(1).shape and places[0][0] == pytest.approx(1.0075)
    assert held(image, 20)[0].size <= 64  # means of the coarsest
