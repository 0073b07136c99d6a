"""Slices, their configuration and their shifts: names, columns, signs; what is wrong with a table is said by its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxelmill.core import shifts, slice_config, slices
from voxelmill.core.errors import DataError
from voxelmill.core.shifts import Extent, Shift


def test_names_and_numbers():
    assert [slices.name_of(n) for n in (7, 99, 123)] == ["z07", "z99", "z123"]
    assert [slices.number_of(t) for t in ("7", "z07", "7.0", " 123 ")] == [7, 7, 7, 123]
    assert slices.tasks([10, 9, 100]) == [
        {"id": "z09", "slice": "9"}, {"id": "z10", "slice": "10"}, {"id": "z100", "slice": "100"}
    ]  # fmt: skip
    with pytest.raises(DataError, match=r"x.csv: slice 'seven'; expected a number"):
        slices.number_of("seven", "x.csv")


def test_chosen_slices():
    assert slices.chosen("25, 27-29") == {25, 27, 28, 29} and slices.chosen("") is None
    with pytest.raises(DataError, match="'9-7' runs backwards"):
        slices.chosen("9-7")


def test_a_new_configuration(tmp_path: Path):
    path = tmp_path / "slice_config.csv"
    slice_config.write(path, slice_config.of([100, 2, 1, 3], exclude_first=1))
    lines = path.read_text().splitlines()
    assert lines[0] == ",".join(slice_config.COLUMNS)
    assert lines[1].startswith("01,false,calibration,") and "calibration_slice" in lines[1]
    assert lines[2].startswith("02,true,,") and lines[4].startswith("100,true")
    assert slice_config.read(path).used == [2, 3, 100]


def test_stamping_makes_a_new_table_and_keeps_what_it_does_not_know(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("slice_id, use ,operator\n1.0,YES,ann\n2,0,bob\n")
    config = slice_config.read(path)
    more = config.stamped({1: {"quality_score": 0.5, "rehomed": True}, 9: {"notes": "new", "colour": "red"}})
    assert config.rows[1] == {"use": "YES", "operator": "ann"}  # as it was
    slice_config.write(tmp_path / "b.csv", more)
    again = slice_config.read(tmp_path / "b.csv")
    assert again.extra == ["operator", "colour"] and again.rows[1]["operator"] == "ann"
    assert again.used == [1] and again.flag(9, "use") is False and again.flag(1, "rehomed") is True
    assert slice_config.read(tmp_path / "b.csv").stamped({1: {"auto_excluded": True}}).used == []


@pytest.mark.parametrize(
    "text, said",
    [
        ("id,use\n1,true\n", "no column slice_id; expected slice_id, found id, use"),
        ("slice_id,use\n1,true\n01,true\n", "line 3: slice 1 comes twice"),
        ("slice_id,use\n1,maybe\n", "slice 1, use is 'maybe'; expected true or false"),
        ("slice_id,use\n\nx,true\n", "line 3: slice 'x'"),
        ("", "found nothing"),
    ],
)
def test_bad_configurations(tmp_path: Path, text: str, said: str):
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        slice_config.read(tmp_path / "c.csv")


def test_a_mosaic_that_lies_further_along_has_negative_shifts():
    """And its place is further along, by the same."""
    found = shifts.estimate({3: Extent((20, 30), (3, 4)), 5: Extent((20.5, 29), (3, 4))})
    assert found == [Shift(3, 5, -0.5, 1, True)]
    assert shifts.places(found) == {3: (0, 0), 5: (0.5, -1)}


def test_a_mosaic_that_has_grown_begins_earlier():
    """Its store does, whatever the edge is that has not moved."""
    found = shifts.estimate({0: Extent((0, 0), (3, 3)), 1: Extent((0, -1), (3, 4))})
    assert found == [Shift(0, 1, 0, 1, False)]


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=2, max_size=9))
def test_places_are_those_of_the_stage(corners: list[tuple[float, float]]):
    extents = {k: Extent(c, (2, 2)) for k, c in enumerate(corners)}
    for k, place in shifts.places(shifts.estimate(extents)).items():
        assert place == pytest.approx((corners[k][0] - corners[0][0], corners[k][1] - corners[0][1]))


def test_written_and_read(tmp_path: Path):
    found = [Shift(98, 99, 0.125, -0.5), Shift(99, 101, -0.25, 0.0, False)]
    shifts.write(tmp_path / "s.csv", found, (0.01, 0.005))
    assert (tmp_path / "s.csv").read_text().splitlines()[1] == "98,99,12.5000,-100.0000,0.1250000,-0.5000000,1"
    assert shifts.read(tmp_path / "s.csv") == found


@pytest.mark.parametrize(
    "text, said",
    [
        ("fixed_id,moving_id,x_shift\n", "no column x_shift_mm, y_shift_mm"),
        ("fixed_id,moving_id,x_shift_mm,y_shift_mm\n0,1,a,2\n", "line 2: x_shift_mm 'a'"),
        ("fixed_id,moving_id,x_shift_mm,y_shift_mm\n0,1,nan,2\n", "line 2: x_shift_mm 'nan'"),
        ("fixed_id,moving_id,x_shift_mm,y_shift_mm\n\n0,1\n", "line 3: x_shift_mm ''"),
        ("fixed_id,moving_id,x_shift_mm,y_shift_mm,reliable\n0,1,2,3,maybe\n", "line 2: reliable 'maybe'; expected 0 or 1"),
        ("fixed_id;moving_id;x_shift_mm;y_shift_mm\n0;1;0;0\n", "found fixed_id;moving_id"),
    ],
)
def test_bad_shifts(tmp_path: Path, text: str, said: str):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        shifts.read(tmp_path / "s.csv")


@pytest.mark.parametrize("read", [shifts.read, shifts.pixel_of, slice_config.read])
def test_a_table_that_is_no_text(tmp_path: Path, read):
    (tmp_path / "s.csv").write_text("slice_id,fixed_id\n", encoding="utf-16")
    with pytest.raises(DataError, match=r"s\.csv: not a CSV table as UTF-8 text; save it as such"):
        read(tmp_path / "s.csv")


def test_slices_without_a_place():
    chain = [Shift(0, 1, 1.0, 0.0), Shift(1, 2, 1.0, 0.0)]
    with pytest.raises(DataError, match="no row for z03, z104; expected one for each pair"):
        shifts.places(chain, [0, 1, 2, 3, 104])
    with pytest.raises(DataError, match="row 3 -> 4 does not go on"):
        shifts.places([chain[0], Shift(3, 4, 0.0, 0.0)])
    assert shifts.places([], [6]) == {6: (0.0, 0.0)}
