"""Read detections: labels of any readable kind, as they are; what are no labels of this movie is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from voxelmill.ingest.read_detections import keys_of
from voxelmill.testing.movies import run_timelapse
from voxelmill.timelapse.store import open_channel


def read(folder: Path, movie_file: Path, labels: Path, fovs: str = "all") -> int:
    return run_timelapse(folder, movie_file, upto="segment_cells", detections=labels, pc_channel=0, fovs=fovs)


def as_tiff(path: Path, stack: np.ndarray) -> Path:
    tifffile.imwrite(path / "l.tif", stack, photometric="minisblack")
    return path / "l.tif"


def as_npy(path: Path, stack: np.ndarray) -> Path:
    np.save(path / "l.npy", stack)
    return path / "l.npy"


def as_npz(path: Path, stack: np.ndarray) -> Path:
    np.savez_compressed(path / "l.npz", labels=stack, other=stack)
    return path / "l.npz"


@pytest.mark.parametrize("write", [as_tiff, as_npy, as_npz])
@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_labels_of_one_fov(tmp_path: Path, movie_file: Path, movies: list, write: Callable, dtype: str):
    labels = movies[1].labels.astype(dtype)
    assert read(tmp_path, movie_file, write(tmp_path, labels), fovs="1") == 0
    assert np.array_equal(open_channel(tmp_path / "labels", 1, "seg_labeled_ch_0").read(), labels)


def test_our_own_labels_are_read(tmp_path: Path, movie_file: Path, stages: Path):
    store = stages / "labels/fov_000/images.zarr/seg_labeled_ch_0"
    assert read(tmp_path, movie_file, store, fovs="0") == 0
    assert np.array_equal(
        open_channel(tmp_path / "labels", 0, "seg_labeled_ch_0").read(),
        open_channel(stages / "labels", 0, "seg_labeled_ch_0").read(),
    )


def test_labels_of_all_fovs(tmp_path: Path, movie_file: Path, movies: list):
    assert read(tmp_path, movie_file, movie_file.with_name("run.labels.npz")) == 0
    for fov, movie in enumerate(movies):
        assert np.array_equal(open_channel(tmp_path / "labels", fov, "seg_labeled_ch_0").read(), movie.labels)


def test_more_than_65535_ids_stay_apart(tmp_path: Path, movie_file: Path):
    labels = np.zeros((8, 160, 160), np.uint32)
    labels[2, 5:9, 5:9], labels[5, 5:9, 5:9] = 70_000, 70_000 - 65_536
    assert read(tmp_path, movie_file, as_npy(tmp_path, labels), fovs="0") == 0
    assert np.array_equal(open_channel(tmp_path / "labels", 0, "seg_labeled_ch_0").read(), labels)


@pytest.mark.parametrize(
    "change, fovs, code, message",
    [
        (lambda a: a[:5], "0", 65, "labels of field of view 0 are (5, 160, 160) (t, y, x), the movie is (8, 160, 160)"),
        (lambda a: a.astype(np.float32), "0", 65, "found float32, expected integer labels"),
        (lambda a: a.astype(np.int32) - 1, "0", 65, "found the label -1"),
        (lambda a: a.astype(np.uint64) + 2**33, "0", 65, "does not fit into uint32"),
        (lambda a: a[0], "0", 65, "found shape (160, 160), expected (t, y, x)"),
        (lambda a: a, "all", 64, "holds 1 label movies, the input has 2 fields of view, of which 2 are chosen"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path,
    movie_file: Path,
    movies: list,
    capsys: pytest.CaptureFixture,
    change: Callable,
    fovs: str,
    code: int,
    message: str,
):
    assert read(tmp_path, movie_file, as_npy(tmp_path, change(movies[0].labels)), fovs) == code
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("write", [as_npy, as_npz, as_tiff])
def test_changed_labels_have_another_key(tmp_path, write):
    stack = np.ones((2, 8, 8), np.uint16)
    before = keys_of(write(tmp_path, stack), [[0], [1]])
    assert len(before) == 2 and keys_of(write(tmp_path, np.ones((3, 8, 8), np.uint16)), [[0], [1]])[0] != before[0]
