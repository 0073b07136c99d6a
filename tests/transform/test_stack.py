"""Slices to one volume: pairs, joint solution, stack, against a block whose truth is known; profiles; what is left out."""

from __future__ import annotations

import csv
import json
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
from voxelmill.core import slice_config
from voxelmill.core.volume import open_image
from voxelmill.testing.oct import Acquisition
from voxelmill.testing.oct_score import volume_score
from voxelmill.testing.slices import in_common_space, one_tile
from voxelmill.testing.stages import run_stage
from voxelmill.transform.auto_exclude_slices import Parameters as Exclusion
from voxelmill.transform.auto_exclude_slices import excluded
from voxelmill.transform.pairs import Pair, read_metrics
from voxelmill.transform.slice_solution import Believed, decided, solve

THICK = 0.16  # mm
PROFILES = {
    "aggressive": {
        "skip_warning_transforms": False, "skip_error_transforms": False, "transform_confidence_low": 0,
        "transform_confidence_high": 0.3,
    },
    "conservative": {"apply_rotation_only": True},
    "minimal": {"apply_pairwise_transforms": False},
}  # fmt: skip


@cache
def registered(missing: tuple[int, ...] = ()) -> tuple[Acquisition, Path, dict[int, Path]]:
    """Four slices, some missing, in common space, and their neighbours registered."""
    folder = Path(mkdtemp())
    made = one_tile(slices=4, missing=missing)
    stores = in_common_space(folder, made)
    for a, b in zip(made.kept[:-1], made.kept[1:]):
        out = {"transform": f"{a}-{b}.tfm", "metrics": f"{a}-{b}.json", "offsets": f"{a}-{b}.txt"}
        given = {"fixed": stores[a], "moving": stores[b], "name": f"z{a:02d}-z{b:02d}"}
        flags = {"registration_slicing_interval_mm": THICK}
        assert run_stage("transform.register_pairwise", folder, **given, **flags, **out) == 0
    slice_config.write(folder / "config.csv", slice_config.of(made.kept))
    return made, folder, stores


def stacked(folder: Path, stores: dict[int, Path], source: Path, *, block: str = "", **flags) -> Path:
    """The stack of slices, by the pairs in `source`; a store in `folder`."""
    metrics = sorted(source.glob("*-*.json"))
    metrics = [path for path in metrics if not path.name.endswith(("manifest.json", "provenance.json"))]
    grid = {"chunk": "8,64,64", "shard": "16,128,128"}
    out = {"plan": "plan.json", "matches": "z.csv", "decisions": "d.csv", "block_list": "blocks.csv"}
    given = {"volumes": list(stores.values()), "metrics": metrics, "config": source / "config.csv"}
    flags = {"registration_slicing_interval_mm": THICK, **flags}
    assert run_stage("transform.plan_stack", folder, **given, **grid, **flags, **out) == 0
    shape = json.loads((folder / "plan.json").read_text())["shape"]
    shards = np.prod([-(-n // s) for n, s in zip(shape, (16, 128, 128))])
    given = {
        "volumes": list(stores.values()),
        "plan": "plan.json",
        "block": block or f"0-{shards - 1}",
        "output": "out.ome.zarr",
    }
    assert run_stage("transform.stack", folder, **given, **grid) == 0
    return folder / "out.ome.zarr"


def test_profiles_where_registration_is_good(tmp_path):
    made, source, stores = registered()
    scores = {}
    for name, flags in PROFILES.items():
        scores[name] = volume_score(made, open_image(stacked(tmp_path / name, stores, source, **flags)).read())
    off = {name: score["plane_shift_rms_px"] for name, score in scores.items()}
    alike = {name: score["correlation"] for name, score in scores.items()}
    assert off["aggressive"] < 0.25 and off["minimal"] > 0.5, off  # what the stage did not know of stays
    assert alike["aggressive"] > alike["conservative"] >= alike["minimal"], alike


def test_a_missing_slice_keeps_its_place(tmp_path):
    _, source, stores = registered((2,))
    stacked(tmp_path, stores, source)
    rows = list(csv.DictReader((tmp_path / "z.csv").open()))
    assert [(row["slice_id"], abs(int(row["first_plane"]) - 16 * int(row["slice_id"])) <= 1) for row in rows] == [
        ("00", True), ("01", True), ("03", True),
    ]  # fmt: skip
    decisions = list(csv.DictReader((tmp_path / "d.csv").open()))
    assert decisions[-1]["use"] == "skipped" and "nothing is seen by both" in decisions[-1]["why"]


def test_itk_reads_the_transform():
    sitk = pytest.importorskip("SimpleITK")
    made, source, stores = registered()
    pair = read_metrics(source / "0-1.json")
    transform = sitk.ReadTransform(str(source / "0-1.tfm"))
    a, b = (np.array(open_image(stores[s]).origin[1:]) / 1e4 for s in (0, 1))  # px
    for p in ((20.0, 30.0), (150.0, 90.0)):  # (dim 1, dim 2); ITK has x = dim 2 first
        x, y, _ = transform.TransformPoint((p[1], p[0], 0.0))
        on_stage = np.array([p]) + a + made.stage[0]
        truth = made.from_block(1, made.to_block(0, on_stage))[0] - made.stage[0] - b
        assert np.hypot(*(truth - (y, x))) < 0.3
    assert pair.status == "ok" and abs(pair.fixed_z - pair.expected_z) < 0.5


def test_blocks_agree_with_the_whole(tmp_path):
    _, source, stores = registered()
    whole = open_image(stacked(tmp_path / "w", stores, source)).read()
    part = open_image(stacked(tmp_path / "p", stores, source, block="0-1"))
    assert np.array_equal(part.read(np.s_[:16, :128]), whole[:16, :128])


def test_transforms_of_another_run(tmp_path, capsys):
    _, source, stores = registered()
    out = {"plan": "plan.json", "matches": "z.csv", "decisions": "d.csv", "block_list": "blocks.csv"}
    given = {"volumes": [stores[0], stores[1]], "metrics": [source / "2-3.json"], "config": source / "config.csv"}
    assert run_stage("transform.plan_stack", tmp_path, **given, **out) == 65
    assert "transforms name slices [2, 3], which are not there" in capsys.readouterr().err


def pair(fixed: int, moving: int, **more) -> Pair:
    given = {"confidence": 0.9, "z_correlation": 0.8, "correlation": 0.8, "status": "ok"} | more
    return Pair(fixed=fixed, moving=moving, fixed_z=20, moving_z=4, expected_z=20, **given)


@pytest.mark.parametrize(
    ("flags", "of_pair", "use"),
    [
        ({}, {}, "full"),
        ({"apply_pairwise_transforms": False}, {}, "skipped"),
        ({"apply_rotation_only": True}, {}, "rotation only"),
        ({}, {"status": "warning"}, "skipped"),
        ({"skip_warning_transforms": False}, {"status": "warning"}, "full"),
        ({}, {"status": "error"}, "skipped"),
        ({"skip_error_transforms": False}, {"status": "error"}, "full"),
        ({}, {"confidence": 0.5}, "rotation only"),
        ({"transform_confidence_high": 0.4}, {"confidence": 0.5}, "full"),
        ({}, {"confidence": 0.2}, "skipped"),
        ({"transform_confidence_low": 0.1}, {"confidence": 0.2}, "rotation only"),
        ({"load_transform_min_zcorr": 0.9}, {}, "skipped"),
        ({"load_transform_max_rotation": 1}, {"rotation_deg": -1.5}, "skipped"),
        ({}, {"z_correlation": 0.1}, "rotation only"),
        ({"stack_translation_min_zcorr": 0}, {"z_correlation": 0.1}, "full"),
        ({"stack_max_pairwise_translation": 10}, {"dim1_px": 9.5}, "rotation only"),
    ],
)
def test_gates(flags, of_pair, use):
    (found,) = decided(Believed(**flags), [pair(0, 1, **of_pair)])
    assert found.use == use
    assert (found.why == "") == (use == "full")


def shifts(pairs: list[Pair], **flags) -> np.ndarray:
    p = Believed(**flags)
    found = solve(p, decided(p, pairs), [0, 1, 2, 3], 100).shift[:, 0]
    return found - found[0]


def test_solution():
    chain = [pair(k, k + 1, dim1_px=-2.0) for k in range(3)]
    assert np.allclose(shifts(chain), [0, 2, 4, 6])
    assert np.allclose(shifts(chain, stack_accumulate_translations=False), [0, 2, 2, 2])
    assert np.allclose(shifts(chain, stack_max_cumulative_drift_px=1.0), [0, 0, 2, 2])  # -1, -1, 1, 1 about the stage
    smooth = shifts(chain, stack_translation_smooth_sigma=3.0)
    assert smooth[-1] < 5
    turning = [pair(0, 1, rotation_deg=-2.0), pair(1, 2, rotation_deg=2.0), pair(2, 3, rotation_deg=-2.0)]
    turns = {}
    for name, flags in {"as is": {}, "cut": {"max_rotation_deg": 1.0}, "averaged": {"stack_smooth_window": 3}}.items():
        p = Believed(**flags)
        turns[name] = np.ptp(np.rad2deg(solve(p, decided(p, turning), [0, 1, 2, 3], 100).turn))
    assert turns["as is"] == pytest.approx(2) and turns["cut"] == pytest.approx(1) and turns["averaged"] < 1


def test_one_wrong_pair_is_outvoted():
    wrong = [pair(0, 1), pair(1, 2, dim1_px=30.0), pair(2, 3), pair(0, 2), pair(1, 3), pair(0, 3)]
    assert np.abs(shifts(wrong)).max() < 1
    sure = [pair(0, 1), pair(1, 2, dim1_px=0.6, confidence=0.61), pair(2, 3), pair(0, 2), pair(1, 3)]
    assert np.abs(shifts(sure)).max() < np.abs(shifts(sure, stack_confidence_weight_translations=False)).max()


def test_runs_of_bad_pairs_are_left_out():
    bad = [pair(k, k + 1, z_correlation=0.9 if k in (0, 5) else 0.1) for k in range(6)]
    assert set(excluded(Exclusion(), bad)) == {2, 3, 4}
    assert not excluded(Exclusion(auto_exclude_consecutive=5), bad)
    assert not excluded(Exclusion(auto_exclude_z_corr=0.05), bad)
