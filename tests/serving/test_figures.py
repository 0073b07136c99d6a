"""Figures: all five, the same bytes twice, also where there is nothing to show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from voxelmill.core.volume import open_image
from voxelmill.serving import figures, tables, wiring_figures
from voxelmill.serving.figures import coloured, middle
from voxelmill.serving.tables import pick
from voxelmill.testing import candidates
from voxelmill.testing.em import neurites
from voxelmill.testing.stages import make_store, run_stage

NAMES = {f"figure{f}.{e}" for f in ("1_overview", "2_synapses", "3_graph", "4_alignment", "5_matrix") for e in ("png", "pdf")}


def draw(folder: Path, n: int, name: str = "figures") -> dict[str, bytes]:
    raw, labels = neurites((8, 64, 64))
    rng = np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    at = (np.full(n, 4), *rng.integers(0, 64, (2, n)))
    candidates.write(folder / "c.parquet", *at, rng.integers(1, 5, n), rng.integers(5, 9, n), rng.random(n))
    (folder / "a.csv").write_text(
        "section,dy,dx,rotation_deg,residual_px,status\n"
        + "".join(f"{z},{z * 0.1},{-z * 0.2},0,0.05,{'blank' if z == 2 else 'ok'}\n" for z in range(8))
    )
    image = make_store(folder / "i.ome.zarr", raw)
    aligned = make_store(folder / "a.ome.zarr", raw)
    neurite = make_store(folder / "l.ome.zarr", labels, label=True)
    assert run_stage("postprocess.graph", folder, candidates="c.parquet", labels=neurite, tables="tables", graph="graph") == 0
    assert (
        run_stage(
            "serving.figures",
            folder,
            raw=image,
            preprocessed=image,
            aligned=aligned,
            labels=neurite,
            alignment="a.csv",
            tables="tables",
            output=name,
            figure_dpi=60,
        )
        == 0
    )
    return {p.name: p.read_bytes() for p in (folder / name).iterdir()}


def test_the_same_bytes_twice(tmp_path: Path):
    first = draw(tmp_path, 20)
    assert set(first) == NAMES and all(len(b) > 2000 for b in first.values())
    assert first == draw(tmp_path, 20, "again")


def test_partners_of_one_place_are_said_to_be_such(tmp_path: Path):
    """Three dots on each other look like one."""
    z, y, x = [1, 1, 1, 0], [9, 9, 9, 5], [7, 7, 7, 3]
    pq.write_table(pa.table({"z": z, "y": y, "x": x, "score": [0.5] * 4}), tmp_path / "s.parquet")
    image = open_image(make_store(tmp_path / "i.ome.zarr", np.zeros((2, 20, 20), np.uint8)))
    told = [figures.synapses(image, tmp_path / "s.parquet", z).axes[0].get_title() for z in (1, 0)]
    assert "3 (of 4 in the volume)\nplaces: 1; each partner" in told[0] and "places" not in told[1]


def test_nothing_to_show_is_shown(tmp_path: Path):
    assert set(draw(tmp_path, 0)) == NAMES


def test_the_matrix_is_sorted_by_community():
    """Two groups that talk among themselves, ids alternating, and one edge between them."""
    ids = np.arange(1, 9, dtype=np.uint64)
    pairs = [(a, b, 5) for a in range(1, 9) for b in range(1, 9) if a != b and a % 2 == b % 2 and (a, b) != (1, 7)] + [
        (1, 2, 1)
    ]
    edges = dict(zip((*wiring_figures.ENDS, "weight"), (np.array(c) for c in zip(*pairs))))
    order, sizes = wiring_figures.by_community(ids, edges, 0)
    assert sizes == [4, 4] and {len(set((ids[part] % 2).tolist())) for part in np.split(order, 2)} == {1}


def test_a_long_table_is_read_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tables, "BATCH_ROWS", 7)
    pq.write_table(pa.table({"a": np.arange(50), "b": np.arange(50) / 2}), tmp_path / "t.parquet")
    rows, taken = pick(tmp_path / "t.parquet", ("b", "a"), lambda rows: rows["a"] % 2 == 0, 9)
    assert taken == 25
    assert rows["a"].tolist() == list(range(0, 18, 2)) and rows["b"].tolist() == list(range(9))


def test_a_good_section_near_the_middle_is_chosen():
    assert middle({"status": np.array(["ok", "ok", "blank", "corrupt", "ok"])}) == 1


def test_background_is_black_and_ids_differ():
    rgb = coloured(np.array([[0, 1, 2, 3]], np.uint32))
    assert not rgb[0, 0].any()
    assert min(np.abs(rgb[0, i] - rgb[0, j]).max() for i in range(1, 4) for j in range(i)) > 0.2


def test_a_bar_is_in_pixels_where_no_voxel_size_is_known(tmp_path: Path):
    import matplotlib.pyplot as plt

    values = np.zeros((2, 60, 100), np.uint8)
    for size, bar, title in (
        (None, "20 px", ""),
        ((30.0, 8.0, 8.0), "100 nm", ", z 90 nm"),
        ((30.0, 8.0, 80.0), "1 µm", ", z 90 nm"),
    ):
        image = open_image(make_store(tmp_path / f"{bar}.ome.zarr", values, size, origin=size and (60.0, 0.0, 0.0)))
        figure, ax = plt.subplots()
        ax.imshow(values[0])
        figures.scale_bar(ax, image, 1, 100)
        assert ax.texts[0].get_text() == bar and figures.depth(image, 1) == title
        plt.close(figure)


def test_a_large_section_is_read_part_by_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No part is larger than READ_PX, and the picture is that of one read."""
    raw = np.random.default_rng(0).integers(0, 255, (2, 70, 50), np.uint8)
    image = open_image(make_store(tmp_path / "a.ome.zarr", raw))
    monkeypatch.setattr(figures, "MOST_PX", 24)  # every third pixel
    monkeypatch.setattr(figures, "READ_PX", 16)
    sides: list[int] = []
    read = image.read
    monkeypatch.setattr(image, "read", lambda at: (sides.extend(s.stop - s.start for s in at), read(at))[1])
    shown, step = figures.section(image, 1)
    assert step == 3 and np.array_equal(shown, raw[1, ::3, ::3]) and max(sides) <= 16
