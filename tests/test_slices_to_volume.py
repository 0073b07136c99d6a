"""Raw OCT tiles -> mosaic grids -> clean slices -> one volume, through the engine; one slice was never imaged.

All lies in folders that a shell would execute; the subject is called after one of them."""

from __future__ import annotations

import csv
import json
import threading
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from conftest import odd_folder, unharmed
from voxelmill.core import slice_config
from voxelmill.core.orientation import RAS, affine
from voxelmill.core.volume import open_image
from voxelmill.serving import viewer
from voxelmill.testing import oct_atlas
from voxelmill.testing.chain import check_chain
from voxelmill.testing.engine import Run, run
from voxelmill.testing.oct import Acquisition, write_raw
from voxelmill.transform.atlas import nifti
from voxelmill.transform.plan_common_space import LOST

pytestmark = pytest.mark.slow

MADE = Acquisition(slices=4, missing=(2,), grid=(2, 2))
SUBJECT = "mosaic____touch_PWNED_"  # what is left of the folder's name
MM = MADE.voxel_um[0] / 1000
AS_ACQUIRED = ("--registration_slicing_interval_mm", MADE.thickness * MM, "--stitch_overlap_fraction", 0.25)


@pytest.fixture(scope="module")
def mosaic(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("oct")
    odd = odd_folder(folder)
    raw = write_raw(odd / "raw '$(touch PWNED)", MADE)
    words = ("--workflow", "mosaic", "--input", raw, "--axial_resolution", 10, "--exclude_first_slices", 0)
    done = run(*words, "--report_plots", "false", folder=folder / "mosaic", outdir=odd / "mosaic '$(touch PWNED)")
    assert done.code == 0, done.said
    return done


@pytest.fixture(scope="module")
def volume(mosaic: Run, tmp_path_factory) -> Run:
    words = ("--workflow", "reconstruct", "--input", mosaic.outdir)
    words += ("--nifti", "true", "--correct_bias_field", "true", "--report_plots", "false")
    folder = tmp_path_factory.mktemp("volume")
    oct_atlas.write(mosaic.outdir.parent, MADE)
    words += ("--align_to_ras_enabled", "true", "--atlas", mosaic.outdir.parent / "atlas.nii.gz")
    words += ("--ras_input_orientation", oct_atlas.ORIENTATION, "--allen_registration_level", 1)
    words += ("--ras_initial_rotation", "0 0 0")
    done = run(*words, *AS_ACQUIRED, folder=folder, outdir=odd_folder(folder) / "out $(touch PWNED)")
    assert done.code == 0, done.said
    return done


def test_names_are_not_executed(mosaic: Run, volume: Run):
    assert unharmed(mosaic.outdir.parents[1]) and unharmed(volume.outdir.parents[1])
    page = (volume.outdir / f"{SUBJECT}_quality_report.html").read_text()
    assert "it&#x27;s [1] {a} *ü $(touch PWNED)" in page


def test_every_slice_has_its_tasks(volume: Run):
    tasks = volume.tasks("COMPLETED")
    assert (tasks["PREPARE_SLICE"], tasks["BRING_TO_COMMON_SPACE"], tasks["INTERPOLATE_MISSING_SLICE"]) == (3, 3, 1)
    assert tasks["REGISTER_PAIRWISE"] == 3 + 2  # neighbours, and pairs two apart
    once = (
        "LIST_SLICES",
        "ESTIMATE_SLICES",
        "PLAN_COMMON_SPACE",
        "PLAN_STACK",
        "PUBLISH_VOLUME",
        "ZIP_VOLUME",
        "VOLUME_PREVIEW",
        "REPORT",
    )
    assert all(tasks[name] == 1 for name in once)
    assert (tasks["FIT_BIAS_FIELD"], tasks["JOIN_CORRECTED"], tasks["EXPORT_NIFTI"]) == (1, 1, 3)
    assert (tasks["REGISTER_TO_ATLAS"], tasks["JOIN_RAS"]) == (1, 1)
    assert tasks["CORRECT_BIAS_FIELD"] == tasks["ALIGN_TO_RAS"] == 4  # levels, each a block
    corrected = open_image(volume.outdir / f"correct_bias_field/{SUBJECT}_corrected.ome.zarr")
    assert corrected.spaces == open_image(volume.outdir / f"stack/{SUBJECT}.ome.zarr").spaces


def test_the_volume_keeps_its_place_and_size(volume: Run):
    """The missing slice takes as much of z as any other; voxels are those of --resolution."""
    image = open_image(volume.outdir / f"stack/{SUBJECT}.ome.zarr")
    assert image.space.scale == pytest.approx((10_000.0,) * 3)  # nm
    with open(volume.outdir / "stack/z_matches.csv") as file:
        first = {row["slice_id"]: int(row["first_plane"]) for row in csv.DictReader(file)}
    expected = {f"{n:02d}": n * MADE.thickness for n in range(4)}
    assert all(abs(first[name] - plane) <= 1 for name, plane in expected.items())
    values = image.read()
    assert np.isfinite(values).all() and 0 <= values.min() < values.max() < 1.5
    middle = values[:, values.shape[1] // 4 : -(values.shape[1] // 4), values.shape[2] // 4 : -(values.shape[2] // 4)]
    filled = (middle > 0).mean((1, 2))
    assert filled[: 3 * MADE.thickness].min() > 0.5  # the gap is not empty


def test_the_volume_lies_on_the_atlas(volume: Run):
    """Within a voxel of the level that is registered, though there is little tissue; NIfTIs say which way they lie."""
    aligned = open_image(volume.outdir / f"align_to_ras/{SUBJECT}_ras.ome.zarr")
    beside = oct_atlas.off(MADE, aligned)
    assert len(beside) > 20 and np.sqrt((beside**2).sum(1).mean()) < 1
    assert np.median(np.sqrt((beside**2).sum(1))) < 0.5
    values, to_ras = nifti(volume.outdir / f"align_to_ras/{SUBJECT}_ras.nii.gz")
    assert np.array_equal(values, aligned.read())
    assert np.allclose(to_ras[:3, :3], affine(RAS, (MM, MM, MM), (0, 0, 0))[:3, :3])
    _, to_ras = nifti(volume.outdir / f"stack/{SUBJECT}.nii.gz")
    assert np.allclose(to_ras[:3, :3], affine(oct_atlas.ORIENTATION, (MM, MM, MM), (0, 0, 0))[:3, :3])


def test_the_volume_can_be_looked_at(volume: Run):
    """In Neuroglancer, by HTTP from this machine: the closing lines say how, and every address in the state answers."""
    assert f"  stack    {volume.outdir}/stack/{SUBJECT}.ome.zarr" in volume.said and "voxelmill view " in volume.said
    served = viewer.server(volume.outdir, 0)
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    try:
        state = viewer.of_results(volume.outdir, f"http://127.0.0.1:{served.server_port}")
        addresses = [layer["source"].removeprefix("zarr://") for layer in state["layers"]]
        found = [json.load(urllib.request.urlopen(f"{address}/zarr.json", timeout=10)) for address in addresses]
    finally:
        served.shutdown()
        served.server_close()
        thread.join()
    assert [layer["name"] for layer in state["layers"]] == [SUBJECT, f"{SUBJECT}_corrected", f"{SUBJECT}_ras"]
    assert all(one["attributes"]["ome"]["multiscales"][0]["axes"][0]["unit"] == "millimeter" for one in found)


def test_all_can_be_followed_to_the_mosaic_grids(volume: Run, mosaic: Run):
    sources: list[Path] = sorted(mosaic.outdir.glob("mosaic_grid_3d_z*.ome.zarr"))
    assert len(sources) == 3
    sources += [
        mosaic.outdir.parent / "atlas.nii.gz",
        mosaic.outdir,
        mosaic.outdir / "shifts_xy.csv",
        mosaic.outdir / "slice_config.csv",
    ]
    assert len(check_chain(volume.outdir, sources)) == sum(volume.tasks("COMPLETED").values())


LOSES = "process {{ withName: {} {{ beforeScript = {{ meta.id == '{}' ? 'exit {}' : '' }} }} }}"


def losing(mosaic: Run, folder: Path, process: str, item: str, code: int, *words: object) -> Run:
    """A run in which a task of one slice, or pair, fails each time."""
    folder.mkdir(exist_ok=True)
    (folder / "trouble.config").write_text(LOSES.format(process, item, code))
    given = ("--workflow", "reconstruct", "--input", mosaic.outdir, "--subject_name", "sub-01", "--report_plots", "false")
    trouble = ("--max_retries", 1, "-c", folder / "trouble.config")
    older = {"NXF_SYNTAX_PARSER": "v1"}  # the strict one knows no `meta` in a configuration
    return run(*given, *AS_ACQUIRED, *trouble, *words, folder=folder, env=older)


def first_planes(done: Run) -> dict[str, int]:
    with open(done.outdir / "stack/z_matches.csv") as file:
        return {row["slice_id"]: int(row["first_plane"]) for row in csv.DictReader(file)}


def test_a_slice_that_fails_for_good_is_named_and_keeps_its_place(mosaic: Run, tmp_path: Path):
    """Out of memory, twice: in the slice configuration, the report and the closing lines; the others lie where they did."""
    done = losing(mosaic, tmp_path, "PREPARE_SLICE", "z01", 137)
    assert done.code == 0, done.said
    tries = [row["exit"] for row in done.trace() if row["process"] == "PREPARE_SLICE" and row["status"] == "FAILED"]
    assert tries == ["137", "137"]
    assert first_planes(done) == {"00": 0, "03": 3 * MADE.thickness}
    config = slice_config.read(done.outdir / "finalise_interpolation/slice_config_final.csv")
    assert config.used == [0, 3] and config.rows[1]["exclude_reason"] == LOST
    assert f"NOTE     plan_common_space: left out z01: {LOST}" in done.said
    page = (done.outdir / "sub-01_quality_report.html").read_text()
    assert f"left out z01: {LOST}" in page and ">failed</b>" in page
