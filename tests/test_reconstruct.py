"""`--workflow reconstruct` through the engine: tasks of each process for what switches stages on and off."""

from __future__ import annotations

import csv
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from skimage.registration import phase_cross_correlation
from voxelmill.core import shifts, slice_config
from voxelmill.core.shifts import Shift
from voxelmill.core.volume import open_image
from voxelmill.serving.aligner import pairs_in
from voxelmill.testing.engine import Run, killed, run
from voxelmill.testing.slices import STEP, slice_store
from voxelmill.transform.pairs import read_itk, write_itk
from voxelmill.transform.warp import apply, centre_of

pytestmark = pytest.mark.slow

T, DEPTH, SIDE = 6, 12, 90


def block(slots: int) -> np.ndarray:
    made = ndimage.gaussian_filter(np.random.default_rng(9).random((T * slots + DEPTH, 150, 150)), (3, 4, 4))
    return (0.1 + 0.8 * (made - made.min()) / np.ptp(made)).astype(np.float32)


def series(folder: Path, numbers: tuple[int, ...]) -> Path:
    """Slices of one block, each 3 px further along dim 1 and 2 px back along dim 2 than the one before."""
    folder.mkdir(parents=True)
    tissue, first = block(numbers[-1] - numbers[0] + 1), numbers[0]
    for n in numbers:
        k = n - first
        slice_store(folder, n, tissue[T * k : T * k + DEPTH, 3 * k : 3 * k + SIDE, 50 - 2 * k : 50 - 2 * k + SIDE])
    table = [Shift(a, b, -3 * STEP * (b - a), 2 * STEP * (b - a)) for a, b in pairwise(numbers)]
    shifts.write(folder / "shifts_xy.csv", table, (STEP, STEP))
    return folder


def reconstruct(folder: Path, numbers: tuple[int, ...], *words: object) -> Run:
    thickness = ("--registration_slicing_interval_mm", T * STEP)
    given = series(folder / "slices", numbers)
    return run("--workflow", "reconstruct", "--input", given, "--report_plots", "false", *thickness, *words, folder=folder)


ONCE = (
    *("LIST_SLICES", "ESTIMATE_SLICES", "ANALYZE_SHIFTS", "DETECT_REHOMING_EVENTS", "PLAN_COMMON_SPACE"),
    *("AUTO_EXCLUDE_SLICES", "PLAN_STACK", "STACK", "FINALISE_INTERPOLATION", "REPORT"),
    *("PLAN_LEVELS", "PUBLISH_VOLUME", "ZIP_VOLUME", "VOLUME_PREVIEW"),
)


def expected(slices: int, gaps: int, **more: int) -> dict[str, int]:
    """Tasks per process; pairs are neighbours, and those two apart."""
    some = {"BRING_TO_COMMON_SPACE": slices, "INTERPOLATE_MISSING_SLICE": gaps, "REGISTER_PAIRWISE": 2 * (slices + gaps) - 3}
    return {name: n for name, n in (dict.fromkeys(ONCE, 1) | some | more).items() if n}


@pytest.fixture(scope="module")
def one_gap(tmp_path_factory: pytest.TempPathFactory) -> Run:
    done = reconstruct(tmp_path_factory.mktemp("gap"), (98, 100, 101))
    assert done.code == 0, done.said
    return done


def test_tasks_with_a_gap(one_gap: Run):
    assert one_gap.tasks("COMPLETED") == expected(3, 1)


OFF = ("--detect_rehoming", "false", "--analyze_shifts", "false")  # each by itself: engine/test_stubs.py


@pytest.mark.parametrize(
    "numbers, words, tasks",
    [
        ((98, 101, 102), OFF, expected(3, 0, DETECT_REHOMING_EVENTS=0, ANALYZE_SHIFTS=0)),
        ((0, 2, 3, 5), ("--auto_assess_quality", "true"), expected(3, 1, AUTO_ASSESS_QUALITY=1)),
        ((0, 1, 2, 3), ("--auto_assess_quality", "true"), expected(3, 0, AUTO_ASSESS_QUALITY=1)),
    ],
    ids=["two in a row are no gap", "quality", "quality, no gap"],
)
def test_tasks(tmp_path: Path, numbers: tuple[int, ...], words: tuple, tasks: dict[str, int]):
    """Without a gap the manifests are an empty list: an empty channel in their place would cost FINALISE_INTERPOLATION."""
    done = reconstruct(tmp_path, numbers, *words)
    assert done.code == 0, done.said
    assert done.tasks("COMPLETED") == tasks


SLICES = (7, 8, 9, 10)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, tuple]:
    """With a slice configuration that leaves one slice out, which then is a gap; everything published. And its words."""
    folder = tmp_path_factory.mktemp("package")
    slice_config.write(folder / "config.csv", slice_config.of(SLICES).stamped({9: {"use": False}}))
    words = ("--workflow", "reconstruct", "--input", series(folder / "slices", SLICES), "--report_plots", "false",
             "--registration_slicing_interval_mm", T * STEP, "--slice_config", folder / "config.csv",
             "--publish_intermediates", "true", "--export_manual_align", "true",
             "--common_space_excluded_slice_mode", "keep")  # fmt: skip
    done = run(*words, folder=folder)
    assert done.code == 0, done.said
    return done, words


def test_tissue_comes_together_and_a_gap_is_measured(package: tuple[Run, tuple]):
    done, _ = package
    found = {
        n: open_image(done.outdir / f"bring_to_common_space/slice_z{n:02d}_normalize.ome.zarr").read() for n in (7, 8, 10)
    }
    found[9] = open_image(done.outdir / "interpolate_missing_slice/slice_z09_interpolated.ome.zarr").read()
    for a, b in pairwise(range(7, 11)):
        one, other = found[a][T:], found[b][: len(found[a]) - T]
        if len(one):  # the measured slab is no deeper than a slice is thick
            both = (one > 0) & (other > 0)
            assert both.mean() > 0.5 and np.array_equal(one[both], other[both]), (a, b)
    assert [pair["name"] for pair in pairs_in(done.outdir / "manual_align")] == ["z07-z08", "z08-z09", "z09-z10"]
    final = slice_config.read(done.outdir / "finalise_interpolation/slice_config_final.csv")
    assert final.used == [7, 8, 10] and final.rows[9]["interpolation_method_used"] == "measured"


def first_along(done: Run) -> dict[str, float]:
    """By slice: px along dim 1 by which it was moved."""
    with open(done.outdir / "stack/z_matches.csv") as file:
        return {row["slice_id"]: float(row["dim1_px"]) for row in csv.DictReader(file)}


def test_a_pair_laid_by_hand_is_taken_over(package: tuple[Run, tuple]):
    """Exported, corrected by 3 px, given back: the rest is not made again, and the volume lies as the person says."""
    done, words = package
    (volume,) = done.outdir.glob("stack/*.ome.zarr")
    before, was = open_image(volume).read(), first_along(done)
    by_hand = done.outdir.parent / "by_hand/z07-z08"
    by_hand.mkdir(parents=True)
    said = read_itk(done.outdir / "manual_align/z07-z08/transform.tfm") + np.array([[0, 0, 3], [0, 0, 0]])
    write_itk(by_hand / "manual.tfm", said, before.shape[1:])
    done = run(*words, "--manual_transforms_dir", by_hand.parent, "-resume", folder=by_hand.parents[1])
    assert done.code == 0, done.said
    made, kept = done.tasks("COMPLETED"), done.tasks("CACHED")
    assert (made["REFINE_MANUAL_TRANSFORMS"], made["STACK"], kept["REGISTER_PAIRWISE"]) == (1, 1, 4)
    assert "BRING_TO_COMMON_SPACE" not in made and "REGISTER_PAIRWISE" not in made
    after, now = open_image(volume).read(), first_along(done)
    middle = np.array(centre_of(before.shape[1:]))
    assert now["07"] - now["08"] == pytest.approx((apply(said, middle) - middle)[0], abs=0.1)
    # By planes that one slice alone shows: the volume has moved as the table says.
    for name, z in {"07": 2, "10": 3 * T + 4}.items():
        planes = [values[z, 20:-20, 20:-20] - values[z, 20:-20, 20:-20].mean() for values in (after, before)]
        moved = phase_cross_correlation(*planes, upsample_factor=20, normalization=None)[0][0]
        assert moved == pytest.approx(now[name] - was[name], abs=0.4), name


def test_killed_anywhere_and_resumed_it_makes_the_same_bytes(one_gap: Run, tmp_path: Path):
    given = one_gap.outdir.parent / "slices"
    words = ("--workflow", "reconstruct", "--input", given, "--report_plots", "false")
    words += ("--registration_slicing_interval_mm", T * STEP)  # type: ignore[assignment]
    finished = killed(*words, folder=tmp_path / "killed", after=(9,))  # twice: tests/test_connectome.py
    done = run(*words, "-resume", folder=tmp_path / "killed")
    assert done.code == 0, done.said
    assert done.tasks() == one_gap.tasks("COMPLETED")
    assert sum(done.tasks("CACHED").values()) >= finished - 2  # two may have ended before Nextflow noted it
    assert done.digests() == one_gap.digests()


def test_shifts_are_needed(tmp_path: Path):
    given = series(tmp_path / "slices", (0, 1))
    (given / "shifts_xy.csv").unlink()
    done = run("--workflow", "reconstruct", "--input", given, folder=tmp_path)
    assert done.code == 64 and "no shifts_xy.csv in it; make it by --workflow mosaic" in done.said
