"""List slices: who takes part; what does not fit together is refused or left out by name."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voxelmill.core import plans, shifts, slice_config
from voxelmill.core.shifts import Shift
from voxelmill.testing.stages import make_store, record_of, run_stage


def given(folder: Path, numbers: list[int], chain: list[int] | None = None, config: str = "", **more: Any) -> int:
    (folder / "grids").mkdir(parents=True)
    for n in numbers:
        make_store(folder / f"grids/slice_z{n:02d}_normalize.ome.zarr", np.ones((1, 32, 32), np.float32))
    chain = numbers if chain is None else chain
    shifts.write(folder / "shifts_xy.csv", [Shift(a, b, 0.1, 0.0) for a, b in pairwise(chain)], (1, 1))
    if config:
        (folder / "slice_config.csv").write_text("slice_id,use\n" + config)
        more["config"] = "slice_config.csv"
    files = {"source": "grids", "shifts_xy": "shifts_xy.csv", "list": "slices.csv", "used": "used.csv"}
    return run_stage("ingest.list_slices", folder, **files, **more)


def listed(folder: Path) -> list[str]:
    return [row["slice"] for row in plans.read(folder / "slices.csv")]


def test_all_slices_in_the_order_of_their_numbers(tmp_path):
    assert given(tmp_path, [9, 10, 99, 100, 101]) == 0
    rows = plans.read(tmp_path / "slices.csv")
    assert [row["id"] for row in rows] == ["z09", "z10", "z99", "z100", "z101"]
    assert rows[-1]["store"] == "slice_z101_normalize.ome.zarr"
    assert slice_config.read(tmp_path / "used.csv").used == [9, 10, 99, 100, 101]


def test_the_configuration_chooses(tmp_path):
    assert given(tmp_path, [0, 1, 2, 3], config="0,false\n1,true\n02,TRUE\n3,no\n") == 0
    assert listed(tmp_path) == ["1", "2"]


def test_what_is_in_one_of_both_is_left_out_by_name(tmp_path):
    assert given(tmp_path, [1, 2, 3], config="1,true\n2,true\n7,true\n8,false\n") == 0
    assert listed(tmp_path) == ["1", "2"]
    left = record_of(tmp_path, "list_slices")["left_out"]
    assert left["z07"] == "used by slice_config.csv, but there is no store" and "no row" in left["z03"] and "z08" not in left


def test_shifts_of_slices_that_are_not_there(tmp_path, capsys):
    """Said, and refused when strict; those that the configuration knows are said once, or are not used."""
    assert given(tmp_path / "a", [1, 2], chain=[1, 2, 5, 6]) == 0
    why = "named by shifts_xy.csv, but there is no store"
    assert record_of(tmp_path / "a", "list_slices")["left_out"] == {"z05": why, "z06": why}
    assert given(tmp_path / "b", [1, 2], chain=[1, 2, 5], strict=True) == 65
    assert f"z05: {why}" in capsys.readouterr().err
    assert given(tmp_path / "c", [1, 2], chain=[0, 1, 2], config="0,false\n1,true\n2,true\n", strict=True) == 0


def test_and_is_an_error_when_strict(tmp_path, capsys):
    assert given(tmp_path, [1, 2], config="1,true\n2,true\n7,true\n", strict=True) == 65
    assert "z07: used by slice_config.csv, but there is no store" in capsys.readouterr().err


def test_debug_slices_come_in_whatever_the_configuration_says(tmp_path):
    assert given(tmp_path, [1, 2, 3, 4, 100], config="1,false\n2,true\n3,true\n4,true\n100,true\n", debug_slices="1,3-4") == 0
    assert listed(tmp_path) == ["1", "3", "4"] and slice_config.read(tmp_path / "used.csv").flag(1, "use")


@pytest.mark.parametrize("name, text", [("zarr.json", "{"), ("zarr.json", None), ("0/zarr.json", None)])
def test_what_is_no_store_is_left_out_by_name(tmp_path, capsys, name, text):
    assert given(tmp_path, [1, 2]) == 0
    broken = tmp_path / f"grids/slice_z02_normalize.ome.zarr/{name}"
    broken.unlink() if text is None else broken.write_text(text)
    files = {"source": "grids", "shifts_xy": "shifts_xy.csv", "list": "slices.csv", "used": "used.csv"}
    assert run_stage("ingest.list_slices", tmp_path, **files) == 0 and listed(tmp_path) == ["1"]
    assert "slice_z02_normalize.ome.zarr" in record_of(tmp_path, "list_slices")["left_out"]["z02"]
    assert run_stage("ingest.list_slices", tmp_path, **files, strict=True) == 65
    assert "slice_z02_normalize.ome.zarr" in capsys.readouterr().err


@pytest.mark.parametrize(
    "numbers, more, said",
    [
        ([], {}, "grids: neither mosaic_grid_3d_zNN"),
        ([1, 2], {"debug_slices": "2,5"}, "no store of z05; there are z01, z02"),
        ([1, 2], {"debug_slices": "two"}, "slice 'two'; expected a number"),
        ([1, 2], {"config": "1,false\n2,0\n"}, "none of 2 slices is used"),
        ([1, 2, 3], {"chain": [1, 2]}, "no row for z03"),
        ([1, 2], {"config": "1,true\n2,perhaps\n"}, "slice 2, use is 'perhaps'"),
    ],
)
def test_refused(tmp_path, capsys, numbers, more, said):
    assert given(tmp_path, numbers, **more) == 65
    assert said in capsys.readouterr().err


def test_two_stores_of_one_slice(tmp_path, capsys):
    (tmp_path / "grids").mkdir()
    (tmp_path / "grids/slice_z1_normalize.ome.zarr").mkdir()
    (tmp_path / "grids/slice_z01_normalize.ome.zarr").mkdir()
    shifts.write(tmp_path / "s.csv", [], (1, 1))
    files = {"source": "grids", "shifts_xy": "s.csv", "list": "slices.csv", "used": "used.csv"}
    assert run_stage("ingest.list_slices", tmp_path, **files) == 65
    assert "are both slice 1" in capsys.readouterr().err
