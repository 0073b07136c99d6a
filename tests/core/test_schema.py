"""What is generated from the parameter models is up to date, and a valid schema."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from voxelmill.core import params, schema


@pytest.mark.parametrize("name", ["nextflow_schema.json", "conf/params.config", "conf/presets.config", "docs/parameters.md"])
def test_generated_files_are_fresh(name: str):
    assert (schema.project() / name).read_text() == schema.generated()[name], "run: voxelmill schema --write"


def test_schema_is_valid_json_schema():
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(schema.schema())


def test_one_name_four_rooms():
    """Who knows a stage's name knows its files."""
    root = schema.project()
    for name, stage in schema.stages().items():
        assert (root / f"bin/{name}.py").exists()
        assert f'main("{stage.layer}.{name}")' in (root / f"bin/{name}.py").read_text()
        assert (root / f"tests/{stage.layer}/test_{name}.py").exists(), f"tests/{stage.layer}/test_{name}.py"


def test_command_lines_of_modules_are_what_their_stages_take():
    """Every file argument of a stage is given by its module, and nothing else is."""
    by_workflow = {"report": {"title", "presets"}}  # in its flags
    for path in schema.project().glob("modules/*/*.nf"):
        script = path.read_text().split("script:")[1].split("stub:")[0]
        given = set(re.findall(r"--(\w+)", script)) | by_workflow.get(path.stem, set())
        assert given == set(schema.stages()[path.stem].files), path
        assert f"{path.stem}.py " in script and ("${flags}" in script) == ("val flags" in path.read_text()), path


def test_every_process_has_a_stub():
    for path in schema.project().glob("modules/*/*.nf"):
        assert "stub:" in path.read_text(), path


class One(params.Params):
    """One."""

    radius: int = params.param(1, "Radius of a tile", unit="px", ge=0)


class Other(params.Params):
    """Other."""

    radius: int = params.param(1, "Radius of a cell", unit="um", ge=0)


def test_two_parameters_of_one_name_are_an_error(monkeypatch: pytest.MonkeyPatch):
    """Two stages may share a parameter only by sharing the class that declares it."""
    monkeypatch.setattr(schema, "_models", lambda root: iter([One, type("Both", (One,), {}), Other]))
    with pytest.raises(params.ParameterError, match=r"--radius is declared by .*One and by .*Other: give one another name"):
        schema.groups()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"profiles": {"minimal": -1}}, "--radius in profiles minimal: -1: Input should be greater than or equal to 0"),
        ({"profiles": {"minimal": {"timelapse": "x"}}}, "--radius in profiles minimal, timelapse: 'x'"),
        ({"profiles": {"minimal": 1}}, "--radius in profiles minimal: 1 is the default: it changes nothing"),
        ({"defaults": {"timelapse": 2.5}}, "--radius in defaults timelapse: 2.5"),
    ],
)
def test_values_of_profiles_and_workflows_must_fit(more: dict, words: str):
    field = params.param(1, "Radius", ge=0, **more)
    field.annotation = int
    with pytest.raises(params.ParameterError) as raised:
        schema.property_of("radius", field, {})
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("name", "rule", "words"),
    [
        ("max_cpus", {"x-defaults": {"timelapse": 2}}, "--max_cpus is of the run as a whole"),
        ("max_gap", {"x-profiles": {"minimal": {"connectome": 3}}}, "no workflow that takes it"),
        ("max_gap", {"x-defaults": {"timelaps": 3}}, "no workflow that takes it"),
    ],
)
def test_values_of_workflows_must_have_a_use(name: str, rule: dict, words: str, monkeypatch: pytest.MonkeyPatch):
    made = schema.property_of
    monkeypatch.setattr(schema, "property_of", lambda of, *more: {**made(of, *more), **(rule if of == name else {})})
    with pytest.raises(params.ParameterError, match=words):
        schema.schema()


def test_workflows_are_what_main_includes():
    found = schema.workflows()
    assert {"connectome", "timelapse"} <= set(found)
    text = (schema.project() / "main.nf").read_text()
    for name in found:
        assert f"options.workflow == '{name}'" in text and f"{name.upper()}(options)" in text


def test_every_parameter_says_what_it_is():
    for name, (_, fields) in schema.groups().items():
        for field in fields.values():
            assert field.description, name


def imported(path: Path, text: str = "") -> Iterator[str]:
    """What a file of the package imports of the package, `layer.module...`, however it is written."""
    package = schema.project() / "python"
    for node in ast.walk(ast.parse(text or path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            here = path.relative_to(package).parts[: -node.level] if node.level else ()
            base = ".".join([*here, *filter(None, [node.module])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.removeprefix("voxelmill.") for name in names if name.startswith("voxelmill."))


def test_layers_look_one_way():
    """A module imports from its own layer or an earlier one; core from none; only tests and training from testing."""
    order = {name: n for n, name in enumerate(("core", "timelapse", *schema.LAYERS))}
    package = schema.project() / "python/voxelmill"
    looked = 0
    for path in package.glob("*/**/*.py"):
        layer = path.relative_to(package).parts[0]
        for name in imported(path):
            of = name.split(".")[0]
            looked += 1
            assert of != "testing" or layer in ("testing", "training"), f"{path} imports {name}"
            if layer in order and of != "__version__" and path.name != "commands.py":  # a command line knows all
                assert order.get(of, 99) <= order[layer], f"{path} imports {name}"
    assert looked > 300


@pytest.mark.parametrize(
    "line", ["from ..serving import report", "from voxelmill.serving.report import run", "import voxelmill.serving.report"]
)
def test_every_way_to_import_is_seen(line: str):
    made = schema.project() / "python/voxelmill/ingest/made.py"
    (found,) = imported(made, line)
    assert found.startswith("serving.report")


def test_nearest_name_is_suggested():
    with pytest.raises(params.ParameterError, match=r"unknown parameter --cutuot\. Did you mean --cutout\?"):
        params.refuse_unknown(["cutuot"], ["cutout", "center"])


# Arguments of the name of a parameter that mean something else, or that say "not given" in another way.
OTHER_MEANING = {
    ("client", "release", "tag"): "the current one",
    ("inference.tracking", "link_iou", "min_iou"): "of the boxes of a cell in two frames: --track_min_iou",
    ("inference.tracking", "track", "min_size"): "of a cell, px: --track_min_size",
    ("ingest.movies.formats", "open_movie", "frame_interval"): "minutes where the file does not say",
    ("transform.registration", "estimate_pair", "max_rotation_deg"): "of sections: --align_max_rotation",
    ("transform.registration", "estimate_pairs", "max_rotation_deg"): "of sections: --align_max_rotation",
    ("training.train", "train", "seed"): "of the training: `voxelmill train --seed`",
}


def test_a_default_that_is_written_twice_is_the_same():
    """A function may be called without the stage: then it does what the stage does by default, but for the device."""
    package = schema.project() / "python/voxelmill"
    declared = {
        n: f.get_default(call_default_factory=True) for _, fields in schema.groups().values() for n, f in fields.items()
    }
    found, drifted = set(), []
    for path in sorted(package.rglob("*.py")):
        module = ".".join(path.relative_to(package).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef) or module.startswith("testing"):
                continue
            plain = [*node.args.posonlyargs, *node.args.args]
            given = [*zip(plain[::-1], node.args.defaults[::-1]), *zip(node.args.kwonlyargs, node.args.kw_defaults)]
            for arg, default in given:
                if arg.arg in declared and isinstance(default, ast.Constant | ast.UnaryOp):
                    value, place = ast.literal_eval(default), (module, node.name, arg.arg)
                    found.add(place)
                    if (
                        value is not None
                        and value != declared[arg.arg]
                        and place not in OTHER_MEANING
                        and arg.arg != "use_gpu"
                    ):
                        drifted.append(f"{place}: {value}, --{arg.arg} has {declared[arg.arg]}")
    assert drifted == [] and set(OTHER_MEANING) <= found
