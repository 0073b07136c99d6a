"""Crop cells: counts as they were, where the metadata say; one window per cell; no cells, no error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from voxelmill.core.volume import open_array, open_image
from voxelmill.testing.movies import run_timelapse
from voxelmill.timelapse.store import channel_path, open_channel


def test_crops_are_the_movie_seen_through_windows(stages: Path, movies: list):
    cells = zarr.open_group(str(stages / "cells/fov_000/cells.zarr"), mode="r")
    meta = {name: cells[f"metadata/{name}"][...] for name in ("cell_ids", "bboxes", "valid_frames", "windows")}
    assert [str(array.dtype) for array in meta.values()] == ["int32", "int32", "bool", "int32"]
    field = open_image(channel_path(stages / "movie", 0, "pc_ch_0"))
    tracked = open_channel(stages / "tracked", 0, "seg_tracked_ch_0").read()
    background = open_channel(stages / "background", 0, "fl_background_ch_1").read()
    whole = {"pc_ch_0": movies[0].phase, "fl_ch_1": movies[0].fluorescence[0], "fl_background_ch_1": background}
    assert list(meta["cell_ids"]) == [i for i in np.unique(tracked) if i]
    for k, cell in enumerate(meta["cell_ids"]):
        y0, x0, y1, x1 = meta["windows"][k]
        seen = np.flatnonzero(meta["valid_frames"][k])
        lives = slice(seen[0], seen[-1] + 1)
        for name, stack in whole.items():
            crop = cells[f"{name}/{cell}/0"][...]
            assert np.array_equal(crop[lives], stack[lives, y0:y1, x0:x1])
            assert crop.any((1, 2)).sum() == lives.stop - lives.start  # 0 before and after, however many frames a chunk has
            assert cells[f"{name}/{cell}/0"].dtype == stack.dtype
            crop = open_image(stages / f"cells/fov_000/cells.zarr/{name}/{cell}")
            np.testing.assert_allclose(crop.origin, field.space.position((0, y0, x0)))  # its place in the field
        mask = cells[f"seg_tracked_ch_0/{cell}/0"][...]
        assert np.array_equal(mask, tracked[:, y0:y1, x0:x1] == cell)
        assert np.array_equal(meta["valid_frames"][k], mask.any((1, 2)))
        for t in np.flatnonzero(meta["valid_frames"][k]):
            ys, xs = np.nonzero(tracked[t] == cell)
            assert list(meta["bboxes"][k, t]) == [ys.min(), xs.min(), ys.max() + 1, xs.max() + 1]


def test_frames_without_the_cell_read_as_zero(tmp_path: Path, movie_file: Path, monkeypatch):
    """Chunks of nothing are not written; with blocks of two frames, a cell of frames 4 and 5 has one chunk."""
    monkeypatch.setattr("voxelmill.postprocess.crop_cells.frames_per_block", lambda *_: 2)
    labels = np.zeros((8, 160, 160), np.uint16)
    labels[4:6, 30:50, 40:60] = 9
    np.save(tmp_path / "l.npy", labels)
    assert (
        run_timelapse(
            tmp_path,
            movie_file,
            upto="crop_cells",
            detections=tmp_path / "l.npy",
            pc_channel=0,
            fovs="0",
            crop_padding=3,
            tracking_method="labels",
        )
        == 0
    )
    mask = zarr.open_array(str(tmp_path / "cells/fov_000/cells.zarr/seg_tracked_ch_0/9/0"), mode="r")
    assert mask.shape == (8, 26, 26) and mask[...].sum() == 2 * 20 * 20 and not mask[:4].any()
    crop = tmp_path / "cells/fov_000/cells.zarr/pc_ch_0/9"
    assert [sorted(p.name for p in (crop / level).iterdir()) for level in "01"] == [["c.0.0.0", "zarr.json"]] * 2
    index = np.frombuffer((crop / "0/c.0.0.0").read_bytes()[-4 - 4 * 16 : -4], "<u8").reshape(4, 2)
    assert list(index[:, 1] < 2**63) == [False, False, True, False]


def test_a_flipped_bit_of_a_crop_is_an_error(tmp_path: Path, stages: Path):
    import shutil

    crop = min((stages / "cells/fov_000/cells.zarr/pc_ch_0").glob("[0-9]*"))
    shutil.copytree(crop, tmp_path / "crop")
    chunk = tmp_path / "crop/0/c.0.0.0"
    held = bytearray(chunk.read_bytes())
    held[40] ^= 1
    chunk.write_bytes(held)
    with pytest.raises(ValueError, match="checksum"):
        zarr.open_array(str(tmp_path / "crop/0"), mode="r")[...]


def test_tensorstore_reads_crops(stages: Path):
    crop = min((stages / "cells/fov_000/cells.zarr/fl_ch_1").glob("[0-9]*"))
    assert np.array_equal(open_array(crop / "0").read().result(), zarr.open_array(str(crop / "0"), mode="r")[...])


def test_a_movie_without_cells(tmp_path: Path, movie_file: Path):
    np.save(tmp_path / "l.npy", np.zeros((8, 160, 160), np.uint16))
    assert (
        run_timelapse(
            tmp_path, movie_file, upto="publish_fovs", detections=tmp_path / "l.npy", pc_channel=0, fl_channels="1", fovs="0"
        )
        == 0
    )
    assert zarr.open_array(str(tmp_path / "cells/fov_000/cells.zarr/metadata/cell_ids"), mode="r").shape == (0,)
    (table,) = (tmp_path / "published/fov_000").glob("*_traces.csv")
    assert table.read_text().count("\n") == 1
