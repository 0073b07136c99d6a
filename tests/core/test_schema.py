"""What is generated from the parameter models is up to date, and a valid schema."""

from __future__ import annotations

import inspect

import pytest
from voxelmill.core import params, schema


@pytest.mark.parametrize("name", ["nextflow_schema.json", "conf/params.config", "docs/parameters.md"])
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


def test_a_parameter_is_written_down_once():
    """Two stages may share a parameter only by sharing the class that declares it."""
    owner: dict[str, type] = {}
    for model in schema._models(None):
        for cls in model.__mro__:
            for name in inspect.get_annotations(cls):
                if name in model.model_fields:
                    tag = any(name == union.tag for union in schema.tags().values())
                    assert tag or owner.setdefault(name, cls) is cls, f"{name}: in {owner[name]} and {cls}"


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
