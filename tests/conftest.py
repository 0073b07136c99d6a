"""Runs of the real workflow through Nextflow, shared by the tests that look at them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from voxelmill.testing.engine import Run, run

# A name that a shell would execute, expand or break at, and what [1] means to a shell.
ODD = 'it\'s [1] {a} *ü $(touch PWNED) `touch PWNED` $HOME\n\\ "b"'
DECOY = ODD.replace("[1]", "1")

settings.register_profile("busy", deadline=None)  # how long an example takes tells of the machine's other work
settings.load_profile("busy")

# Files of over a minute, the longest first: side by side they start first, and the end is not one long file alone.
LONGEST = (
    *("test_connectome", "test_stubs", "test_failures", "test_reconstruct", "test_slices_to_volume", "test_timelapse"),
    *("test_presets", "test_names", "test_mosaic", "test_adding_a_stage", "test_hashes", "test_mosaic_oct", "test_places"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {name: n for n, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


def odd_folder(within: Path) -> Path:
    """A folder of such a name."""
    (within / DECOY).mkdir()
    (within / ODD).mkdir()
    return within / ODD


def unharmed(folder: Path) -> bool:
    """Whether nothing in any name was executed by a run in this folder."""
    return not [path for path in folder.rglob("*") if path.name == "PWNED"]


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with raw.npy and truth.npy: seven shards of four sections when --shard 4,96,96."""
    from voxelmill.testing.em import neurites

    folder = tmp_path_factory.mktemp("phantom")
    raw, labels = neurites((28, 96, 96))
    np.save(folder / "raw.npy", raw)
    np.save(folder / "truth.npy", labels)
    return folder


@pytest.fixture(scope="session")
def movies() -> list:
    """Two made fields of view of 8 frames of 160 px, phase contrast and one fluorescence channel, with truth."""
    from voxelmill.testing.movies import make_fovs

    return make_fovs(2, frames=8, size=160)


@pytest.fixture(scope="session")
def movie_file(tmp_path_factory: pytest.TempPathFactory, movies: list) -> Path:
    """`movies` as one OME-TIFF, `run.ome.tif`, with `run.labels.npz` beside it."""
    from voxelmill.testing.movies import write_movies

    return write_movies(tmp_path_factory.mktemp("movie") / "run.ome.tif", movies)


@pytest.fixture(scope="session")
def stages(tmp_path_factory: pytest.TempPathFactory, movie_file: Path) -> Path:
    """The folder in which all stages of `timelapse` have run on `movie_file`, in this process."""
    from voxelmill.testing.movies import run_timelapse

    folder = tmp_path_factory.mktemp("stages")
    assert run_timelapse(folder, movie_file, pc_channel=0, fl_channels="1", min_frames=3, border_margin=2) == 0
    return folder


SMALL = ("--voxel_size", "30,8,8", "--chunk", "4,32,32", "--shard", "4,96,96", "--report_plots", "false")


def whole(phantom: Path, blocks: int) -> tuple[object, ...]:
    """Words of a run of `connectome` on the phantom, with truth and simulated jitter."""
    data = ("--input", phantom / "raw.npy", "--truth", phantom / "truth.npy")
    return (*data, "--simulate_misalignment", "true", "--blocks", blocks, *SMALL)


@pytest.fixture(scope="session")
def connectome(tmp_path_factory: pytest.TempPathFactory, phantom: Path) -> Run:
    """One whole run of `connectome` on the phantom, in one block."""
    done = run(*whole(phantom, 1), folder=tmp_path_factory.mktemp("connectome"))
    assert done.code == 0, done.said
    return done
