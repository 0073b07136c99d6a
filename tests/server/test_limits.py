"""A query that takes too long: an answer that says so, and no thread or process that it holds."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import numpy as np
import pytest
from voxelmill.catalog import index, limits, lineage, points, queries, regions, walks
from voxelmill.catalog.store import Store
from voxelmill.proofreading import contacts

pytest.importorskip("fastapi")
import httpx
from voxelmill.server.app import create


def asked(app: Any, *paths: str) -> list[tuple[int, float, dict]]:
    """Status, seconds, and answer of questions that are asked at one time."""

    async def all_of_them() -> list[tuple[int, float, dict]]:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:

            async def one(path: str) -> tuple[int, float, dict]:
                begun = time.monotonic()
                got = await client.get(f"/api/releases{path}", timeout=60)
                return got.status_code, time.monotonic() - begun, got.json()

            return await asyncio.gather(*(one(path) for path in paths))

    return asyncio.run(all_of_them())


def test_what_takes_too_long_is_ended(served: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()

    def endless(*_: Any, **__: Any) -> None:
        try:
            for _ in range(3000):
                limits.check()
                time.sleep(0.01)
        finally:
            ended.set()

    monkeypatch.setattr(queries, "trace", endless)
    app = create(served.root, seconds=2)
    assert asked(app, "/r1/neurites/5")[0][0] == 200
    (code, _, answer), (other, *_) = asked(app, "/r1/trace?artifact=3", "/r1/neurites/5")
    assert code == 503 and "longer than" in answer["error"] and other == 200
    assert ended.wait(10)


def test_an_answer_does_not_wait_for_what_cannot_be_ended(served: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[dict] = []
    free = threading.Event()
    monkeypatch.setattr(queries, "trace", lambda *_, **__: free.wait(60) and {})

    async def send(message: Any) -> None:
        said.append(message)
        if message["type"] == "http.response.body":
            free.set()  # only now may it end

    async def receive() -> dict:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "GET", "path": "/api/releases/r1/trace", "query_string": b"artifact=3"}
    scope |= {"headers": [(b"host", b"localhost")], "http_version": "1.1", "scheme": "http", "root_path": ""}
    asyncio.run(create(served.root, seconds=0.3)({**scope, "server": ("localhost", 80)}, receive, send))
    assert [m.get("status") for m in said] == [503, None] and b"took longer than 0.3 s" in said[1]["body"]


def test_a_release_that_is_opened_holds_no_other_question(served: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its index may take minutes to make: by a thread, so that others are answered meanwhile."""
    real, free = index.load, threading.Event()

    def made(*given: Any) -> index.Index:
        assert free.wait(60)
        return real(*given)

    monkeypatch.setattr(index, "load", made)
    app = create(served.root)
    said = []

    async def both() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:

            async def slow() -> None:
                said.append((await client.get("/api/releases/r1/neurites/5/partners", timeout=60)).status_code)

            task = asyncio.create_task(slow())
            await asyncio.sleep(0.1)
            said.append((await client.get("/api/releases")).json()["current"])
            free.set()
            await task

    asyncio.run(both())
    assert said == ["r1", 200]


@pytest.mark.parametrize("name", ["hops", "path", "lookup", "region", "neurite", "contacts"])
def test_every_walk_looks_at_the_clock(served: Store, name: str) -> None:
    found, image = index.load(served, "r1"), regions.supervoxel_image_of(served, "r1")
    own = found.supervoxels_of(5)
    work = {
        "hops": lambda: walks.hops(found, 0, 3, True, 10),
        "path": lambda: walks.path(found, 0, 3),
        "lookup": lambda: points.lookup(image, found, [(0, 0, 0)]),
        "region": lambda: regions.supervoxels_in(served, "r1", regions.parse("0,0,0,9,9,9")),
        "neurite": lambda: regions.neurite(served, "r1", 5),
        "contacts": lambda: contacts.among(image, own),
    }[name]
    work()
    before = limits.ENDS.set(time.monotonic() - 1)
    try:
        with pytest.raises(limits.TooLong):
            work()
    finally:
        limits.ENDS.reset(before)


def test_sqlite_is_stopped(served: Store) -> None:
    endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000000000) SELECT sum(i) FROM n"
    before = limits.ENDS.set(time.monotonic() + 0.2)
    try:
        with pytest.raises(limits.TooLong), lineage.current(served) as con:
            con.execute(endless).fetchone()
    finally:
        limits.ENDS.reset(before)


def test_two_steps_from_one_that_speaks_to_all() -> None:
    """No more ways than are allowed are followed: those by the strongest partners, and it is said."""
    rng, n = np.random.default_rng(2), 300
    pairs = np.unique(rng.integers(1, n, (6000, 2)), axis=0)
    edges = {"pre_root_id": pairs[:, 0], "post_root_id": pairs[:, 1], "weight": rng.integers(1, 9, len(pairs))}
    rows = dict.fromkeys(("id", "pre_pt_root_id", "post_pt_root_id", "z_nm", "y_nm", "x_nm", "score"), np.zeros(0, np.uint64))
    made = index.arrays(None, edges, rows)
    whole, part = walks.two_hops(made, 5, True, 10_000), walks.two_hops(made, 5, True, 10_000, most=100)
    assert not whole[3] and whole[2] == len(whole[0])
    assert part[3] and 0 < part[2] < whole[2] and set(part[0].tolist()) < set(whole[0].tolist())
    partner, weight = made.partners(5, True)
    kept = dict(zip(part[0].tolist(), part[1].tolist(), strict=True))
    for other, w in zip(*(column.tolist() for column in made.partners(int(partner[0]), True)), strict=True):
        if other not in {5, *partner.tolist()}:
            assert kept[other] >= w * weight[0]
