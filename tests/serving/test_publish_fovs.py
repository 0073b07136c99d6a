"""Publish FOVs: everything in one folder, level 0 untouched, level 1 a view; other libraries open it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from voxelmill.core.manifest import verify
from voxelmill.testing.movies import run_timelapse
from voxelmill.testing.stages import run_stage
from voxelmill.timelapse.store import fovs_in

CHANNELS = ["fl_background_ch_1", "fl_ch_1", "pc_ch_0", "seg_labeled_ch_0", "seg_tracked_ch_0"]


def test_the_tree_is_the_seeds(stages: Path):
    for fov in (0, 1):
        folder = stages / f"published/fov_{fov:03d}"
        images = zarr.open_group(str(folder / "images.zarr"), mode="r")
        assert sorted(images.group_keys()) == CHANNELS
        assert [images[f"{c}/0"].dtype for c in CHANNELS] == [np.float32, *[np.uint16] * 4]
        for name in CHANNELS:
            assert images[f"{name}/0"].shape == (8, 160, 160)
            assert images[f"{name}/1"].shape == (8, 80, 80) and images[f"{name}/1"].dtype == np.uint8
        cells = zarr.open_group(str(folder / "cells.zarr"), mode="r")
        cell = int(cells["metadata/cell_ids"][0])
        assert {"cell_ids", "bboxes", "valid_frames"} <= set(cells["metadata"].array_keys())
        for name in ("pc_ch_0", "fl_ch_1"):
            big, small = cells[f"{name}/{cell}/0"], cells[f"{name}/{cell}/1"]
            assert small.shape == (8, big.shape[1] // 2, big.shape[2] // 2) and small.dtype == np.uint8
        assert (folder / f"run_fov_{fov:03d}_traces.csv").exists()


def test_views_show_the_channel(stages: Path, movies: list):
    images = zarr.open_group(str(stages / "published/fov_000/images.zarr"), mode="r")
    facts = images["pc_ch_0"].attrs["voxelmill"]["view"]
    low, high = np.percentile(movies[0].phase, [1, 99], method="inverted_cdf")
    assert (facts["black"], facts["white"]) == (low, high) and facts["scale"] == [7.5, 1.3, 1.3]
    wanted = np.clip((movies[0].phase.astype(float) - low) / (high - low), 0, 1) * 255
    wanted = wanted.reshape(8, 80, 2, 80, 2).mean((2, 4))
    assert abs(images["pc_ch_0/1"][...] - wanted).max() <= 1
    labels, view = images["seg_tracked_ch_0/0"][...], images["seg_tracked_ch_0/1"][...]
    assert np.array_equal(view > 0, labels[:, ::2, ::2] > 0) and view.max() == 255


def test_level_1_is_not_taken_for_a_level_of_the_pyramid(stages: Path):
    for path in (stages / "published/fov_000").glob("*.zarr/*_ch_*"):
        group = zarr.open_group(str(path), mode="r")
        if "ome" in group.attrs:
            assert [d["path"] for d in group.attrs["ome"]["multiscales"][0]["datasets"]] == ["0"]


@pytest.mark.parametrize("name", CHANNELS)
def test_other_libraries_open_the_channels(stages: Path, name: str):
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader
    from ome_zarr_models import open_ome_zarr

    path = stages / "published/fov_000/images.zarr" / name
    model = open_ome_zarr(zarr.open_group(str(path), mode="r"))
    assert type(model).__name__ == ("ImageLabel" if name.startswith("seg") else "Image")
    located = parse_url(path)
    assert located is not None
    data = [node.data[0].shape for node in Reader(located)()]
    assert (8, 160, 160) in data
    entry = zarr.open_group(str(path), mode="r").attrs["ome"]["multiscales"][0]
    assert [a["unit"] for a in entry["axes"]] == ["minute", "micrometer", "micrometer"]
    assert entry["datasets"][0]["coordinateTransformations"][0]["scale"] == [7.5, 0.65, 0.65]


def test_a_crop_opens_by_itself(stages: Path):
    from ome_zarr_models import open_ome_zarr

    for name in ("pc_ch_0", "seg_tracked_ch_0"):
        cell = min((stages / "published/fov_000/cells.zarr" / name).glob("[0-9]*"))
        open_ome_zarr(zarr.open_group(str(cell), mode="r"))


def test_nothing_is_copied_and_nothing_of_the_stages_changed(stages: Path):
    verify(stages / "movie", deep=True)
    for store in ("images.zarr", "cells.zarr"):
        verify(stages / "published/fov_001" / store, deep=True)
    part = "fov_000/images.zarr/pc_ch_0/0/zarr.json"
    assert (stages / "movie" / part).stat().st_ino == (stages / "published" / part).stat().st_ino


def test_a_fov_that_a_later_stage_left_out_is_not_published(tmp_path: Path, movie_file: Path):
    labels = np.load(movie_file.with_name("run.labels.npz"))["labels"].astype(np.int32)
    labels[1, 3, 0, 0] = -5
    np.save(tmp_path / "l.npy", labels)
    assert run_timelapse(tmp_path, movie_file, detections=tmp_path / "l.npy", pc_channel=0, fl_channels="1") == 0
    assert fovs_in(tmp_path / "movie") == [0, 1] and fovs_in(tmp_path / "published") == [0]


def test_the_same_bytes_in_any_batch(tmp_path: Path, movie_file: Path, stages: Path):
    assert (
        run_timelapse(
            tmp_path, movie_file, pc_channel=0, fl_channels="1", min_frames=3, border_margin=2, fovs="1", batch_size=1
        )
        == 0
    )
    for name in ("images.zarr", "cells.zarr"):
        alone, together = (verify(root / "published/fov_001" / name)["digest"] for root in (tmp_path, stages))
        assert alone == together


def test_copy_only_has_no_view(tmp_path: Path, movie_file: Path):
    assert run_timelapse(tmp_path, movie_file, upto="copy_movie", pc_channel=0) == 0
    assert (
        run_stage(
            "serving.publish_fovs",
            tmp_path,
            stores=["movie"],
            facts="movie.json",
            batch="0-1",
            output="published",
            copy_only=True,
        )
        == 0
    )
    assert not (tmp_path / "published/fov_000/images.zarr/pc_ch_0/1").exists()
    assert (tmp_path / "published/fov_000/images.zarr/pc_ch_0/0").exists()
