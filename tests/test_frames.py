"""One region of one volume, however it is offered, gives the same synapses at the same nanometres.

The stages run in this process. A format is a row of `FORMS`: how it is written, and what a user must add where the
format cannot say where it lies.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorstore as ts
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from voxelmill.ingest import ingest
from voxelmill.ingest.volumes.source import Source, placed
from voxelmill.serving.precomputed import export
from voxelmill.testing.em import neurites
from voxelmill.testing.stages import last_shard, make_store, run_stage

EM = neurites((14, 150, 140))[0]
SIZE, OFFSET = (30.0, 8.0, 8.0), (7, 20, 41)  # z, y, x; nm, and the number of voxel 0 in the source
ORIGIN = tuple(o * s for o, s in zip(OFFSET, SIZE, strict=True))
CORNER, SHAPE = (2, 31, 18), (10, 96, 112)  # of the region, in the array
CENTER = [c + s // 2 for c, s in zip(CORNER, SHAPE, strict=True)]
REGION = tuple(slice(c, c + s) for c, s in zip(CORNER, SHAPE, strict=True))
PLACE = [(o + c) * s for o, c, s in zip(OFFSET, CORNER, SIZE, strict=True)]  # of voxel 0 of the region, nm


def xyz(values: Any) -> str:
    return ",".join(f"{v:g}" for v in list(values)[::-1])


NUMBERED = {"center": xyz(c + o for c, o in zip(CENTER, OFFSET, strict=True))}  # as the source numbers its voxels
IN_NM = {"center_nm": xyz((c + o) * s for c, o, s in zip(CENTER, OFFSET, SIZE, strict=True))}


def ngff(path: Path, version: str) -> None:
    """In micrometers, so that the unit counts too."""
    steps = [
        {"type": "scale", "scale": [s / 1000 for s in SIZE]},
        {"type": "translation", "translation": [o / 1000 for o in ORIGIN]},
    ]
    entry: dict[str, Any] = {
        "axes": [{"name": a, "type": "space", "unit": "micrometer"} for a in "zyx"],
        "datasets": [{"path": "0", "coordinateTransformations": steps}],
    }
    old = version == "0.4"
    zarr.create_array(store=str(path / "0"), data=EM, chunks=(8, 64, 64), zarr_format=2 if old else 3)
    if old:
        (path / ".zgroup").write_text('{"zarr_format": 2}')
        (path / ".zattrs").write_text(json.dumps({"multiscales": [{**entry, "version": version}]}))
    else:
        ome = {"version": version, "multiscales": [entry]}
        (path / "zarr.json").write_text(json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}}))


def precomputed(path: Path, sharded: bool) -> None:
    scale: dict[str, Any] = {
        "size": list(EM.shape[::-1]),
        "resolution": list(SIZE[::-1]),
        "voxel_offset": list(OFFSET[::-1]),
        "encoding": "raw",
        "chunk_size": [32, 32, 4],
    }
    if sharded:
        bits = {"preshift_bits": 3, "minishard_bits": 2, "shard_bits": 2}
        scale["sharding"] = {"@type": "neuroglancer_uint64_sharded_v1", "hash": "identity", **bits}
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": f"{path}/"},
        "multiscale_metadata": {"type": "image", "data_type": "uint8", "num_channels": 1},
        "scale_metadata": scale,
    }
    ts.open(spec, create=True).result()[..., 0].write(EM.T).result()


def n5(path: Path) -> None:
    meta = {"dimensions": EM.shape[::-1], "blockSize": [64, 64, 8], "dataType": "uint8", "compression": {"type": "gzip"}}
    spec = {"driver": "n5", "kvstore": {"driver": "file", "path": f"{path}/"}, "metadata": meta}
    ts.open(spec, create=True).result().write(EM.T).result()
    file = path / "attributes.json"
    more = {"resolution": SIZE[::-1], "offset": ORIGIN[::-1]}
    file.write_text(json.dumps({**json.loads(file.read_text()), **more}))


def hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["raw"] = EM
        file["raw"].attrs.update({"resolution": SIZE, "offset": ORIGIN})


def imagej(path: Path) -> None:
    """ImageJ's origin is the voxel that lies at 0."""
    zero = dict(zip(("zorigin", "yorigin", "xorigin"), (-o for o in OFFSET), strict=True))
    meta = {"axes": "ZYX", "spacing": SIZE[0] / 1000, "unit": "um", **zero}
    tifffile.imwrite(path, EM, imagej=True, resolution=(1000 / SIZE[2], 1000 / SIZE[1]), metadata=meta)


# name -> (file, how it is written, where the region is, whether it says where its voxel 0 lies)
FORMS: dict[str, tuple[str, Callable[[Path], Any], dict[str, str], bool]] = {
    "OME-Zarr 0.4": ("v.ome.zarr", lambda p: ngff(p, "0.4"), NUMBERED, True),
    "OME-Zarr 0.5": ("v.ome.zarr", lambda p: ngff(p, "0.5"), IN_NM, True),
    "precomputed": ("v", lambda p: precomputed(p, False), NUMBERED, True),
    "precomputed, sharded": ("v", lambda p: precomputed(p, True), IN_NM, True),
    "N5": ("v.n5", n5, NUMBERED, True),
    "HDF5": ("v.h5", hdf5, IN_NM, True),
    "ImageJ TIFF": ("v.tif", imagej, NUMBERED, True),
    "TIFF": (
        "v.tif",
        lambda p: tifffile.imwrite(p, EM, metadata=None),
        {"center": xyz(CENTER), "voxel_size": ",".join(map(str, SIZE))},
        False,
    ),
}


def stages(folder: Path, source: Path, **flags: str) -> Path:
    """Ingest to graph, without alignment; returns the folder of tables."""

    def run(stage: str, **more: Any) -> None:
        assert run_stage(stage, folder, **more) == 0

    lists = {f"{name}_list": f"{name}.txt" for name in ("block", "slab", "superblock")}
    grid = {"shard": "8,64,64", "chunk": "8,32,32"}
    run(
        "ingest.ingest",
        input=source,
        source=source,
        cutout=xyz(SHAPE),
        output="raw.ome.zarr",
        facts="f.json",
        **lists,
        **grid,
        **flags,
    )
    block = last_shard(folder / "raw.ome.zarr")
    run("transform.preprocess", volume="raw.ome.zarr", facts="f.json", block=block, output="p.ome.zarr")
    run("transform.align_pairs", volume="p.ome.zarr", output="pairs.npz", alignment="none", facts="f.json", block=block)
    run(
        "transform.align",
        pairs="pairs.npz",
        facts="f.json",
        volume="p.ome.zarr",
        transforms="t.npz",
        table="a.csv",
        alignment="none",
    )
    run("transform.render", volume="p.ome.zarr", transforms="t.npz", block=block, output="a.ome.zarr")
    run("inference.segment", volume="a.ome.zarr", block=block, output="s.ome.zarr", overlaps="o.npz")
    run("inference.agglomerate", overlaps="o.npz", block=block, components="n.parquet", border="b.npz")
    run(
        "postprocess.export_labels",
        supervoxels="s.ome.zarr",
        components="n.parquet",
        block=block,
        output="l.ome.zarr",
        merge="merge",
    )
    words = {"labels": "l.ome.zarr", "supervoxels": "s.ome.zarr", "candidates": "c.parquet"}
    run("postprocess.synapses", volume="a.ome.zarr", block=block, synapses="blobs", **words)
    run("postprocess.graph", candidates="c.parquet", labels="l.ome.zarr", tables="tables", graph="graph")
    return folder / "tables"


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The synapses of the region, from a store of our own that holds nothing else."""
    folder = tmp_path_factory.mktemp("reference")
    made = make_store(folder / "region.ome.zarr", EM[REGION], SIZE, origin=PLACE)
    table = pq.read_table(stages(folder, made) / "synapses.parquet")
    assert len(table) > 20
    return table


@pytest.mark.parametrize("name", FORMS)
def test_the_same_synapses_at_the_same_nanometres(tmp_path: Path, reference: Any, name: str):
    file, write, flags, placed = FORMS[name]
    write(tmp_path / file)
    tables = stages(tmp_path, tmp_path / file, **flags)
    found = pq.read_table(tables / "synapses.parquet")
    shift = np.zeros(3) if placed else np.array(ORIGIN)  # what the format cannot say
    for column in reference.column_names:
        of = shift["zyx".index(column[0])] if column.endswith("_nm") else shift[::-1] if column.endswith("_position") else 0
        here, there = (np.array(table[column].to_pylist()) for table in (found, reference))
        np.testing.assert_allclose(here + of, there, rtol=1e-6, err_msg=column)
    for axis, at, size in zip("zyx", PLACE, SIZE, strict=True):
        np.testing.assert_allclose(reference[f"{axis}_nm"], at + reference[axis].to_numpy() * size)
    frame = json.loads((tables / "frame.json").read_text())
    assert json.loads(found.schema.metadata[b"frame"]) == frame
    np.testing.assert_allclose(frame["origin_nm"], np.array(PLACE) - shift)
    first = np.array(OFFSET) * placed + CORNER
    assert frame["voxel_offset"] == first.tolist()
    facts = json.loads((tmp_path / "f.json").read_text())
    assert facts["corner_zyx"] == list(CORNER) and facts["voxel_offset"] == first.tolist()


numbers = st.integers(-(10**6), 10**6)
sizes = st.floats(0.1, 1e4)


@settings(deadline=None)
@given(st.tuples(numbers, numbers, numbers), st.tuples(sizes, sizes, sizes), st.data())
def test_any_cutout_keeps_the_place_of_every_voxel(offset: Any, size: Any, data: Any):
    """The voxel that the source numbers so has the same number and the same nm in what is read, asked for in either way."""
    at = [o * s for o, s in zip(offset, size, strict=True)]
    volume = Source("made", "npy", (40, 50, 60), np.dtype("u1"), lambda region: np.zeros(0), placed(size, ["nm"] * 3, at))
    want = [data.draw(st.integers(1, n)) for n in volume.shape]
    corner = [data.draw(st.integers(0, n - w)) for n, w in zip(volume.shape, want, strict=True)]
    center = [o + c + w // 2 for o, c, w in zip(offset, corner, want, strict=True)]
    for how in ({"center": center[::-1]}, {"center_nm": [c * s for c, s in zip(center, size, strict=True)][::-1]}):
        p = ingest.Parameters.model_validate({"input": "made", "cutout": want[::-1], **how})
        own, _ = ingest.sizes(p, volume)
        found, shape = ingest.place(p, volume, own)
        assert (list(found), list(shape)) == (corner, want)
        space = own.crop(found)
        assert list(space.offset) == [o + c for o, c in zip(offset, corner, strict=True)]
        last = [(o + c + w - 1) * s for o, c, w, s in zip(offset, corner, want, size, strict=True)]
        np.testing.assert_allclose(space.position([w - 1 for w in want]), last, rtol=1e-9, atol=1e-9 * max(size))


@pytest.fixture(scope="module", params=["0.5", "0.4"])
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The region as it is published, with labels."""
    folder = tmp_path_factory.mktemp("published")
    raw = make_store(folder / "r.ome.zarr", EM[REGION], SIZE, origin=PLACE)
    ids = make_store(folder / "l.ome.zarr", EM[REGION].astype(np.uint32), SIZE, origin=PLACE, label=True)
    version = {"ome_zarr_version": request.param}
    assert run_stage("serving.multiscale", folder, volume=raw, labels=ids, output="out.ome.zarr", **version) == 0
    return folder / "out.ome.zarr"


# Centre of voxel 0 of levels 0 and 1, z, y, x in nm: level 1 halves y and x.
LEVELS = [PLACE, [PLACE[0], PLACE[1] + SIZE[1] / 2, PLACE[2] + SIZE[2] / 2]]


@pytest.mark.parametrize("inside", ["", "labels/neurites"])
def test_ome_zarr_py_finds_what_is_published_where_it_was(published: Path, inside: str):
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    node = next(n for n in Reader(parse_url(str(published / inside)))() if "coordinateTransformations" in n.metadata)
    for level, steps in enumerate(node.metadata["coordinateTransformations"][:2]):
        made = {step["type"]: step[step["type"]] for step in steps}
        assert made["translation"] == LEVELS[level] and made["scale"] == [SIZE[0], *(s * (level + 1) for s in SIZE[1:])]
    np.testing.assert_array_equal(np.asarray(node.data[0]), EM[REGION])


def test_ngff_zarr_finds_what_is_published_where_it_was(published: Path):
    ngff_zarr = pytest.importorskip("ngff_zarr", reason="ngff-zarr is not installed")
    found = ngff_zarr.from_ngff_zarr(str(published), version="0.5" if (published / "zarr.json").exists() else "0.4")
    for level, image in enumerate(found.images[:2]):
        assert [image.translation[a] for a in "zyx"] == LEVELS[level]
        assert image.axes_units["z"] == "nanometer"


def test_tensorstore_finds_what_is_published_where_it_was(published: Path):
    """TensorStore has no driver for a whole image: its arrays, by the path that the metadata gives, at its translation."""
    v3 = (published / "zarr.json").exists()
    meta = json.loads((published / ("zarr.json" if v3 else ".zattrs")).read_text())
    entry = (meta["attributes"]["ome"] if v3 else meta)["multiscales"][0]
    first = entry["datasets"][0]
    steps = {s["type"]: s[s["type"]] for s in first["coordinateTransformations"]}
    kvstore = {"driver": "file", "path": str(published / first["path"])}
    array = ts.open({"driver": "zarr3" if v3 else "zarr", "kvstore": kvstore}).result()
    moved = array.translate_to[[round(t / s) for t, s in zip(steps["translation"], steps["scale"], strict=True)]]
    assert moved.domain.inclusive_min == tuple(o + c for o, c in zip(OFFSET, CORNER, strict=True))
    z, y, x = (o + c + 3 for o, c in zip(OFFSET, CORNER, strict=True))
    assert moved[z, y, x].read().result() == EM[z - OFFSET[0], y - OFFSET[1], x - OFFSET[2]]


@pytest.mark.parametrize("labels", ["", "neurites"])
def test_cloudvolume_finds_what_is_exported_where_it_was(published: Path, tmp_path: Path, labels: str):
    cloudvolume = pytest.importorskip("cloudvolume", reason="cloud-volume is not installed")
    export(published, tmp_path / "pre", labels)
    volume = cloudvolume.CloudVolume(f"file://{tmp_path}/pre", progress=False)
    first = [o + c for o, c in zip(OFFSET, CORNER, strict=True)][::-1]
    assert volume.voxel_offset.tolist() == first and volume.resolution.tolist() == list(SIZE[::-1])
    x, y, z = (n + 3 for n in first)
    assert volume[x, y, z].item() == EM[z - OFFSET[0], y - OFFSET[1], x - OFFSET[2]]
