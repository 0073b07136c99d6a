"""Each parameter of `reconstruct` from pairs of slices to volume, atlas, report and diagnostics changes what comes out.

As tests/test_slice_parameters.py does for tiles and slices: a stage of these workflows without a scene fails, and so does
a parameter without an entry.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import re
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest
from voxelmill.core import params, plans, slice_config
from voxelmill.core.volume import open_image
from voxelmill.testing.brain import SIDE, as_seen, brain, nifti
from voxelmill.testing.engine import PROJECT
from voxelmill.testing.report import slices_report
from voxelmill.testing.slices import STEP, pair, registered, slice_store, texture
from voxelmill.testing.stages import run_stage
from voxelmill.testing.stitched import stitched
from voxelmill.testing.subject import lit_sections, published, ramp, stack
from voxelmill.transform.affine_registration import Affine
from voxelmill.transform.pairs import read_itk, write_itk, write_metrics
from voxelmill.transform.plan_stack import MATCHES, write_table
from voxelmill.transform.warp import centre_of, compose, rigid_matrix
from voxelmill.workflows import reconstruct

T, DEEP, SIDE_PX = 8, 14, 70  # planes of a slice, and that it shows; px
FLAT = {"registration_slicing_interval_mm": T * STEP}
TURN = {"rotation_deg": 1.0, "dim1_px": 3.0}

Words = dict[str, Any]


def register_pairwise(folder: Path, **words: Any) -> int:
    """Two slices of one block; the second has moved by 21 px, and turned a little."""
    from scipy import ndimage

    block = ndimage.gaussian_filter(np.random.default_rng(2).random((T + DEEP, 160, 160)), (1.5, 2, 2))
    block = (0.1 + 0.8 * (block - block.min()) / np.ptp(block)).astype(np.float32)
    turned = ndimage.rotate(block[T:], 1.0, (1, 2), reshape=False, order=1, mode="nearest")
    stores = {
        "fixed": slice_store(folder, 0, block[:DEEP, 30:130, 30:130]),
        "moving": slice_store(folder, 1, turned[:, 51:151, 30:130]),
    }
    out = {"name": "z00-z01", "transform": "t.tfm", "metrics": "m.json", "offsets": "o.txt"}
    return run_stage("transform.register_pairwise", folder, **stores, **out, **words)


def refine_manual_transforms(folder: Path, **words: Any) -> int:
    """A pair that a person has laid 4 px and 1 degree beside where it belongs."""
    _, source, stores = registered()
    shape = open_image(stores[0]).shape[1:]
    given = compose(read_itk(source / "0-1.tfm"), rigid_matrix(4.0, -3.0, 1.0, centre_of(shape)))
    write_itk(folder / "given.tfm", given, shape)  # type: ignore[arg-type]
    files = {"fixed": stores[0], "moving": stores[1], "name": "z00-z01", "manual": "given.tfm"}
    out = {"transform": "t.tfm", "metrics": "m.json", "offsets": "o.txt"}
    return run_stage("transform.refine_manual_transforms", folder, **files, **out, **words)


def make_manual_align_package(folder: Path, **words: Any) -> int:
    _, source, stores = registered()
    files = {"transform": source / "0-1.tfm", "metrics": source / "0-1.json", "output": "z00-z01"}
    given = {"fixed": stores[0], "moving": stores[1], "name": "z00-z01"}
    return run_stage("serving.make_manual_align_package", folder, **given, **files, **words)


def pairs_of(folder: Path, change: Words, skips: bool = False) -> dict[str, Any]:
    """Pairs of four slices, of which that of 1 and 2 is said to be otherwise; and their configuration."""
    links = [(0, 1), (1, 2), (2, 3), *(((0, 2), (1, 3)) if skips else ())]
    for a, b in links:
        write_metrics(folder / f"{a}-{b}.json", pair(a, b).model_copy(update=change if (a, b) == (1, 2) else {}))
    slice_config.write(folder / "config.csv", slice_config.of(range(4)))
    return {"metrics": [folder / f"{a}-{b}.json" for a, b in links], "config": "config.csv"}


def auto_exclude_slices(folder: Path, of: Words | None = None, **words: Any) -> int:
    """Slice 2 is like neither neighbour."""
    files = pairs_of(folder, {"z_correlation": 0.1}, skips=True)
    write_metrics(folder / "2-3.json", pair(2, 3, z_correlation=0.1))
    write_metrics(folder / "1-3.json", pair(1, 3, **(of or {})))
    return run_stage("transform.auto_exclude_slices", folder, **files, output="out.csv", **words)


@cache
def slices_of_a_block() -> list[Path]:
    folder, block = Path(mkdtemp()), texture((3 * T + DEEP, SIDE_PX, SIDE_PX))
    return [slice_store(folder, n, block[T * n : T * n + DEEP]) for n in range(4)]


def plan_stack(folder: Path, of: Words | None = None, skips: bool = False, lost: bool = False, **words: Any) -> int:
    files = pairs_of(folder, TURN if of is None else of, skips) | {"volumes": slices_of_a_block()}
    write_table(folder / "placed.csv", ("slice_id",), [[f"{n:02d}"] for n in range(4 + lost)])
    out = {"plan": "plan.json", "matches": "z.csv", "decisions": "decisions.csv", "block_list": "blocks.csv"}
    return run_stage("transform.plan_stack", folder, **files, placed="placed.csv", **out, **words)


def stack_block(folder: Path, **words: Any) -> int:
    assert plan_stack(folder, **FLAT) == 0
    files = {"volumes": slices_of_a_block(), "plan": "plan.json", "block": "0-0", "output": "out.ome.zarr"}
    return run_stage("transform.stack", folder, **files, **words)


def plan_levels(folder: Path, **words: Any) -> int:
    shape = (24, 40, 40)
    return run_stage("serving.plan_levels", folder, volume=stack(folder, ramp(shape)), block_list="levels.csv", **words)


def publish_volume(folder: Path, **words: Any) -> int:
    scale = (0.02, 0.01, 0.01)
    published(folder, stack(folder, ramp((24, 40, 40), scale), scale), **words)
    return 0


@cache
def lit() -> tuple[Path, Path]:
    """A volume of sections that are lit unevenly, and its plan."""
    return lit_sections(Path(mkdtemp()))[:2]


def fit_bias_field(folder: Path, **words: Any) -> int:
    path, plan = lit()
    out = {"bias": "bias.json", "picture": "bias.png", "block_list": "blocks.csv"}
    return run_stage("transform.fit_bias_field", folder, volume=path, plan=plan, **out, **words)


def correct_bias_field(folder: Path, **words: Any) -> int:
    assert fit_bias_field(folder) == 0
    (block, *_) = plans.read(folder / "blocks.csv")
    files = {"volume": lit()[0], "bias": "bias.json", "block": block["block"], "output": "a.levels"}
    return run_stage("transform.correct_bias_field", folder, **files, **words)


@cache
def subject_and_atlas() -> tuple[Path, Path]:
    """A brain that lies 0.2 mm beside the atlas and is 4 % larger."""
    folder, atlas = Path(mkdtemp()), brain()
    matrix = np.diag([1.04, 1.0, 0.98])
    truth = Affine(matrix, atlas.middle() + 0.2 - matrix @ atlas.middle())
    values, origin = as_seen(atlas, truth, "PIR", (66, 74, 80))
    path = published(folder, stack(folder, values, (SIDE,) * 3, tuple(origin)), pyramid_resolutions="50,100,200")
    return path, nifti(folder / "atlas.nii.gz", atlas)


def register_to_atlas(folder: Path, **words: Any) -> int:
    path, atlas = subject_and_atlas()
    given = {"volume": path, "atlas": atlas, "name": "sub-01", "ras_input_orientation": "PIR"}
    given |= {"allen_registration_level": 1, "allen_resolution": 100, "allen_max_iterations": 3}
    given |= {"ras_initial_rotation": "0 0 5"}
    out = {"template": "ras.ome.zarr", "transform": "t.tfm", "block_list": "blocks.csv", "preview": "p.png"}
    return run_stage("transform.register_to_atlas", folder, **(given | words), **out)


def align_to_ras(folder: Path, **words: Any) -> int:
    assert register_to_atlas(folder) == 0
    files = {"volume": subject_and_atlas()[0], "template": "ras.ome.zarr", "block": "2.0-0", "output": "a.levels"}
    return run_stage("transform.align_to_ras", folder, **files, **words)


def volume_preview(folder: Path, **words: Any) -> int:
    path, plan = lit()
    given = {"volume": path, "plan": plan, "name": "sub-01", "preview": "a.png", "annotated": "b.png"}
    return run_stage("serving.volume_preview", folder, **given, **words)


def export_nifti(folder: Path, **words: Any) -> int:
    path = published(folder, stack(folder, ramp((24, 40, 40))))
    return run_stage("serving.export_nifti", folder, volume=path, name="sub-01", output="a.nii.gz", **words)


def report(folder: Path, **words: Any) -> int:
    """So many tasks that they are not listed one by one."""
    slices_report(folder, report_plots=False).unlink()
    (folder / "sub-01_quality_report.zip").unlink(missing_ok=True)
    (some, *_) = (folder / "records/1").glob("prepare_slice*")
    for n in range(80):
        made = {**json.loads(some.read_text()), "block": f"{n}"}
        (folder / f"records/1/prepare_slice.{n}.provenance.json").write_text(json.dumps(made))
    files = {"records": "records", "figures": "figures", "tables": "tables", "output": "page.html", "archive": "page.zip"}
    return run_stage("serving.report", folder, **files, title="slices", **words)


def analyze_rotation_drift(folder: Path, **words: Any) -> int:
    metrics = pairs_of(folder, TURN)["metrics"]
    write_table(folder / "z_matches.csv", MATCHES, [[f"{n:02d}", 0, 0, 9, 0, 0, 0.1] for n in range(4)])
    return run_stage(
        "serving.analyze_rotation_drift", folder, metrics=metrics, matches="z_matches.csv", output="out", **words
    )


def stitched_by(stage: str) -> Callable[..., int]:
    def scene(folder: Path, **words: Any) -> int:
        grid = stitched() / "mosaic_grid_3d_z00.ome.zarr"
        out = {"output": "a.ome.zarr", "tiles": "t.csv", "seams": "s.csv", "picture": "p.png"}
        more = {"data": "d.txt"} if stage == "stitch_refined" else {}
        return run_stage(f"serving.{stage}", folder, grid=grid, slice="0", **out, **more, **words)

    return scene


def compare_stitching(folder: Path, **words: Any) -> int:
    given = {f"{key}_tables": [stitched() / f"{name}_tiles.csv", stitched() / f"{name}_seams.csv"]
             for key, name in (("motor", "motor_only"), ("refined", "refined"))}  # fmt: skip
    given |= {"motor": stitched() / "motor_only.ome.zarr", "refined": stitched() / "refined.ome.zarr", "slice": "0"}
    return run_stage("serving.compare_stitching", folder, **given, picture="c.png", figures="c.json", **words)


def stack_motor_only(folder: Path, **words: Any) -> int:
    stores = [slice_store(folder, n, np.full((DEEP, 40, 40), 0.2 + 0.1 * n)) for n in range(3)]
    slice_config.write(folder / "c.csv", slice_config.of(range(3)))
    given = {"volumes": stores, "config": "c.csv", "output": "out.ome.zarr", "picture": "p.png", "name": "sub-01"}
    return run_stage("serving.stack_motor_only", folder, **given, **words)


SCENES: dict[str, tuple[Callable[..., int], Words]] = {
    "transform.register_pairwise": (register_pairwise, FLAT),
    "transform.refine_manual_transforms": (refine_manual_transforms, {"registration_slicing_interval_mm": 0.16}),
    "serving.make_manual_align_package": (make_manual_align_package, {}),
    "transform.auto_exclude_slices": (auto_exclude_slices, {}),
    "transform.plan_stack": (plan_stack, {**FLAT, "blocks": 1}),
    "transform.stack": (stack_block, {}),
    "serving.plan_levels": (plan_levels, {"blocks": 1}),
    "serving.publish_volume": (publish_volume, {}),
    "transform.fit_bias_field": (fit_bias_field, {}),
    "transform.correct_bias_field": (correct_bias_field, {}),
    "transform.register_to_atlas": (register_to_atlas, {}),
    "transform.align_to_ras": (align_to_ras, {"ras_input_orientation": "PIR"}),
    "serving.volume_preview": (volume_preview, {}),
    "serving.export_nifti": (export_nifti, {}),
    "serving.report": (report, {"report_plots": False}),
    "serving.analyze_rotation_drift": (analyze_rotation_drift, {}),
    "serving.stitch_motor_only": (stitched_by("stitch_motor_only"), {"stitch_overlap_fraction": 0.25}),
    "serving.stitch_refined": (stitched_by("stitch_refined"), {"stitch_overlap_fraction": 0.25}),
    "serving.compare_stitching": (compare_stitching, {}),
    "serving.stack_motor_only": (stack_motor_only, FLAT),
}
GRID = {"chunk": ("4,32,32", {}), "shard": ("8,64,64", {"chunk": "8,64,64"})}
DEEPER = {"of": {"fixed_z": 23.0}}  # three planes below where it is expected
FAR = {"use_expected_z_overlap": False, "of": {"fixed_z": 27.0}}

# stage -> parameter -> its other value, and what else is given both times
CHANGES: dict[str, dict[str, tuple[Any, Words]]] = {
    "transform.register_pairwise": {
        "registration_slicing_interval_mm": ((T - 2) * STEP, {}),
        "moving_slice_first_index": (2, {}),
        "registration_allowed_drifting_mm": (0.0, {}),
        "registration_transform": ("translation", {}),
        "registration_max_translation": (10, {}),
        "registration_max_rotation": (0.5, {}),
        "registration_initial_alignment": ("none", {}),
    },
    "transform.refine_manual_transforms": {
        "refine_manual_transforms": (True, {}),
        "refine_max_translation_px": (2, {"refine_manual_transforms": True}),
        "refine_max_rotation_deg": (0.5, {"refine_manual_transforms": True}),
    },
    "serving.make_manual_align_package": {"manual_align_level": (0, {})},
    "transform.auto_exclude_slices": {
        "strict": (True, {}),
        "auto_exclude_consecutive": (2, {"of": {"z_correlation": 0.1}}),
        "auto_exclude_z_corr": (0.05, {}),
    },
    "transform.plan_stack": {
        "strict": (True, {"lost": True}),
        "blocks": (2, {"shard": "8,32,32", "chunk": "8,32,32"}),
        "block_voxels": (20_000, {"shard": "8,32,32", "chunk": "8,32,32", "blocks": 0}),
        "apply_pairwise_transforms": (False, {}),
        "apply_rotation_only": (True, {}),
        "max_rotation_deg": (0.5, {}),
        "transform_confidence_high": (0.95, {}),
        "transform_confidence_low": (0.95, {}),
        "skip_error_transforms": (False, {"of": {"status": "error"}}),
        "skip_warning_transforms": (False, {"of": {"status": "warning"}}),
        "load_transform_min_zcorr": (0.9, {}),
        "load_transform_max_rotation": (0.5, {}),
        "stack_accumulate_translations": (False, {}),
        "stack_confidence_weight_translations": (False, {"skips": True, "of": {"dim1_px": 0.4, "confidence": 0.7}}),
        "stack_max_cumulative_drift_px": (1, {}),
        "stack_max_pairwise_translation": (3, {}),
        "stack_smooth_window": (3, {}),
        "stack_translation_smooth_sigma": (1, {}),
        "stack_translation_min_zcorr": (0.9, {}),
        "use_expected_z_overlap": (False, {"of": {"fixed_z": 34.0}}),
        "z_overlap_min_corr": (0.9, FAR),
        "stack_blend_z_refine_vox": (0, DEEPER),
        "blend_z_refine_min_confidence": (0.95, DEEPER),
        "blend_refinement_px": (5, {}),
    },
    "transform.stack": {**GRID, "moving_slice_first_index": (0, {}), "stack_blend_enabled": (False, {})},
    "serving.plan_levels": {"blocks": (3, {}), "block_voxels": (4000, {"blocks": 0})},
    "serving.publish_volume": {
        "ome_zarr_version": ("0.4", {}),
        "pyramid_resolutions": ("20,60", {}),
        "pyramid_n_levels": (2, {}),
        "pyramid_make_isotropic": (False, {}),
    },
    "transform.fit_bias_field": {"bias_mode": ("global", {})},
    "transform.correct_bias_field": {"bias_strength": (0.5, {})},
    "transform.register_to_atlas": {
        "seed": (1, {}),
        "ras_input_orientation": ("AIR", {}),
        "allen_resolution": (200, {}),
        "allen_metric": ("MSE", {}),
        "allen_max_iterations": (1, {}),
        "allen_registration_level": (2, {}),
        "allen_transform": ("rigid", {}),
        "allen_preview": (False, {}),
        "ras_initial_rotation": ("0 0 10", {}),
        "ras_preview_only": (True, {}),
    },
    "transform.align_to_ras": {"ras_input_orientation": ("AIR", {})},
    "serving.volume_preview": {"annotated_label_every": (2, {}), "annotated_show_lines": (True, {})},
    "serving.export_nifti": {"ras_input_orientation": ("PIR", {}), "nifti_level": (1, {})},
    "serving.report": {
        "generate_report": (False, {}),
        "report_format": ("zip", {}),
        "report_verbose": (True, {}),
        "report_plots": (True, {}),
    },
    "serving.analyze_rotation_drift": {"diagnostic_rotation_threshold": (0.5, {}), "figure_dpi": (100, {})},
    "serving.stitch_motor_only": {"motor_only_overlap": (0.3, {}), "motor_only_stitch_blending": ("none", {})},
    "serving.stitch_refined": {"save_refinement_data": (True, {})},
    "serving.compare_stitching": {"comparison_tile_step": (60, {})},
    "serving.stack_motor_only": {"motor_only_stack_blending": ("average", {})},
}
OF_SLICES = "as in the volume: tests/test_slice_parameters.py"
ELSEWHERE = dict.fromkeys(
    (
        *("stitch_blending_method", "stitch_overlap_fraction", "use_motor_positions_for_stitching", "resolution"),
        *("max_blend_refinement_px", "clip_percentile_upper", "fix_curvature_enabled", "fix_illum_enabled", "use_gpu"),
    ),
    OF_SLICES,
)
ALL = [(stage, name) for stage, of in CHANGES.items() for name in of]


def fields(stage: str) -> set[str]:
    return set(params.fields_of(importlib.import_module(f"voxelmill.{stage}").Parameters))


def stages() -> set[str]:
    """Of all modules that these parts of the workflow include, those that have parameters; and the report."""
    text = "".join((PROJECT / f"workflows/{name}.nf").read_text() for name in ("stack_slices", "subject", "diagnostics"))
    found = {".".join(of) for of in re.findall(r"'\.\./modules/(\w+)/(\w+)'", text)} | {"serving.report"}
    return {stage for stage in found if fields(stage)} - {"transform.join"}


@pytest.mark.parametrize("stage", sorted(stages()))
def test_every_parameter_of_a_stage_has_an_entry(stage: str) -> None:
    anywhere = {name for of in CHANGES.values() for name in of}  # one that stages share is changed in one of them
    assert fields(stage) <= anywhere | set(ELSEWHERE)
    assert stage not in CHANGES or set(CHANGES[stage]) <= fields(stage)


@pytest.mark.parametrize("name", reconstruct.Parameters.__annotations__)
def test_every_switch_is_read(name: str) -> None:
    """By the wiring; which tasks it makes is counted in tests/test_reconstruct.py and tests/test_slices_to_volume.py."""
    text = "".join(path.read_text() for path in (PROJECT / "workflows").glob("*.nf"))
    assert f"options.{name}" in text or f"tableOf(options, '{name}'" in text


def outcome(folder: Path, stage: str, words: Words) -> tuple[int, str]:
    """Exit code of a scene, and a digest of all files but records."""
    scene, usual = SCENES[stage]
    folder.mkdir(parents=True)
    code, found = scene(folder, **{**usual, **words}), hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.endswith("provenance.json")):
        found.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    shutil.rmtree(folder)
    return code, found.hexdigest()


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Words], tuple[int, str]]:
    """The outcome of a scene without the change; each is made once."""
    known: dict[str, tuple[int, str]] = {}

    def found(stage: str, words: Words) -> tuple[int, str]:
        key = f"{stage}{words}"
        if key not in known:
            known[key] = outcome(tmp_path_factory.mktemp("usual") / "x", stage, words)
            assert known[key][0] == 0
        return known[key]

    return found


@pytest.mark.xdist_group("volume_parameters")
@pytest.mark.parametrize("stage", SCENES)
def test_a_scene_repeats(usual: Callable, tmp_path: Path, stage: str) -> None:
    """Else any parameter would seem to change it."""
    assert outcome(tmp_path / "x", stage, {}) == usual(stage, {})


@pytest.mark.xdist_group("volume_parameters")
@pytest.mark.parametrize(("stage", "name"), ALL, ids=[f"{stage.rpartition('.')[2]}-{name}" for stage, name in ALL])
def test_it_changes_what_comes_out(usual: Callable, tmp_path: Path, stage: str, name: str) -> None:
    value, also = CHANGES[stage][name]
    changed = outcome(tmp_path / "x", stage, {**also, name: value})
    assert changed != usual(stage, also)
    assert name == "strict" or changed[0] == 0  # a value that is refused shows nothing
