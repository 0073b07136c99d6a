"""From labels to meshes, skeletons and the table: frame, sizes, readers; blocks and batches leave no trace."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from voxelmill.core.errors import DataError
from voxelmill.postprocess.shapes import as_fragment, from_fragment
from voxelmill.serving import meshes, neurites
from voxelmill.testing.stages import make_store, record_of, run_stage

SIZE, ORIGIN = (20.0, 10.0, 10.0), (1000.0, 200.0, 300.0)


def labels() -> np.ndarray:
    """Two bars along x and z that cross the borders of shards, and a crumb; 8 shards of 16, 64, 64."""
    values = np.zeros((32, 128, 128), np.uint32)
    values[10:22, 50:74, 8:120] = 5  # 240 nm thick, 1120 nm long
    values[2:30, 90:110, 20:44] = 6
    values[4:6, 4:8, 4:8] = 9  # 32 voxels
    return values


def made(folder: Path, blocks: list[str], batches: int, voxel_size=SIZE, form="multilod", **more) -> Path:
    """Run all three stages; the folder then holds meshes, skeletons, tables and neurites.png."""
    store = make_store(folder / "labels.ome.zarr", labels(), voxel_size, shard=(16, 64, 64), label=True, origin=ORIGIN)
    tables = ("sizes", "fragments", "coarse")
    for block in blocks:
        outputs = {name: f"{name}{block}.parquet" for name in tables}
        assert run_stage("postprocess.shapes", folder, labels=store, block=block, **outputs, **more) == 0
    inputs = {name: [f"{name}{block}.parquet" for block in blocks] for name in tables}
    for n in range(batches):
        outputs = {"rows": f"rows{n}.parquet", "largest": f"largest{n}.parquet"}
        outputs |= {"mesh_files": f"{n}/meshes", "skeleton_files": f"{n}/skeletons"}
        names = {"batch": f"{n}-of-{batches}", "labels": store, "neurite_min_voxels": 100, "mesh_format": form}
        assert run_stage("serving.neurites", folder, **names, **inputs, **outputs, **more) == 0
    (folder / "tables").mkdir()
    nodes = {"root_id": pa.array([9, 5], pa.uint64()), "in_degree": [1, 3], "out_degree": [0, 2]}
    pq.write_table(pa.table(nodes), folder / "tables/nodes.parquet")
    parts = {name: [f"{name}{n}.parquet" for n in range(batches)] for name in ("rows", "largest")}
    outputs = {"mesh_files": "info/meshes", "skeleton_files": "info/skeletons", "picture": "neurites.png"}
    outputs |= {"tables": "tables", "neurons": "neurons", "figure_dpi": 60, "mesh_format": form}
    assert run_stage("serving.neurons", folder, **parts, **outputs, **more) == 0
    for part in (*(folder / f"{n}" for n in range(batches)), folder / "info"):
        for file in (f for f in part.rglob("*") if f.is_file()):
            target = folder / "out" / file.relative_to(part)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("whole"), ["0-7"], 1)


def rows_of(folder: Path) -> dict[str, dict[str, str]]:
    with open(folder / "neurons/neurons.csv", newline="") as file:
        return {row["root_id"]: row for row in csv.DictReader(file)}


def everything(folder: Path) -> dict[str, bytes]:
    files = [f for f in (folder / "out").rglob("*") if f.is_file()]
    files += [folder / "neurons/neurons.parquet", folder / "neurons/neurons.csv", folder / "neurites.png"]
    return {str(f.relative_to(folder)): f.read_bytes() for f in files}


def test_blocks_and_batches_leave_no_trace(whole: Path, tmp_path: Path):
    ours, theirs = everything(made(tmp_path, ["0-0", "1-2", "3-6", "7-7"], 3)), everything(whole)
    assert set(ours) == set(theirs)
    assert [name for name in theirs if ours[name] != theirs[name]] == []


def test_neurites_are_held_group_by_group(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    held: list[list[int]] = []
    blobs = neurites.blobs

    def seen(paths, wanted):
        held.append(wanted.tolist())
        return blobs(paths, wanted)

    monkeypatch.setattr(neurites, "AT_ONCE", 10_000)
    monkeypatch.setattr(neurites, "blobs", seen)
    ours, theirs = everything(made(tmp_path, ["0-7"], 1)), everything(whole)
    assert held == [[5, 6], [5], [6]]  # meshes are written as they come
    assert ours == theirs


def test_the_table(whole: Path):
    rows = rows_of(whole)
    bar = rows["5"]
    assert int(bar["voxels"]) == 12 * 24 * 112 and float(bar["volume_um3"]) == pytest.approx(12 * 24 * 112 * 2e-6)
    sides = np.array([240, 240, 1120]) / 1e3
    assert float(bar["surface_um2"]) == pytest.approx(2 * (sides[0] * sides[1] + 2 * sides[0] * sides[2]), rel=0.1)
    assert float(bar["cable_um"]) == pytest.approx(1.12, rel=0.15)
    assert (bar["branch_points"], bar["end_points"], bar["pieces"]) == ("0", "2", "1")
    box = [float(bar[f"{a}_{end}_nm"]) for a in "zyx" for end in ("min", "max")]
    assert box == [1190, 1430, 695, 935, 375, 1495]  # the faces of voxels, half a voxel around their centres
    assert (bar["synapses_in"], bar["synapses_out"], rows["6"]["synapses_in"]) == ("3", "2", "0")
    assert rows["9"]["cable_um"] == "" and rows["9"]["synapses_in"] == "1" and set(rows) == {"5", "6", "9"}


def test_an_empty_block_and_labels_with_gaps(tmp_path: Path):
    """Nothing at all makes tables without rows; ids far apart and sections without labels are nothing special."""
    values = np.zeros((32, 64, 64), np.uint64)
    values[:8, 10:40, 10:40], values[20:30, 10:40, 10:40] = 7, 2**52
    for name, labels in (("empty", values * 0), ("gaps", values)):
        folder = tmp_path / name
        store = make_store(folder / "l.ome.zarr", labels, SIZE, shard=(16, 64, 64), label=True)
        tables = {table: f"{table}.parquet" for table in ("sizes", "fragments", "coarse")}
        assert run_stage("postprocess.shapes", folder, labels=store, block="0-1", **tables) == 0
        outputs = {"rows": "r.parquet", "largest": "l.parquet", "mesh_files": "meshes", "skeleton_files": "skeletons"}
        more = {"labels": store, "batch": "0-of-1", "neurite_min_voxels": 100}
        assert run_stage("serving.neurites", folder, **more, **tables, **outputs) == 0
    assert pq.read_table(tmp_path / "empty/r.parquet").num_rows == 0 and not list((tmp_path / "empty/meshes").iterdir())
    rows = pq.read_table(tmp_path / "gaps/r.parquet").to_pydict()
    assert rows["root_id"] == [7, 2**52] and rows["voxels"] == [8 * 900, 10 * 900]
    assert {path.stem for path in (tmp_path / "gaps/skeletons").glob("*.swc")} == {"7", str(2**52)}


def test_small_ones_are_counted(whole: Path):
    assert not list(whole.glob("out/*/9*"))
    assert record_of(whole, "neurites")["quality"] == {"neurites_traced": 2, "neurites_too_small": 1}


def closed_and_in_place(position: np.ndarray, triangles: np.ndarray) -> None:
    """The mesh of 5: no gap over borders of shards and cells, where the labels lie, outwards in x y z."""
    ends, number = np.unique(position, axis=0, return_inverse=True)
    number = number.ravel()[triangles]
    edges = np.concatenate([number[:, [0, 1]], number[:, [1, 2]], number[:, [2, 0]]])
    there, back = (np.unique(e, axis=0, return_counts=True) for e in (edges, edges[:, ::-1]))
    assert all(np.array_equal(a, b) for a, b in zip(there, back))
    assert (ends.min(0) + ends.max(0)) / 2 == pytest.approx([(375 + 1495) / 2, (695 + 935) / 2, (1190 + 1430) / 2], abs=6)
    assert np.ptp(ends, axis=0) == pytest.approx([1120, 240, 240], abs=24)
    a, b, c = position[triangles].transpose(1, 0, 2).astype(float)
    assert np.einsum("ij,ij->", a, np.cross(b, c)) / 6 == pytest.approx(240 * 240 * 1120, rel=0.12)


def test_meshes_of_all_levels_are_closed_and_lie_where_the_labels_lie(whole: Path):
    folder = whole / "out/meshes"
    assert json.loads((folder / "info").read_text())["@type"] == "neuroglancer_multilod_draco"
    said = meshes.manifest_of(folder, 5)
    assert said.scales.tolist() == [20, 40, 80] and (said.cell == 2560).all()
    assert (folder / "5").stat().st_size == sum(map(sum, said.sizes))
    triangles = []
    for lod in range(3):
        mesh = meshes.read(folder, 5, lod)
        closed_and_in_place(*mesh)
        triangles.append(len(mesh[1]))
    assert triangles[0] > 3 * triangles[1] > 6 * triangles[2]


def test_meshes_through_many_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As many levels as it takes until one cell holds all; each closed. A cell without triangles has no bytes."""
    monkeypatch.setattr(meshes, "CELL", 8)
    folder = made(tmp_path, ["0-7"], 1) / "out/meshes"
    said = meshes.manifest_of(folder, 5)
    assert [len(cells) for cells in said.cells][:2] > [20, 4] and len(said.cells) == 4
    for lod in range(3):
        closed_and_in_place(*meshes.read(folder, 5, lod))
        assert (said.corner >= [250, 150, 950]).all() and said.cells[lod].max() < 8 >> lod


def test_one_cell_of_the_last_level_holds_all(tmp_path: Path):
    """Also where a neurite lies on both sides of a face of cells of every level."""
    position, grid = (
        np.array([[100, 100, 7600], [100, 100, 8400], [100, 600, 8000]]),
        meshes.Grid(np.zeros(3), np.full(3, 1000.0)),
    )
    meshes.write("multilod", tmp_path, grid, [(2**63 + 1, "0_0_0", as_fragment(position, np.array([[0, 1, 2]])))])
    said = meshes.manifest_of(tmp_path, 2**63 + 1)
    assert said.corner.tolist() == [7000, 0, 0] and [len(cells) for cells in said.cells] == [2, 1, 1]


def test_a_crumb_has_only_levels_that_show_it(tmp_path: Path):
    """Neuroglancer draws the last that it has; of an empty one it would draw nothing."""
    flat = as_fragment(np.eye(3) + 500, np.array([[0, 1, 2]]))
    meshes.write("multilod", tmp_path, meshes.Grid(np.zeros(3), np.full(3, 1280.0)), [(7, "0_0_0", flat)])
    assert [len(cells) for cells in meshes.manifest_of(tmp_path, 7).cells] == [1]
    assert len(meshes.read(tmp_path, 7, 0)[1]) == 1


def test_legacy_meshes(whole: Path, tmp_path: Path):
    folder = made(tmp_path, ["0-7"], 1, form="legacy") / "out/meshes"
    assert meshes.format_of(folder) == "legacy" and meshes.format_of(whole / "out/meshes") == "multilod"
    listed = json.loads((folder / "5:0").read_text())["fragments"]
    assert len(listed) == 8  # the bar lies in all shards
    parts = [from_fragment((folder / name).read_bytes()) for name in listed]
    starts = np.cumsum([0, *(len(position) for position, _ in parts)])
    triangles = np.concatenate([corners + start for (_, corners), start in zip(parts, starts)])
    closed_and_in_place(np.concatenate([position for position, _ in parts]), triangles)
    (folder / "info").write_text('{"@type": "other"}')
    with pytest.raises(DataError, match=r"info: @type 'other'; expected one of neuroglancer_multilod_draco"):
        meshes.format_of(folder)
    (folder / "info").unlink()
    assert meshes.format_of(folder) == "legacy"


def test_cloudvolume_reads_meshes_and_skeletons(whole: Path, tmp_path: Path):
    cloudvolume = pytest.importorskip("cloudvolume")
    info = cloudvolume.CloudVolume.create_new_info(
        1, "segmentation", "uint32", "raw", (10, 10, 20), (30, 20, 50), (128, 128, 32), mesh="meshes", skeletons="skeletons"
    )
    (tmp_path / "info").write_text(json.dumps(info))
    (tmp_path / "meshes").symlink_to(whole / "out/meshes")
    (tmp_path / "skeletons").symlink_to(whole / "out/skeletons/precomputed")
    volume = cloudvolume.CloudVolume(f"file://{tmp_path}", progress=False, parallel=1)
    for lod in range(3):
        mesh = volume.mesh.get(5, lod=lod)[5]
        ours = meshes.read(whole / "out/meshes", 5, lod)
        assert np.array_equal(mesh.faces, ours[1]) and mesh.vertices == pytest.approx(ours[0], abs=0.01)
    skeleton = volume.skeleton.get(5)
    assert skeleton.cable_length() == pytest.approx(1000 * float(rows_of(whole)["5"]["cable_um"]), rel=1e-3)
    middle = skeleton.vertices[abs(skeleton.vertices[:, 0] - 935) < 300]
    assert middle[:, 1:] == pytest.approx(np.tile([815.0, 1310.0], (len(middle), 1)), abs=50)
    assert skeleton.radius.max() == pytest.approx(120, abs=25)


def test_swc_is_in_micrometres_parents_first(whole: Path):
    lines = (whole / "out/skeletons/5.swc").read_text().splitlines()
    assert "micrometer" in lines[0]
    nodes = np.array([[float(v) for v in line.split()] for line in lines if line[0] != "#"])
    assert nodes[:, 0].tolist() == list(range(1, len(nodes) + 1)) and (nodes[:, 6] < nodes[:, 0]).all()
    assert nodes[0, 6] == -1 and (nodes[1:, 6] > 0).all()
    middle = nodes[abs(nodes[:, 2] - 0.935) < 0.3]
    assert len(middle) > 10 and middle[:, 3:5] == pytest.approx(np.tile([0.815, 1.31], (len(middle), 1)), abs=0.05)
    parents = nodes[nodes[1:, 6].astype(int) - 1]
    length = np.linalg.norm(nodes[1:, 2:5] - parents[:, 2:5], axis=1).sum()
    assert length == pytest.approx(float(rows_of(whole)["5"]["cable_um"]), rel=1e-3)


def test_neither_meshes_nor_skeletons(tmp_path: Path):
    folder = made(tmp_path, ["0-7"], 1, meshes=False, skeletons=False)
    assert not (folder / "out").exists() and not (folder / "neurites.png").exists()
    row = rows_of(folder)["5"]
    assert row["voxels"] == str(12 * 24 * 112) and row["surface_um2"] == row["cable_um"] == ""
