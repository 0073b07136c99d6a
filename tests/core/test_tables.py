"""Tables that people give: what spreadsheets make of a CSV is read, or refused in one line that says what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from voxelmill.core import shifts, slice_config, tables
from voxelmill.core.errors import DataError
from voxelmill.ingest.tiles.positions import read_positions
from voxelmill.serving.samples import Sample, merge
from voxelmill.training.data import paint

GOOD = {  # reader -> a table, its columns in another order than ours
    "shifts": "moving_id,fixed_id,y_shift_mm,x_shift_mm\n1,0,0.5,0.25\n",
    "slices": "use,slice_id\ntrue,3\n",
    "positions": "y,x,tile\n0.5,1,a.tif\n",
    "synapses": "verdict,x,y,z\nsynapse,1,2,3\n",
    "traces": "good,cell,fov,time,area_ch_0\ntrue,1,0,2.5,7\n",
}


def samples(path: Path) -> list[str]:
    (out,) = merge([Sample("s", (0,))], {0: path}, path.parent / "merged")
    return out.read_text().splitlines()[2:]


READERS: dict[str, Callable[[Path], object]] = {
    "shifts": shifts.read,
    "slices": slice_config.read,
    "positions": read_positions,
    "synapses": lambda path: paint(path, (4, 4, 4)).tolist(),
    "traces": samples,
}


@pytest.fixture(params=GOOD)
def read(request, tmp_path):
    def written(text: str | bytes) -> object:
        (tmp_path / "given.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
        return READERS[request.param](tmp_path / "given.csv")

    return GOOD[request.param], written


def test_what_spreadsheets_and_systems_add_is_passed_over(read):
    text, written = read
    expected = written(text)
    for other in (
        "\ufeff" + text,
        text.replace("\n", "\r\n"),
        f"# a remark\n{text}\n\n",
        text.replace("\n", " ,\n").replace("1 ,", "1,"),
    ):
        assert written(other) == expected
    header, rows = text.split("\n", 1)
    assert written(header.upper().replace("AREA_CH_0", "area_ch_0") + "\n" + rows) == expected


@pytest.mark.parametrize(
    "spoil, said",
    [
        (lambda text: "", "found nothing"),
        (lambda text: text.replace(",", ";"), "divided by semicolons, save it with commas"),
        (lambda text: text.replace(",", "\t"), "divided by tabs, save it with commas"),
        (lambda text: "a" + text.split("\n")[0][1:] + "b\n1,1,1\n", "no column"),
        (lambda text: ",".join([text.split(",")[0], text]), "stands there twice"),
        (lambda text: text.rstrip() + ",5\n", "line 2: "),
        (lambda text: text.encode("utf-16"), r"not a CSV table as UTF-8 text|no text"),
    ],
)
def test_what_is_no_such_table_is_refused_in_one_line(read, spoil, said):
    text, written = read
    with pytest.raises(DataError, match=said) as refused:
        written(spoil(text))
    assert "given.csv" in str(refused.value) and "\n" not in str(refused.value)


def test_decimal_commas_move_no_cell(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,5,2\n")
    with pytest.raises(DataError, match=r"t.csv, line 2: 3 cells; expected 2\. Write decimals with a point"):
        tables.read(tmp_path / "t.csv")


@pytest.mark.parametrize("cell, said", [("WAHR", "line 2: good is 'WAHR'; expected true or false"), ("1", "")])
def test_a_spreadsheet_of_another_language_loses_no_cell(tmp_path, cell, said):
    (tmp_path / "t.csv").write_text(GOOD["traces"].replace("true", cell))
    if said:
        with pytest.raises(DataError, match=said):
            samples(tmp_path / "t.csv")
    else:
        assert samples(tmp_path / "t.csv") == ["2.5,0,1,7"]


def test_what_is_no_number_is_not_merged(tmp_path):
    (tmp_path / "t.csv").write_text(GOOD["traces"].replace("2.5", "2.5 h"))
    with pytest.raises(DataError, match=r"line 2: .2\.5 h.; expected a number"):
        samples(tmp_path / "t.csv")
