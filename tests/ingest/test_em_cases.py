"""Small inputs of kinds that were read wrongly (`tests/data/em_cases/README.md`): each comes out right, or is refused.

Each kind is tried in the other formats, too, here or beside the format's own tests."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from voxelmill.ingest.volumes.formats import open_source

CASES = Path(__file__).parents[1] / "data/em_cases"
ALL = (slice(None),) * 3
SIZE = ("--voxel_size=40,8,8",)


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    """What the volumes hold: of the case whose pixels were never in doubt."""
    return open_source(str(CASES / "01_imagej_unit_microns.tif")).read(ALL)


def test_there_is_a_test_for_each_case():
    text = Path(__file__).read_text()
    assert [p.name for p in CASES.iterdir() if p.name != "README.md" and p.name not in text] == []


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("01_imagej_unit_microns.tif", ()),
        ("04_axis_unit_pixel.ome.zarr", SIZE),
        ("05_axes_without_unit.ome.zarr", SIZE),
        ("06_ngff_0.2.ome.zarr", SIZE),
        ("07_nested_chunks_no_separator_key.zarr", SIZE),
        ("08_cloudvolume_local_gz", ()),
        ("11_grey_ramp_palette.tif", SIZE),
        ("12_miniswhite.tif", SIZE),
        ("16_cremi_truth_without_key.h5", ()),
        ("19_volumes_raw_with_resolution.zarr", ()),
        ("18_voxel_offset_16_16_3", ()),
    ],
)
def test_the_values_and_the_voxel_size(ingest, truth, name, flags):
    done = ingest("--input", CASES / name, *flags)
    np.testing.assert_array_equal(done.volume.read(), truth)
    assert done.facts["voxel_size"] == pytest.approx([40, 8, 8])
    assert "WARNING" not in done.out


@pytest.mark.parametrize("place", ["--center=48,56,9", "--center_nm=384,448,360"])
def test_a_centre_is_what_the_viewer_shows(ingest, truth, place):
    """Neuroglancer counts from the `voxel_offset` of 16, 16, 3."""
    done = ingest("--input", CASES / "18_voxel_offset_16_16_3", "--cutout=16,16,4", place)
    np.testing.assert_array_equal(done.volume.read(), truth[4:8, 32:48, 24:40])
    assert done.facts["origin"] == [7 * 40, 48 * 8, 40 * 8] and done.facts["voxel_offset"] == [7, 48, 40]


@pytest.mark.parametrize("name", ["04_axis_unit_pixel.ome.zarr", "05_axes_without_unit.ome.zarr"])
def test_a_scale_that_is_no_length_is_never_taken_in_silence(ingest, name):
    ingest("--input", CASES / name).refused(65, name, "voxel size 40, 8, 8", "give --voxel_size Z,Y,X in nm")


def test_packed_12_bit(ingest, truth):
    done = ingest("--input", CASES / "09_packed_12bit.tif", *SIZE)
    assert done.volume.dtype == np.uint16 and done.volume.read().max() < 4096
    assert np.abs(done.volume.read().astype(int) - 16 * truth.astype(int)).max() <= 8  # finer levels of the same greys


def test_sections_keep_their_places(ingest, truth):
    done = ingest("--input", CASES / "13_sections_1-6_and_60-65", *SIZE)
    assert done.volume.shape == (65, 96, 96)
    np.testing.assert_array_equal(done.volume.read(slice(0, 6)), truth[:6])
    np.testing.assert_array_equal(done.volume.read(slice(59, 65)), truth[6:])
    assert not done.volume.read(slice(6, 59)).any()
    lacking = [s["section"] for s in done.facts["sections"] if s["status"] == "missing"]
    assert lacking == list(range(6, 59)) and "sections missing or blank: [6, 7" in done.out


def test_sections_missing_are_refused_under_strict(ingest):
    ingest("--input", CASES / "13_sections_1-6_and_60-65", *SIZE, "--strict").refused(65, "sections missing or blank: [6, 7")


@pytest.mark.parametrize("form", ["h5", "npz", "zarr"])
def test_a_truth_is_never_taken_from_the_raw_data(ingest, tmp_path, form):
    name = CASES / "16_cremi_truth_without_key.h5"
    if form != "h5":
        name = tmp_path / f"v.{form}"
        raw, ids = np.ones((4, 8, 8), np.uint8), np.ones((4, 8, 8), np.uint32)
        if form == "npz":
            np.savez(name, raw=raw, neuron_ids=ids, clefts=ids)
        else:
            import zarr

            group = zarr.open_group(str(name), mode="w")
            for key, data in (("raw", raw), ("neuron_ids", ids), ("clefts", ids)):
                group.create_array(f"volumes/{key}", data=data)
    ingest("--truth", name, role="truth").refused(64, "several datasets", "neuron_ids", "--truth_key")


def test_large_ids_are_not_blank(ingest):
    done = ingest("--truth", CASES / "21_flywire_like_ids", role="truth")
    assert {s["status"] for s in done.facts["sections"]} == {"ok"}
    low, high = done.facts["value_range"]
    values = done.volume.read()
    assert (low, high) == (int(values.min()), int(values.max())) and high - low < 1e6 and high > 7e17
    assert "WARNING" not in done.out


@pytest.mark.parametrize("rename", ["{}.br", "{}.zst"])
def test_chunks_packed_in_another_way_are_refused_by_name(ingest, tmp_path, rename):
    folder = tmp_path / "v"
    shutil.copytree(CASES / "08_cloudvolume_local_gz", folder)
    for file in (folder / "8_8_40").iterdir():
        file.rename(file.with_name(rename.format(file.stem)))
    ingest("--input", folder).refused(65, f"chunks end in {rename[2:]}")


def test_a_gz_chunk_that_is_cut_off(ingest, tmp_path):
    folder = tmp_path / "v"
    shutil.copytree(CASES / "08_cloudvolume_local_gz", folder)
    file = next((folder / "8_8_40").iterdir())
    file.write_bytes(file.read_bytes()[:-20])
    ingest("--input", folder).refused(65, file.name, "copy it again")


@pytest.mark.parametrize("driver", ["zarr2", "zarr2 nested", "zarr3", "n5", "precomputed"])
def test_a_store_whose_chunks_are_elsewhere_is_an_error(ingest, tmp_path, driver):
    """Read as the standards have it, such a volume is all zeros."""
    folder = store(tmp_path / "v.zarr", driver)
    for path in [p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(("z", "."))]:
        if path.name not in ("info", "attributes.json"):
            path.rename(path.with_name(f"{path.name}.moved"))
    ingest("--input", folder, *SIZE).refused(65, "every voxel that was read is 0")


def store(folder: Path, driver: str, data: np.ndarray | None = None) -> Path:
    """A volume of 2 x 2 x 2 chunks in a driver of TensorStore."""
    import tensorstore as ts

    values = np.random.default_rng(0).integers(1, 255, (8, 32, 32), np.uint8) if data is None else data
    plain = {"driver": driver.split()[0], "kvstore": {"driver": "file", "path": f"{folder}/"}}
    x_first = driver in ("n5", "precomputed")
    shape, chunk = (list(values.shape), [4, 16, 16]) if not x_first else (list(values.shape[::-1]), [16, 16, 4])
    spec = {
        "zarr2": {"metadata": {"shape": shape, "chunks": chunk, "dtype": "|u1"}},
        "zarr3": {
            "metadata": {
                "shape": shape,
                "data_type": "uint8",
                "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
            }
        },
        "n5": {"metadata": {"dimensions": shape, "blockSize": chunk, "dataType": "uint8", "compression": {"type": "gzip"}}},
        "precomputed": {
            "driver": "neuroglancer_precomputed",
            "multiscale_metadata": {"data_type": "uint8", "num_channels": 1, "type": "image"},
            "scale_metadata": {"size": shape, "resolution": [8, 8, 40], "encoding": "raw", "chunk_size": chunk},
        },
    }[driver.split()[0]]
    if driver == "zarr2 nested":
        spec["metadata"]["dimension_separator"] = "/"  # type: ignore[index]
    array = ts.open({**plain, **spec}, create=True).result()
    array[...].write((values.T if x_first else values).reshape(array.shape)).result()
    return folder


@pytest.mark.parametrize("driver", ["zarr2", "zarr2 nested", "zarr3", "n5", "precomputed"])
def test_a_lost_chunk_is_told(ingest, tmp_path, driver):
    folder = store(tmp_path / "v.zarr", driver)
    whole = open_source(str(folder)).read(ALL)
    lost = {
        "zarr2": "1.0.1",
        "zarr2 nested": "1/0/1",
        "zarr3": "c/1/0/1",
        "n5": "1/0/1",
        "precomputed": "8_8_40/16-32_0-16_4-8",
    }[driver]
    (folder / lost).unlink()
    done = ingest("--input", folder, *SIZE, "--chunk=4,16,16", "--shard=4,32,32")
    whole[4:8, 0:16, 16:32] = 0
    np.testing.assert_array_equal(done.volume.read(), whole)
    assert done.facts["lost_chunks"] == [[4, 0, 16]] and "1 chunks are missing among chunks that are there" in done.out
    record = json.loads((tmp_path / "ingest.raw.provenance.json").read_text())
    assert "first voxels z-y-x 4-0-16" in record["quality"]["notes"][0]


def test_a_lost_shard_is_told(ingest, tmp_path):
    from voxelmill.core.space import Space
    from voxelmill.core.volume import create_image, layout

    image = create_image(
        tmp_path / "v.ome.zarr", layout((8, 32, 32), "uint8", (4, 16, 32), (4, 16, 16)), Space.zyx((40, 8, 8))
    )
    image.write(ALL, np.full((8, 32, 32), 9, np.uint8))
    (tmp_path / "v.ome.zarr/0/c/1/0/0").unlink()
    assert ingest("--input", "v.ome.zarr").facts["lost_chunks"] == [[4, 0, 0], [4, 0, 16]]


def test_a_lost_chunk_is_refused_under_strict(ingest, tmp_path):
    (store(tmp_path / "v.zarr", "zarr2") / "1.0.1").unlink()
    ingest("--input", "v.zarr", *SIZE, "--strict").refused(65, "1 chunks are missing")


def test_what_was_never_written_around_the_tissue_is_no_loss(ingest, tmp_path):
    from voxelmill.ingest.volumes.chunks import Lost
    from voxelmill.ingest.volumes.source import Chunks

    values = np.zeros((16, 96, 96), np.uint8)
    values[4:12, 32:64, 32:64] = 7  # a block of written chunks within empty ones
    lost = Lost(Chunks((4, 16, 16), 0, lambda voxel: bool(values[voxel])))
    lost.look(values, tuple(slice(0, n) for n in values.shape))
    assert lost.voxels() == []
    stored = np.zeros((8, 32, 32), np.uint8)  # zeros that are stored are no loss either
    stored[0, 0, 0] = 1
    folder = store(tmp_path / "v.zarr", "zarr2", stored)
    assert ingest("--input", folder, *SIZE).code == 0


def test_hdf5_chunks_that_were_never_written(ingest, tmp_path):
    import h5py

    with h5py.File(tmp_path / "v.h5", "w") as f:
        data = f.create_dataset("v", (8, 32, 32), np.uint8, chunks=(4, 16, 16))
        for z, y, x in np.ndindex(2, 2, 2):
            if (z, y, x) != (1, 0, 1):
                data[z * 4 : z * 4 + 4, y * 16 : y * 16 + 16, x * 16 : x * 16 + 16] = 1 + z + y + x
        f.create_dataset("never", (8, 32, 32), np.uint8, chunks=(4, 16, 16))
    done = ingest("--input", tmp_path / "v.h5", "--input_key=v", *SIZE)
    assert done.facts["lost_chunks"] == [[4, 0, 16]]


def test_hdf5_that_was_never_written(ingest, tmp_path):
    import h5py

    with h5py.File(tmp_path / "v.h5", "w") as f:
        f.create_dataset("never", (8, 32, 32), np.uint8, chunks=(4, 16, 16))
    ingest("--input", tmp_path / "v.h5", *SIZE).refused(65, "every voxel that was read is 0")


@pytest.mark.parametrize("size", [[-40, 8, 8], [0, 0, 0], [float("nan"), 8, 8]])
def test_a_voxel_size_that_cannot_be_is_overridden(ingest, tmp_path, size):
    import h5py

    with h5py.File(tmp_path / "v.h5", "w") as f:
        f["v"] = np.arange(4 * 8 * 8, dtype=np.uint8).reshape(4, 8, 8)
        f["v"].attrs["resolution"] = size
    ingest("--input", tmp_path / "v.h5").refused(65, "is not positive", "--voxel_size")
    assert ingest("--input", tmp_path / "v.h5", *SIZE).facts["voxel_size"] == [40, 8, 8]
