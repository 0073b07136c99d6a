"""Parameters from the command line to the stages: types, bounds, unknown names, flags, profiles, both parsers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from voxelmill.core import head, options, words
from voxelmill.core.errors import DataError, ParameterError, StorageError
from voxelmill.testing.engine import NEXTFLOW, PROJECT, QUIET

OPTIONS = options.load()
REFUSED = [
    ({"cutuot": "1,1,1"}, "unknown parameter --cutuot. Did you mean --cutout?"),
    ({"qqqqqqqqqq": 1}, "unknown parameter --qqqqqqqqqq."),
    ({"alignment": "rigd"}, "--alignment rigd: expected one of none, translation, rigid, elastic"),
    ({"min_score": "2"}, "--min_score 2: expected at most 1"),
    ({"foreground_quantile": 1}, "--foreground_quantile 1: expected less than 1"),
    ({"clahe_clip": 0}, "--clahe_clip 0: expected more than 0"),
    ({"cutout": "1,2"}, "--cutout 1,2: expected 3 values with commas between"),
    ({"seed": "1.5"}, "--seed 1.5: expected a whole number"),
    ({"seed": "-1"}, "--seed -1: expected at least 0"),
    ({"jitter_px": "abc"}, "--jitter_px abc: expected a number"),
    ({"strict": "maybe"}, "--strict maybe: expected true or false"),
    ({"voxel-size": "1,1,1", "voxelSize": "1,1,1"}, "unknown parameter --voxel-size. Did you mean --voxel_size?"),
    ({"max_memory": "lots"}, "--max_memory lots: expected something like 16.GB"),
]
TAKEN = [
    ({"use_gpu": "false"}, {"use_gpu": False}),
    ({"use_gpu": True}, {"use_gpu": True}),
    ({"seed": "12"}, {"seed": 12}),
    ({"clahe_tile": 128}, {"clahe_tile": 128}),
    ({"cutout": "256,256,64"}, {"cutout": "256,256,64"}),
    ({"cutout": "[256, 256 64]", "voxel_size": "(8,8,4)"}, {"cutout": "256,256,64", "voxel_size": "8,8,4"}),
    ({"workflow": "timelapse", "segmentation_method": "logstd", "cell_diameter": "0"}, {"cell_diameter": 0.0}),
    ({"align_drift": "0.5"}, {"align_drift": 0.5}),
]


@pytest.mark.parametrize("given, message", REFUSED)
def test_wrong_values_are_refused_with_their_reason(given: dict, message: str):
    with pytest.raises(ParameterError) as raised:
        OPTIONS.resolve({"workflow": "connectome", **given}, {}, [])
    assert str(raised.value).startswith(message) and "\n" not in str(raised.value)


@pytest.mark.parametrize("given, wanted", TAKEN)
def test_values_get_their_declared_type(given: dict, wanted: dict):
    found = OPTIONS.resolve(given, {}, [])["options"]
    assert {name: found[name] for name in wanted} == wanted
    assert all(type(found[name]) is type(value) for name, value in wanted.items())


def test_a_stage_gets_its_own_flags_only():
    flags = OPTIONS.resolve({"align_drift": "0.5"}, {}, [])["flags"]
    assert "--align_drift 0.5" in flags["align"] and "align_drift" not in flags["render"]
    assert flags["join"] == "" and "copy_movie" not in flags


def test_help_is_grouped_and_can_be_of_one_workflow():
    everything, one = OPTIONS.help(), OPTIONS.help("timelapse")
    assert "Section registration" in everything and "--align_neighbours" in everything
    assert "--align_neighbours" not in one and "--pc_channel" in one and "--outdir" in one


def test_every_default_is_accepted_by_its_stage():
    """What Nextflow passes on by default, the stage's model takes."""
    from voxelmill.core import params, schema

    for stage in schema.stages().values():
        for name, field in params.fields_of(stage.parameters).items():
            if field.default is not None:
                params.parse(stage.parameters, {name: params.to_text(field.default)})


def test_launcher_is_there():
    assert Path(NEXTFLOW).exists()


FOREIGN = {"workflow": "timelapse", "align_neighbours": 3}


def test_what_only_a_configuration_file_sets_may_be_of_another_workflow():
    """On the command line it is an error."""
    found = OPTIONS.resolve({"workflow": "timelapse"}, {"align_neighbours": 3, "nobody": 1, "max_gap": 5}, [])
    assert "align_neighbours" not in found["options"] and found["options"]["max_gap"] == 5
    assert found["ignored"] == ["nobody"]
    with pytest.raises(
        ParameterError, match="--align_neighbours has no use in --workflow timelapse; it belongs to connectome"
    ):
        OPTIONS.resolve(FOREIGN, {}, [])
    assert OPTIONS.resolve({**FOREIGN, "align_neighbours": 2}, {}, [])  # its default


def test_command_line_beats_files_beat_profiles_beat_defaults():
    def neighbours(given: dict, config: dict, profiles: list[str]) -> int:
        return OPTIONS.resolve(given, config, profiles)["options"]["align_neighbours"]

    assert neighbours({}, {}, []) == 2
    assert neighbours({}, {}, ["slurm", "conservative"]) == 4
    assert neighbours({}, {"align_neighbours": 5}, ["conservative"]) == 5
    assert neighbours({"align_neighbours": "2"}, {"align_neighbours": 5}, ["conservative"]) == 2
    with pytest.raises(ParameterError, match="-profile aggressive and minimal both set --alignment: choose one"):
        neighbours({}, {}, ["aggressive", "minimal"])


def test_parameters_of_a_method_that_was_not_chosen():
    """A profile's value is dropped with its method; one that was given is an error."""
    iou = {"workflow": "timelapse", "tracking_method": "iou"}
    found = OPTIONS.resolve(iou, {}, ["conservative"])
    assert "max_gap" not in found["flags"]["track_cells"] and "max_gap" not in found["preset"]
    with pytest.raises(ParameterError, match="--max_gap '3' has no use with --tracking_method iou; it belongs to growth"):
        OPTIONS.resolve({**iou, "max_gap": 3}, {}, [])


def changed_rules(**more: object) -> options.Options:
    """The schema with another default and profile for one workflow only."""
    schema = json.loads((PROJECT / "nextflow_schema.json").read_text())
    for group in schema["$defs"].values():
        if "seed" in group["properties"]:
            group["properties"]["seed"].update(more)
    schema["x-stages"]["copy_movie"].append("seed")
    return options.Options(schema)


def test_a_parameter_may_have_other_values_in_another_workflow():
    other = changed_rules(**{"x-defaults": {"timelapse": 3}, "x-profiles": {"minimal": {"timelapse": 4, "connectome": 5}}})
    for workflow, default, minimal in (("connectome", 7, 5), ("timelapse", 3, 4)):
        assert other.resolve({"workflow": workflow}, {}, [])["options"]["seed"] == default
        found = other.resolve({"workflow": workflow}, {}, ["minimal"])
        assert found["options"]["seed"] == minimal
        assert found["preset"]["seed"] == {"profile": "minimal", "value": minimal, "default": default}
    assert "[3] [minimal: 4]" in other.help("timelapse")


def test_what_a_profile_changed_reaches_stages_and_report():
    source = str(PROJECT / "README.md")
    found = head.for_run(PROJECT, {"given": {"input": source}, "config": {}, "profiles": ["conservative"]})
    told = "profile conservative: --reserved_cpus 1 (else 0), --max_retries 4 (else 2), --strict true (else false), "
    assert found["said"][0].startswith(told)
    assert words.flag("presets", found["said"][0]) in found["flags"]["report"]
    assert "--align_neighbours 4" in found["flags"]["align"] and "--strict true" in found["flags"]["join_slabs"]


def early(given: dict, seen: dict | None = None, folder: Path = PROJECT, **env: str) -> subprocess.CompletedProcess[str]:
    """As conf/check.config asks, with the Python of the head node and nothing installed."""
    words = [sys.executable, "-IS", PROJECT / "bin/options.py", "early", PROJECT, json.dumps(given), json.dumps(seen or {})]
    return subprocess.run([str(w) for w in words], cwd=folder, capture_output=True, text=True, env={**os.environ, **env})


@pytest.mark.parametrize(
    "given",
    [
        {"workflow": "timelapse", "input": "https://example.org/movie.ome.zarr"},
        {"workflow": "reconstruct", "input": "S3://bucket/slices"},
        {"workflow": "timelapse", "input": str(PROJECT), "detections": "gs://bucket/labels.npz"},
        {"workflow": "connectome", "input": "s3://bucket/em.zarr", "model": "s3://bucket/model"},
    ],
)
def test_what_is_not_read_from_an_address_is_refused_at_the_start(given: dict):
    *_, (name, value) = given.items()
    with pytest.raises(ParameterError, match=rf"--{name} {value}: {given['workflow']} reads it from a file .* download it"):
        head.for_run(PROJECT, {"given": given, "config": {}, "profiles": []})
    read = {"input": "s3://bucket/em.zarr", "truth": "https://example.org/labels.zarr"}
    assert head.for_run(PROJECT, {"given": read, "config": {}, "profiles": []})["options"]["truth"] == read["truth"]


def test_early_check_answers_and_refuses(tmp_path: Path):
    asked = early({"help": "true"})
    assert asked.returncode == head.ANSWERED and "--cutout" in asked.stdout
    assert "--cutout" not in early({"help": "timelapse"}).stdout
    refused = early({"cutuot": "1,1,1"})
    assert (refused.returncode, refused.stderr) == (64, "ERROR unknown parameter --cutuot. Did you mean --cutout?\n")
    assert early(FOREIGN).returncode == 64
    # Another file may yet choose the workflow: to be judged when the run starts.
    assert early({"pc_channel": 0}).returncode == head.GO_ON


def linked(folder: Path) -> None:
    """All of the project but `main.nf`."""
    for name in ("conf", "nextflow.config", "nextflow_schema.json", "bin", "python"):
        os.symlink(PROJECT / name, folder / name)


@pytest.mark.slow
@pytest.mark.parametrize("parser", ["v1", "v2"])
@pytest.mark.parametrize("profile, said", [("test", "2 GB of"), ("minimal", "1 of")])
def test_limits_of_a_profile_hold(parser: str, profile: str, said: str, tmp_path: Path):
    """max_memory of `test` and max_cpus of `minimal` bound what a task gets."""
    linked(tmp_path)
    (tmp_path / "main.nf").write_text("""
process GREEDY {
    memory '8.GB'
    cpus 2
    output: stdout
    script: "echo ${task.memory} of memory, ${task.cpus} of cpus"
}
workflow { GREEDY() | view }
""")
    done = subprocess.run(
        [str(NEXTFLOW), "run", "main.nf", "-profile", profile, "--input", "main.nf"],
        cwd=tmp_path,
        capture_output=True,
        env={**os.environ, **QUIET, "NXF_SYNTAX_PARSER": parser},
        text=True,
        timeout=120,
    )
    assert said in done.stdout, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("parser", ["v1", "v2"])
@pytest.mark.parametrize(
    "profile, said", [("test", "IN 96,96,16"), ("tset", "ERROR -profile tset: expected one of standard,")]
)
def test_a_profile_alone_is_enough(parser: str, profile: str, said: str, tmp_path: Path):
    """Without any parameter the older parser hid what the profile had set, and --input was said to be missing."""
    linked(tmp_path)
    os.symlink(PROJECT / "assets", tmp_path / "assets")
    (tmp_path / "main.nf").write_text('workflow { println("IN " + params.cutout) }\n')
    done = subprocess.run(
        [str(NEXTFLOW), "run", "main.nf", "-profile", profile],
        cwd=tmp_path,
        env={**os.environ, **QUIET, "NXF_SYNTAX_PARSER": parser},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert said in done.stdout + done.stderr
    assert done.returncode == (0 if profile == "test" else 64)


@pytest.mark.slow
@pytest.mark.parametrize("parser", ["v1", "v2"])
def test_cpus_of_this_machine_follow_profile_and_command_line(parser: str, tmp_path: Path):
    linked(tmp_path)
    (tmp_path / "main.nf").write_text('workflow { println("CPUS " + workflow.session.config.executor) }\n')
    done = subprocess.run(
        [str(NEXTFLOW), "run", "main.nf", "-profile", "minimal", "--max_cpus", "3", "--reserved_cpus", "1", "--input", "bin"],
        cwd=tmp_path,
        env={**os.environ, **QUIET, "NXF_SYNTAX_PARSER": parser},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "CPUS [$local:[cpus:2]]" in done.stdout, done.stdout + done.stderr


def test_output_is_another_name_of_outdir(tmp_path: Path) -> None:
    def asked(**given: object) -> dict:
        return head.for_run(PROJECT, {"given": {"input": str(tmp_path), **given}, "config": {}, "profiles": []})["options"]

    assert asked(output="there")["outdir"] == asked(outdir="there", output="there")["outdir"] == "there"
    with pytest.raises(ParameterError, match="--output here and --outdir there are one parameter: give one of them"):
        asked(output="here", outdir="there")


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_compiled(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "lost").symlink_to(tmp_path / "gone/away")
    given = {"input": str(PROJECT / "README.md")}
    for outdir in (tmp_path / "file", tmp_path / "file/a/b", tmp_path / "lost/x"):
        with pytest.raises(
            StorageError, match=f"cannot write into --outdir {re.escape(str(outdir))}: .*; give another"
        ) as found:
            head.for_run(PROJECT, {"given": {**given, "outdir": str(outdir)}, "config": {}, "profiles": []})
        assert found.value.exit_code == 74 and "\n" not in str(found.value)
    head.for_run(PROJECT, {"given": {**given, "outdir": str(tmp_path / "a/b")}, "config": {}, "profiles": []})
    assert not (tmp_path / "a").exists()


def test_a_table_that_is_needed_is_asked_for_at_the_start(tmp_path: Path) -> None:
    given = {"workflow": "reconstruct", "input": f"file://{tmp_path}"}
    with pytest.raises(ParameterError, match=r"no shifts_xy\.csv in it; make it by --workflow mosaic, or say by --shifts_xy"):
        head.for_run(PROJECT, {"given": given, "config": {}, "profiles": []})
    (tmp_path / "elsewhere.csv").touch()
    head.for_run(PROJECT, {"given": given | {"shifts_xy": str(tmp_path / "elsewhere.csv")}, "config": {}, "profiles": []})
    (tmp_path / "shifts_xy.csv").touch()
    head.for_run(PROJECT, {"given": given, "config": {}, "profiles": []})


def test_a_model_that_is_not_its_cards_is_refused_at_the_start(tmp_path: Path) -> None:
    model = tmp_path / "my model"
    shutil.copytree(PROJECT / "python/voxelmill/inference/neurites_model", model)
    given = {"input": str(PROJECT / "README.md"), "model": f"file://{tmp_path}/my%20model"}
    head.for_run(PROJECT, {"given": given, "config": {}, "profiles": []})
    with open(model / "model.onnx", "ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match=r"my model/model\.onnx: sha256 .* on the card: not the weights"):
        head.for_run(PROJECT, {"given": given, "config": {}, "profiles": []})
    with pytest.raises(StorageError, match="no card here"):
        head.for_run(PROJECT, {"given": given | {"model": "", "synapse_model": str(tmp_path)}, "config": {}, "profiles": []})


@pytest.mark.parametrize(
    "given, told",
    [
        ({"voxel_size": "-8,8,8"}, "--voxel_size -8,8,8: expected more than 0 each"),
        ({"voxel_size": "nan,8,8"}, "--voxel_size nan,8,8: expected a number in place of nan"),
        ({"cutout": "a,2,3"}, "--cutout a,2,3: expected a whole number in place of a"),
        ({"cutout": [1.5, 2, 3]}, "--cutout 1.5,2,3: expected a whole number in place of 1.5"),
        ({"rescale_percentiles": "1,200"}, "--rescale_percentiles 1,200: expected at most 100 each"),
        ({"agglomeration_threshold": "0.2,x"}, "--agglomeration_threshold 0.2,x: expected a number in place of x"),
        ({"block_voxels": "1e999"}, "--block_voxels 1e999: expected a number"),
        ({"block_voxels": "snan"}, "--block_voxels snan: expected a number"),
        ({"outdir": "s3://bucket/results"}, "--outdir s3://bucket/results: expected a folder of this machine"),
        ({"outdir": ""}, "--outdir : expected a folder of this machine"),
    ],
)
def test_values_are_judged_one_by_one_before_the_engine_compiles(given: dict, told: str) -> None:
    with pytest.raises(ParameterError) as found:
        head.for_run(PROJECT, {"given": {"input": str(PROJECT / "README.md"), **given}, "config": {}, "profiles": []})
    assert str(found.value) == told


def test_lists_as_people_write_them_are_taken() -> None:
    for text, made in (("[8, 8, 4]", "8,8,4"), ("8 8 4.5", "8,8,4.5"), ("-5,0,3", None)):
        name = "voxel_size" if made else "center"
        given = {"input": str(PROJECT / "README.md"), name: text}
        found = head.for_run(PROJECT, {"given": given, "config": {}, "profiles": []})
        assert found["options"][name] == (made or text)
