"""Samples: which fields of view, and exactly which rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from voxelmill.core.errors import DataError, ParameterError
from voxelmill.serving.samples import Sample, find_traces, merge, parse_samples, read_samples

HEADER = "fov,cell,frame,time,good,position_x,area_ch_0,intensity_total_ch_1\n"


def table(folder: Path, fov: int, rows: str, header: str = HEADER, ending: str = "_traces.csv") -> Path:
    path = folder / f"fov_{fov:03d}" / f"run_fov_{fov:03d}{ending}"
    path.parent.mkdir(exist_ok=True)
    path.write_text(header + rows)
    return path


@pytest.fixture
def results(tmp_path: Path) -> Path:
    table(
        tmp_path,
        0,
        "0,1,0,0.000000,True,5.0,450.000000,1234.500000\n0,1,1,9.500000,False,5.0,1.0,2.0\n"
        "0,2,0,0.000000,True,5.0,400.000000,99.000000\n",
    )
    table(tmp_path, 3, "3,1,0,0.250000,True,5.0,300.000000,7.000000\n")
    table(tmp_path, 4, "4,1,0,0.250000,True,5.0,30.000000,8.000000\n")
    return tmp_path


def test_names_are_what_is_written(tmp_path):
    path = tmp_path / "samples.yaml"
    path.write_text(
        "samples: [{name: 010, fovs: 0}, {name: 1.10, fovs: [1, 2]}, {name: yes, fovs: 3}, {name: 2026-01-02, fovs: 4}]"
    )
    assert read_samples(path, 5) == [
        Sample("010", (0,)),
        Sample("1.10", (1, 2)),
        Sample("yes", (3,)),
        Sample("2026-01-02", (4,)),
    ]


def test_merge_takes_good_rows_of_the_fields_of_view_in_order(results, tmp_path):
    (tmp_path / "samples.yaml").write_text('samples:\n  - {name: control, fovs: "0,3"}\n  - {name: treated, fovs: 4}\n')
    paths = merge(read_samples(tmp_path / "samples.yaml", 5), find_traces(results), tmp_path / "merged")
    assert [p.name for p in paths] == [
        "control_area_ch_0.csv",
        "control_intensity_total_ch_1.csv",
        "treated_area_ch_0.csv",
        "treated_intensity_total_ch_1.csv",
    ]
    assert paths[1].read_text() == (
        "# Time units: min\ntime,fov,cell,value\n0.000000,0,1,1234.500000\n0.000000,0,2,99.000000\n0.250000,3,1,7.000000\n"
    )
    assert sorted(p.name for p in (tmp_path / "merged").iterdir()) == sorted(p.name for p in paths)


def test_inspected_traces_are_preferred(results, tmp_path):
    table(results, 3, "3,1,0,0.250000,True,5.0,1.000000,2.000000\n", ending="_traces_inspected.csv")
    (path, _) = merge([Sample("s", (3,))], find_traces(results), tmp_path / "merged")
    assert path.read_text().endswith("0.250000,3,1,1.000000\n")


def test_no_good_row_gives_a_header_only(results, tmp_path):
    table(results, 3, "3,1,0,0.25,False,5.0,1.0,2.0\n")
    (path, _) = merge([Sample("s", (3,))], find_traces(results), tmp_path / "merged")
    assert path.read_text() == "# Time units: min\ntime,fov,cell,value\n"


@pytest.mark.parametrize(
    ("fovs", "expected"), [("0-2,4", (0, 1, 2, 4)), (3, (3,)), ([0, 2], (0, 2)), ("all", (0, 1, 2, 3, 4))]
)
def test_ranges(fovs, expected):
    assert parse_samples({"samples": [{"name": "a", "fovs": fovs}]}, 5) == [Sample("a", expected)]


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([{"name": "a", "fovs": "0-2"}, {"name": "b", "fovs": "2"}], "field of view 2 is in 'a' and in 'b'"),
        ([{"name": "a", "fovs": "0-5"}], "sample 'a': field of view 5 is not there; there are 5, numbered 0-4"),
        ([{"name": "a", "fovs": "0"}, {"name": "a", "fovs": "1"}], "two samples are called 'a'"),
        ([{"name": "Cells", "fovs": "0"}, {"name": "cells", "fovs": "1"}], "two samples are called 'cells'"),
        ([{"name": "../a", "fovs": "0"}], "cannot be part of a file name"),
        ([{"name": "", "fovs": "0"}], "cannot be part of a file name"),
        ([{"name": "a"}], "expected exactly name and fovs"),
        ([{"name": "a", "fovs": ""}], "fovs is empty"),
        ([{"name": "a", "fovs": []}], "fovs is empty"),
        ([{"name": "a", "fovs": "0", "fov": 1}], "expected exactly name and fovs"),
        ([{"name": "a", "fovs": "2-0"}], "backwards"),
        ([{"name": "a", "fovs": "x"}], "cannot read 'x'"),
        ([], "with a list"),
        (None, "with a list"),
        ("a", "with a list"),
    ],
)
def test_refused_samples(samples, message):
    with pytest.raises(ParameterError, match=message):
        parse_samples({"samples": samples}, 5)


def test_refused_files(tmp_path):
    with pytest.raises(ParameterError, match="with a list"):
        parse_samples([1])
    with pytest.raises(ParameterError, match="needs a known number"):
        parse_samples({"samples": [{"name": "a", "fovs": "all"}]})
    with pytest.raises(ParameterError, match="--samples"):
        read_samples(tmp_path / "none.yaml")
    path = tmp_path / "bad.yaml"
    for text, message in (
        ("samples: [", "not YAML"),
        ("samples: 3", r"bad\.yaml: expected"),
        ("!!python/object/apply:os.getcwd []", "expected"),
        ("samples: [{name: , fovs: 0}]", "cannot be part of a file name"),
    ):
        path.write_text(text)
        with pytest.raises(ParameterError, match=message):
            read_samples(path)


def test_a_missing_table_is_refused_before_anything_is_written(results, tmp_path):
    with pytest.raises(ParameterError, match="sample 'b': no traces for field of view 1; there are traces for 0, 3, 4"):
        merge([Sample("a", (0,)), Sample("b", (1,))], find_traces(results), tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_tables_that_do_not_fit_together_leave_no_file(results, tmp_path):
    table(results, 4, "", header="fov,cell,frame,time,good,area_ch_0\n")
    with pytest.raises(DataError, match="other features"):
        merge([Sample("a", (0, 4))], find_traces(results), tmp_path / "merged")
    assert list((tmp_path / "merged").iterdir()) == []
    table(results, 4, "", header="fov,cell,frame,good,area_ch_0\n")
    with pytest.raises(DataError, match="no column time; expected time, fov, cell, good"):
        merge([Sample("a", (4,))], find_traces(results), tmp_path / "merged")


def test_two_tables_for_one_field_of_view_are_refused(results):
    (results / "fov_000" / "other_fov_000_traces.csv").write_text(HEADER)
    with pytest.raises(DataError, match="field of view 0 has two tables"):
        find_traces(results)
