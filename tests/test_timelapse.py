"""`timelapse` end to end through Nextflow: the tree, task counts, a bad field of view, resume, given detections."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml
from voxelmill.inference.cells import MODEL
from voxelmill.testing.chain import check_chain
from voxelmill.testing.engine import Run, killed, run
from voxelmill.testing.movies import make_fovs, spoil_page, stack_of, write_ome_tiff

PER_BATCH = (
    "COPY_MOVIE",
    "SEGMENT_CELLS",
    "TRACK_CELLS",
    "ESTIMATE_BACKGROUND",
    "CROP_CELLS",
    "EXTRACT_TRACES",
    "EXPORT_TRACKS",
    "MOVIE_FIGURES",
    "PUBLISH_FOVS",
)
ONCE = ("INSPECT_MOVIE", "ESTIMATE_MOVIE", "CHECK_INPUTS", "MERGE_SAMPLES", "SUMMARIZE", "REPORT")
COUNTS = dict.fromkeys(PER_BATCH, 2) | dict.fromkeys(ONCE, 1)
BASE = "fov,cell,frame,time,good,position_x,position_y,bbox_x0,bbox_y0,bbox_x1,bbox_y1"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `run.ome.tif` (three fields of view, the last of which cannot be read), plug-ins, samples."""
    folder = tmp_path_factory.mktemp("source")
    stacks = [stack_of(m) for m in make_fovs(3, frames=6, size=128)]
    spoil_page(write_ome_tiff(folder / "run.ome.tif", stacks, compression="zlib"), 2 * 12 + 5)
    (folder / "plugins").mkdir()
    (folder / "plugins/brightest.py").write_text(
        "def extract_brightest(image, mask, context):\n    return float(image[mask].max())\n"
    )
    (folder / "samples.yaml").write_text("samples:\n- {name: all, fovs: 0-2}\n")
    return folder


def arguments(source: Path) -> list[str]:
    return [
        "--workflow",
        "timelapse",
        "--input",
        str(source / "run.ome.tif"),
        "--pc_channel",
        "phase",
        "--fl_channels",
        "GFP",
        "--min_frames",
        "2",
        "--border_margin",
        "0",
        "--plugins",
        str(source / "plugins"),
        "--samples",
        str(source / "samples.yaml"),
        "--fl_features",
        "intensity_total,brightest",
        "--report_plots",
        "false",
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Run:
    """One whole run, in two batches."""
    folder = tmp_path_factory.mktemp("timelapse")
    done = run(*arguments(source), folder=folder)
    assert done.code == 0, done.said
    return done


def test_every_process_runs_as_often_as_it_should(whole: Run):
    assert dict(whole.tasks("COMPLETED")) == COUNTS


def test_the_tree_is_the_fixed_one(whole: Run):
    for fov in (0, 1):
        folder = whole.outdir / f"fov_{fov:03d}"
        for channel in ("pc_ch_0", "fl_ch_1", "seg_labeled_ch_0", "seg_tracked_ch_0", "fl_background_ch_1"):
            for level in (0, 1):
                assert (folder / "images.zarr" / channel / str(level) / "zarr.json").exists()
        for name in ("cell_ids", "bboxes", "valid_frames"):
            assert (folder / "cells.zarr/metadata" / name / "zarr.json").exists()
        for channel in ("pc_ch_0", "fl_ch_1"):
            assert list((folder / "cells.zarr" / channel).glob("*/1/zarr.json"))
        for name in (
            f"tracks/ctc/fov_{fov:03d}/res_track.txt",
            f"tracks/fov_{fov:03d}.geff/zarr.json",
            f"tracks/fov_{fov:03d}_napari.csv",
            f"tracks/fov_{fov:03d}_trackmate.xml",
        ):
            assert (whole.outdir / name).exists(), name
    for name in (
        "processing_config.yaml",
        "report.html",
        "runs.sqlite",
        "pipeline_info",
        "tables/fovs.csv",
        "merged/all_area_ch_0.csv",
    ):
        assert (whole.outdir / name).exists(), name
    assert not (whole.outdir / "INCOMPLETE").exists()


def test_traces_have_the_seeds_columns_and_the_files_times(whole: Run):
    with open(whole.outdir / "fov_001/run_fov_001_traces.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert ",".join(rows[0]) == f"{BASE},area_ch_0,aspect_ratio_ch_0,brightest_ch_1,intensity_total_ch_1"
    assert all(float(r["time"]) == 7.5 * int(r["frame"]) and r["fov"] == "1" for r in rows)
    lines = (whole.outdir / "merged/all_area_ch_0.csv").read_text().splitlines()
    assert lines[:2] == ["# Time units: min", "time,fov,cell,value"]
    assert {line.split(",")[1] for line in lines[2:]} == {"0", "1"}


def test_every_published_file_can_be_followed_to_the_raw_bytes(whole: Run, source: Path):
    sources = [source / "run.ome.tif", source / "samples.yaml", source / "plugins", source / "plugins/brightest.py"]
    found = check_chain(whole.outdir, sources)
    assert len(found) == sum(COUNTS.values())
    ran = {record["model_hash"] for record in found if record["stage"] == "segment_cells"}
    assert ran == {json.loads((MODEL / "card.json").read_text())["sha256"]}


def test_the_bad_fov_is_listed_everywhere(whole: Run):
    assert not (whole.outdir / "fov_002").exists()
    with open(whole.outdir / "tables/fovs.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["fov"], r["status"], r["stage"]) for r in rows] == [
        ("0", "done", ""),
        ("1", "done", ""),
        ("2", "failed", "copy_movie"),
    ]
    reason = "field of view 2, frame 2, channel 1: cannot be read"
    assert reason in rows[2]["reason"]
    config = yaml.safe_load((whole.outdir / "processing_config.yaml").read_text())
    assert reason in config["results"]["fovs"][2]["reason"]
    page = (whole.outdir / "report.html").read_text()
    assert reason in page[page.index("Please look at") :]
    assert reason in whole.said  # and in the closing lines of the run


def test_stores_are_as_their_manifests_say(whole: Run):
    from voxelmill.core.manifest import verify

    for path in sorted(whole.outdir.glob("fov_*/*.zarr")):
        verify(path, deep=True)


@pytest.mark.slow
def test_resume_after_a_kill_gives_the_same_bytes(whole: Run, source: Path, tmp_path: Path):
    finished = killed(*arguments(source), folder=tmp_path, after=(8,))  # twice: tests/test_connectome.py
    done = run(*arguments(source), "-resume", folder=tmp_path)
    assert done.code == 0, done.said
    # At the kill two tasks may have ended before Nextflow noted it.
    assert dict(done.tasks()) == COUNTS and sum(done.tasks("CACHED").values()) >= finished - 2
    assert done.digests() == whole.digests()


@pytest.mark.slow
def test_given_detections_of_a_plain_tiff(tmp_path: Path):
    """A single-channel TIFF (t, y, x), tracked by its given labels; no fluorescence, so no background."""
    movie = make_fovs(1, frames=5, size=128)[0]
    tifffile.imwrite(tmp_path / "plain.tif", movie.phase, photometric="minisblack")
    np.save(tmp_path / "labels.npy", movie.labels)
    done = run(
        "--workflow",
        "timelapse",
        "--input",
        tmp_path / "plain.tif",
        "--pc_channel",
        "0",
        "--detections",
        tmp_path / "labels.npy",
        "--crops",
        "false",
        "--report_plots",
        "false",
        folder=tmp_path,
    )
    assert done.code == 0, done.said
    ran = set(done.tasks())
    assert {"READ_DETECTIONS", "TRACK_CELLS"} <= ran
    assert not {"SEGMENT_CELLS", "ESTIMATE_BACKGROUND", "CROP_CELLS"} & ran
    from voxelmill.timelapse.store import open_channel

    tracked = open_channel(tmp_path / "out", 0, "seg_tracked_ch_0").read()
    assert np.array_equal(tracked > 0, movie.labels > 0)
    assert "10 min apart" in done.said


@pytest.mark.slow
def test_copy_only_stops_after_copying(tmp_path: Path, source: Path):
    done = run(
        "--workflow",
        "timelapse",
        "--input",
        source / "run.ome.tif",
        "--fovs",
        "0-1",
        "--pc_channel",
        "0",
        "--fl_channels",
        "1",
        "--copy_only",
        "--report_plots",
        "false",
        folder=tmp_path,
    )
    assert done.code == 0, done.said
    assert dict(done.tasks()) == dict.fromkeys(
        ("INSPECT_MOVIE", "ESTIMATE_MOVIE", "COPY_MOVIE", "PUBLISH_FOVS", "SUMMARIZE", "REPORT"), 1
    )
    images = tmp_path / "out/fov_001/images.zarr"
    assert sorted(p.name for p in images.iterdir()) == ["fl_ch_1", "pc_ch_0", "zarr.json"]
    assert not (images / "pc_ch_0/1").exists()


@pytest.mark.slow
def test_without_a_phase_channel_cells_are_skipped_and_that_is_said(tmp_path: Path, source: Path):
    done = run(
        "--workflow", "timelapse", "--input", source / "run.ome.tif", "--fl_channels", "1", "-stub-run", folder=tmp_path
    )
    assert done.code == 0, done.said
    assert set(done.tasks()) == {
        "INSPECT_MOVIE",
        "ESTIMATE_MOVIE",
        "CHECK_INPUTS",
        "COPY_MOVIE",
        "ESTIMATE_BACKGROUND",
        "PUBLISH_FOVS",
        "SUMMARIZE",
        "REPORT",
    }
    assert "no --pc_channel and no --detections" in done.said
