"""The Python client against the server on this machine."""

from __future__ import annotations

import io
import urllib.request
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from voxelmill import client as module
from voxelmill.catalog import releases
from voxelmill.catalog.store import Store
from voxelmill.client import Client, Refused
from voxelmill.testing import results

pytest.importorskip("fastapi")
from fastapi.testclient import TestClient
from voxelmill.server.app import create


@pytest.fixture
def client(address: str) -> Client:
    return Client(address, token="ann")


def test_queries(client: Client) -> None:
    assert [r["tag"] for r in client.releases()] == ["m1", "v1", "r1"] and client.release()["tag"] == "r1"
    # Rods along x, of 4 voxels of 8 nm: the second has y = 32..63 nm.
    assert client.segments("r1", [(0, 0, 0), (0, 40, 0), (-99, 0, 0)]) == [1, 2, None]
    assert client.neurite("r1", 2)["root_id"] == 2
    assert list(client.partners("r1", 2)) == [{"root_id": 3, "weight": 4}]
    assert [p["root_id"] for p in client.partners("r1", 2, "in")] == [1]
    pair = list(client.synapses("r1", 1, partner=2))
    assert len(pair) == 4 and {(s["pre_root_id"], s["post_root_id"]) for s in pair} == {(1, 2)}
    assert client.path("r1", 1, 4) == [1, 2, 3, 4] and client.path("r1", 4, 1) is None
    assert client.mapping("r1", "r1", [1, 77]) == {1: [{"root_id": 1, "share": 1.0}], 77: []}
    assert client.trace("r1", 3)["root_id"] == "3"
    assert "/v/view/#!" in client.view("r1", 3) or "appspot" in client.view("r1", 3)


def test_whole_tables(client: Client, served: Store, address: str) -> None:
    """Part by part, over row groups and files, the table as it was written; ids are uint64."""
    for name, path in (("synapses", "tables/synapses.parquet"), ("merge", "tables/merge")):
        whole = pq.read_table(served.release("r1") / "files" / path)
        parts = list(client.table("r1", name, rows=50))
        assert [len(p) for p in parts[:-1]] == [50] * (len(whole) // 50) and pa.concat_tables(parts).equals(whole)
        with urllib.request.urlopen(f"{address}/api/releases/r1/tables/{name}?format=parquet&limit=9&cursor=3") as answer:
            assert pq.read_table(io.BytesIO(answer.read())).equals(whole.slice(3, 9))
            assert (answer.headers["X-Total"], answer.headers["X-Truncated"]) == (str(len(whole)), "true")
    assert next(client.table("r1", "edges"))["pre_root_id"].type == pa.uint64()
    with pytest.raises(Refused, match="no table 'none'; there are: synapses, edges"):
        next(client.table("r1", "none"))


def test_traces_of_a_cell(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "store", make=True)
    releases.create(store, results.moving(tmp_path / "movie"), "m1")
    app = create(store.root)
    with TestClient(app, base_url="http://127.0.0.1") as inside:

        def asked(path: str, query: object = None, body: object = None) -> tuple[bytes, object]:
            got = inside.get(f"/api/{path}", params=query)
            if got.status_code != 200:
                raise Refused(got.status_code, got.json()["error"])
            return got.content, got.headers

        monkeypatch.setattr(client, "_get", asked)
        assert client.fovs("m1") == ["fov_000", "fov_001"]
        assert list(client.cells("m1", "fov_001")) == [{"cell": n, "frames": 5, "first": n, "last": n + 4} for n in (1, 2, 3)]
        found = list(client.traces("m1", "fov_001", 2))
        assert [(r["frame"], r["area"]) for r in found] == [(n, None if n == 3 else 20.5 + n) for n in range(2, 7)]
        for fov, cell in (("fov_001", 9), ("fov_007", 1)):
            with pytest.raises(Refused, match="404"):
                list(client.traces("m1", fov, cell))


def test_lists_go_on(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over pages, and lookups over batches; each row once."""
    monkeypatch.setattr(module, "PAGE", 7)
    monkeypatch.setattr(module, "BATCH", 2)
    assert [n["root_id"] for n in client.neurites("r1", "root_id")] == list(range(1, 33))
    assert client.segments("r1", [(0, 32 * n, 0) for n in range(5)]) == [1, 2, 3, 4, 5]
    assert list(client.mapping("r1", "r1", range(1, 21))) == list(range(1, 21))


def test_edits(client: Client, address: str) -> None:
    a, b = (client.supervoxels("r1", root)[0] for root in (9, 10))
    begun = client.version("r1")
    done = client.merge("r1", a, b, "one neurite")
    assert (done["version"], done["to"], len(client.supervoxels("r1", 9))) == (begun + 1, 9, 16)
    split = client.split("r1", [b], "not that one")
    assert client.supervoxels("r1", split["to"]) == [b]
    assert client.undo("r1", split["number"], "after all")["version"] == begun + 3
    assert client.preview("r1", [a + 1], [b]) == [b]
    assert client.undo("r1", done["number"], "as it was")["version"] == begun + 4
    assert [e["op"] for e in client.edits("r1")][:4] == ["undo", "undo", "split", "merge"]
    with pytest.raises(Refused, match="made on version") as stale:
        client.merge("r1", a, b, "too late", base_version=begun)
    with pytest.raises(Refused, match="need a token"):
        Client(address).merge("r1", a, b, "nobody")
    assert stale.value.code == 409


def test_an_answer_that_is_lost(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request is sent again, and done once."""
    a, b = (client.supervoxels("r1", root)[0] for root in (17, 18))
    begun, asked, lost = client.version("r1"), client._ask, [True]

    def losing(path: str, *args: object, **body: object) -> dict:
        found = asked(path, *args, **body)  # type: ignore[arg-type]
        if path.endswith("/merge") and lost.pop():
            lost.append(False)
            raise ConnectionResetError
        return found

    monkeypatch.setattr(client, "_ask", losing)
    assert client.merge("r1", a, b, "once")["version"] == begun + 1 and client.version("r1") == begun + 1


def test_what_is_refused(client: Client, served: Store) -> None:
    with pytest.raises(Refused, match="no neurite 99") as missing:
        client.neurite("r1", 99)
    assert missing.value.code == 404
    with pytest.raises(Refused, match="no release"):
        client.release("r9")
