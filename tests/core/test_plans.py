"""Plans: a row a task, for a volume on any grid; what is written is read again, by the engine too."""

from __future__ import annotations

from pathlib import Path

import pytest
from voxelmill.core import blocks, plans
from voxelmill.core.errors import ParameterError
from voxelmill.core.shared import Tasks
from voxelmill.core.volume import layout

SMALL = layout((28, 96, 96), "uint8", (4, 96, 96), (4, 32, 32))
ATLAS = layout((300, 700, 500), "uint16", (100, 128, 128), (100, 64, 64))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    found = plans.rows(["0-3", "4-7"], batch=["0-7", "0-7"], slice=["z00", "z01"])
    plans.write(tmp_path / "list.csv", found)
    assert (tmp_path / "list.csv").read_text() == "id,block,batch,slice\n0-3,0-3,0-7,z00\n4-7,4-7,0-7,z01\n"
    assert plans.read(tmp_path / "list.csv") == found


@pytest.mark.parametrize("name", ["", "a b", "$(x)", "a,b", "a\nb", "'"])
def test_what_a_shell_would_read_is_no_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ParameterError, match=r"list\.csv: id is"):
        plans.write(tmp_path / "list.csv", plans.rows([name]))
    assert not (tmp_path / "list.csv").exists()


@pytest.mark.parametrize("lay", [SMALL, ATLAS])
def test_any_grid_is_divided(lay) -> None:
    p = Tasks(blocks=5)
    assert len(plans.by_shards(lay, p)) == 5 and len(plans.by_sections(lay, p)) == min(5, lay.grid[0])
    assert 1 < len(plans.by_boxes(lay, p)) <= 5
    for row in plans.by_shards(lay, p) + plans.by_boxes(lay, p):
        assert row["id"] == row["block"] and list(blocks.regions(lay, row["block"]))
    assert len(plans.by_superblocks(lay, (8.0,) * 3, p)) <= 5
    assert [row["batch"] for row in plans.by_sections(SMALL, Tasks())] == ["0-6"]


def test_a_volume_of_one_block_has_a_pyramid_of_one_task() -> None:
    for shape in ((64, 256, 256), (512, 512, 512)):
        lay = layout(shape, "uint8", (32, 1024, 1024), (32, 128, 128))
        assert len(plans.by_superblocks(lay, (8.0,) * 3, Tasks())) == 1
    found = plans.by_superblocks(SMALL, (30.0, 8.0, 8.0), Tasks(blocks=7))
    assert [row["block"] for row in found] == [f"{n}-{n}" for n in range(7)]


def test_neighbours_go_together() -> None:
    assert [row["block"] for row in plans.by_items([0, 1, 2, 5, 9], 2)] == ["0-1", "2-5", "9-9"]
