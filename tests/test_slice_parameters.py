"""Each parameter of `mosaic` on raw tiles, and of `reconstruct` up to the common space, changes what comes out.

A stage that stands in SCENES has all its parameters in CHANGES, or in ELSEWHERE with why not: a parameter without an entry
fails. What comes out is the exit code and all files but those that repeat what was given (records, diagnostics); scenes are
made so that the parameter matters.
"""

from __future__ import annotations

import hashlib
import importlib
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage
from voxelmill.core import params, shifts, slice_config
from voxelmill.core.shifts import Shift
from voxelmill.testing import oct
from voxelmill.testing.slices import STEP, slice_store, texture
from voxelmill.testing.stages import run_stage

RAW = oct.Acquisition(slices=2, grid=(2, 2), tile=(8, 36, 24), surface=1.0, thickness=2, n_extra=6, galvo_shift=17, drift=1.0)
MADE = oct.Acquisition(slices=2, grid=(2, 2), tile=(24, 64, 64), thickness=8, drift=2.0, curvature=2.0)
GIVEN = {"stitch_overlap_fraction": MADE.overlap}
T = 8  # planes of a slice

Scene = Callable[..., int]
Words = dict[str, Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """raw/ tiles of two slices, one of them cut off; noise/ in their place; grids/ of two slices."""
    folder = tmp_path_factory.mktemp("made")
    oct.write_raw(folder / "raw", RAW)
    (path, *_) = sorted((folder / "raw").glob("z01/tile_x01_y01_z01/*.bin"))
    path.write_bytes(path.read_bytes()[:-2])
    shutil.copytree(folder / "raw", folder / "noise")
    for path in sorted((folder / "noise").rglob("*.bin")):
        np.random.default_rng(1).gamma(4, 25, path.stat().st_size // 4).astype("<f4").tofile(path)
    oct.write_mosaics(folder / "grids", MADE)
    return folder


def list_tiles(made: Path, folder: Path, **words: Any) -> int:
    out = {"tiles": "tiles.csv", "of_slices": "slices", "slice_list": "slices.csv", "tables": "tables"}
    return run_stage("ingest.list_tiles", folder, source=made / "raw", **out, **words)


def create_mosaic_grid(made: Path, folder: Path, raw: str = "raw", **words: Any) -> int:
    assert list_tiles(made, folder / "listed") == 0
    files = {"source": made / raw, "tiles": folder / "listed/tiles.csv", "output": "g.ome.zarr", "galvo": "galvo.json"}
    return run_stage("transform.create_mosaic_grid", folder, slice="z01", **files, **words)


def generate_slice_config(made: Path, folder: Path, **words: Any) -> int:
    assert create_mosaic_grid(made, folder / "grid") == 0
    (folder / "galvo").mkdir()
    shutil.copy(folder / "grid/galvo.json", folder / "galvo/z01.json")
    files = {"tiles": folder / "grid/listed/tiles.csv", "galvo": "galvo", "tables": "tables"}
    return run_stage("ingest.generate_slice_config", folder, **files, **words)


def list_slices(made: Path, folder: Path, **words: Any) -> int:
    files = {"source": made / "grids", "shifts_xy": made / "grids/shifts_xy.csv", "list": "s.csv", "used": "used.csv"}
    return run_stage("ingest.list_slices", folder, **files, **words)


def detect_rehoming_events(made: Path, folder: Path, **words: Any) -> int:
    """Slice 5 is off by 1.2 mm, and 1 mm are a field of view."""
    at = np.cumsum(np.random.default_rng(0).normal(0, 0.05, (12, 2)), axis=0)
    at[5] += (1.2, 0)
    shifts.write(folder / "s.csv", [Shift(k, k + 1, *(at[k] - at[k + 1]).tolist()) for k in range(11)], (STEP, STEP))
    slice_config.write(folder / "c.csv", slice_config.of(range(12)))
    out = {"clean": "clean.csv", "stamped": "stamped.csv", "report": "report.json", "plot": "plot.png"}
    return run_stage("transform.detect_rehoming_events", folder, shifts_xy="s.csv", config="c.csv", **out, **words)


def estimate_global_transform(made: Path, folder: Path, **words: Any) -> int:
    grids = sorted((made / "grids").glob("*.ome.zarr"))
    return run_stage(
        "transform.estimate_global_transform", folder, grids=grids, output="a.npy", described_in="a.json", **words
    )


def estimate_global_illumination(made: Path, folder: Path, **words: Any) -> int:
    grids = sorted((made / "grids").glob("*.ome.zarr"))
    return run_stage(
        "transform.estimate_global_illumination", folder, grids=grids, output="a.npy", described_in="a.json", **words
    )


def prepare_slice(made: Path, folder: Path, **words: Any) -> int:
    files = {"grid": made / "grids/mosaic_grid_3d_z00.ome.zarr", "output": "out.ome.zarr", "tiles": "t.csv", "seams": "q.csv"}
    return run_stage("transform.prepare_slice", folder, slice="0", **files, **words)


def plan_common_space(made: Path, folder: Path, **words: Any) -> int:
    """Slice 3 is not used; the row 4 -> 5 is not reliable, and off by 3 px."""
    block, steps = texture((4, 60, 70)), [0.1, 0.3, 5.0, 6.0, 0.0, 0.5]
    stores = [slice_store(folder, n, block[:, 5 + 3 * (n > 4) :, 5:]) for n in (0, 1, 2, 4, 5, 6)]
    shifts.write(folder / "s.csv", [Shift(k, k + 1, x, -x, k != 4) for k, x in enumerate(steps)], (STEP, STEP))
    slice_config.write(folder / "c.csv", slice_config.of(range(7)).stamped({3: {"use": False}}))
    out = {"common_space": "c.json", "offsets": "o.csv", "stamped": "n.csv", "slice_list": "s1.csv", "gap_list": "g.csv"}
    return run_stage("transform.plan_common_space", folder, volumes=stores, shifts_xy="s.csv", config="c.csv", **out, **words)


def interpolate_missing_slice(made: Path, folder: Path, depth: int = T, **words: Any) -> int:
    """The slice after has moved by some px, and has an empty rim; the last planes before are noisy."""
    rng = np.random.default_rng(5)
    block = ndimage.gaussian_filter(rng.random((3 * T, 100, 110)), (14, 4, 4))
    block = (0.1 + 0.8 * (block - block.min()) / np.ptp(block)).astype(np.float32)
    after = ndimage.shift(block[2 * T :], (0, 5.4, -3.8), order=1, mode="nearest")
    after[:, :3] = 0
    block[depth - 3 : depth] += rng.normal(0, 0.05, (3, 100, 110))
    stores = {"before": slice_store(folder, 4, block[:depth]), "after": slice_store(folder, 6, after)}
    out = {"output": "out.ome.zarr", "manifest": "m.csv", "diagnostics": "d.json", "preview": "p.png"}
    return run_stage("transform.interpolate_missing_slice", folder, slice="5", **stores, **out, **words)


def auto_assess_quality(made: Path, folder: Path, **words: Any) -> int:
    numbers, rng = range(5), np.random.default_rng(4)
    block = ndimage.gaussian_filter(rng.random((T * 4 + 12, 90, 90)), (3, 4, 4))
    stores = [slice_store(folder, n, (0.2 + block[T * n : T * n + 12]).astype(np.float32)) for n in numbers]
    shifts.write(folder / "s.csv", [Shift(a, b, 0.0, 0.0) for a, b in pairwise(numbers)], (STEP, STEP))
    slice_config.write(folder / "c.csv", slice_config.of(numbers))
    files = {"volumes": stores, "shifts_xy": "s.csv", "config": "c.csv", "output": "out.csv"}
    return run_stage("transform.auto_assess_quality", folder, **files, **words)


SCENES: dict[str, tuple[Scene, Words]] = {
    "ingest.list_tiles": (list_tiles, {}),
    "transform.create_mosaic_grid": (create_mosaic_grid, {"resolution": -1}),
    "ingest.generate_slice_config": (generate_slice_config, {}),
    "ingest.list_slices": (list_slices, {}),
    "transform.detect_rehoming_events": (detect_rehoming_events, {}),
    "transform.estimate_global_transform": (estimate_global_transform, GIVEN),
    "transform.estimate_global_illumination": (estimate_global_illumination, GIVEN),
    "transform.prepare_slice": (prepare_slice, GIVEN),
    "transform.plan_common_space": (plan_common_space, {}),
    "transform.interpolate_missing_slice": (
        interpolate_missing_slice,
        {"registration_slicing_interval_mm": T * STEP, "interpolation_min_overlap_correlation": 0.0},
    ),
    "transform.auto_assess_quality": (auto_assess_quality, {"registration_slicing_interval_mm": T * STEP}),
}

# stage -> parameter -> its other value, and what else is given both times
CHANGES: dict[str, dict[str, tuple[Any, Words]]] = {
    "ingest.list_tiles": {"use_old_folder_structure": (True, {})},
    "transform.create_mosaic_grid": {
        "strict": (True, {}),
        "preprocess": (True, {}),
        "resolution": (20, {}),
        "axial_resolution": (2.0, {}),
        "sharding_factor": (1, {}),
        "fix_galvo_shift": (False, {}),
        "galvo_confidence_threshold": (0.0, {"raw": "noise"}),
        "fix_camera_shift": (True, {}),
    },
    "ingest.generate_slice_config": {"exclude_first_slices": (0, {}), "detect_galvo": (True, {})},
    "ingest.list_slices": {"debug_slices": ("1", {})},
    "transform.detect_rehoming_events": {
        "rehoming_return_fraction": (0.001, {}),
        "rehoming_max_shift_mm": (2.0, {}),
        "tile_fov_mm": (1.2, {}),
        "tile_fov_tolerance": (0.0001, {"tile_fov_mm": 1.2}),
        "rehoming_diagnostics": (True, {}),
    },
    "transform.estimate_global_transform": {
        "stitch_overlap_fraction": (0.2, {}),
        "stitch_global_transform_slices": ("1", {}),
        "stitch_global_transform_histogram_match": (False, {}),
        "stitch_global_transform_max_empty_fraction": (0.01, {}),
        "stitch_global_transform_n_samples": (3, {}),
        "stitch_global_transform_seed": (1, {"stitch_global_transform_n_samples": 3}),
    },
    "transform.estimate_global_illumination": {"fix_illum_global_slices": (1, {}), "clip_percentile_upper": (90, {})},
    "transform.prepare_slice": {
        "resolution": (14, {}),
        "stitch_overlap_fraction": (0.2, {}),
        "stitch_blending_method": ("none", {}),
        "use_motor_positions_for_stitching": (False, {}),
        "max_blend_refinement_px": (0, {}),
        "fix_curvature_enabled": (True, {}),
        "fix_illum_enabled": (False, {}),
        "clip_percentile_upper": (90, {}),
        "crop_interface_out_depth": (100, {}),
        "attenuation_max_gain": (1, {}),
    },
    "transform.plan_common_space": {
        "common_space_excluded_slice_mode": ("keep", {}),
        "common_space_excluded_slice_window": (1, {}),
        "common_space_refine_unreliable": (True, {}),
        "common_space_refine_max_discrepancy_px": (1, {"common_space_refine_unreliable": True}),
        "common_space_refine_min_correlation": (1, {"common_space_refine_unreliable": True}),
    },
    "transform.interpolate_missing_slice": {
        "registration_slicing_interval_mm": ((T - 2) * STEP, {}),
        "interpolation_measured": (False, {"depth": 2 * T}),
        "interpolation_method": ("average", {}),
        "interpolation_blend_method": ("linear", {}),
        "interpolation_registration_metric": ("CC", {}),
        "interpolation_max_iterations": (1, {}),
        "interpolation_overlap_search_window": (1, {}),
        "interpolation_min_overlap_correlation": (1, {}),
        "interpolation_reference_slab_size": (1, {}),
        "interpolation_min_foreground_fraction": (1, {}),
        "interpolation_min_ncc_improvement": (5, {}),
        "interpolation_preview": (True, {}),
    },
    "transform.auto_assess_quality": {
        "registration_slicing_interval_mm": ((T - 2) * STEP, {}),
        "auto_assess_min_quality": (1, {}),
        "auto_assess_exclude_first": (0, {}),
        "auto_assess_roi_size": (40, {}),
    },
}
ELSEWHERE = {
    "input": "what --input is called in messages: tests/ingest/test_list_tiles.py",
    "use_gpu": "the same bytes either way",
}
ALL = [(stage, name) for stage, of in CHANGES.items() for name in of]


@pytest.mark.parametrize("stage", SCENES)
def test_every_parameter_of_a_stage_has_an_entry(stage: str) -> None:
    known = set(params.fields_of(importlib.import_module(f"voxelmill.{stage}").Parameters))
    anywhere = {name for of in CHANGES.values() for name in of}  # one that stages share is changed in one of them
    assert known <= anywhere | set(ELSEWHERE) and set(CHANGES[stage]) <= known


def outcome(made: Path, folder: Path, stage: str, words: Words) -> tuple[int, str]:
    """Exit code of a scene, and a digest of all files but records."""
    scene, usual = SCENES[stage]
    folder.mkdir(parents=True)
    code, found = scene(made, folder, **{**usual, **words}), hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.endswith(("provenance.json", "d.json"))):
        found.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return code, found.hexdigest()


@pytest.fixture(scope="module")
def usual(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Words], tuple[int, str]]:
    """The outcome of a scene without the change; each is made once."""
    known: dict[str, tuple[int, str]] = {}

    def found(stage: str, words: Words) -> tuple[int, str]:
        key = f"{stage}{words}"
        if key not in known:
            known[key] = outcome(made, tmp_path_factory.mktemp("usual") / "x", stage, words)
            assert known[key][0] == 0
        return known[key]

    return found


@pytest.mark.xdist_group("slice_parameters")
@pytest.mark.parametrize(("stage", "name"), ALL, ids=[f"{stage.rpartition('.')[2]}-{name}" for stage, name in ALL])
def test_it_changes_what_comes_out(made: Path, usual: Callable, tmp_path: Path, stage: str, name: str) -> None:
    value, also = CHANGES[stage][name]
    assert outcome(made, tmp_path / "x", stage, {**also, name: value}) != usual(stage, also)
