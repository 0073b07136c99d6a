"""`multiscales` of every version: axes, units, paths, scale and translation."""

from __future__ import annotations

import numpy as np
import pytest
from voxelmill.core.errors import DataError
from voxelmill.core.ngff import multiscales

AXES = [{"name": a, "type": "space", "unit": "micrometer"} for a in "zyx"]


def v04(*steps, axes=AXES, **more):
    return {
        "multiscales": [
            {"version": "0.4", "axes": axes, "datasets": [{"path": "s0", "coordinateTransformations": list(steps)}], **more}
        ]
    }


def scale(*v):
    return {"type": "scale", "scale": list(v)}


def shift(*v):
    return {"type": "translation", "translation": list(v)}


def v06(transform, name="physical", output=None, **more):
    transform = {**transform, "input": {"path": "0"}, "output": output or {"name": name}}
    entry = {
        "name": "em",
        "coordinateSystems": [{"name": "other", "axes": AXES[:2]}, {"name": name, "axes": AXES}],
        "datasets": [{"path": "0", "coordinateTransformations": [transform]}],
        **more,
    }
    return {"ome": {"version": "0.6", "multiscales": [entry]}}


def test_0_1_and_0_2_say_neither_axes_nor_scale():
    for version in ("0.1", "0.2"):
        found = multiscales({"multiscales": [{"version": version, "datasets": [{"path": "0"}, {"path": "1"}]}]})
        assert found and (found.version, found.axes, found.paths) == (version, tuple("tczyx"), ("0", "1"))
        assert found.scales is None and found.translations is None and set(found.units) == {None}
        assert found.types == ("time", "channel", "space", "space", "space")


def test_0_3_names_its_axes():
    found = multiscales({"multiscales": [{"version": "0.3", "axes": ["z", "y", "x"], "datasets": [{"path": "0"}]}]})
    assert found and found.axes == tuple("zyx") and found.scales is None


def test_0_4_and_0_5_place_a_dataset_then_the_whole():
    inner = v04(scale(2, 3, 4), shift(10, 20, 30), coordinateTransformations=[scale(10, 10, 10), shift(1, 2, 3)])
    for found in (multiscales(inner), multiscales({"ome": {"version": "0.5", **inner}})):
        assert found and found.paths == ("s0",) and found.units == ("micrometer",) * 3
        assert found.scales == ((20, 30, 40),)
        assert found.translations == ((101, 202, 303),)


@pytest.mark.parametrize(
    ("transform", "scales", "translations"),
    [
        (scale(2, 3, 4), (2, 3, 4), (0, 0, 0)),
        ({"type": "identity"}, (1, 1, 1), (0, 0, 0)),
        ({"type": "sequence", "transformations": [scale(2, 3, 4), shift(5, 6, 7)]}, (2, 3, 4), (5, 6, 7)),
    ],
)
def test_0_6_places_a_dataset_in_a_named_system(transform, scales, translations):
    away = {"type": "affine", "affine": np.eye(3, 4).tolist(), "input": {"name": "physical"}, "output": {"name": "other"}}
    for stored in (v06(transform), v06(transform, coordinateTransformations=[away]), v06(transform, output="physical")):
        found = multiscales(stored)
        assert found and found.version == "0.6" and found.axes == tuple("zyx") and found.units == ("micrometer",) * 3
        assert found.scales == (scales,) and found.translations == (translations,)


def test_what_these_tests_take_for_0_6_is_0_6():
    from voxelmill.testing.ngff_schema import validate

    validate(v06({"type": "sequence", "transformations": [scale(2, 3, 4), shift(5, 6, 7)]}), "image", "0.6")


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        (v04(shift(1, 2, 3)), "no scale"),
        (v04(scale(1, 2)), "expected 3 numbers"),
        (v04(scale(1, 2, 3), {"type": "affine", "affine": []}), "a affine of a dataset"),
        (v04({"type": "scale", "path": "elsewhere"}), "in numbers"),
        (v06(scale(1, 2, 3), output={"name": "nowhere"}), "output 'nowhere'; expected one of other, physical"),
        (v06({"type": "rotation", "rotation": []}), "a rotation of a dataset"),
        ({"multiscales": [{"axes": AXES, "datasets": []}]}, "names no dataset"),
        ({"multiscales": [{"version": "0.2", "datasets": [{"path": "../../x"}]}]}, "leads out of the store"),
        ({"multiscales": {"datasets": 3}}, "malformed"),
        ({"ome": 3}, "expected an object"),
    ],
)
def test_what_is_wrong_is_named(stored, words):
    with pytest.raises(DataError, match=words):
        multiscales(stored)


def test_no_image():
    assert multiscales({}) is None and multiscales({"ome": {"version": "0.5", "plate": {}}}) is None
