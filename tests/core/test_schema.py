"""What is generated from the parameter models is up to date, and a valid schema."""

from __future__ import annotations

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
def test_values_of_workflows_must_have_a_use(name: str, rule: dict, words: str):
    made = schema.schema()
    for group in made["$defs"].values():
        if name in group["properties"]:
            group["properties"][name].update(rule)
    with pytest.raises(params.ParameterError, match=words):
        schema._refuse_misplaced(made)


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


def test_layers_look_one_way():
    """A module imports from its own layer or an earlier one; core from none."""
    import re

    order = {layer: n for n, layer in enumerate(schema.LAYERS)}
    package = schema.project() / "python/voxelmill"
    for path in package.glob("*/*.py"):
        layer = path.parent.name
        found = re.findall(r"from \.\.(\w+)", path.read_text())
        if layer == "core":
            assert not set(found) & set(order), path
        elif layer in order:
            later = [f for f in found if order.get(f, -1) > order[layer]]
            assert not later, f"{path} imports from {later}"


def test_nearest_name_is_suggested():
    with pytest.raises(params.ParameterError, match=r"unknown parameter --cutuot\. Did you mean --cutout\?"):
        params.refuse_unknown(["cutuot"], ["cutout", "center"])
