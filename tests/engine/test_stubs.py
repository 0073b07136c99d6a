"""Stub runs of every workflow, with exact task counts: a process that is skipped because a channel ran dry is the worst
fault of this kind of workflow. Those that compute, whole, with profiles and under both parsers: test_presets.py."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from voxelmill.core.runs import table
from voxelmill.testing.engine import PROJECT, run

pytestmark = pytest.mark.slow

# Stubs list one block or batch, so each process of a workflow has one task, but for what is named here.
OTHER_THAN_ONE = {
    "connectome": {
        "MULTISCALE": 3,
        "INGEST_TRUTH": 1,
        **dict.fromkeys(("LIST_FILES", "READ_SLAB", "JOIN_SLABS", "JOIN_SEGMENTS", "JOIN", "PYRAMID", "SCENE"), 0),
    },
    "mosaic": {
        **dict.fromkeys(("LIST_FILES", "JOIN", "PYRAMID"), 0),
        **dict.fromkeys(("LIST_TILES", "CREATE_MOSAIC_GRID", "GENERATE_SLICE_CONFIG"), 0),
        **dict.fromkeys(("GENERATE_AIP", "GENERATE_MOSAIC_PREVIEW"), 0),
    },
    "reconstruct": {
        **dict.fromkeys(("LIST_FILES", "AUTO_ASSESS_QUALITY", "JOIN", "COMMON_SPACE_PREVIEW"), 0),
        **dict.fromkeys(("ESTIMATE_GLOBAL_TRANSFORM", "ESTIMATE_GLOBAL_ILLUMINATION"), 0),
        **dict.fromkeys(("PREPARE_SLICE", "SLICE_PREVIEW", "BRING_TO_COMMON_SPACE", "STACK", "MAKE_LEVELS"), 2),
        "REGISTER_PAIRWISE": 3,
        "JOIN_STACK": 1,
        **dict.fromkeys(("EXPORT_NIFTI", "FIT_BIAS_FIELD", "CORRECT_BIAS_FIELD", "JOIN_LEVELS"), 0),
        **dict.fromkeys(("REGISTER_TO_ATLAS", "ALIGN_TO_RAS"), 0),
        **dict.fromkeys(("RESAMPLE_MOSAIC_GRID", "FIX_FOCAL_CURVATURE", "FIX_ILLUMINATION", "STITCH_3D_WITH_REFINEMENT"), 0),
        **dict.fromkeys(("BEAM_PROFILE_CORRECTION", "CROP_INTERFACE", "NORMALIZE"), 0),
        **dict.fromkeys(("ANALYZE_ROTATION_DRIFT", "ANALYZE_ACQUISITION_ROTATION", "STACK_MOTOR_ONLY"), 0),
        **dict.fromkeys(("REFINE_MANUAL_TRANSFORMS", "MAKE_MANUAL_ALIGN_PACKAGE"), 0),
        **dict.fromkeys(("STITCH_MOTOR_ONLY", "STITCH_REFINED", "COMPARE_STITCHING"), 0),
    },
    "release": {},
    "timelapse": {"LIST_FILES": 0, "READ_DETECTIONS": 0, "MERGE_SAMPLES": 0, "FIT_TRACES": 0},
}
TILES = PROJECT / "tests/data/timelapse/cases/czi_missing_tile.czi"
MOVIE = PROJECT / "tests/data/timelapse/example-timelapse.nd2"
ARGUMENTS: dict[str, tuple[object, ...]] = {
    "connectome": ("-profile", "demo"),
    "mosaic": ("--workflow", "mosaic", "--input", TILES),
    "reconstruct": ("--workflow", "reconstruct", "--input", PROJECT / "tests/data/oct_slices"),
    "release": ("--workflow", "release", "--input", PROJECT / "tests/data", "--store", "store", "--tag", "r1"),
    "timelapse": ("--workflow", "timelapse", "--input", MOVIE, "--pc_channel", 0, "--fl_channels", 1),
}
SCHEMA = json.loads((PROJECT / "nextflow_schema.json").read_text())
WORKFLOWS = {name: stages for name, stages in SCHEMA["x-workflows"].items() if (PROJECT / f"workflows/{name}.nf").exists()}


def expected(workflow: str, **more: int) -> Counter[str]:
    """Tasks per process, from the stages that the schema says a workflow has."""
    once = {stage.upper(): 1 for stage in WORKFLOWS[workflow]}
    return Counter({name: n for name, n in (once | OTHER_THAN_ONE[workflow] | more).items() if n})


def test_every_workflow_has_a_stub_run() -> None:
    assert set(ARGUMENTS) == set(WORKFLOWS), "say in ARGUMENTS how a stub run of each workflow starts"


def test_every_process_of_a_release_has_its_tasks(tmp_path: Path) -> None:
    """The one that no profile changes; with the strict parser: tests/catalog/test_create_release.py."""
    done = run(*ARGUMENTS["release"], "-stub-run", folder=tmp_path, env={"NXF_SYNTAX_PARSER": "v1"})
    assert done.code == 0, done.said
    assert done.tasks("COMPLETED") == expected("release")


def test_processes_say_what_they_need() -> None:
    """Each module has a resource label, one for tasks that are blocks, and one where a GPU can be used."""
    for module in sorted((PROJECT / "modules").rglob("*.nf")):
        text = module.read_text()
        assert sum(f"label 'process_{size}'" in text for size in ("single", "medium", "high")) == 1, module
        assert ("label 'per_block'" in text) == ("${meta.block} " in text), module
        # The digest of its code comes with the flags.
        never = "    cache false\n" in text
        assert ("    val flags\n" in text and "${flags} " in text) or never, module
        # Its records reach the report by the topic; who reads the topic cannot be part of it.
        assert ("emit: provenance, topic: 'records'\n" in text) != ("path(records," in text or never), module
        assert ("label 'gpu'" in text) == any(w in stage_of(module).read_text() for w in ("Device", "(p.use_gpu)")), module


def stage_of(module: Path) -> Path:
    return PROJECT / "python/voxelmill" / module.relative_to(PROJECT / "modules").with_suffix(".py")


@pytest.mark.parametrize("config, aips, previews", [("true", "false", "true"), ("false", "true", "false")])
def test_raw_oct_tiles(config: str, aips: str, previews: str, tmp_path: Path) -> None:
    """None of the stages for plain tiles, pictures beside the tiles or not; what is switched off has no task. In passing:
    most tasks at one time, and thread pools held to their share."""
    (tmp_path / "raw/z07/tile_x00_y00_z07").mkdir(parents=True)
    (tmp_path / "raw/z07/preview.tif").touch()
    (tmp_path / "raw/z07/tile_x00_y00_z07/aip.tif").touch()
    words = ("--generate_slice_config", config, "--generate_aips", aips, "--generate_previews", previews)
    words += ("--max_mosaic_forks", 3, "--max_aip_forks", 2, "--enable_cpu_limits", aips)
    done = run("--workflow", "mosaic", "--input", tmp_path / "raw", *words, "-stub-run", folder=tmp_path)
    assert done.code == 0, done.said
    forks = dict(re.findall(r"Creating process '(?:\w+:)*(\w+)': maxForks=(\d+)", (tmp_path / ".nextflow.log").read_text()))
    assert forks["CREATE_MOSAIC_GRID"] == "3" and forks.get("GENERATE_AIP") == ("2" if aips == "true" else None)
    tasks = list((tmp_path / "work").glob("*/*/.command.run"))
    assert tasks and {"OMP_NUM_THREADS=" in task.read_text() for task in tasks} == {aips == "true"}
    wanted = {"GENERATE_SLICE_CONFIG": config, "GENERATE_AIP": aips, "GENERATE_MOSAIC_PREVIEW": previews}
    assert done.tasks("COMPLETED") == Counter(
        {
            "LIST_TILES": 1,
            "ESTIMATE_TILES": 1,
            "CREATE_MOSAIC_GRID": 1,
            "REPORT": 1,
            **{name: 1 for name, on in wanted.items() if on == "true"},
        }
    )


def atlas(folder: Path, code: int) -> Path:
    """The head of a NIfTI, oriented by such a qform code; 0: not at all."""
    head = bytearray(348)
    head[0:2] = (348).to_bytes(2, "little")
    head[252] = code
    (folder / "atlas.nii.gz").write_bytes(gzip.compress(bytes(head)))
    return folder / "atlas.nii.gz"


RAS = {"REGISTER_TO_ATLAS": 1, "ALIGN_TO_RAS": 2, "JOIN_RAS": 1}
BIAS = {"FIT_BIAS_FIELD": 1, "CORRECT_BIAS_FIELD": 2, "JOIN_CORRECTED": 1}
ANALYSES = {"ANALYZE_ROTATION_DRIFT": 1, "ANALYZE_ACQUISITION_ROTATION": 1, "STACK_MOTOR_ONLY": 1}
# With --publish_intermediates each step on a slice is a task.
STEPS = dict.fromkeys(("STITCH_3D_WITH_REFINEMENT", "BEAM_PROFILE_CORRECTION", "CROP_INTERFACE", "NORMALIZE"), 2)
STEPS["PREPARE_SLICE"] = 0
STITCHED = {"STITCH_MOTOR_ONLY": 2, "STITCH_REFINED": 2, "COMPARE_STITCHING": 2}


@pytest.mark.parametrize(
    "off, on, more, given",
    [
        (
            "interpolate_missing_slices",
            ("diagnostic_mode", "nifti", "fix_illum_global"),
            ANALYSES
            | STITCHED
            | {"ESTIMATE_GLOBAL_ILLUMINATION": 1, "EXPORT_NIFTI": 1, "INTERPOLATE_MISSING_SLICE": 0, "REGISTER_PAIRWISE": 1},
            (),
        ),
        (
            "detect_rehoming",
            (
                "compare_stitching",
                "motor_only_stack",
                "analyze_acquisition_rotation",
                "align_to_ras_enabled",
                "auto_assess_quality",
            ),
            STITCHED
            | {
                "AUTO_ASSESS_QUALITY": 1,
                "STACK_MOTOR_ONLY": 1,
                "ANALYZE_ACQUISITION_ROTATION": 1,
                "DETECT_REHOMING_EVENTS": 0,
                **RAS,
            },
            (),
        ),
        (
            "analyze_shifts",
            (
                *("motor_only_stitch", "analyze_rotation_drift", "nifti", "correct_bias_field"),
                *("publish_intermediates", "fix_illum_global"),
            ),
            {"STITCH_MOTOR_ONLY": 2, "ANALYZE_ROTATION_DRIFT": 1, "EXPORT_NIFTI": 2, "ANALYZE_SHIFTS": 0, **BIAS}
            | dict.fromkeys(("SLICE_PREVIEW", "FIX_ILLUMINATION", "RESAMPLE_MOSAIC_GRID"), 2)
            | {"ESTIMATE_GLOBAL_ILLUMINATION": 1, **STEPS},
            (),
        ),
        (
            # Steps that are switched off, and a resampling to what is there, have no task; runs of bad pairs are left in.
            "auto_exclude_enabled",
            (
                *("fix_curvature_enabled", "stitch_global_transform", "common_space_preview", "publish_intermediates"),
                "align_to_ras_enabled",
            ),
            {"FIX_FOCAL_CURVATURE": 2, "ESTIMATE_GLOBAL_TRANSFORM": 1, "COMMON_SPACE_PREVIEW": 1, **STEPS, **RAS}
            | {"SLICE_PREVIEW": 0, "AUTO_EXCLUDE_SLICES": 0},
            ("--fix_illum_enabled", "false", "--stitch_preview", "false", "--resolution", -1, "--atlas", "atlas.nii.gz"),
        ),
    ],
    ids=["all diagnostics", "some", "the others", "steps"],
)
def test_what_is_switched_on_or_off(
    off: str, on: tuple[str, ...], more: dict[str, int], given: tuple[object, ...], tmp_path: Path
) -> None:
    """Volumes beside the stack, diagnostics, steps: each switch brings or takes its own tasks, and no others; a slice
    configuration changes none of it. An atlas that is given, or at hand as BrainGlobe has it."""
    (tmp_path / "slice_config.csv").write_text("slice_id,use\n0,true\n2,true\n")
    words: list[object] = [word for name in on for word in (f"--{name}", "true")] + [f"--{off}", "false"]
    (tmp_path / "home/allen_mouse_25um_v1.2").mkdir(parents=True)
    home = {"BRAINGLOBE_DIR": str(tmp_path / "home")}
    atlas(tmp_path, 1)  # `--atlas atlas.nii.gz` is looked for where the run starts
    words += ["--zip_volume", "false", "--slice_config", tmp_path / "slice_config.csv", *given]
    done = run(*ARGUMENTS["reconstruct"], *words, "-stub-run", folder=tmp_path, env=home)
    assert done.code == 0, done.said
    assert done.tasks("COMPLETED") == expected("reconstruct", ZIP_VOLUME=0, **more)


def test_no_atlas_at_hand(tmp_path: Path) -> None:
    words = (*ARGUMENTS["reconstruct"], "--align_to_ras_enabled", "true", "-stub-run")
    done = run(*words, folder=tmp_path, env={"BRAINGLOBE_DIR": str(tmp_path)})
    assert done.code == 64 and "no atlas at hand, and nothing is downloaded; give --atlas FILE" in done.said


def laid_by_hand(folder: Path) -> tuple[object, ...]:
    """Words for two pairs of three."""
    (folder / "laid/z01-z02").mkdir(parents=True)
    (folder / "laid/z00-z01.tfm").touch()
    (folder / "laid/z01-z02/manual.tfm").touch()
    return "--manual_transforms_dir", folder / "laid", "--export_manual_align", "true"


def test_names_that_are_no_pairs_are_refused(tmp_path: Path) -> None:
    """Those that are: test_presets.py."""
    words = (*ARGUMENTS["reconstruct"], *laid_by_hand(tmp_path), "-stub-run")
    laid = tmp_path / "laid"
    (laid / "other.tfm").touch()
    strange = run(*words, folder=tmp_path / "strange")
    assert strange.code == 65 and "other; expected names of pairs" in strange.said and not strange.said.count("Submitted")
    assert strange.said.count("expected names of pairs") == 1 and "-resume" not in strange.said
    (last,) = table(strange.outdir)
    assert last["status"] == "failed" and "expected names of pairs" in last["error"]
    (laid / "other.tfm").rename(laid / "z07-z08.tfm")
    another = run(*words, folder=tmp_path / "another")
    assert another.code == 65 and "no pair z07-z08 in this run" in another.said and not another.said.count("Submitted")


def test_an_atlas_without_orientation_is_refused_at_once(tmp_path: Path) -> None:
    """Not after the whole stack; one that has it is taken: steps, in `test_what_is_switched_on_or_off`."""
    words = (*ARGUMENTS["reconstruct"], "--align_to_ras_enabled", "true", "--atlas", atlas(tmp_path, 0), "-stub-run")
    done = run(*words, folder=tmp_path)
    assert done.code == 65 and "no orientation (neither sform nor qform)" in done.said and not done.said.count("Submitted")


def test_a_slice_that_fails_for_good_ends_a_strict_run(tmp_path: Path) -> None:
    """Without --strict it is left out: tests/test_slices_to_volume.py."""
    trouble = tmp_path / "trouble.config"
    trouble.write_text("process { withName: PREPARE_SLICE { beforeScript = 'exit 70' } }")
    done = run(*ARGUMENTS["reconstruct"], "--strict", "true", "-c", trouble, "-stub-run", folder=tmp_path)
    assert done.code != 0 and "PLAN_COMMON_SPACE" not in done.tasks()
