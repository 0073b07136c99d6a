"""`connectome` end to end through Nextflow: what it makes, task counts, blocks, resume, readers."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL, whole
from voxelmill.testing.browser import CHROMIUM, Browser
from voxelmill.testing.chain import check_chain
from voxelmill.testing.engine import PROJECT, Run, killed, run

ONCE = {
    "ESTIMATE": 1,
    "INGEST": 1,
    "INGEST_TRUTH": 1,
    "SIMULATE_MISALIGNMENT": 1,
    "PREPROCESS": 1,
    "ALIGN_PAIRS": 1,
    "ALIGN": 1,
    "RENDER": 1,
    "SEGMENT": 1,
    "AGGLOMERATE": 1,
    "EXPORT_LABELS": 1,
    "SYNAPSES": 1,
    "SHAPES": 1,
    "GRAPH": 1,
    "NEURITES": 1,
    "NEURONS": 1,
    "EVALUATE": 1,
    "MULTISCALE": 3,
    "FIGURES": 1,
    "REPORT": 1,
}
BLOCKS = 3
FIGURES = ("1_overview", "2_synapses", "3_graph", "4_alignment", "5_matrix")
PER_BLOCK = ("SIMULATE_MISALIGNMENT", "PREPROCESS", "ALIGN_PAIRS", "RENDER", "SEGMENT", "EXPORT_LABELS", "SYNAPSES", "SHAPES")


def test_every_process_runs_as_often_as_it_should(connectome: Run):
    assert dict(connectome.tasks("COMPLETED")) == ONCE


def test_fixed_names_are_there(connectome: Run):
    for name in (
        "volumes/raw.ome.zarr",
        "volumes/aligned.ome.zarr",
        "volumes/aligned.ome.zarr/labels/neurites",
        "volumes/supervoxels.ome.zarr",
        "tables/merge",
        "tables/alignment.csv",
        "tables/score.json",
        "tables/truth_overlap.parquet",
        "tables/truth_skeletons.parquet",
        "meshes/info",
        "skeletons/precomputed/info",
        "figures/neurites_3d.png",
        "graph/wiring.graphml",
        "graph/neuprint/Neuprint_Neurons.csv",
        "report.html",
        "runs.sqlite",
        "provenance",
        "pipeline_info",
        *(f"tables/{t}.{e}" for t in ("synapses", "edges", "nodes", "motifs", "neurons") for e in ("parquet", "csv")),
        *(
            f"figures/figure{f}.{e}"
            for f in ("1_overview", "2_synapses", "3_graph", "4_alignment", "5_matrix")
            for e in ("png", "pdf")
        ),
    ):
        assert (connectome.outdir / name).exists(), name
    assert not (connectome.outdir / "INCOMPLETE").exists()


def test_neurites_have_meshes_skeletons_and_rows(connectome: Run):
    import pyarrow.parquet as pq

    table = pq.read_table(connectome.outdir / "tables/neurons.parquet").to_pydict()
    traced = {root for root, size in zip(table["root_id"], table["voxels"], strict=True) if size >= 5000}
    assert traced and sum(table["voxels"]) <= 28 * 96 * 96
    assert {int(path.stem) for path in (connectome.outdir / "skeletons").glob("*.swc")} == traced
    assert {int(path.stem) for path in (connectome.outdir / "meshes").glob("*.index")} == traced
    assert {root for root, cable in zip(table["root_id"], table["cable_um"], strict=True) if cable is not None} == traced


def test_alignment_table_and_score(connectome: Run):
    rows = (connectome.outdir / "tables/alignment.csv").read_text().splitlines()
    assert rows[0] == "section,dy,dx,rotation_deg,residual_px,status"
    assert len(rows) == 1 + 28
    score = json.loads((connectome.outdir / "tables/score.json").read_text())
    assert {"voi_split", "voi_merge", "arand"} <= set(score)
    assert score["arand"] < 0.25  # clean tubes: anything worse is a fault, not a hard case


def test_correction_undoes_the_jitter(connectome: Run):
    """dy, dx are added to the content: jitter + correction is smooth from section to section."""

    def shifts(name: str) -> np.ndarray:
        return np.genfromtxt(connectome.outdir / f"tables/{name}", delimiter=",", names=True, usecols=(0, 1, 2))

    jitter, correction = shifts("jitter.csv"), shifts("alignment.csv")
    for axis in ("dy", "dx"):
        before, after = np.diff(jitter[axis]), np.diff(jitter[axis] + correction[axis])
        assert np.sqrt((after**2).mean()) < 0.3 * np.sqrt((before**2).mean())


def test_other_libraries_open_the_volumes(connectome: Run):
    import tensorstore as ts
    import zarr
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader
    from ome_zarr_models import open_ome_zarr

    path = connectome.outdir / "volumes/aligned.ome.zarr"
    open_ome_zarr(zarr.open_group(str(path), mode="r"))
    group = zarr.open_group(str(path), mode="r")
    scale = group.attrs["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"]
    units = [a["unit"] for a in group.attrs["ome"]["multiscales"][0]["axes"]]
    assert scale == [30.0, 8.0, 8.0] and units == ["nanometer"] * 3
    store = ts.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path}/0"}}, open=True).result()
    assert np.array_equal(store[...].read().result(), group["0"][:])
    located = parse_url(path)
    assert located is not None
    nodes = list(Reader(located)())
    assert nodes[0].data[0].shape == (28, 96, 96)
    labels = zarr.open_group(str(path / "labels/neurites"), mode="r")
    open_ome_zarr(labels)
    assert labels["0"].shape == (28, 96, 96) and labels["0"].dtype.kind == "u"


def test_supervoxels_through_the_merge_table_are_the_labels(connectome: Run):
    import pyarrow.parquet as pq
    import zarr

    volumes = connectome.outdir / "volumes"
    pieces = zarr.open_array(str(volumes / "supervoxels.ome.zarr/0"))[:]
    labels = zarr.open_array(str(volumes / "aligned.ome.zarr/labels/neurites/0"))[:]
    table = pq.read_table(connectome.outdir / "tables/merge").to_pydict()
    assert list(table) == ["supervoxel", "root_id", "score"]
    root = dict(zip(table["supervoxel"], table["root_id"], strict=True)) | {0: 0}
    ids, place = np.unique(pieces, return_inverse=True)
    assert np.array_equal(np.array([root[i] for i in ids.tolist()])[place].reshape(labels.shape), labels)
    aligned = zarr.open_array(str(volumes / "aligned.ome.zarr/0"))
    assert aligned.dtype == "float32" and 0 <= aligned[:].min() < aligned[:].max() <= 1


def test_the_log_lists_the_run(connectome: Run):
    done = subprocess.run(
        [PROJECT / ".venv/bin/voxelmill", "runs", connectome.outdir, "--json"], capture_output=True, text=True, check=True
    )
    (row,) = json.loads(done.stdout)
    assert row["status"] == "finished" and row["tasks_done"] == sum(ONCE.values())
    assert row["dataset_uri"].endswith("raw.npy")


def test_every_published_file_can_be_followed_to_the_raw_bytes(connectome: Run, phantom: Path):
    found = check_chain(connectome.outdir, [phantom / "raw.npy", phantom / "truth.npy"])
    assert len(found) == sum(ONCE.values())  # those of JOIN and all else
    assert {r["run_id"] for r in found} == {connectome.name()} and len({r["task_hash"] for r in found}) == len(found)


@pytest.mark.parametrize("name", ["tables/edges.parquet", "graph/edges.txt", "volumes/aligned.ome.zarr/zarr.json"])
def test_a_changed_result_cannot_be_followed(connectome: Run, phantom: Path, tmp_path: Path, name: str):
    shutil.copytree(connectome.outdir, tmp_path / "out")
    with open(tmp_path / "out" / name, "ab") as file:
        file.write(b" ")
    with pytest.raises(AssertionError, match=f"{name}: not the bytes"):
        check_chain(tmp_path / "out", [phantom / "raw.npy", phantom / "truth.npy"])


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH (Debian package chromium)")
def test_the_report_is_drawn(connectome: Run, tmp_path: Path):
    from voxelmill.testing.stages import run_stage

    # The session's run has no plots, to be quick: make the page again from its records, with them.
    shutil.copytree(connectome.outdir / "provenance", tmp_path / "records/1")
    assert (
        run_stage(
            "serving.report",
            tmp_path,
            records="records",
            figures=connectome.outdir / "figures",
            tables=connectome.outdir / "tables",
            title="test",
            output="report.html",
        )
        == 0
    )
    drawn = len(list((connectome.outdir / "figures").glob("*.png")))
    with Browser(tmp_path / "profile", (1200, 2000)) as page:
        page.open((tmp_path / "report.html").as_uri())
        page.until("document.querySelectorAll('#costs .bars .point').length >= 20")
        page.until("document.readyState === 'complete' && [...document.images].every(i => i.complete && i.naturalWidth)")
        assert page.run("document.images.length") == drawn >= 5
        assert page.run("document.documentElement.scrollWidth <= innerWidth") and not page.faults


@pytest.fixture(scope="module")
def blockwise(connectome: Run, phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, str], Run]:
    """A run in so many blocks by a method of segmentation; what both methods need is done once."""
    folders = {1: connectome.outdir.parent, BLOCKS: tmp_path_factory.mktemp("blocks")}

    def go(blocks: int, segmentation: str) -> Run:
        folder = folders[blocks]
        words = (*whole(phantom, blocks), "--segmentation", segmentation, "-resume")
        done = run(*words, folder=folder, outdir=folder / segmentation)
        assert done.code == 0, done.said
        return done

    return go


@pytest.mark.slow
@pytest.mark.parametrize("segmentation", ["learned", "classic"])
def test_same_bytes_for_any_number_of_blocks(
    connectome: Run, blockwise: Callable[[int, str], Run], phantom: Path, segmentation: str
):
    """Seven shards as 2, 3 and 2."""
    blocks, done = BLOCKS, blockwise(BLOCKS, segmentation)
    tasks = done.tasks()
    assert all(tasks[name] == blocks for name in PER_BLOCK)
    assert tasks["INGEST"] == tasks["INGEST_TRUTH"] == 1
    assert tasks["READ_SLAB"] == 2 * blocks and tasks["JOIN_SLABS"] == 2  # raw and truth
    assert tasks["PYRAMID"] == 3 * blocks and tasks["MULTISCALE"] == 3  # raw, supervoxels, aligned with its labels
    joins = ("JITTERED", "PREPROCESSED", "ALIGNED", "LABELS", "SUPERVOXEL_STORES")
    assert [tasks[f"JOIN_{name}"] for name in joins] == [1] * 5
    assert (tasks["AGGLOMERATE"], tasks["JOIN_SEGMENTS"]) == ((1, 0) if segmentation == "learned" else (blocks, 1))
    assert len(list((done.outdir / "provenance").glob("*.json"))) == sum(tasks.values())
    assert len(check_chain(done.outdir, [phantom / "raw.npy", phantom / "truth.npy"])) == sum(tasks.values())
    single = connectome if segmentation == "learned" else blockwise(1, segmentation)
    ours, theirs = done.digests(), single.digests()
    assert [n for n in theirs if ours.get(n) != theirs[n]] == []
    assert set(ours) == set(theirs)


@pytest.mark.slow
def test_resume_after_a_kill_runs_only_what_is_unfinished(connectome: Run, phantom: Path, tmp_path: Path):
    """The head process is killed twice, each time after more tasks have been done."""
    args = whole(phantom, 1)
    finished = killed(*args, folder=tmp_path, after=(3, 11))
    done = run(*args, "-resume", folder=tmp_path)
    assert done.code == 0, done.said
    assert sum(done.tasks().values()) == sum(ONCE.values())
    # At each kill two tasks may have ended before Nextflow noted it.
    assert sum(done.tasks("CACHED").values()) >= finished - 4
    assert done.digests() == connectome.digests()


@pytest.fixture(scope="module")
def older(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Callable[..., Run]]:
    """A run with OME-Zarr 0.4, in a folder with a source of its own, and how to start more there, one after another."""
    folder = tmp_path_factory.mktemp("older")
    shutil.copy(phantom / "raw.npy", folder)
    version = ("--ome_zarr_version", "0.4", "--aligned_dtype", "float16", "--blocks", 1)

    def go(*words: object, outdir: str = "out") -> Run:
        given = ("--input", folder / "raw.npy", *version, *SMALL, *words)
        return run(*given, "-resume", folder=folder, outdir=folder / outdir)

    first = go()
    assert first.code == 0, first.said
    return first, go


@pytest.mark.slow
def test_older_tools_get_their_version(older: tuple[Run, Callable[..., Run]], phantom: Path):
    import zarr
    from ome_zarr_models import open_ome_zarr

    volumes = older[0].outdir / "volumes"
    for name in ("raw", "aligned"):
        group = zarr.open_group(str(volumes / f"{name}.ome.zarr"), mode="r")
        assert group.metadata.zarr_format == 2
        open_ome_zarr(group)
    assert group["0"].dtype == np.float16
    assert np.array_equal(zarr.open_array(str(volumes / "raw.ome.zarr/0"), mode="r")[:], np.load(phantom / "raw.npy"))


@pytest.mark.slow
def test_save_minimal_publishes_no_raw_volume(older: tuple[Run, Callable[..., Run]]):
    done = older[1]("--save_minimal", "true", outdir="minimal")
    assert done.code == 0, done.said
    assert (done.outdir / "volumes/aligned.ome.zarr/0").exists() and not (done.outdir / "volumes/raw.ome.zarr").exists()
    assert not (done.outdir / "volumes/aligned.ome.zarr/1").exists()


@pytest.mark.slow
def test_a_changed_source_runs_all_again_and_a_changed_chunk_is_refused(older: tuple[Run, Callable[..., Run]]):
    """Nextflow looks at a folder's root only: it sees a store by the manifest beside it, and who reads checks."""
    first, again = older
    source = first.outdir.parent / "raw.npy"
    values = np.load(source)
    values[10, 40:60, 40:60] = 20
    np.save(source, values)
    done = again()
    assert done.code == 0, done.said
    assert not done.tasks("CACHED")

    (task,) = (row for row in done.trace() if row["process"] == "EXPORT_LABELS")
    labels = Path(task["workdir"]) / "neurites.ome.zarr/0/c"
    one, other = labels / "1/0/0", labels / "2/0/0"
    first, second = one.read_bytes(), other.read_bytes()
    for path, data in ((one, second), (other, first)):  # hard links of the work folder: a new file for each
        path.unlink()
        path.write_bytes(data)
    refused = again("--mesh_resolution", 30)  # SHAPES reads all labels; SYNAPSES only those around what it finds
    assert refused.code != 0 and refused.attempts("SHAPES") == [("FAILED", 65)]
    assert "not the bytes that the manifest lists; re-run the stage that made it" in refused.said


@pytest.mark.parametrize("parser", ["v1", "v2"])
def test_a_misspelt_parameter_stops_at_once(phantom: Path, tmp_path: Path, parser: str):
    done = run("--input", phantom / "raw.npy", "--cutuot", "1,1,1", env={"NXF_SYNTAX_PARSER": parser}, folder=tmp_path)
    assert done.code != 0
    assert "unknown parameter --cutuot. Did you mean --cutout?" in done.said
    assert not list(tmp_path.glob("work/*/*")) and not (tmp_path / "out/INCOMPLETE").exists()


def test_bad_data_stops_with_one_line(tmp_path: Path):
    np.save(tmp_path / "raw.npy", np.full((4, 32, 32), np.nan, np.float32))
    done = run("--input", tmp_path / "raw.npy", "--rescale", "true", folder=tmp_path)
    assert done.code != 0
    assert "ERROR [ingest]" in done.said and "NaN or infinite" in done.said and "(65)" in done.said
    assert not list((tmp_path / "out").glob("volumes/*"))
    assert (tmp_path / "out/INCOMPLETE").exists()
