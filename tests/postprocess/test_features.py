"""Features against shapes and sums that are known exactly; filters and CSV."""

from __future__ import annotations

import numpy as np
import pytest
from voxelmill.core.errors import DataError, ParameterError
from voxelmill.core.plugins import Plugin, PluginError
from voxelmill.postprocess.features import BASE_COLUMNS, CellPixels, TraceBuilder, aspect_ratio, circularity, feature_names
from voxelmill.postprocess.traces import filter_traces, left_out, read_csv, traces_name, write_csv


def disk(radius: float, shape: tuple[int, int] = (101, 101), stretch: float = 1.0) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return (((y - shape[0] // 2) / stretch) ** 2 + (x - shape[1] // 2) ** 2 < radius**2).astype(np.uint16)


def build(labels, images, features, backgrounds=None, **how):
    builder = TraceBuilder(0, np.arange(len(labels)) * 5.0, features, phase=0, **how)
    for t, frame in enumerate(labels):
        builder.add(
            t, frame, {c: stack[t] for c, stack in images.items()}, {c: stack[t] for c, stack in (backgrounds or {}).items()}
        )
    return builder


# ---- shapes --------------------------------------------------------------------------------------


def test_pixels_of_each_cell():
    labels = np.zeros((6, 8), np.uint16)
    labels[1:3, 2:5], labels[4, 7], labels[5, 0] = 9, 3, 3
    cells = CellPixels(labels)
    assert cells.ids.tolist() == [3, 9]
    assert cells.area.tolist() == [2, 6]
    assert cells.bbox.tolist() == [[4, 0, 6, 8], [1, 2, 3, 5]]


@pytest.mark.parametrize("radius", [5, 10, 20, 40])
def test_disks_are_round(radius):
    cells = CellPixels(disk(radius))
    assert aspect_ratio(cells)[0] == pytest.approx(1, abs=0.01)
    assert circularity(cells)[0] > 0.95
    if radius >= 10:
        assert cells.perimeter[0] == pytest.approx(2 * np.pi * radius, rel=0.03)


def test_ellipses_and_lines():
    assert aspect_ratio(CellPixels(disk(12, stretch=3)))[0] == pytest.approx(3, rel=0.02)
    line = np.zeros((9, 40), np.uint16)
    line[4, 5:35] = 1
    assert aspect_ratio(CellPixels(line))[0] == pytest.approx(30)
    assert circularity(CellPixels(line))[0] < 0.2
    pixel = np.zeros((5, 5), np.uint16)
    pixel[2, 2] = 1
    assert aspect_ratio(CellPixels(pixel))[0] == 1
    assert circularity(CellPixels(pixel))[0] == 1


def test_shapes_agree_with_scikit_image():
    measure = pytest.importorskip("skimage.measure")
    labels = np.random.default_rng(0).integers(0, 5, (7, 8)).astype(np.uint16).repeat(9, 0).repeat(9, 1)
    cells, regions = CellPixels(labels), measure.regionprops(labels)
    assert cells.bbox.tolist() == [list(r.bbox) for r in regions]
    assert cells.perimeter == pytest.approx([measure.perimeter_crofton(labels == r.label) for r in regions])
    expected = [r.axis_major_length / r.axis_minor_length for r in regions]
    assert aspect_ratio(cells) == pytest.approx(expected, rel=1e-3)


def test_touching_cells_have_their_own_outlines():
    labels = np.zeros((40, 60), np.uint16)
    labels[10:30, 10:30], labels[10:30, 30:50] = 1, 2
    alone = np.where(labels == 1, labels, 0)
    assert CellPixels(labels).perimeter[0] == CellPixels(alone).perimeter[0]


def test_ids_of_any_size_are_kept_apart():
    labels = np.zeros((8, 8), np.uint32)
    labels[0, 0], labels[1, 1], labels[2, 2:4] = 5, 5 + 65536, 2**32 - 1
    assert CellPixels(labels).ids.tolist() == [5, 65541, 2**32 - 1]
    many = np.arange(300 * 300, dtype=np.uint32).reshape(300, 300)
    assert len(CellPixels(many).ids) == 300 * 300 - 1


def test_erosion_stays_within_the_cell_and_the_image():
    labels = np.zeros((20, 20), np.uint16)
    labels[:10, :10], labels[:10, 10:] = 1, 2
    eroded = CellPixels(labels).eroded(3)
    assert eroded.ids.tolist() == [1, 2]
    assert eroded.area.tolist() == [64, 64]
    assert CellPixels(labels.astype(np.uint32) * 70_000).eroded(3).area.tolist() == [64, 64]
    assert CellPixels(labels).eroded(1).area.tolist() == [100, 100]
    assert CellPixels(labels).eroded(11).ids.tolist() == []


# ---- intensities ---------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_intensities_over_the_mask_minus_weighted_background(weight):
    rng = np.random.default_rng(0)
    labels = np.kron(np.array([[0, 1, 1], [2, 2, 0]]), np.ones((5, 5), int)).astype(np.uint16)
    image = rng.integers(300, 900, labels.shape).astype(np.uint16)
    background = rng.uniform(100, 200, labels.shape)
    names = ["intensity_total", "intensity_mean", "intensity_variance"]
    table = build(
        [labels], {0: [image], 1: [image]}, {0: ["area"], 1: names}, {1: [background]}, background_weight=weight
    ).table()
    for k, cell in enumerate([1, 2]):
        values = (image - weight * background)[labels == cell]
        assert table["area_ch_0"][k] == 50
        assert table["intensity_total_ch_1"][k] == pytest.approx(values.sum())
        assert table["intensity_mean_ch_1"][k] == pytest.approx(values.mean())
        assert table["intensity_variance_ch_1"][k] == pytest.approx(values.var())


def test_variance_does_not_cancel_at_high_counts():
    labels = np.ones((50, 50), np.uint16)
    image = (60_000 + np.indices((50, 50)).sum(0) % 2).astype(np.uint16)
    table = build([labels], {1: [image]}, {1: ["intensity_variance"]}).table()
    assert table["intensity_variance_ch_1"][0] == pytest.approx(0.25, abs=1e-9)


def test_weight_is_clipped_and_a_channel_without_background_counts_as_zero():
    labels, image = np.ones((4, 4), np.uint16), np.full((4, 4), 10, np.uint16)
    table = build([labels], {1: [image]}, {1: ["intensity_mean"]}, {1: [np.full((4, 4), 3.0)]}, background_weight=7).table()
    assert table["intensity_mean_ch_1"][0] == 7
    assert build([labels], {1: [image]}, {1: ["intensity_mean"]}).table()["intensity_mean_ch_1"][0] == 10


def test_a_mask_that_erosion_empties_is_counted():
    labels = np.zeros((20, 20), np.uint16)
    labels[2:12, 2:12], labels[15, 15] = 1, 2
    features = {1: ["intensity_total", "intensity_mean"]}
    builder = build([labels], {1: [np.full((20, 20), 5, np.uint16)]}, features, erosion_size=3)
    table = builder.table()
    assert table["intensity_total_ch_1"].tolist() == [64 * 5, 0]
    assert np.isnan(table["intensity_mean_ch_1"][1])
    assert builder.empty_after_erosion == 1


def test_saturated_pixels_are_counted():
    image = np.full((4, 4), 100, np.uint16)
    image[0] = 65535
    builder = build([np.ones((4, 4), np.uint16)], {1: [image]}, {1: ["intensity_total"]})
    assert builder.saturated == 4


# ---- the table -----------------------------------------------------------------------------------


def test_columns_rows_and_times():
    labels = np.zeros((3, 30, 40), np.uint16)
    labels[0, 5:9, 10:20] = 4
    labels[1, 6:10, 11:21] = 4
    labels[1:, 20:25, 2:8] = 2
    table = TraceBuilder(7, [0.0, 9.5, 21.0], {0: ["area", "area"], 1: []}, phase=0)
    for t in range(3):
        table.add(t, labels[t], {})
    rows = table.table()
    assert list(rows) == [*BASE_COLUMNS, "area_ch_0"]
    assert list(zip(rows["cell"].tolist(), rows["frame"].tolist(), rows["time"].tolist())) == [
        (2, 1, 9.5),
        (2, 2, 21.0),
        (4, 0, 0.0),
        (4, 1, 9.5),
    ]
    assert rows["fov"].tolist() == [7] * 4
    first = {name: column[2] for name, column in rows.items()}
    assert [first[k] for k in ("bbox_x0", "bbox_y0", "bbox_x1", "bbox_y1")] == [10, 5, 20, 9]
    assert (first["position_x"], first["position_y"], first["good"]) == (15, 7, True)


def test_a_movie_without_cells_has_an_empty_table_with_all_columns(tmp_path):
    builder = build([np.zeros((9, 9), np.uint16)] * 2, {}, {0: ["area"]})
    assert [len(c) for c in builder.table().values()] == [0] * 12
    assert len(TraceBuilder(0, [], {0: ["area"]}, phase=0).table()) == 12
    write_csv(tmp_path / "a.csv", builder.table())
    assert list(read_csv(tmp_path / "a.csv")) == [*BASE_COLUMNS, "area_ch_0"]


def test_refusals():
    with pytest.raises(ParameterError, match=r"channel 1 \(fluorescence\): feature 'area'"):
        TraceBuilder(0, [0.0], {1: ["area"]}, phase=0)
    with pytest.raises(ParameterError, match="erosion_size"):
        TraceBuilder(0, [0.0], {}, erosion_size=-1)
    builder, one = TraceBuilder(0, [0.0], {1: ["intensity_total"]}), np.ones((4, 4), np.uint16)
    with pytest.raises(DataError, match="frame 1 has no time"):
        builder.add(1, one, {1: one})
    with pytest.raises(DataError, match="channel 1 has features"):
        builder.add(0, one, {})
    with pytest.raises(DataError, match=r"channel 1 is \(4, 3\)"):
        builder.add(0, one, {1: one[:, :3]})
    with pytest.raises(DataError, match="NaN"):
        builder.add(0, one, {1: np.full((4, 4), np.nan)})
    for bad in (one.astype(float), one[0], one[:0]):
        with pytest.raises(DataError, match="expected one non-empty frame"):
            CellPixels(bad)


def test_plug_in_features_see_their_cell_only(tmp_path):
    def extract(ctx):
        return float((ctx.image - ctx.background_weight * ctx.background)[ctx.mask].max())

    plugin = Plugin("brightest", "feature", tmp_path, extract, ("fluorescence",))
    labels = np.zeros((20, 20), np.uint16)
    labels[2:8, 2:8], labels[2:8, 8:12] = 1, 2
    image = np.where(labels == 2, 50, 30).astype(np.uint16)
    image[0, 0] = 999
    table = build([labels], {1: [image]}, {1: ["brightest"]}, {1: [np.full((20, 20), 10.0)]}, plugins=[plugin]).table()
    assert table["brightest_ch_1"].tolist() == [20, 40]
    with pytest.raises(ParameterError, match="brightest"):
        TraceBuilder(0, [0.0], {0: ["brightest"]}, phase=0, plugins=[plugin])  # not for phase
    with pytest.raises(ParameterError, match="built-in feature has this name"):
        feature_names("phase", [Plugin("area", "feature", tmp_path, extract, ("phase",))])


def test_a_plug_in_that_raises_is_named_with_cell_and_frame(tmp_path):
    def extract(ctx):
        return 1 / 0

    plugin = Plugin("broken", "feature", tmp_path / "broken.py", extract, ("phase",))
    with pytest.raises(PluginError, match=r"'broken'.*ZeroDivisionError.*\[fov 0, cell 3, frame 0\]"):
        build([np.full((4, 4), 3, np.uint16)], {0: [np.zeros((4, 4), np.uint16)]}, {0: ["broken"]}, plugins=[plugin])


# ---- filters and CSV -----------------------------------------------------------------------------


def tracks(frames: int, shape: tuple[int, int], boxes: dict[int, tuple[int, int, int]]):
    """Cells of 10 x 10 px at (y, x), seen in the first `n` frames: boxes = {cell: (y, x, n)}."""
    labels = np.zeros((frames, *shape), np.uint16)
    for cell, (y, x, n) in boxes.items():
        labels[:n, y : y + 10, x : x + 10] = cell
    return build(labels, {}, {0: ["area"]}).table()


def test_filters_keep_count_of_what_they_drop():
    table = tracks(
        40,
        (200, 200),
        {
            1: (95, 95, 40),
            2: (95, 60, 29),
            3: (49, 95, 40),
            4: (50, 140, 40),
            5: (120, 141, 40),
            6: (100, 120, 30),
            7: (0, 0, 3),
        },
    )
    kept, report = filter_traces(table, (200, 200), 40, 30, border_margin=50)
    assert sorted(set(kept["cell"].tolist())) == [1, 4, 6]
    assert (report.cells, report.kept, report.short, report.border) == (7, 3, [2, 7], [3, 5])
    assert str(report) == (
        "3 of 7 cells kept; dropped 2 with fewer than 30 frames, 2 with a place within 50 px of the border"
    )


def test_a_cell_that_once_comes_near_the_border_goes_whole():
    labels = np.zeros((30, 200, 200), np.uint16)
    labels[:, 95:105, 95:105] = 1
    labels[7, 95:105, 20:105] = 1
    kept, report = filter_traces(build(labels, {}, {0: []}).table(), (200, 200), 30, border_margin=50)
    assert len(kept["cell"]) == 0
    assert report.border == [1]
    assert "No cell is left" in str(report)


def test_a_short_movie_keeps_cells_seen_in_all_frames_and_says_so():
    table = tracks(5, (200, 200), {1: (95, 95, 5), 2: (60, 60, 4)})
    kept, report = filter_traces(table, (200, 200), 5, 30)
    assert set(kept["cell"].tolist()) == {1}
    assert "The movie has 5 frames, fewer than min_frames = 30" in str(report)
    table = tracks(1, (200, 200), {1: (95, 95, 1)})
    said = "1 of 1 cells kept. The movie has 1 frame, fewer than min_frames = 30: cells seen in all of it are kept. Set"
    assert str(filter_traces(table, (200, 200), 1, 30)[1]) == f"{said} --min_frames to choose"


@pytest.mark.parametrize(("frames", "fewest"), [(1, 1), (13, 5), (60, 20), (90, 30), (300, 30)])
def test_a_third_of_a_short_movie_is_enough(frames: int, fewest: int):
    table = tracks(frames, (200, 200), {1: (95, 95, fewest), 2: (60, 60, fewest - 1)})
    kept, report = filter_traces(table, (200, 200), frames)
    assert set(kept["cell"].tolist()) == {1} and not report.notes and report.min_frames == fewest


def test_a_small_image_drops_only_cells_cut_by_its_border_and_says_so():
    table = tracks(30, (64, 64), {1: (1, 20, 30), 2: (0, 40, 30), 3: (54, 40, 30)})
    kept, report = filter_traces(table, (64, 64), 30, border_margin=50)
    assert set(kept["cell"].tolist()) == {1}
    assert "64 x 64 px have no inside with border_margin = 50" in str(report)
    assert len(filter_traces(table, (64, 64), 30, border_margin=0)[0]["cell"]) == 90


def test_negative_limits_are_refused():
    for wrong in ({"min_frames": -2}, {"border_margin": -2}):
        with pytest.raises(ParameterError, match="expected 0 or more"):
            filter_traces(tracks(2, (64, 64), {}), (64, 64), 2, **wrong)


def test_csv_is_exact_and_comes_back(tmp_path):
    table = tracks(2, (64, 64), {3: (10, 12, 2)})
    path = tmp_path / traces_name("run", 4)
    write_csv(path, table)
    assert path.name == "run_fov_004_traces.csv"
    assert path.read_text().splitlines()[:2] == [
        "fov,cell,frame,time,good,position_x,position_y,bbox_x0,bbox_y0,bbox_x1,bbox_y1,area_ch_0",
        "0,3,0,0.000000,True,17.000000,15.000000,12,10,22,20,100.000000",
    ]
    back = read_csv(path)
    for name, column in table.items():
        assert back[name].dtype.kind == column.dtype.kind
        assert np.array_equal(back[name], column)


def test_what_was_left_out_comes_back_with_its_reason(tmp_path):
    table = tracks(5, (200, 200), {1: (95, 95, 5), 2: (60, 60, 4), 3: (2, 60, 5)})
    kept, report = filter_traces(table, (200, 200), 5, 5, 20)
    write_csv(tmp_path / "a.csv", left_out(table, report))
    rest = read_csv(tmp_path / "a.csv")
    assert list(rest) == [*table, "reason"] and not rest["good"].any()
    assert len(rest["cell"]) + len(kept["cell"]) == len(table["cell"])
    assert {(c, r) for c, r in zip(rest["cell"].tolist(), rest["reason"])} == {
        (2, "seen in under 5 frames"),
        (3, "within 20 px of the border"),
    }


def test_damaged_csv_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("")
    with pytest.raises(DataError, match="empty"):
        read_csv(path)
    path.write_text("fov,cell\n0,1\n0\n")
    with pytest.raises(DataError, match="line 3 has 1 fields, expected 2"):
        read_csv(path)


@pytest.mark.parametrize("side, cell, margin", [(256, 20, 20), (256, 60, 26), (2048, 60, 50), (2048, 18, 18)])
def test_the_usual_margin_follows_cell_and_frame(side, cell, margin):
    table = {
        "cell": np.arange(3),
        "bbox_y0": np.full(3, side // 2),
        "bbox_x0": np.full(3, side // 2),
        "bbox_y1": np.full(3, side // 2 + cell),
        "bbox_x1": np.full(3, side // 2 + cell),
    }
    kept, report = filter_traces(table, (side, side), 1, 1)
    assert report.border_margin == margin and len(kept["cell"]) == 3
