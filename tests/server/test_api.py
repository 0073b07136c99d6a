"""The query API and who may ask: answers against the tables themselves, and every guard."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from voxelmill.catalog import lineage, queries, releases
from voxelmill.catalog.store import Store
from voxelmill.core.errors import DataError
from voxelmill.testing import results

pytest.importorskip("fastapi")
from fastapi.testclient import TestClient
from voxelmill.server import guard
from voxelmill.server.app import create
from voxelmill.server.guard import LARGEST, Tokens

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("served")
    store = Store(folder / "store", make=True)
    releases.create(store, results.make(folder / "one"), "r1")
    releases.create(store, results.make(folder / "two", "second", results.broken, "b" * 64), "r2")
    return store


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokens") / "tokens.json"
    rows = [("ann", "proofreader", 0), ("eve", "viewer", 0), ("old", "proofreader", 1)]
    made = [{"name": n, "role": r, "expires": e, "sha256": hashlib.sha256(n.encode()).hexdigest()} for n, r, e in rows]
    path.write_text(json.dumps({"tokens": made}))
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def client(store: Store, tokens: Path) -> Iterator[Any]:
    with TestClient(create(store.root, tokens), base_url="http://127.0.0.1", raise_server_exceptions=False) as made:
        yield made


def read(store: Store, name: str, tag: str = "r1") -> dict[str, np.ndarray]:
    table = pq.read_table(store.release(tag) / "files/tables" / name)
    return {n: table[n].to_numpy() for n in table.column_names}


def test_releases(client: Any) -> None:
    found = client.get("/api/releases").json()
    assert ([r["tag"] for r in found["releases"]], found["current"]) == (["r1", "r2"], "r2")
    assert client.get("/api/releases/current").json()["tag"] == "r2"
    assert client.get("/api/releases/r1/diff?to=r2").json()["neurites"]["split"] == 16


def test_points(client: Any, store: Store) -> None:
    """Each point's neurite is the one it was made with; many at once as one by one; beyond the volume nothing."""
    rng = np.random.default_rng(3)
    voxels = (rng.random((60, 3)) * results.SHAPE).astype(int)
    wanted = [str(1 + z // 4 * 8 + y // 4) for z, y, _ in voxels.tolist()]
    points = (voxels * 8.0).tolist()
    many = client.post("/api/releases/r1/segments", json={"points": points}).json()["segments"]
    assert [row["root_id"] for row in many] == wanted
    (z, y, x), first = points[0], many[0]
    assert client.get(f"/api/releases/r1/segments?z={z}&y={y}&x={x}").json() == {"release": "r1", **first}
    out = client.get("/api/releases/r1/segments?z=-100&y=0&x=0").json()
    assert (out["root_id"], out["inside"]) == (None, False)
    for bad in ("z=nan&y=0&x=0", "z=inf&y=0&x=0", "z=a&y=0&x=0", "z=1&y=1"):
        assert client.get(f"/api/releases/r1/segments?{bad}").status_code == 422
    assert client.post("/api/releases/r1/segments", json={"points": [[0, 0, 0]] * 10_001}).status_code == 422


def test_partners_and_synapses(client: Any, store: Store) -> None:
    edges, synapses = read(store, "edges.parquet"), read(store, "synapses.parquet")
    for root in (1, 2, 5):
        for way, own, other in (("out", "pre_root_id", "post_root_id"), ("in", "post_root_id", "pre_root_id")):
            found = client.get(f"/api/releases/r1/neurites/{root}/partners?direction={way}").json()["partners"]
            at = edges[own] == root
            assert sorted((int(r["root_id"]), r["weight"]) for r in found) == sorted(
                zip(edges[other][at].tolist(), edges["weight"][at].tolist(), strict=True)
            )
    at = (synapses["pre_pt_root_id"] == 1) & (synapses["post_pt_root_id"] == 2)
    pair = client.get("/api/releases/r1/neurites/1/synapses?partner=2").json()
    assert sorted(int(s["id"]) for s in pair["synapses"]) == synapses["id"][at].tolist() and pair["total"] == at.sum()
    assert pair["synapses"][0]["position_nm"] == [synapses[f"{a}_nm"][at][0] for a in "zyx"]
    into = client.get("/api/releases/r1/neurites/2/synapses?direction=in").json()
    assert into["total"] == (synapses["post_pt_root_id"] == 2).sum()


def test_pages_go_on(client: Any) -> None:
    """All rows, page by page, each once; what is cut short says so."""
    seen, cursor = [], ""
    while cursor is not None:
        part = client.get(f"/api/releases/r1/neurites?order=root_id&limit=7&cursor={cursor}").json()
        assert part["truncated"] == (part["next"] is not None) and part["total"] == 32
        seen, cursor = seen + [r["root_id"] for r in part["neurites"]], part["next"]
    assert seen == [str(n) for n in range(1, 33)]
    assert client.get("/api/releases/r1/neurites?begins=3").json()["total"] == 4  # 3, 30, 31, 32
    assert client.get("/api/releases/r1/neurites?limit=100000").status_code == 422


def test_walks(client: Any) -> None:
    assert client.get("/api/releases/r1/paths?from=1&to=4").json()["path"] == ["1", "2", "3", "4"]
    assert client.get("/api/releases/r1/paths?from=4&to=1").json()["path"] is None
    two = client.get("/api/releases/r1/neurites/1/two_hops").json()["neighbours"]
    assert two == [{"root_id": "3", "weight": 16}]
    near = client.get("/api/releases/r1/neurites/1/neighbourhood?hops=3").json()["neighbours"]
    assert [(n["root_id"], n["steps"]) for n in near] == [("2", 1), ("3", 2), ("4", 3)]


def test_ids_between_releases(client: Any) -> None:
    found = client.get("/api/releases/r1/mapping?to=r2&ids=1,20,77").json()["mapping"]
    assert [(c["root_id"], c["share"]) for c in found["1"]] == [(r, 0.25) for r in ("1", "1001", "2001", "3001")]
    assert found["20"] == [{"root_id": "20", "share": 1.0}] and found["77"] == []


def test_trace(client: Any) -> None:
    found = client.get("/api/releases/r1/trace?artifact=tables/edges.parquet").json()
    assert "ingest" in {t["stage"] for t in found["tasks"]}
    assert client.get("/api/releases/r1/trace?artifact=3").json()["root_id"] == "3"
    assert client.get("/api/releases/r1/trace?artifact=nothing").status_code == 404


@pytest.mark.parametrize(
    "path, code",
    [
        ("/api/releases/r9", 404),
        ("/api/releases/..", 404),
        ("/api/releases/r1/neurites/0", 404),
        ("/api/releases/r1/neurites/18446744073709551616", 404),
        ("/api/releases/r1/neurites/18446744073709551615", 404),
        ("/api/releases/r1/neurites/-1", 422),
        ("/api/releases/r1/neurites/1;DROP TABLE", 422),
        ("/api/releases/r1/neurites/1/partners?direction=up", 422),
        ("/api/releases/r1/neurites/1/partners?cursor=-5", 422),
        ("/api/releases/r1/neurites?limit=0", 422),
        ("/api/releases/r1/neurites?limit=-1", 422),
        ("/api/releases/r1/trace?artifact=' OR 1=1 --", 404),
        ("/api/releases/r1/mapping?to=r2&ids=" + ",".join(["1"] * 1001), 422),
        ("/data/r1/../../../store.json", 404),
        ("/data/r1/..%2f..%2f..%2fstore.json", 404),
        ("/data/r1//etc/passwd", 404),
        ("/data/r1/tables/score.json%00", 404),
    ],
)
def test_what_is_not_there_or_no_question(client: Any, path: str, code: int) -> None:
    assert client.get(path).status_code == code


def test_files_by_range(client: Any, store: Store) -> None:
    path = "volumes/supervoxels.ome.zarr/0/c/0/0/0"
    whole = (store.release("r1") / "files" / path).read_bytes()
    for asked, part in (("bytes=0-9", whole[:10]), ("bytes=-7", whole[-7:]), ("bytes=5-", whole[5:])):
        got = client.get(f"/data/r1/{path}", headers={"Range": asked, "Origin": "https://elsewhere.org"})
        assert (got.status_code, got.content) == (206, part)
        assert got.headers["access-control-allow-origin"] == "*" and "immutable" in got.headers["cache-control"]
    assert client.get(f"/data/r1/{path}", headers={"Range": f"bytes={len(whole)}-"}).status_code == 416


def test_no_file_of_this_machine_is_looked_at(client: Any, tmp_path: Path, store: Store) -> None:
    """Not its bytes, and not whether it is there; a name longer than a name can be is none."""
    source = shutil.copy(store.release("r1") / "files/tables/edges.parquet", tmp_path / "known.parquet")
    assert queries.trace(store, str(source))["tasks"]  # as the command does
    for name in (str(source), "/dev/zero", "/", "0" * 500, "../" * 80):
        got = client.get("/api/releases/r1/trace", params={"artifact": name})
        assert got.status_code == 404, got.text
    with pytest.raises(DataError, match="nothing in the catalogue"):
        queries.trace(store, "0" * 500)


def test_points_are_numbers(client: Any) -> None:
    for point, status in (([0, 0.5, 1], 200), ([0, 0, False], 422), ([0, 0, "1"], 422)):
        assert client.post("/api/releases/r1/segments", json={"points": [point]}).status_code == status
    assert client.post("/api/releases").status_code == 405  # nothing is sent: of no type


@pytest.mark.parametrize(
    "asked, status, part",
    [
        ("items=0-3", 200, ""),  # RFC 9110, 14.2: another unit, and what is no range, is ignored
        ("bytes=9-3", 200, ""),
        ("bytes=a-b", 200, ""),
        ("bytes=" + "9" * 40 + "-", 200, ""),
        ("bytes=", 200, ""),
        ("BYTES=0-3", 206, "0-3"),
        ("bytes=2-999999", 206, "2-"),
        ("bytes=0-3, 999999-", 206, "0-3"),  # of several, those beyond the end
        ("bytes=-999999", 206, "0-"),
        ("bytes=-0", 416, ""),
        ("bytes=999999-, 99999999-", 416, ""),
    ],
)
def test_ranges_as_the_standard_has_them(client: Any, store: Store, asked: str, status: int, part: str) -> None:
    path = "volumes/supervoxels.ome.zarr/0/c/0/0/0"
    whole = (store.release("r1") / "files" / path).read_bytes()
    got = client.get(f"/data/r1/{path}", headers={"Range": asked})
    assert (got.status_code, got.headers["access-control-allow-origin"]) == (status, "*")
    first, _, last = part.partition("-")
    wanted = whole[int(first or 0) : int(last) + 1 if last else None]
    if status == 416:
        assert got.headers["content-range"] == f"bytes */{len(whole)}"
    else:
        assert int(got.headers["content-length"]) == len(wanted) and got.content == wanted
    bare = client.head(f"/data/r1/{path}", headers={"Range": asked})  # of which it has no meaning
    assert (bare.status_code, int(bare.headers["content-length"]), bare.content) == (200, len(whole), b"")


def test_files_that_a_reader_has(client: Any) -> None:
    path = "/data/r1/volumes/supervoxels.ome.zarr/zarr.json"
    first = client.get(path)
    tag = first.headers["etag"]
    for asked in (tag, f'"x", W/{tag}', "*"):
        same = client.get(path, headers={"If-None-Match": asked, "Range": "bytes=0-3"})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
        assert "immutable" in same.headers["cache-control"]
    assert client.get(path, headers={"If-None-Match": '"x"'}).status_code == 200
    for asked, status in ((tag, 206), ('"x"', 200), (f"W/{tag}", 200), (first.headers["last-modified"], 200)):
        assert client.get(path, headers={"If-Range": asked, "Range": "bytes=0-3"}).status_code == status
    parts = client.get(path, headers={"Range": "bytes=0-3, 9-11"})
    assert parts.status_code == 206 and parts.content.count(b"Content-Range: bytes") == 2
    assert first.content[:4] in parts.content and first.content[9:12] in parts.content
    assert client.get(f"{path}x").headers["access-control-allow-origin"] == "*"  # why not, for pages of any origin
    preflight = client.options(path, headers={"Origin": "https://x.org", "Access-Control-Request-Headers": "range"})
    assert preflight.status_code == 204 and preflight.headers["access-control-allow-headers"] == "Range"
    assert client.get("/api/releases").headers.get("access-control-allow-origin") is None


@pytest.mark.parametrize("path", ["/", "/openapi.json", "/api/releases", "/api/releases/r1/neurites", "/api/releases/none"])
def test_head_is_get_without_the_body(client: Any, path: str) -> None:
    whole, bare = client.get(path), client.head(path)
    assert (bare.status_code, bare.content, bare.headers) == (whole.status_code, b"", whole.headers)
    assert client.put(path).headers["allow"] == "GET, HEAD"


def edit(client: Any, kind: str, who: str | None, headers: dict | None = None, **asked: Any) -> Any:
    given = {"Authorization": f"Bearer {who}"} if who else {}
    return client.post(
        f"/api/releases/r1/edits/{kind}", json={"reason": "test", **asked}, headers={**given, **(headers or {})}
    )


def test_edits(client: Any) -> None:
    def first(root: int) -> str:
        z, y = divmod(root - 1, 8)
        return client.get(f"/api/releases/r1/segments?z={z * 32}&y={y * 32}&x=0").json()["supervoxel_id"]

    a, b = first(1), first(2)
    version = client.get("/api/releases/r1/edits").json()["version"]
    for who, code in ((None, 401), ("nobody", 401), ("old", 401), ("eve", 403)):
        assert edit(client, "merge", who, supervoxels=[a, b], base_version=version).status_code == code
    assert edit(client, "merge", "ann", supervoxels=[a, b], base_version=version + 5).status_code == 409
    done = edit(client, "merge", "ann", supervoxels=[a, b], base_version=version, key="k")
    assert done.status_code == 200 and done.json()["by"] == "ann"
    assert edit(client, "merge", "ann", supervoxels=[a, b], base_version=version, key="k").json() == done.json()
    assert client.get(f"/api/releases/r1/edits/segments/{b}").json()["root_id"] == done.json()["to"]
    cut = client.post("/api/releases/r1/edits/preview", json={"keep": [a], "take": [b]}).json()
    assert (cut["keep"], len(cut["take"]), cut["faces_cut"]) == (15, 1, 2 * 16)  # a corner: no cut is smaller
    split = edit(client, "split", "ann", supervoxels=cut["take"], base_version=version + 1)
    assert split.status_code == 200
    assert edit(client, "undo", "ann", of=split.json()["number"], base_version=version + 2).status_code == 200
    assert edit(client, "redo", "ann", of=split.json()["number"], base_version=version + 3).status_code == 200
    rows = client.get("/api/releases/r1/edits").json()["edits"]
    assert [r["op"] for r in rows[:4]] == ["redo", "undo", "split", "merge"] and rows[0]["reason"] == "test"
    assert edit(client, "merge", "ann", supervoxels=["5", str(2**64)], base_version=version + 4).status_code == 400
    assert edit(client, "undo", "ann", of=999, base_version=version + 4).status_code == 404


def test_forged_requests(client: Any) -> None:
    version = client.get("/api/releases/r1/edits").json()["version"]
    asked = {"supervoxels": ["1", "2"], "base_version": version}
    assert edit(client, "merge", "ann", {"Origin": "https://evil.org"}, **asked).status_code == 403
    assert edit(client, "merge", "ann", {"Host": "evil.org"}, **asked).status_code == 403
    assert client.get("/api/releases", headers={"Host": "evil.org"}).status_code == 403
    for host, code in (("[::1]", 200), ("[::1]:8000", 200), ("localhost", 200), ("[::2]", 403), ("[::1].evil.org", 403)):
        assert client.get("/api/releases", headers={"Host": host}).status_code == code, host
    assert client.get("/api/releases?token=ann").status_code == 400
    form = client.post("/api/releases/r1/edits/merge", content="a=b", headers={"Authorization": "Bearer ann"})
    assert form.status_code == 415
    large = client.post(
        "/api/releases/r1/segments", content=b"[" * (LARGEST + 1), headers={"Content-Type": "application/json"}
    )
    assert large.status_code == 413

    def pieces() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * 65536

    long = client.post("/api/releases/r1/segments", content=pieces(), headers={"Content-Type": "application/json"})
    assert long.status_code == 413


def test_who_reads_writes_nothing(tmp_path: Path) -> None:
    """A catalogue that cannot be written is served whole: where its indices would be kept there are files."""
    store = Store(tmp_path / "store", make=True)
    releases.create(store, results.make(tmp_path / "one"), "r1")
    shutil.rmtree(store.root / "staging", ignore_errors=True)
    for name in ("query", "staging"):
        (store.root / name).touch()
    before = sorted(str(p) for p in store.root.rglob("*"))
    with TestClient(create(store.root), base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        own = client.get("/api/releases/r1/edits/neurites/1").json()["supervoxels"]
        for path in ("edits", f"edits/segments/{own[0]}", "neurites/1/partners", "trace?artifact=3", "view", "costs"):
            assert client.get(f"/api/releases/r1/{path}").status_code == 200, path
        cut = client.post("/api/releases/r1/edits/preview", json={"keep": own[:1], "take": own[-1:]})
        assert cut.status_code == 200
    assert sorted(str(p) for p in store.root.rglob("*")) == before
    with lineage.current(store) as con, pytest.raises(sqlite3.OperationalError, match="readonly"):
        con.execute("DELETE FROM tasks")


def test_edits_are_off_without_tokens(store: Store) -> None:
    with TestClient(create(store.root), base_url="http://localhost") as client:
        assert edit(client, "merge", "ann", supervoxels=["1", "2"], base_version=0).status_code == 401


def test_tokens_are_compared_in_constant_time(tokens: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, whichever it is."""
    compared: list[str] = []
    real = guard.hmac.compare_digest
    monkeypatch.setattr(guard.hmac, "compare_digest", lambda a, b: compared.append(b) or real(a, b))
    held = Tokens(tokens)
    for word, name in (("ann", "ann"), ("eve", "eve"), ("nobody", None)):
        compared.clear()
        assert (held.who(f"Bearer {word}") or {"name": None})["name"] == name and len(compared) == len(held.rows)


def test_a_withdrawn_release_is_read_and_not_edited(tmp_path: Path, tokens: Path) -> None:
    store = Store(tmp_path / "store", make=True)
    releases.create(store, results.make(tmp_path / "one"), "r1")
    releases.withdraw(store, "r1", "bad")
    with TestClient(create(store.root, tokens), base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        assert client.get("/api/releases/r1").json()["status"] == "withdrawn"
        assert client.get("/api/releases/current").status_code == 404
        a, b = ("1", str((1 << 21) * 0 + 9))
        assert edit(client, "merge", "ann", supervoxels=[a, b], base_version=0).status_code == 410


def test_quick(client: Any) -> None:
    """Far from the asked figures' margins: a query costs milliseconds."""
    client.get("/api/releases/r1/neurites/1/partners")
    begun = time.process_time()
    for _ in range(50):
        assert client.get("/api/releases/r1/neurites/1/partners").status_code == 200
    assert (time.process_time() - begun) / 50 < 0.05
