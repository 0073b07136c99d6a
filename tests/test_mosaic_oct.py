"""`--workflow mosaic` on raw OCT tiles, through the engine: what it publishes is the truth of a made acquisition."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from voxelmill.core import shifts, slice_config
from voxelmill.core.volume import open_image
from voxelmill.testing import oct
from voxelmill.testing.chain import check_chain
from voxelmill.testing.engine import Run, run

pytestmark = pytest.mark.slow

MADE = oct.Acquisition(
    slices=103, missing=(*range(97), 98, 100, 101), grid=(2, 3), tile=(8, 32, 24), thickness=1, surface=1.0, drift=1.0
)
WORDS = ("--workflow", "mosaic", "--axial_resolution", 10, "--report_plots", "false")
PICTURES = ("--generate_aips", "true", "--generate_previews", "true", "--detect_galvo", "true")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return oct.write_raw(tmp_path_factory.mktemp("oct") / "raw tiles", MADE)


@pytest.fixture(scope="module")
def done(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    made = run(*WORDS, *PICTURES, "--input", raw, folder=tmp_path_factory.mktemp("mosaic"))
    assert made.code == 0, made.said
    return made


def test_tasks_and_what_is_published(done: Run):
    a_slice = ("CREATE_MOSAIC_GRID", "GENERATE_AIP", "GENERATE_MOSAIC_PREVIEW")
    once = ("LIST_TILES", "ESTIMATE_TILES", "GENERATE_SLICE_CONFIG", "REPORT")
    assert done.tasks("COMPLETED") == dict.fromkeys(a_slice, 3) | dict.fromkeys(once, 1)
    names = {path.relative_to(done.outdir).as_posix() for path in done.outdir.glob("*")}
    names |= {path.relative_to(done.outdir).as_posix() for path in done.outdir.glob("[ap]*/*.png")}
    assert {"shifts_xy.csv", "slice_config.csv", "report.html", "published.json"} <= names
    for s in ("z97", "z99", "z102"):
        grid = f"mosaic_grid_3d_{s}.ome.zarr"
        assert {grid, f"{grid}.manifest.json", f"aips/aip_{s}.png", f"previews/mosaic_grid_{s}_preview.png"} <= names


def test_every_file_can_be_followed_to_the_tiles(done: Run, raw: Path):
    check_chain(done.outdir, raw.glob("*/*"))


def test_grids_are_the_truth(done: Run):
    for s in MADE.kept:
        image = open_image(done.outdir / f"mosaic_grid_3d_z{s:02d}.ome.zarr")
        assert np.array_equal(image.read(), MADE.mosaic(s)) and image.layout().chunk == MADE.tile
        assert image.scale == pytest.approx((1e4, 1e4, 1e4))


def test_shifts_and_slices(done: Run):
    found = shifts.read(done.outdir / "shifts_xy.csv")
    truth = [(r["fixed_id"], r["moving_id"], r["x_shift_mm"], r["y_shift_mm"]) for r in MADE.shifts()]
    assert [f[:4] for f in found] == [pytest.approx(row, abs=2e-6) for row in truth]
    config = slice_config.read(done.outdir / "slice_config.csv")
    assert list(config.rows) == [97, 99, 102] and config.used == [99, 102]
    assert all(config.flag(s, "galvo_fix") for s in config.rows)


def test_resume_does_nothing_again_and_a_lost_slice_is_said(raw: Path, tmp_path: Path):
    source = Path(shutil.copytree(raw, tmp_path / "raw"))
    for path in source.glob("z99/*/*.bin"):
        path.write_bytes(b"")
    words = (*WORDS, "--input", source)
    first = run(*words, folder=tmp_path)
    assert first.code == 0, first.said
    assert not (first.outdir / "mosaic_grid_3d_z99.ome.zarr").exists()
    assert "none of its 6 tiles can be read" in first.said
    assert slice_config.read(first.outdir / "slice_config.csv").rows[99]["exclude_reason"] == "no mosaic grid"
    again = run(*words, "-resume", folder=tmp_path)
    assert again.code == 0 and not again.tasks("COMPLETED") - again.tasks("CACHED") and again.digests() == first.digests()
    # A changed tile and a slice that is gone are no matter of the other slices.
    path = next(source.glob("z97/*/*.bin"))
    path.write_bytes(path.read_bytes())
    shutil.rmtree(source / "z99")
    changed = run(*words, "-resume", folder=tmp_path)
    assert changed.tasks("COMPLETED")["CREATE_MOSAIC_GRID"] == changed.tasks("CACHED")["CREATE_MOSAIC_GRID"] == 1, (
        changed.said
    )
