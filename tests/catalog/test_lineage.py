"""Lineage: back to the source, forward to what is affected, within a region, for a neurite; incidents from it."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from voxelmill import cli
from voxelmill.catalog import archive, incidents, lineage, objects, parameters, queries, releases
from voxelmill.catalog.store import Store
from voxelmill.core import manifest
from voxelmill.core.errors import DataError, ParameterError
from voxelmill.core.space import Space
from voxelmill.core.volume import create_image, layout
from voxelmill.testing import results

BAD = "b" * 64


def paths(found: dict, tag: str) -> set[str]:
    return {f["path"] for f in found["files"] if f["tag"] == tag and not f["path"].startswith("provenance")}


def tasks(found: dict) -> list[str]:
    return [t["stage"] + ("." + t["block"] if t["block"] else "") for t in found["tasks"]]


def test_back_to_the_source(store: Store) -> None:
    found = queries.trace(store, "r1:tables/edges.parquet")
    assert {"ingest", "segment.0-0", "export_labels.0-3", "graph"} <= set(tasks(found))
    assert "em.raw" in {a["name"] for a in found["artifacts"]}
    assert {a["digest"] for a in found["artifacts"] if a["kind"] == "model"} == {results.MODEL}
    assert "evaluate" not in tasks(found)


def test_a_bad_model_forward(store: Store) -> None:
    """What came of it, all of that, and nothing else: the same supervoxels by a good model in r1 are not touched."""
    found = queries.trace(store, BAD, forward=True)
    assert found["releases"] == ["r2"]
    everything = set(releases.manifest_of(store, "r2")["files"])
    untouched = {n for n in everything if n.startswith("volumes/raw")} | {"published.json"}
    assert paths(found, "r2") == {n for n in everything - untouched if not n.startswith("provenance")}
    assert not {"ingest"} & set(tasks(found))


def test_a_file_by_any_name(store: Store, good: Path) -> None:
    digest = releases.manifest_of(store, "r1")["files"]["tables/edges.parquet"][1]
    for word in (digest, digest[:10], digest.upper(), "r1:tables/edges.parquet", str(good / "tables/edges.parquet")):
        assert digest in queries.trace(store, word)["start"]
    for word in ("nothing", "r7:tables/edges.parquet", "0" * 64, "r1:5000"):
        with pytest.raises(DataError):
            queries.trace(store, word)


def test_a_neurite(store: Store) -> None:
    """A rod lies in one shard: the task of that shard made it, and none of the others."""
    found = queries.trace(store, "r1:3")
    assert len(found["supervoxels"]) == results.SHAPE[2] // results.CUBE
    assert [t for t in tasks(found) if t.startswith("segment")] == ["segment.0-0"]
    assert "volumes/supervoxels.ome.zarr/0/c/0/0/0" in paths(found, "r1")
    assert "volumes/supervoxels.ome.zarr/0/c/1/0/0" not in paths(found, "r1")


def test_within_a_region(store: Store) -> None:
    whole = queries.trace(store, BAD, forward=True)
    part = queries.trace(store, BAD, forward=True, bbox="0,0,0,4,16,32")
    assert [t for t in tasks(part) if t.startswith("segment")] == ["segment.0-0"]
    shards = {p for p in paths(part, "r2") if "/c/" in p}
    assert shards == {"volumes/supervoxels.ome.zarr/0/c/0/0/0"} < paths(whole, "r2")
    assert len(part["neurites"]) == 16 and {int(n) % 1000 for n in part["neurites"]} == {1, 2, 3, 4}
    assert part["synapses"]
    for box in ("0,0,0,4,16", "0,0,0,0,1,1", "a,b,c,d,e,f", "-1,0,0,1,1,1"):
        with pytest.raises(ParameterError, match="--bbox"):
            queries.trace(store, BAD, forward=True, bbox=box)


def test_a_region_is_of_each_release(store: Store, tmp_path: Path) -> None:
    """Blocks are shards of a release's own volume, wherever that lies; without one there are no regions."""
    releases.create(store, results.stacked(tmp_path / "stacked"), "v1")
    releases.create(store, results.moving(tmp_path / "moving"), "m1")
    digests = [hashlib.sha256(f"slice {n}".encode()).hexdigest() for n in range(2)]
    for n, box in enumerate(("0,0,0,8,32,32", "8,0,0,16,32,32")):
        found = queries.trace(store, digests[n], forward=True, bbox=box)
        assert {f"stack/slices.ome.zarr/0/c/{n}/0/0"} == {p for p in paths(found, "v1") if "/0/c/" in p and p.endswith("0/0")}
        other = queries.trace(store, digests[1 - n], forward=True, bbox=box)
        assert not [t for t in tasks(other) if t.startswith("stack")] and "unplaced" in found
    movie = hashlib.sha256(b"a movie").hexdigest()
    with pytest.raises(DataError, match="release m1: holds no volume; --bbox has no meaning in it"):
        queries.trace(store, movie, forward=True, bbox="0,0,0,8,8,8")


def test_a_folder_of_the_archive(store: Store, tmp_path: Path) -> None:
    """It is bad as a whole and file by file, whichever of the two a task has read; a file in it is a part of it."""
    raw = np.random.default_rng(7).integers(0, 255, results.SHAPE, np.uint8).tobytes()
    (tmp_path / "scan/deep").mkdir(parents=True)
    (tmp_path / "scan/deep/em.raw").write_bytes(raw)
    (tmp_path / "scan/notes").write_bytes(b"of the scan")
    archive.add(store, [tmp_path / "scan"])
    for word in ("scan", "scan/", "scan/deep/em.raw"):
        assert queries.trace(store, word, forward=True)["releases"] == ["r1", "r2"], word
    assert queries.trace(store, "scan/notes", forward=True)["releases"] == []
    assert "scan/" in {a["name"] for a in queries.trace(store, "scan/notes", forward=True)["artifacts"]}


def test_a_merge_table_that_is_an_export(tmp_path: Path) -> None:
    """Nothing goes on from it, but from what it was exported from: not from the supervoxels, which are good."""
    store, folder = Store(tmp_path / "store", make=True), tmp_path / "run"
    folder.mkdir()
    made = results.Run(folder, "exported")

    def part(name: str) -> dict:
        return {"name": name, "path": name, "digest": hashlib.sha256(name.encode()).hexdigest(), "bytes": 1}

    volume, joins, labels = part("supervoxels"), part("components.parquet"), part("neurites")
    made.record("segment", [part("raw")], [volume, made.text("tables/sizes.csv", "a")])
    made.record("agglomerate", [volume], [joins])
    made.record("export_labels", [volume, joins], [labels, made.text("tables/merge/z0.parquet", "b")])
    made.record("shapes", [labels], [made.text("meshes/1:0", "c")])
    made.record("levels", [volume], [made.text("tables/levels.csv", "d")])
    made.end()
    releases.create(store, folder, "r1")
    found = queries.trace(store, "tables/merge", forward=True)
    assert {p for p in paths(found, "r1") if not p.startswith("provenance")} == {"tables/merge/z0.parquet", "meshes/1:0"}


def test_rebuilt_from_nothing(store: Store) -> None:
    def everything() -> list:
        with lineage.opened(store.catalogue, read_only=True) as con:
            names = [n for (n,) in con.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
            return [con.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall() for name in names]

    before = everything()
    store.catalogue.unlink()
    lineage.rebuild(store)
    assert everything() == before


def test_a_catalogue_behind_the_log_is_brought_up_to_date(store: Store, good: Path) -> None:
    kept = store.catalogue.read_bytes()
    releases.create(store, good, "r3")
    store.catalogue.write_bytes(kept)  # as after a death before the catalogue was written
    assert "r3" in queries.trace(store, "r1:tables/edges.parquet", forward=True)["releases"]


def test_archive(store: Store, tmp_path: Path, good: Path) -> None:
    """A source in the archive is the one that records name; a damaged object names what it touches."""
    source = tmp_path / "em.raw"

    source.write_bytes(np.random.default_rng(7).integers(0, 255, results.SHAPE, np.uint8).tobytes())
    (row,) = archive.add(store, [source], tmp_path / "second")
    assert row["new"] and not archive.add(store, [source])[0]["new"]
    assert (tmp_path / "second" / row["blake3"][:2] / row["blake3"]).read_bytes() == source.read_bytes()
    assert queries.trace(store, "em.raw", forward=True)["releases"] == ["r1", "r2"]
    assert archive.verify(store)["damaged"] == []
    path = store.objects / row["blake3"][:2] / row["blake3"]
    assert path.stat().st_mode & 0o777 == 0o444
    path.chmod(0o644)
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    (found,) = archive.verify(store)["damaged"]
    assert found["sources"] == ["em.raw"] and "not the bytes" in found["why"]
    shared = releases.manifest_of(store, "r1")["files"]["volumes/raw.ome.zarr/0/c/0/0/0"][2]
    (store.objects / shared[:2] / shared).unlink()
    found = archive.verify(store)
    assert found["releases"] == ["r1", "r2"]
    assert {"tag": "r2", "path": "volumes/raw.ome.zarr/0/c/0/0/0"} in found["damaged"][1]["files"] + found["damaged"][0][
        "files"
    ]
    assert cli.main(["archive", "verify", str(store.root)]) == 65


def test_what_does_not_go_into_the_archive(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one")
    archive.add(store, [tmp_path / "a"])
    (tmp_path / "a").write_text("two")
    with pytest.raises(DataError, match="a: in the archive with other bytes"):
        archive.add(store, [tmp_path / "a"])
    (tmp_path / "empty").touch()
    with pytest.raises(DataError, match="empty"):
        archive.add(store, [tmp_path / "empty"])
    latin = Path(os.fsdecode(bytes(tmp_path) + b"/latin\xe9.tif"))
    latin.write_text("a name that neither JSON nor SQLite can hold, so that all lineage was lost")
    with pytest.raises(DataError, match="no UTF-8"):
        archive.add(store, [latin])
    with pytest.raises(DataError, match="no UTF-8"):
        queries.trace(store, latin.name)
    os.mkfifo(tmp_path / "pipe")
    for strange in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(DataError, match=strange.name):
            archive.add(store, [strange])
    with store.staging() as staging, pytest.raises(DataError, match="not a plain file"):
        objects.put(store, Path("/dev/null"), staging)
    assert not any((store.root / "staging").iterdir())


def test_commands_of_a_memo_are_for_a_shell(store: Store) -> None:
    facts = {"proposal": {"action": "rollback", "to": "r1"}, "number": 1, "releases": [], "bad": "it's $(touch PWNED)"}
    (line,) = incidents.commands_of(facts)
    assert shlex.split(line)[-1] == "incident 1: it's $(touch PWNED)" and line.split("--reason ")[1].startswith("'")


def test_incident_drill(store: Store, tmp_path: Path) -> None:
    """A new model is faster but splits more in one region: the region is found, the release rolled back."""
    assert cli.main(["incident", "open", str(store.root), "--bad", BAD, "--out", str(tmp_path / "inc")]) == 0
    facts = json.loads((tmp_path / "inc/incident.json").read_text())
    (row,) = facts["releases"]
    assert (row["tag"], row["beside"], row["regions"]) == ("r2", "r1", ["z0_y0_x0", "z1_y0_x0"])
    assert row["neurites"] == {"split": 16, "merged": 0}
    assert (facts["proposal"]["action"], facts["proposal"]["to"]) == ("rollback", "r1")
    memo, steps = ((tmp_path / "inc" / name).read_text() for name in ("memo.md", "checklist.md"))
    assert "evaluation.regions.z0_y0_x0.split_rate: 0 -> 3" in memo and "release rollback STORE r1" in memo
    assert "gate in the policy: evaluation.regions.z0_y0_x0.split_rate" in steps
    masks = "0,0,0,4,32,32 4,0,0,8,32,32"
    assert f"release create STORE --from r2 --mask {masks} --tag NEW" in memo
    releases.rollback(store, "r1", "incident")
    again = incidents.open_incident(store, BAD, tmp_path / "after")
    assert again["proposal"]["action"] == "none" and not again["current_affected"]
    with pytest.raises(DataError, match="not empty"):
        incidents.open_incident(store, BAD, tmp_path / "inc")


def test_back_to_one_of_its_kind(tmp_path: Path, good: Path, bad: Path) -> None:
    """A movie that was released between is good, and nothing to go back to from a wiring diagram."""
    store = Store(tmp_path / "store", make=True)
    releases.create(store, good, "r1")
    releases.create(store, results.moving(tmp_path / "moving"), "m1")
    releases.create(store, bad, "r2")
    found = incidents.open_incident(store, BAD, tmp_path / "incident")
    assert found["proposal"]["to"] == "r1" and found["releases"][0]["beside"] == "r1"
    releases.withdraw(store, "r2", "bad")
    assert store.current() == "r1"


def test_traces_100k_artifacts_in_a_second(tmp_path: Path) -> None:
    """A made graph of 25,000 tasks, faults planted: all that came of them is found, nothing else."""
    with lineage.opened(tmp_path / "c.sqlite") as con:
        con.execute("BEGIN")
        con.execute("INSERT INTO releases VALUES ('r', 'id', 1, 'good')")
        n, bad = 25_000, {f"a{k}-0" for k in range(0, 25_000, 997)}
        for k in range(n):
            con.execute("INSERT INTO tasks (id, stage, block, started) VALUES (?, 'made', '', '')", (f"t{k}",))
            con.execute("INSERT INTO held VALUES ('r', ?)", (f"t{k}",))
            con.executemany("INSERT INTO artifacts VALUES (?, 'file', ?, 1)", [(f"a{k}-{i}", f"{k}.{i}") for i in range(4)])
            con.executemany("INSERT INTO generated VALUES (?, ?)", [(f"a{k}-{i}", f"t{k}") for i in range(4)])
            if k % 10:  # chains of ten tasks
                con.execute("INSERT INTO used VALUES (?, ?)", (f"a{k - 1}-0", f"t{k}"))
        con.execute("COMMIT")
        begun = time.process_time()
        found = {a["digest"] for a in lineage.trace(con, sorted(bad), True)["artifacts"]}
        spent = time.process_time() - begun
    wanted = set(bad)
    for name in bad:
        k = int(name[1:-2])
        for later in range(k + 1, k - k % 10 + 10):
            wanted |= {f"a{later}-{i}" for i in range(4)}
    assert found == wanted and spent < 1, spent


def test_parameters(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"x": 1, "y": 2}))
    (tmp_path / "b.json").write_text(json.dumps({"x": 1, "y": 3, "z": 4}))
    found = parameters.diff(str(tmp_path / "a.json"), str(tmp_path / "b.json"))
    assert found == [{"name": "y", "a": 2, "b": 3}, {"name": "z", "a": None, "b": 4}]
    with lineage.current(store) as con:
        (digest, _, values), *_ = lineage.parameter_sets(con)
    assert values == {"strict": False}
    assert cli.main(["params", "diff", digest[:10], "r1", "--store", str(store.root)]) == 0
    assert "graph.strict: None -> False" in capsys.readouterr().out
    with pytest.raises(ParameterError, match="no file"):
        parameters.diff("abc", "def")


def other_grid(folder: Path, scale: tuple[float, ...] | None, origin: tuple[float, ...], shape: tuple[int, ...]) -> Path:
    """Results with a raw volume of another grid than that of the supervoxels (16 x 32 x 32 voxels of 8 nm, from 0)."""
    results.make(folder)
    shutil.rmtree(folder / "volumes/raw.ome.zarr")
    run = results.Run(folder, "made_run")
    run.published = [
        row for row in json.loads((folder / "published.json").read_text())["files"] if "raw.ome" not in row["path"]
    ]
    root = folder / "volumes/raw.ome.zarr"
    lay = layout(shape, np.uint8, (8, 8, 8), (8, 8, 8))
    create_image(root, lay, Space.zyx(scale, origin)).write(tuple(slice(0, n) for n in shape), np.ones(shape, np.uint8))
    manifest.write(root)
    source = {"name": "em.raw", "path": "em.raw", "digest": results.sha("other"), "bytes": 1}
    run.record("resample", [source], [run.held("volumes/raw.ome.zarr")])
    (folder / "runs.sqlite").unlink()
    run.end()
    return folder


@pytest.mark.parametrize(
    "scale, origin, shape, wanted",
    [
        ((16.0, 16.0, 16.0), (4.0, 4.0, 4.0), (8, 16, 16), {"0/0/0"}),  # every second voxel of each axis
        ((8.0, 8.0, 8.0), (64.0, 0.0, 0.0), (8, 32, 32), {f"0/{y}/{x}" for y in (0, 1) for x in (0, 1)}),  # from z 8 on
        ((4.0, 8.0, 8.0), (-2.0, 0.0, 0.0), (32, 32, 32), {f"{z}/{y}/{x}" for z in (2, 3) for y in (0, 1) for x in (0, 1)}),
        ((8.0, 8.0, 8.0), (800.0, 0.0, 0.0), (8, 32, 32), set()),  # a cutout of elsewhere
    ],
)
def test_a_region_of_volumes_of_other_grids(
    tmp_path: Path, scale: tuple[float, ...], origin: tuple[float, ...], shape: tuple[int, ...], wanted: set[str]
) -> None:
    """Voxels 8..16, 0..16, 0..16 of the supervoxels, wherever those lie in the raw volume."""
    store = Store(tmp_path / "store", make=True)
    releases.create(store, other_grid(tmp_path / "one", scale, origin, shape), "r1")
    found = queries.trace(store, results.sha("other"), forward=True, bbox="8,0,0,16,16,16")
    shards = {p.split("/c/")[1] for p in paths(found, "r1") if p.startswith("volumes/raw") and "/0/c/" in p}
    assert shards == wanted and found["elsewhere"] == []
    found = queries.trace(store, results.MODEL, forward=True, bbox="8,0,0,16,16,16")
    assert "segment.2-2" in tasks(found)  # and where a block of this number touches the region in the other grid


def test_a_region_of_a_volume_that_lies_nobody_knows_where(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", make=True)
    releases.create(store, other_grid(tmp_path / "one", None, (0.0, 0.0, 0.0), (8, 16, 16)), "r1")
    found = queries.trace(store, results.sha("other"), forward=True, bbox="8,0,0,16,16,16")
    shards = [p for p in paths(found, "r1") if p.startswith("volumes/raw") and "/0/c/" in p]
    assert len(shards) == 4 and found["elsewhere"] == ["r1:volumes/raw.ome.zarr"]
    assert any("where it lies beside the volume" in line for line in queries.lines(found))
