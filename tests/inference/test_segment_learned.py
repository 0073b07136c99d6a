"""Segment and agglomerate by the network: the same for any blocks; models that do not fit are refused."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from voxelmill.core.volume import open_image
from voxelmill.inference import pending, region_graph, section_linking, supervoxels
from voxelmill.inference.segment import MODEL
from voxelmill.postprocess.score import score_volumes
from voxelmill.testing.em import neurites
from voxelmill.testing.stages import make_store, record_of, run_stage
from voxelmill.transform import contrast

SHAPE = (12, 96, 96)
NM = (20.0, 10.0, 10.0)


@pytest.fixture(scope="module")
def made() -> tuple[np.ndarray, np.ndarray]:
    return neurites(SHAPE, 24)


@pytest.fixture(scope="module")
def store(made, tmp_path_factory) -> Path:
    return make_store(tmp_path_factory.mktemp("in") / "in.ome.zarr", made[0], (10.0, 10.0, 10.0), shard=(4, 96, 96))


def segment(folder: Path, store: Path, block: str, code: int = 0, **more) -> Path:
    """The tables of a block."""
    done = run_stage("inference.segment", folder, volume=store, block=block, output="s.ome.zarr", overlaps="o.npz", **more)
    assert done == code
    return folder / "o.npz"


def agglomerate(folder: Path, tables: list[Path], **more) -> dict[int, int]:
    done = run_stage(
        "inference.agglomerate",
        folder,
        overlaps=tables,
        block="all",
        components="c.parquet",
        border="b.npz",
        merge="m",
        **more,
    )
    assert done == 0
    found = section_linking.StoredComponents(folder / "c.parquet").within([(0, 2**63)])
    return dict(zip(found.supervoxel.tolist(), found.component.tolist()))


@pytest.fixture(scope="module")
def blocks(store, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("blocks")
    return {block: segment(folder / block, store, block) for block in ("0-2", "0-0", "1-2", "1-1", "2-2")}


def loaded(tables: list[Path]) -> tuple[region_graph.Nodes, region_graph.Edges]:
    """The region graph of all blocks."""
    paths = supervoxels.in_order(tables)
    return supervoxels.nodes_of(paths), region_graph.merged(list(supervoxels.pieces(paths)))


def test_blocks_agree(blocks: dict[str, Path], tmp_path: Path):
    """Supervoxels, the graph between them, and what is joined: one, two and three blocks, in any order."""
    whole = loaded([blocks["0-2"]])
    for k, names in enumerate((["0-0", "1-2"], ["2-2", "0-0", "1-1"])):
        parts = [blocks[name] for name in names]
        for found, true in zip(loaded(parts), whole, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(found, true, strict=True))
        assert agglomerate(tmp_path / f"{k}", parts) == agglomerate(tmp_path / "whole", [blocks["0-2"]])
    labels = open_image(blocks["0-2"].parent / "s.ome.zarr").read()
    for name, z in (("0-0", slice(0, 4)), ("1-2", slice(4, 12)), ("1-1", slice(4, 8))):
        assert np.array_equal(open_image(blocks[name].parent / "s.ome.zarr").read(z), labels[z])
    assert whole[0].sizes.sum() == np.prod(SHAPE) == (labels > 0).sum()


def test_neurites_are_found(blocks: dict[str, Path], made, tmp_path: Path):
    """Made membranes, of a kind that the network has not been shown: better than nothing by far."""
    table = agglomerate(tmp_path, [blocks["0-2"]])
    labels = open_image(blocks["0-2"].parent / "s.ome.zarr").read()
    ids, index = np.unique(labels, return_inverse=True)
    found = np.array([table[i] + 1 for i in ids.tolist()])[index].reshape(labels.shape)
    assert score_volumes(made[1], found)["arand"] < 0.2


def test_what_lies_around_the_imaged_part_does_not_matter(made, tmp_path: Path):
    """Black beside it and in sections before and after it: nothing is found there, and inside as much as without."""
    around = [(5, 3), (30, 70), (64, 0)]
    padded = np.pad(made[0], around)
    store = make_store(tmp_path / "in.ome.zarr", contrast.enhance(padded), (10.0, 10.0, 10.0), shard=(20, 256, 256))
    table = agglomerate(tmp_path, [segment(tmp_path, store, "0-0")])
    labels = open_image(tmp_path / "s.ome.zarr").read()
    assert np.array_equal(labels > 0, np.pad(np.ones(SHAPE, bool), around))
    ids, index = np.unique(labels, return_inverse=True)
    found = np.array([table.get(i, -1) + 1 for i in ids.tolist()])[index].reshape(labels.shape)
    assert score_volumes(np.pad(made[1], around), found)["arand"] < 0.2


def test_several_thresholds_make_a_table_each(blocks: dict[str, Path], tmp_path: Path):
    agglomerate(tmp_path, [blocks["0-2"]], agglomeration_threshold="0.3,0.7,0.1")
    quality = record_of(tmp_path, "agglomerate")["quality"]
    n = {t: len(np.unique(pq.read_table(tmp_path / f"m/{t}.parquet")["root_id"])) for t in ("0.1", "0.3", "0.7")}
    assert n == quality["segments_at"] and n["0.1"] <= n["0.3"] <= n["0.7"] and n["0.1"] < n["0.7"]
    assert quality["components"] == n["0.3"]  # the first makes the labels
    agglomerate(tmp_path / "one", [blocks["0-2"]], agglomeration_threshold="0.3")
    assert not (tmp_path / "one/m").exists()


def test_a_block_that_is_missing_is_named(blocks: dict[str, Path], tmp_path: Path, capsys):
    tables = [blocks["0-0"], blocks["2-2"]]
    words = {"overlaps": tables, "block": "all", "components": "c.parquet", "border": "b.npz"}
    assert run_stage("inference.agglomerate", tmp_path, **words) == 65
    assert "sections 4 to 7 are missing; rerun the block" in capsys.readouterr().err


def test_more_supervoxels_than_pairs_have_numbers_are_refused(blocks: dict[str, Path], tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setattr(pending, "MOST_NODES", 3)
    words = {"overlaps": [blocks["0-2"]], "block": "0-0", "components": "c.parquet", "border": "b.npz"}
    assert run_stage("inference.agglomerate", tmp_path, **words) == 65
    assert "expected at most 3" in capsys.readouterr().err


def test_thick_sections_are_cut_by_themselves(made, tmp_path: Path):
    thick = make_store(tmp_path / "in.ome.zarr", made[0][:4], (50.0, 10.0, 10.0), shard=(4, 96, 96))
    segment(tmp_path, thick, "0-0")
    labels = open_image(tmp_path / "s.ome.zarr").read()
    assert all(not set(np.unique(a).tolist()) & set(np.unique(b).tolist()) for a, b in itertools.pairwise(labels))


def test_blank_sections_and_volumes(made, tmp_path: Path):
    grey = made[0][:4].copy()
    grey[1] = 0  # bridged: neurites are followed across one section
    segment(tmp_path, make_store(tmp_path / "in.ome.zarr", grey, (10.0, 10.0, 10.0), shard=(4, 96, 96)), "0-0")
    assert record_of(tmp_path, "segment")["quality"]["empty_sections"] == [1]
    labels = open_image(tmp_path / "s.ome.zarr").read()
    assert labels.all()
    black = make_store(tmp_path / "black.ome.zarr", np.zeros_like(grey), (10.0, 10.0, 10.0), shard=(4, 96, 96))
    assert agglomerate(tmp_path / "b", [segment(tmp_path / "b", black, "0-0")]) == {}


def test_bright_membranes_are_named(made, store: Path, tmp_path: Path, capsys):
    grey = contrast.enhance(made[0])
    for name, values in (("dark", grey), ("bright", contrast.negative(grey))):
        segment(tmp_path, make_store(tmp_path / f"{name}.ome.zarr", values, (10.0, 10.0, 10.0), shard=(4, 96, 96)), "0-0")
        said = record_of(tmp_path, "segment")["quality"].get("notes", [""])[0]
        assert ("run with --membranes bright" in said) == ("run with --membranes bright" in capsys.readouterr().err)
        assert bool(said) == (name == "bright")
    few = make_store(tmp_path / "few.ome.zarr", contrast.negative(grey)[:, :60, :60], (10.0, 10.0, 10.0), shard=(12, 96, 96))
    segment(tmp_path, few, "0-0")
    assert "notes" not in record_of(tmp_path, "segment")["quality"]  # too few to tell


def test_grey_values_of_any_type_give_the_same_supervoxels(made, tmp_path: Path):
    """Mapped by the range that ingest has found in the volume."""
    from voxelmill.testing.stages import make_facts

    raw, found = made[0][:4], []
    for name, values, span in (
        ("u8", raw, (0, 255)),
        ("u16", raw.astype(np.uint16) * 257, (0, 65535)),
        ("f32", raw.astype(np.float32) / 255, (0, 1)),
    ):
        store = make_store(tmp_path / f"{name}.ome.zarr", values, (10.0, 10.0, 10.0), shard=(4, 96, 96))
        given = {"volume": store, "facts": make_facts(tmp_path / f"{name}.json", 4, span), "block": "0-0"}
        assert run_stage("transform.preprocess", tmp_path / name, **given, output="p.ome.zarr") == 0
        segment(tmp_path / name, tmp_path / name / "p.ome.zarr", "0-0")
        found.append(open_image(tmp_path / name / "s.ome.zarr").read())
    assert np.array_equal(found[0], found[1]) and (found[0] != found[2]).mean() < 0.02  # rounding of a grey level


def test_models_that_do_not_fit(made, store: Path, tmp_path: Path, capsys):
    tampered, other, broken = (shutil.copytree(MODEL, tmp_path / name) for name in ("tampered", "other", "broken"))
    with open(tampered / "model.onnx", "ab") as file:
        file.write(b"x")
    segment(tmp_path, store, "0-0", 65, model=tampered)
    assert "not the weights that it describes" in capsys.readouterr().err
    card = json.loads((other / "card.json").read_text())
    (other / "card.json").write_text(json.dumps({**card, "kind": "cells"}))
    segment(tmp_path, store, "0-0", 65, model=other)
    assert "a model of kind cells; --segmentation learned expects one of neurites" in capsys.readouterr().err
    (broken / "model.onnx").write_bytes(b"no network")
    sha = hashlib.sha256(b"no network").hexdigest()
    (broken / "card.json").write_text(json.dumps({**card, "sha256": sha}))
    segment(tmp_path, store, "0-0", 65, model=broken)
    assert "model.onnx: not a network that ONNX Runtime can read" in capsys.readouterr().err


def test_voxels_that_are_new_to_the_network(made, tmp_path: Path, capsys):
    coarse = make_store(tmp_path / "in.ome.zarr", made[0][:4], (100.0, 40.0, 40.0), shard=(4, 96, 96))
    segment(tmp_path, coarse, "0-0")
    assert "voxels of (100.0, 40.0, 40.0) nm" in capsys.readouterr().err
    assert "100.0" in record_of(tmp_path, "segment")["quality"]["notes"][0]
    segment(tmp_path, coarse, "0-0", 65, model_mismatch="refuse")
    assert "give another --model, or --model_mismatch warn" in capsys.readouterr().err


MEASURED = """
import json, re
from pathlib import Path
import numpy as np
from voxelmill.inference.segment import MODEL
from voxelmill.inference.supervoxels import network

def mega(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

run, found = network(MODEL), []
run(np.zeros((1, 4, 16, 16), np.float32))
least = mega("VmRSS")
for y, x in ((192, 192), (176, 192), (192, 176), (176, 176)):
    run(np.zeros((1, 12, y, x), np.float32))
    found.append((mega("VmHWM") - least, mega("VmRSS") - least))
print(json.dumps(found))
"""


def test_the_network_keeps_no_memory_of_patches():
    """Those at the ends have other shapes; for each ONNX Runtime would keep a plan and its memory: 154 MB, not 20 to 70."""
    done = subprocess.run([sys.executable, "-c", MEASURED], capture_output=True, text=True, check=True)
    (peak, _), *_, (_, kept) = json.loads(done.stdout)
    assert kept < 1.2 * peak  # of the first patch, the largest one
