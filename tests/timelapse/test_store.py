"""Movies between stages: frames come back, ids never wrap, one bad field of view harms no other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from voxelmill.core.errors import DataError, ParameterError
from voxelmill.core.provenance import Task
from voxelmill.core.shared import Strict
from voxelmill.timelapse.store import (
    SHARD_BYTES,
    Facts,
    FrameWriter,
    View,
    channel_path,
    each_fov,
    fovs_in,
    layout_of,
    open_channel,
)


def facts(n_frames: int = 5, shape: tuple[int, int] = (6, 7), fovs: int = 1) -> Facts:
    views = [View("", *shape, n_frames, 1, [2.0 * t for t in range(n_frames)], 0.5) for _ in range(fovs)]
    return Facts("run", views, list(range(fovs)), 0, [1], {})


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "float32"])
def test_frames_come_back(tmp_path: Path, dtype: str):
    known = facts()
    stack = np.random.default_rng(0).integers(0, 900, (5, 6, 7)).astype(dtype)
    with FrameWriter(tmp_path, 0, "pc_ch_0", known, dtype) as writer:
        for frame in stack:
            writer.add(frame)
    image = open_channel(tmp_path, 0, "pc_ch_0")
    assert image.dtype == dtype and np.array_equal(image.read(), stack)
    assert image.scale == (2.0, 500.0, 500.0)  # minutes; nm, as all scales are read
    assert [a.unit for a in image.axes] == ["minute", "nanometer", "nanometer"]


def test_a_field_of_view_lies_where_its_file_says(tmp_path: Path):
    view = View("", 6, 7, 1, 1, [0.0], 0.5, [-13.0, 6.5], [900.0, -4.0])
    with FrameWriter(tmp_path, 0, "pc_ch_0", Facts("run", [view], [0], 0, [], {}), "uint16") as writer:
        writer.add(np.zeros((6, 7), np.uint16))
    assert open_channel(tmp_path, 0, "pc_ch_0").origin == (0.0, -13000.0, 6500.0)
    told = json.loads((channel_path(tmp_path, 0, "pc_ch_0") / "zarr.json").read_text())["attributes"]["voxelmill"]
    assert told == {"times_min": [0.0], "stage_um": [900.0, -4.0]}  # of the stage: kept, and moves nothing
    assert view.space.crop((0, 2, 4)).origin == (0.0, -12.0, 8.5)
    nowhere = View("", 6, 7, 1, 1, [0.0], None, [-13.0, 6.5]).space
    assert nowhere.origin == (0.0, 0.0, 0.0) and not nowhere.known  # without a pixel size there is no place either


def test_files_hold_some_frames_and_chunks_one(tmp_path: Path):
    lay = layout_of((60, 2048, 2048), "uint16")
    assert lay.chunk == (1, 512, 512) and lay.shard == (2, 2048, 2048)
    assert np.prod(lay.shard) * 2 <= SHARD_BYTES
    assert layout_of((60, 64, 64), "uint16").shard == (60, 64, 64)
    assert layout_of((3, 600, 500), "uint16").shard == (3, 1024, 500)


@pytest.mark.parametrize("at", [0, 3, 4])
def test_more_ids_than_16_bits_hold_never_wrap(tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("voxelmill.timelapse.store.SHARD_BYTES", 2 * 6 * 7 * 2)  # two frames a file
    known = facts()
    stack = np.arange(5 * 42).reshape(5, 6, 7).astype(np.uint32)
    stack[at, 0, 0] = 65_536 + 7
    with FrameWriter(tmp_path, 0, "seg_labeled_ch_0", known, "uint16", label=True) as writer:
        for frame in stack:
            writer.add(frame)
    image = open_channel(tmp_path, 0, "seg_labeled_ch_0")
    assert image.dtype == np.uint32 and np.array_equal(image.read(), stack)
    assert len(list((tmp_path / "fov_000/images.zarr").iterdir())) == 1


def test_frames_of_another_size_and_missing_frames_are_refused(tmp_path: Path):
    with (
        pytest.raises(DataError, match=r"frame 0 is \(6, 8\), expected \(6, 7\)"),
        FrameWriter(tmp_path, 0, "pc_ch_0", facts(), "uint16") as writer,
    ):
        writer.add(np.zeros((6, 8), np.uint16))
    with (
        pytest.raises(DataError, match="1 frames were written, expected 5"),
        FrameWriter(tmp_path, 0, "fl_ch_1", facts(), "uint16") as writer,
    ):
        writer.add(np.zeros((6, 7), np.uint16))


def failing(root: Path, wrong: set[int], error: type[Exception] = DataError):
    def work(fov: int) -> dict:
        (root / f"fov_{fov:03d}").mkdir(parents=True)
        if fov in wrong:
            raise error(f"field {fov} is broken")
        return {"good": True}

    return work


def test_a_bad_fov_is_listed_and_harms_no_other(tmp_path: Path):
    task, known = Task("copy_movie", Strict()), facts(fovs=3)
    each_fov(task, known, [0, 1, 2], failing(tmp_path / "out", {1}), output=tmp_path / "out")
    assert fovs_in(tmp_path / "out") == [0, 2]
    assert task.quality == {"per_fov": {"0": {"good": True}, "2": {"good": True}}}
    assert task.left_out == {"fov_001": "field 1 is broken"}


def test_what_ends_the_run(tmp_path: Path):
    known = facts(fovs=2)
    for n, (wrong, error, strict) in enumerate(
        [({0, 1}, DataError, False), ({1}, DataError, True), ({1}, ParameterError, False)]
    ):
        out = tmp_path / str(n)
        with pytest.raises(error):
            each_fov(Task("x", Strict(strict=strict)), known, [0, 1], failing(out, wrong, error), output=out)


def test_a_batch_is_cut_from_the_chosen():
    known = Facts("run", [], [0, 2, 5, 9], 0, [], {})
    assert known.batch("2-5") == [2, 5] and known.batch("9-9") == [9]
