"""Where voxels lie: exact under crops, levels and units."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxelmill.core.errors import DataError
from voxelmill.core.space import PER_NM, ZYX, Axis, Space, nm_per, seconds_per
from voxelmill.core.volume import create_image, layout, open_image

numbers = st.floats(-1e7, 1e7)
sizes = st.floats(1e-2, 1e5)
spaces = st.builds(Space.zyx, st.tuples(sizes, sizes, sizes), st.tuples(numbers, numbers, numbers))
corners = st.tuples(*[st.integers(-1000, 10**6)] * 3)


@settings(deadline=None)  # a busy machine is no fault
@given(spaces, corners, corners)
def test_a_crop_of_a_crop_keeps_the_place_of_every_voxel(space, a, b):
    both = tuple(m + n for m, n in zip(a, b, strict=True))
    reach = np.abs(space.origin).max() + np.abs(both).max() * max(space.scale) + 1
    np.testing.assert_allclose(space.crop(a).crop(b).origin, space.position(both), atol=1e-12 * reach)


@settings(deadline=None)
@given(spaces, st.tuples(*[st.integers(1, 64)] * 3))
def test_a_voxel_of_a_level_lies_in_the_middle_of_those_that_it_stands_for(space, step):
    level = space.level(step)
    first, last = space.position((0, 0, 0)), space.position([f - 1 for f in step])
    middle = [(a + b) / 2 for a, b in zip(first, last, strict=True)]
    reach = np.abs(space.origin).max() + 64 * max(space.scale)
    np.testing.assert_allclose(level.origin, middle, atol=1e-12 * reach)
    assert level.scale == tuple(s * f for s, f in zip(space.scale, step, strict=True))


@settings(deadline=None)
@given(spaces, corners)
def test_index_is_the_inverse_of_position(space, index):
    reach = np.abs(np.array(space.origin) / space.scale).max() + np.abs(index).max() + 1
    np.testing.assert_allclose(space.index(space.position(index)), index, atol=1e-9 * reach)


@settings(deadline=None)
@given(st.tuples(sizes, sizes, sizes), corners)
def test_a_source_numbers_its_voxels_from_its_offset(scale, offset):
    assert Space.zyx(scale, [o * s for o, s in zip(offset, scale, strict=True)]).offset == offset


@settings(deadline=None)
@given(space=spaces)
def test_a_store_says_where_it_lies(tmp_path_factory, space):
    path = tmp_path_factory.mktemp("space") / "v.ome.zarr"
    create_image(path, layout((4, 8, 8), "uint8", (4, 8, 8), (4, 8, 8)), space)
    assert open_image(path).space == space


def test_five_axes_have_one_type():
    axes = [Axis("t", "time", "second"), Axis("c", "channel", None), *ZYX]
    movie = Space.of(axes, (2, 1, 30, 4, 5), (10, 0, 3, 0, 0))
    assert movie.known and movie.position((1, 0, 0, 2, 0)) == (12, 0, 3, 8, 0)
    assert movie.part("zyx") == Space.zyx((30, 4, 5), (3, 0, 0))


@pytest.mark.parametrize("axes", ["czyx", "tczyx", "tyx", "cyx"])
def test_a_store_of_any_axes_comes_back_where_it_was(tmp_path, axes):
    kinds = {"t": Axis("t", "time", "second"), "c": Axis("c", "channel", None)}
    of, shape = [kinds.get(a, Axis(a)) for a in axes], [2, 3, 4, 5, 6][: len(axes)]
    space = Space.of(of, [2.0] * len(of), [7.0 if a.type == "space" else 0.0 for a in of])
    image = create_image(tmp_path / "v", layout(shape, "uint16", shape, shape), space)
    values = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    image.write((slice(None),) * len(shape), values)
    found = open_image(tmp_path / "v")
    assert found.space == space and np.array_equal(found.read(), values)


@pytest.mark.parametrize(
    ("scale", "origin", "words"),
    [
        ((1, 2), (0, 0, 0), "scale (1, 2)"),
        ((1, 2, 3), (0, 0), "origin (0, 0)"),
        ((1, 0, 3), (0, 0, 0), "positive"),
        ((1, float("nan"), 3), (0, 0, 0), "positive"),
        ((1, 2, 3), (0, 0, float("inf")), "finite"),
    ],
)
def test_numbers_that_do_not_fit_the_axes_are_refused(scale, origin, words):
    with pytest.raises(DataError) as error:
        Space(ZYX, scale, origin)
    assert words in str(error.value)


@pytest.mark.parametrize("shard", [(4, 8), (4, 8, 8, 8)])
def test_a_layout_of_another_number_of_axes_is_refused(tmp_path, shard):
    with pytest.raises(DataError, match="expected 3 numbers"):
        layout((4, 8, 8), "uint8", shard, (4, 8, 8))
    with pytest.raises(DataError, match="expected 3 numbers each, for axes z, y, x"):
        create_image(tmp_path / "v", layout((8, 8), "uint8", (8, 8), (8, 8)), Space.zyx((1, 1, 1)))


@pytest.mark.parametrize(
    ("unit", "nm"),
    [
        ("nanometer", 1), ("nm", 1), ("um", 1e3), ("µm", 1e3), ("μm", 1e3), ("micron", 1e3), ("microns", 1e3),
        ("Micrometer", 1e3),
        ("micrometre", 1e3), ("\\u00B5m", 1e3), ("&#181;m", 1e3), ("&micro;m", 1e3),
        ("mm", 1e6), ("cm", 1e7), ("meters", 1e9),
        ("Å", 0.1), ("angstrom", 0.1), ("inch", 25.4e6), ("yoctometer", 1e-15),
        ("pixel", None), ("px", None), ("", None), (None, None), ("second", None), ("lightspeed", None),
    ],
)  # fmt: skip
def test_units_of_length_however_they_are_spelt(unit, nm):
    assert nm_per(unit) == (pytest.approx(nm) if nm else None)


@pytest.mark.parametrize(
    ("unit", "seconds"),
    [
        ("s", 1), ("sec", 1), ("second", 1), ("seconds", 1), ("ms", 1e-3), ("msec", 1e-3), ("millisecond", 1e-3), ("min", 60),
        ("minutes", 60), ("h", 3600), ("hr", 3600), ("hrs", 3600), ("hours", 3600), ("day", 86400), ("µs", 1e-6),
        ("frame", None), ("", None), ("nm", None),
    ],
)  # fmt: skip
def test_units_of_time_however_they_are_spelt(unit, seconds):
    assert seconds_per(unit) == (pytest.approx(seconds) if seconds else None)


def test_every_unit_of_length_of_the_format_is_known():
    ngff = (
        "angstrom attometer centimeter decimeter exameter femtometer foot gigameter hectometer inch kilometer megameter meter"
    )
    more = "micrometer mile millimeter nanometer parsec petameter picometer terameter yard yoctometer yottameter zeptometer"
    assert all(unit in PER_NM for unit in (f"{ngff} {more} zettameter").split())
