"""The server on releases that are damaged, odd or without neurites, and what it reads before it knows who asks."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voxelmill.catalog import releases
from voxelmill.catalog.store import Store
from voxelmill.core.errors import ParameterError, StorageError
from voxelmill.testing import results

pytest.importorskip("fastapi")
from fastapi.testclient import TestClient
from voxelmill.server.app import create
from voxelmill.server.guard import LARGEST, Guard, Tokens, TooLarge

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


def test_ids_are_strings_beyond_53_bits(tmp_path: Path) -> None:
    """In every answer: a browser reads numbers as doubles, in which these are not told apart."""
    store, first = Store(tmp_path / "store", make=True), 2**60
    releases.create(store, results.make(tmp_path / "one", partition=lambda cubes: results.rods(cubes) + first), "r1")
    one, two, three = (str(first + n) for n in (1, 2, 3))
    own = f"neurites/{one}"
    named = {"segments?z=0&y=0&x=0": one, "neurites": two, own: one, f"{own}/partners": two, f"{own}/synapses": two,
             f"{own}/neighbourhood": two, f"{own}/two_hops": three, f"paths?from={one}&to={three}": two,
             f"mapping?to=r1&ids={one}": one, f"trace?artifact={one}": one, "edits/segments/1": one,
             f"edits/neurites/{one}": one}  # fmt: skip

    def numbers(value: Any) -> list[float]:
        inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return [value] if isinstance(value, int | float) else [n for part in inside for n in numbers(part)]

    with TestClient(create(store.root), base_url="http://127.0.0.1") as client:
        for path in (*named, f"view?neurite={one}", "diff?to=r1", "costs"):
            found = client.get(f"/api/releases/r1/{path}")
            assert found.status_code == 200 and max(numbers(found.json()), default=0) < 2**53, path
            assert f'"{named[path]}"' in found.text if path in named else True, path


def test_a_lost_chunk_is_no_zeros(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", make=True)
    releases.create(store, results.make(tmp_path / "one"), "r1")
    with TestClient(create(store.root), base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        shard = "volumes/supervoxels.ome.zarr/0/c/0/0/0"
        assert client.get("/api/releases/r1/segments?z=0&y=0&x=0").json()["root_id"] == "1"
        (store.release("r1") / "files" / shard).unlink()
        assert client.get(f"/data/r1/{shard}").status_code == 503
        assert client.get("/api/releases/r1/segments?z=0&y=0&x=0").status_code == 503
        assert client.get(f"/data/r1/{shard}2").status_code == 404


def test_a_link_in_a_release_leads_nowhere(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", make=True)
    releases.create(store, results.make(tmp_path / "one"), "r1")
    name = next(
        n for n, (size, *_) in releases.manifest_of(store, "r1")["files"].items() if n.endswith("zarr.json") and size > 200
    )
    path = store.release("r1") / "files" / name
    secret = tmp_path / "secret"
    secret.write_text("secret")
    size = path.stat().st_size
    path.unlink()
    slashes = size - len(str(secret))
    path.symlink_to("/" * slashes + str(secret))  # as long as the file was
    assert path.lstat().st_size == size and path.read_text() == "secret"
    folder = store.release("r1") / "files/tables"
    folder.rename(tmp_path / "tables")
    folder.symlink_to(tmp_path / "tables")
    with TestClient(create(store.root), base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        got = client.get(f"/data/r1/{name}")
        assert client.get("/data/r1/tables/edges.parquet").status_code == 503
    assert got.status_code == 503 and "secret" not in got.text


@pytest.mark.parametrize(
    "name, paths",
    [
        ("catalogue.sqlite", ["trace?artifact=3", "trace?artifact=tables/edges.parquet"]),
        (
            "releases/m1/files/fov_000/run_fov_000_traces.csv",
            ["../m1/fovs/fov_000/cells", "../m1/fovs/fov_000/cells/1/traces"],
        ),
        ("releases/r1/files/tables/edges.parquet", ["diff?to=r1", "tables/edges", "neurites/1/partners"]),
        (
            "releases/r1/files/tables/synapses.parquet",
            ["tables/synapses", "trace?artifact=volumes/raw.ome.zarr&forward=1&bbox=0,0,0,9,9,9"],
        ),
        ("releases/r1/files/tables/merge/z0000000.parquet", ["diff?to=r1", "trace?artifact=3", "neurites"]),
    ],
)
def test_what_is_damaged_is_no_answer_and_no_bug(tmp_path: Path, name: str, paths: list[str]) -> None:
    store = Store(tmp_path / "store", make=True)
    releases.create(store, results.make(tmp_path / "one"), "r1")
    releases.create(store, results.moving(tmp_path / "movie"), "m1")
    path = next(store.root.glob(name.replace("run_fov_000", "*")))
    data = b"\xff" * path.stat().st_size
    path.unlink()
    path.write_bytes(data)
    with TestClient(create(store.root), base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        for asked in paths:
            tag, asked = asked[3:].split("/", 1) if asked.startswith("../") else ("r1", asked)
            found = client.get(f"/api/releases/{tag}/{asked}")
            assert found.status_code == 503 and "error" in found.json(), (asked, found.text)


def test_a_release_without_neurites_has_nothing_to_edit(tmp_path: Path) -> None:
    """As of a movie or of slices: 404, not a fault of the server."""
    store = Store(tmp_path / "store", make=True)
    releases.create(store, results.make(tmp_path / "one"), "r1")
    app = create(store.root)
    release = app.state.context.release("r1")
    release.index = replace(release.index, supervoxels=np.zeros(0, np.uint64))
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        assert client.get("/api/releases/r1/edits").status_code == 404


@pytest.mark.parametrize("stated", [True, False])
def test_a_body_that_is_too_large_is_not_read(stated: bool) -> None:
    """Of one that says its size nothing; else no more than is allowed and what it takes to see it."""
    read, said = [0], []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        with contextlib.suppress(TooLarge):
            while (await receive())["more_body"]:
                pass
        await send({"type": "http.response.start", "status": 200})

    async def receive() -> dict[str, Any]:
        read[0] += 65536
        return {"type": "http.request", "body": b" " * 65536, "more_body": read[0] < 100 * LARGEST}

    async def send(message: dict[str, Any]) -> None:
        said.append(message.get("status"))

    size = [(b"content-length", str(LARGEST + 1).encode())] if stated else []
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json"), *size]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
    asyncio.run(Guard(app, ["localhost"])(scope, receive, send))
    assert said[0] == 413 and read[0] == (0 if stated else LARGEST + 65536)


def test_token_files(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    row = {"name": "a", "sha256": "0" * 64, "role": "admin"}
    for text in (
        "{}",
        "[]",
        json.dumps({"tokens": [{**row, "role": "king"}]}),
        json.dumps({"tokens": [{**row, "sha256": "zz"}]}),
    ):
        path.write_text(text)
        path.chmod(0o600)
        with pytest.raises(ParameterError, match="--edit_tokens"):
            Tokens(path)
    path.write_text(json.dumps({"tokens": [row]}))
    path.chmod(0o644)
    with pytest.raises(ParameterError, match="others can read it; chmod 600"):
        Tokens(path)
    with pytest.raises(StorageError):
        create(tmp_path / "none")
