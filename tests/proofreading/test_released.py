"""Edits become the next release: its mapping is the replay of the log, and only what they touch is made again."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from voxelmill import cli
from voxelmill.catalog import differences, index, lineage, queries, releases
from voxelmill.catalog.store import Store
from voxelmill.core import manifest
from voxelmill.core.errors import DataError, ParameterError
from voxelmill.core.volume import open_image
from voxelmill.postprocess.score import score_volumes
from voxelmill.proofreading import released
from voxelmill.proofreading.edits import Editor
from voxelmill.testing import bars, browser
from voxelmill.testing.served import serving


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bars.released(tmp_path_factory.mktemp("bars") / "results", bars.BEFORE)


@pytest.fixture
def store(tmp_path: Path, results: Path) -> Store:
    store = Store(tmp_path / "store", make=True)
    releases.create(store, results, "r1")
    return store


def edit(store: Store, tag: str = "r1") -> Editor:
    """The two halves are made one; another merge is taken back again."""
    edits = Editor(store, tag, index.load(store, tag))
    for done in (
        lambda **how: edits.merge(bars.A, bars.B, **how),
        lambda **how: edits.merge(bars.C, bars.D, **how),
        lambda **how: edits.undo(2, **how),
    ):
        done(by="ann", base_version=edits.refresh().version, reason=f"step {edits.state.version}")
    return edits


def objects(store: Store, tag: str) -> dict[str, int]:
    folder = store.release(tag) / "files"
    return {name: (folder / name).stat().st_ino for name in releases.manifest_of(store, tag)["files"]}


def test_the_next_release(store: Store, tmp_path: Path) -> None:
    edits = edit(store)
    made = released.create(store, "r1", "r2")
    assert made["current"] and releases.verify(store, "r2")["damaged"] == []
    assert {k: made["edits"][k] for k in ("parent", "merges", "splits", "by")} == {
        "parent": "r1", "merges": 1, "splits": 0, "by": ["ann"]
    }  # fmt: skip
    found = index.load(store, "r2")
    assert np.array_equal(found.supervoxels, edits.state.index.supervoxels)
    assert np.array_equal(found.supervoxel_root, edits.refresh().roots)  # the served mapping is the replay of the log

    full = bars.results(tmp_path / "full", bars.AFTER)  # as a run with this merge table has it
    tops = (full / top for top in ("tables", "graph", "meshes", "skeletons"))
    names = [p.relative_to(full) for top in tops for p in top.rglob("*") if p.is_file()]
    files = store.release("r2") / "files"
    assert names and all((files / name).read_bytes() == (full / name).read_bytes() for name in names)
    made_again = {name for name in releases.manifest_of(store, "r2")["files"] if name.startswith(("meshes", "skeletons"))}
    assert made_again == {
        str(p.relative_to(full)) for top in ("meshes", "skeletons") for p in (full / top).rglob("*") if p.is_file()
    }

    before, after = objects(store, "r1"), objects(store, "r2")
    shared = {name for name in after if before.get(name) == after[name]}
    assert {n for n in before if n.startswith("volumes/")} | {"skeletons/3.swc", "tables/merge/z0000016.parquet"} <= shared


def test_what_changed_and_where_it_comes_from(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    edit(store)
    assert cli.main(["release", "create", str(store.root), "--from", "r1", "--tag", "r2"]) == 0
    change = differences.diff(store, "r1", "r2")["neurites"]
    assert (change["merged"], change["split"]) == (1, 0) and change["merged_neurites"] == [
        {"root_id": "1", "from": ["1", "2"]}
    ]

    found = queries.trace(store, "r2:1")
    assert [(e["number"], e["op"], e["by"], e["reason"]) for e in found["edits"]] == [(1, "merge", "ann", "step 0")]
    assert {"proofread", "agglomerate", "segment"} <= {task["stage"] for task in found["tasks"]}
    assert {"em.raw", "edits/r1.jsonl"} <= {a["name"] for a in found["artifacts"]}  # through the edits to the raw bytes
    assert [(e["number"], e["op"]) for e in queries.trace(store, "r2:3")["edits"]] == [(2, "merge"), (3, "undo")]
    assert queries.trace(store, "r2:5")["edits"] == []
    assert "edit r1.1 merge by ann" in "\n".join(queries.lines(found))
    lineage.rebuild(store)
    assert {t["stage"] for t in queries.trace(store, "r2:1")["tasks"]} == {t["stage"] for t in found["tasks"]}


def test_the_same_edits_make_the_same_release(store: Store, results: Path, tmp_path: Path) -> None:
    edit(store)
    made = released.create(store, "r1", "r2")
    events = store.events()
    assert released.create(store, "r1", "r2")["id"] == made["id"] and store.events() == events


def test_edits_of_an_edited_release(store: Store) -> None:
    """A split of what was merged gives back the neurites as they were; the release holds both logs."""
    edit(store)
    released.create(store, "r1", "r2")
    edits = Editor(store, "r2", index.load(store, "r2"))
    edits.split([bars.B], by="bob", base_version=0, reason="no, two")
    released.create(store, "r2", "r3")
    assert {"edits/r1.jsonl", "edits/r2.jsonl"} <= releases.manifest_of(store, "r3")["files"].keys()
    assert differences.diff(store, "r1", "r3")["neurites"]["split"] == 0
    assert [e["by"] for e in queries.trace(store, f"r3:{edits.state.root(bars.B)}")["edits"]] == ["ann", "bob"]


def test_nothing_to_release(store: Store) -> None:
    with pytest.raises(DataError, match=r"no edits that stand \(version 0\)"):
        released.create(store, "r1", "r2")
    edits = edit(store)
    edits.undo(1, by="ann", base_version=3, reason="no")
    with pytest.raises(DataError, match=r"no edits that stand \(version 4\)"):
        released.create(store, "r1", "r2")
    releases.withdraw(store, "r1", "bad")
    with pytest.raises(DataError, match="withdrawn"):
        released.create(store, "r1", "r2")


def test_scores_follow_the_edits(store: Store, tmp_path: Path) -> None:
    """As if the labels of now were scored; shown, compared, and what a gate goes by. Nothing stays of the scores before."""
    before = releases.show(store, "r1")["figures"]
    assert before["score.splits"] == 1 and before["evaluation.regions.z0_y0_x0.voi_split"] > 0 < before["evaluate.voi_split"]
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"gates": [{"figure": "score.splits", "max": 0}, {"figure": "score.voi", "max": 1e-6}]}))
    edits = edit(store)
    made = released.create(store, "r1", "r2", policy)
    assert [gate["passed"] for gate in made["gates"]] == [True, True]
    after = {name: value for name, value in made["figures"].items() if name.startswith(("score", "evalua"))}
    wanted = score_volumes(bars.labels(bars.AFTER), bars.labels(bars.AFTER))
    assert {name: after[f"score.{name}"] for name in wanted} == pytest.approx(wanted)
    assert after["score.splits"] == after["evaluation.regions.z0_y0_x0.voi_split"] == after["score.border_2.voi"] == 0
    assert after["score.expected_run_length"] == after["score.expected_run_length_of_truth"]
    assert 0 < before["score.expected_run_length"] < after["score.expected_run_length"]
    assert not any("threshold" in name or name.startswith("evaluate") for name in after)
    assert differences.diff(store, "r1", "r2")["figures"]["score.splits"] == {"from": 1, "to": 0}
    edits = Editor(store, "r2", index.load(store, "r2"))
    edits.merge(bars.A, bars.C, by="bob", base_version=0, reason="wrong")
    worse = released.create(store, "r2", "r3")["figures"]
    wanted = score_volumes(bars.labels(bars.AFTER), bars.labels(bars.AFTER | {bars.C: 1}))
    assert {name: worse[f"score.{name}"] for name in wanted} == pytest.approx(wanted) and worse["score.merges"] == 1
    with pytest.raises(DataError, match=r"score\.splits is 1"):
        releases.withdraw(store, "r3", "merged")
        edits = Editor(store, "r1", index.load(store, "r1"))
        edits.merge(bars.C, bars.E, by="bob", base_version=edits.refresh().version, reason="wrong")
        edits.undo(1, by="bob", base_version=edits.state.version, reason="wrong")
        released.create(store, "r1", "r4", policy)


def test_scores_without_a_region(store: Store) -> None:
    """What is masked is not scored; with nothing of the truth left there are no scores."""
    figures = released.create(store, "r1", "r2", masks=["0,0,0,16,64,64"], reason="x")["figures"]
    left = sum(v.size for v in (np.zeros((27, 20, 24)), np.zeros((27, 20, 24)), np.zeros((10, 20, 52))))
    assert (figures["score.voxels"], figures["score.splits"]) == (left, 0)
    figures = released.create(store, "r1", "r3", masks=["0,0,0,32,128,128"], reason="x")["figures"]
    assert not any(name.startswith(("score", "evalua")) for name in figures)


def test_a_gate_does_not_pass_by_scores_of_before(tmp_path: Path, results: Path) -> None:
    """Where it is not known what supervoxels share with the truth."""
    folder = shutil.copytree(results, tmp_path / "results")
    (folder / "tables/truth_overlap.parquet").unlink()
    listed = json.loads((folder / "published.json").read_text())
    listed["files"] = [row for row in listed["files"] if row["path"] != "tables/truth_overlap.parquet"]
    (folder / "published.json").write_text(json.dumps(listed))
    store = Store(tmp_path / "store", make=True)
    releases.create(store, folder, "r1")
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"gates": [{"figure": "score.voi_split", "max": 1.0}]}))
    edit(store)
    with pytest.raises(DataError, match=r"score\.voi_split is not known"):
        released.create(store, "r1", "r2", policy)
    assert store.current() == "r1" and not list((store.root / "staging").iterdir())


def test_by_http(store: Store, tmp_path: Path) -> None:
    """Edited by the server, released, and shown by it: the page's own queries."""
    pytest.importorskip("fastapi")
    from fastapi.testclient import TestClient
    from voxelmill.server.app import create

    tokens = tmp_path / "tokens.json"
    row = {"name": "ann", "role": "proofreader", "sha256": hashlib.sha256(b"ann").hexdigest()}
    tokens.write_text(json.dumps({"tokens": [row]}))
    tokens.chmod(0o600)
    asked = {"supervoxels": [str(bars.A), str(bars.B)], "base_version": 0, "reason": "one bar"}
    with TestClient(create(store.root, tokens), base_url="http://127.0.0.1") as client:
        done = client.post("/api/releases/r1/edits/merge", json=asked, headers={"Authorization": "Bearer ann"})
        assert done.status_code == 200, done.text
        released.create(store, "r1", "r2")
        shown = client.get("/api/releases/current").json()
        assert (shown["tag"], shown["edits"]["parent"], shown["edits"]["by"]) == ("r2", "r1", ["ann"])
        assert {r["tag"]: r.get("parent") for r in client.get("/api/releases").json()["releases"]} == {"r1": None, "r2": "r1"}
        assert client.get("/api/releases/r2/neurites/1").json()["supervoxels"] == 2
        assert client.get("/api/releases/r2/neurites/2").status_code == 404
        (edit_shown,) = client.get("/api/releases/r2/trace?artifact=1").json()["edits"]
        assert (edit_shown["by"], edit_shown["reason"], edit_shown["release"]) == ("ann", "one bar", "r1")
        assert "found.edits" in client.get("/").text


@pytest.mark.skipif(browser.CHROMIUM is None, reason="no Chromium on PATH (Debian package chromium)")
def test_the_page_says_what_was_edited(store: Store, tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    edit(store)
    released.create(store, "r1", "r2")
    released.create(store, "r2", "r3", masks=["16,0,0,32,64,64"], reason="splits there")
    said = "document.querySelector('#edited')?.textContent"
    with serving(store.root) as server, browser.Browser(tmp_path / "profile") as page:
        page.open(f"{server.address}/#/r2")
        page.until(
            f"{said}?.includes('Proofread from r1 (version 3): 1 merges, 0 splits by ann; 2 neurites were made again')"
        )
        page.click("#neurites a", "1")
        page.until("document.querySelector('h1').textContent == 'Neurite 1'")
        page.click("#provenance summary")
        page.until("/r1, 1.merge.ann.step 0/s.test(document.querySelector('#provenance').innerText)")
        page.open(f"{server.address}/#/r3")
        page.until(f"{said}?.includes('Made without 16,0,0,32,64,64: splits there')")
        page.until("document.querySelectorAll('#neurites a').length == 3")
        page.click("#edited a", "r2")
        page.until("document.querySelector('h1').textContent == 'Release r2'")
        assert page.faults == []


def test_without_a_region(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """What reaches into it is gone from mapping, tables, meshes and skeletons; the rest is as it was, and shared."""
    words = ["--from", "r1", "--mask", "0,0,0,32,64,64", "--tag", "r2", "--reason", "splits there"]
    assert cli.main(["release", "create", str(store.root), *words]) == 0
    found, before = index.load(store, "r2"), index.load(store, "r1")
    assert dict(zip(found.supervoxels.tolist(), found.supervoxel_root.tolist())) == bars.BEFORE | dict.fromkeys(
        (bars.A, bars.B, bars.E), 0
    )  # fmt: skip
    assert len(before.synapse_id) == 5 and len(found.synapse_id) == 0 and found.roots.tolist() == [3, 4]
    files = store.release("r2") / "files"
    assert {p.name for p in files.glob("skeletons/*.swc")} == {"3.swc", "4.swc"}
    assert {p.name for p in files.glob("meshes/*")} == {"info", "3", "3.index", "4", "4.index"}
    assert objects(store, "r1")["skeletons/3.swc"] == objects(store, "r2")["skeletons/3.swc"]
    assert releases.show(store, "r2")["edits"]["masks"] == ["0,0,0,32,64,64"]
    change = differences.diff(store, "r1", "r2")["neurites"]
    assert (change["split"], change["merged"], change["unchanged"], change["supervoxels_only_old"]) == (0, 0, 2, 3)
    assert {t["stage"] for t in queries.trace(store, "r2:3")["tasks"]} >= {"proofread", "segment"}
    with pytest.raises(ParameterError, match="a region that this release is made without"):
        Editor(store, "r2", found).merge(bars.A, bars.C, by="ann", base_version=0, reason="no")
    with pytest.raises(DataError, match="nothing lies in 0,0,0,1,1,1"):
        released.create(store, "r1", "r3", masks=["0,0,0,1,1,1"], reason="no")


def test_volumes_without_a_region(store: Store) -> None:
    """At every level: images are empty there, labels wherever a supervoxel reaches into it; all else is as it was."""
    box = "0,0,0,9,45,61"
    made = released.create(store, "r1", "r2", masks=[box], reason="splits there")
    assert releases.verify(store, "r2")["damaged"] == [] and made["edits"]["masks"] == [box]
    old, new = (store.release(tag) / "files/volumes" for tag in ("r1", "r2"))
    for name, of in (("aligned", None), ("aligned", "neurites"), ("supervoxels", None)):
        before, after = (open_image(folder / f"{name}.ome.zarr", of) for folder in (old, new))
        assert after.levels == before.levels > 1
        for n in range(before.levels):
            there, whole = (image.level(n).read().result() for image in (after, before))
            step = [a // b for a, b in zip(before.shape, whole.shape, strict=True)]
            inside = tuple(slice(0, -(-end // by)) for end, by in zip((9, 45, 61), step, strict=True))
            wanted = whole.copy()
            if name == "aligned" and not of:
                wanted[inside] = 0
            else:
                wanted[np.isin(open_image(old / "supervoxels.ome.zarr").level(n).read().result(), (bars.A, bars.B))] = 0
            assert np.array_equal(there, wanted) and not there[inside].any() and there.any()
        manifest.verify(new / f"{name}.ome.zarr", deep=True)
    shared = {name for name, inode in objects(store, "r1").items() if objects(store, "r2").get(name) == inode}
    assert "volumes/aligned.ome.zarr/0/c/1/0/0" in shared and "volumes/aligned.ome.zarr/0/c/0/0/0" not in shared
    assert not {"report.html", "figures/figure1_overview.png"} & releases.manifest_of(store, "r2")["files"].keys()


def test_answers_without_a_region(store: Store) -> None:
    """Points, neurites, synapses, traces: a release holds nothing of what it is made without, nor does one made of it."""
    pytest.importorskip("fastapi")
    from fastapi.testclient import TestClient
    from voxelmill.server.app import create

    released.create(store, "r1", "r2", masks=["0,0,0,32,64,64"], reason="splits there")
    edits = Editor(store, "r2", index.load(store, "r2"))
    edits.merge(bars.C, bars.D, by="ann", base_version=0, reason="one")
    assert released.create(store, "r2", "r3")["edits"]["masks"] == ["0,0,0,32,64,64"]
    assert differences.diff(store, "r2", "r3")["files"]["changed"]
    nowhere = {"root_id": None, "supervoxel_id": None, "inside": True}
    with TestClient(create(store.root), base_url="http://127.0.0.1") as client:
        for tag, there in (("r1", "1"), ("r2", None), ("r3", None)):
            at = f"/api/releases/{tag}"
            assert client.get(f"{at}/segments?z=100&y=400&x=200").json()["root_id"] == there
            assert client.get(f"{at}/neurites/1").status_code == (200 if there else 404)
            if not there:
                asked = {"points": [[100, 400, 200], [440, 300, 200]]}
                assert client.post(f"{at}/segments", json=asked).json()["segments"] == [nowhere, nowhere]
                assert client.get(f"{at}/neurites?limit=9").json()["total"] == {"r2": 2, "r3": 1}[tag]
    whole = queries.trace(store, "r1:volumes/aligned.ome.zarr", forward=True)
    assert whole["releases"] == ["r1", "r2", "r3"]
    part = queries.trace(store, "r1:volumes/aligned.ome.zarr", forward=True, bbox="4,8,8,12,60,60")
    assert (part["releases"], part["masked"], part["neurites"]) == (["r1"], ["r2", "r3"], ["1"])
    assert {row["tag"] for row in part["files"]} == {"r1"} and "r2 is made without this region" in queries.lines(part)[-2]
    part = queries.trace(store, "r2:volumes/aligned.ome.zarr", forward=True, bbox="4,8,8,12,60,61")
    assert (part["releases"], part["masked"], part["neurites"], part["synapses"]) == ([], ["r2", "r3"], [], [])
    assert queries.trace(store, "r1:tables/merge", forward=True, bbox="4,8,8,12,60,100")["masked"] == []


def test_masked_out_of_a_withdrawn_release(store: Store) -> None:
    edit(store)
    releases.withdraw(store, "r1", "splits in one region")
    made = released.create(store, "r1", "r2", masks=["16,0,0,32,64,64"], reason="the rest is good")
    assert made["current"] and (made["edits"]["merges"], made["edits"]["reason"]) == (1, "the rest is good")
    assert index.load(store, "r2").supervoxel_root.tolist() == [1, 1, 3, 4, 0]
