"""Extract traces: the seed's columns, true times, true signals; what is left out is counted, by reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from voxelmill.postprocess.traces import read_csv
from voxelmill.testing.movies import run_timelapse, stack_of, write_ome_tiff
from voxelmill.testing.stages import record_of

BASE = ["fov", "cell", "frame", "time", "good", "position_x", "position_y", "bbox_x0", "bbox_y0", "bbox_x1", "bbox_y1"]


def extract(folder: Path, movie_file: Path, **params: object) -> dict[str, np.ndarray]:
    """Traces of field of view 0 from its true labels; ids are the true ones."""
    how = {"min_frames": 1, "border_margin": 0, "fovs": "0", "tracking_method": "labels"} | params
    labels = folder / "truth.npy"
    np.save(labels, np.load(movie_file.with_name("run.labels.npz"))["labels"][0])
    assert (
        run_timelapse(folder, movie_file, upto="extract_traces", detections=labels, pc_channel=0, fl_channels="1", **how) == 0
    )  # type: ignore[arg-type]
    return read_csv(folder / "traces/fov_000/run_fov_000_traces.csv")


def test_columns_times_and_signals(tmp_path: Path, movie_file: Path, movies: list):
    table = extract(tmp_path, movie_file)
    assert list(table) == [*BASE, "area_ch_0", "aspect_ratio_ch_0", "intensity_mean_ch_1", "intensity_total_ch_1"]
    assert np.array_equal(table["time"], table["frame"] * 7.5)
    truth = movies[0].cells
    place = {(c, t): k for k, (c, t) in enumerate(zip(truth["cell"], truth["frame"]))}
    at = [place[c, t] for c, t in zip(table["cell"], table["frame"])]
    assert np.array_equal(table["area_ch_0"], truth["area"][at])
    inside = (table["bbox_x0"] > 5) & (table["bbox_y0"] > 5) & (table["bbox_x1"] < 155) & (table["bbox_y1"] < 155)
    error = abs(table["intensity_total_ch_1"] - truth["total_ch_1"][at])[inside] / truth["total_ch_1"][at][inside]
    assert np.median(error) < 0.15  # dim cells of few frames; the PSF alone takes 5 %


def test_what_is_left_out_is_counted(tmp_path: Path, movie_file: Path):
    table = extract(tmp_path, movie_file, min_frames=8, border_margin=20)
    figures = record_of(tmp_path, "extract_traces")["quality"]
    row = figures["per_fov"]["0"]
    assert row["cells"] == row["kept"] + row["short"] + row["border"] and row["kept"] == len(np.unique(table["cell"]))
    assert "a place within 20 px of the border" in figures["left_out_cells"]["field of view 0"]


def test_a_movie_shorter_than_the_limit_keeps_its_cells(tmp_path: Path, movie_file: Path):
    table = extract(tmp_path, movie_file, min_frames=30)
    assert len(table["cell"])
    assert (
        "fewer than min_frames = 30" in record_of(tmp_path, "extract_traces")["quality"]["left_out_cells"]["field of view 0"]
    )


def test_a_frame_that_is_saturated_throughout_measures_nothing(tmp_path: Path, movies: list):
    """Nor does a blank one; both were 0 counts. Cells have a shape all the same."""
    stack, labels = stack_of(movies[0]).copy(), tmp_path / "truth.npy"
    stack[2, 1], stack[4, 1] = 65535, 100
    np.save(labels, movies[0].labels[None])
    source = write_ome_tiff(tmp_path / "run.ome.tif", [stack])
    how = {"min_frames": 1, "border_margin": 0, "tracking_method": "labels", "detections": labels, "pc_channel": 0}
    assert run_timelapse(tmp_path, source, upto="extract_traces", fl_channels="1", **how) == 0  # type: ignore[arg-type]
    table = read_csv(tmp_path / "traces/fov_000/run_fov_000_traces.csv")
    gone = np.isnan(table["intensity_total_ch_1"])
    assert sorted(set(table["frame"][gone])) == [2, 4] and gone.sum() == np.isin(table["frame"], [2, 4]).sum()
    assert np.isfinite(table["area_ch_0"]).all() and record_of(tmp_path, "extract_traces")["quality"]["per_fov"]["0"]["kept"]


def test_no_features_leaves_the_base_columns(tmp_path: Path, movie_file: Path):
    assert list(extract(tmp_path, movie_file, pc_features="none", fl_features="none")) == BASE


def test_a_plugin_feature(tmp_path: Path, movie_file: Path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p/brightest.py").write_text(
        "def extract_brightest(image, mask, context):\n    return float(image[mask].max())\n"
    )
    table = extract(tmp_path, movie_file, plugins=tmp_path / "p", fl_features="intensity_total,brightest")
    assert (table["brightest_ch_1"] > 200).all()


def test_an_unknown_feature_is_refused(tmp_path: Path, movie_file: Path, capsys: pytest.CaptureFixture):
    with pytest.raises(AssertionError):
        extract(tmp_path, movie_file, fl_features="intensity_totl")
    said = capsys.readouterr().err
    assert "channel 1 (fluorescence): feature 'intensity_totl' is not known; there are intensity_mean" in said


def test_the_weight_of_the_background(tmp_path: Path, movie_file: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    raw = extract(tmp_path / "a", movie_file, background_weight=0)
    half = extract(tmp_path / "b", movie_file, background_weight=0.5)
    gone = raw["intensity_mean_ch_1"] - half["intensity_mean_ch_1"]
    assert np.all((gone > 100) & (gone < 300))  # half of offset and background
