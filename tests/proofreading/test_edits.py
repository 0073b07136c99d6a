"""Proofreading: the served mapping is the replay of the log, whatever was done, by however many, and killed at any moment."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from voxelmill.catalog import index, releases
from voxelmill.catalog.regions import supervoxel_image_of
from voxelmill.catalog.store import Store, read_log
from voxelmill.core.errors import ParameterError
from voxelmill.proofreading import contacts, cuts
from voxelmill.proofreading.edits import Conflict, Editor, Gone, State
from voxelmill.testing import durability, results

NUMBER = st.integers(0, 10**6)


@pytest.fixture
def store(tmp_path: Path, made: Path) -> Store:
    store = Store(tmp_path / "store", make=True)
    releases.create(store, made, "r0")
    return store


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return results.make(tmp_path_factory.mktemp("made") / "good")


def editor(store: Store) -> Editor:
    return Editor(store, "r0", index.load(store, "r0"))


def how(edits: Editor, **more: object) -> dict:
    return {"by": "ann", "base_version": edits.refresh().version, "reason": "test", **more}


def replayed(store: Store) -> np.ndarray:
    return editor(store).refresh().roots


def test_merge_split_undo_redo(store: Store) -> None:
    edits = editor(store)
    start = np.array(edits.state.roots)
    one, two = (edits.state.index.supervoxels[edits.state.members(n)].tolist() for n in (1, 2))
    merged = edits.merge(one[0], two[0], **how(edits))
    assert (merged["from"], merged["to"], edits.state.root(two[3])) == ("2", "1", 1)
    split = edits.split(one[:2], **how(edits))
    assert edits.state.root(one[0]) == int(split["to"]) > start.max() and edits.state.root(one[2]) == 1
    again = edits.merge(one[0], one[2], **how(edits))
    assert again["from"] == split["to"]
    with pytest.raises(Conflict, match="changed since; undo the later ones first"):
        edits.undo(2, **how(edits))
    edits.undo(3, **how(edits))
    edits.undo(1, **how(edits))
    assert np.array_equal(replayed(store), edits.state.roots)
    edits.undo(2, **how(edits))
    assert edits.state.root(two[0]) == 2
    assert np.array_equal(edits.state.roots, start)
    edits.undo(1, redo=True, **how(edits))
    assert edits.state.root(two[0]) == 1
    wrong = [
        lambda: edits.undo(1, redo=True, **how(edits)),
        lambda: edits.merge(one[0], two[0], **how(edits)),
        lambda: edits.split([*one, *two], **how(edits)),
        lambda: edits.split([one[0], 3 << 21], **how(edits)),
    ]
    for one_of_them in wrong:
        with pytest.raises((Conflict, ParameterError)):
            one_of_them()
    assert np.array_equal(replayed(store), edits.state.roots)


def test_a_version_of_before_is_refused(store: Store) -> None:
    edits = editor(store)
    a, b, c = (int(edits.state.index.supervoxels[edits.state.members(n)][0]) for n in (1, 2, 3))
    edits.merge(a, b, **how(edits))
    with pytest.raises(Conflict, match="made on version 0, the release is at version 1"):
        edits.merge(a, c, by="bob", base_version=0, reason="x")


def test_the_same_request_again(store: Store) -> None:
    edits = editor(store)
    a, b, c = (int(edits.state.index.supervoxels[edits.state.members(n)][0]) for n in (1, 2, 3))
    first = edits.merge(a, b, **how(edits, key="k"))
    assert edits.merge(a, b, by="ann", base_version=0, reason="test", key="k") == first
    assert editor(store).merge(a, b, by="ann", base_version=0, reason="test", key="k") == first  # also of another process
    with pytest.raises(Conflict, match="idempotency key"):
        edits.merge(a, c, **how(edits, key="k"))
    assert edits.state.version == 1


def test_a_withdrawn_release_is_not_edited(store: Store) -> None:
    edits = editor(store)
    releases.withdraw(store, "r0", "bad")
    a, b = (int(edits.state.index.supervoxels[edits.state.members(n)][0]) for n in (1, 2))
    with pytest.raises(Gone):
        edits.merge(a, b, **how(edits))
    with pytest.raises(ParameterError, match="no supervoxel"):
        edits.merge(a, 7 << 21, **how(edits))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=st.lists(st.tuples(st.sampled_from(["merge", "split", "undo", "redo"]), NUMBER, NUMBER), max_size=12))
def test_replay_is_what_is_served(tmp_path_factory: pytest.TempPathFactory, made: Path, plan: list) -> None:
    """Any sequence of operations: the log replays to the same mapping, and no supervoxel is lost; all undone, the start."""
    store = Store(tmp_path_factory.mktemp("any") / "store", make=True)
    releases.create(store, made, "r0")
    edits = editor(store)
    ids, start = edits.state.index.supervoxels, np.array(edits.state.roots)
    for kind, a, b in plan:
        try:
            if kind == "merge":
                edits.merge(int(ids[a % len(ids)]), int(ids[b % len(ids)]), **how(edits))
            elif kind == "split":
                own = ids[edits.state.members(int(edits.state.roots[a % len(ids)]))]
                edits.split(own[: 1 + b % len(own)].tolist(), **how(edits))
            else:
                edits.undo(1 + a % max(1, edits.state.version), redo=kind == "redo", **how(edits))
        except (Conflict, ParameterError):
            pass
        assert (edits.state.roots > 0).all()
    assert np.array_equal(replayed(store), edits.state.roots)
    for root in np.unique(edits.state.roots).tolist():
        assert np.array_equal(edits.state.members(root), np.flatnonzero(edits.state.roots == root))
    for entry in edits.state.done[::-1]:
        if entry["op"] in ("merge", "split") and entry["seq"] not in edits.state.undone:
            edits.undo(entry["seq"], **how(edits))
    assert np.array_equal(edits.state.roots, start)


def test_a_reader_sees_one_version_whole(store: Store) -> None:
    """While another thread merges and takes back: always as many supervoxels as the version has."""
    edits = editor(store)
    one, two = (int(edits.state.index.supervoxels[edits.state.members(n)][0]) for n in (1, 2))
    own, seen, ended = len(edits.state.members(1)), list[tuple[int, int, int]](), threading.Event()

    def read() -> None:
        while not ended.is_set():
            with edits.reading() as state:
                seen.append((state.version, len(state.members(1)), int((state.roots == 1).sum())))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for n in range(30):
        edits.merge(one, two, **how(edits)) if n % 2 == 0 else edits.undo(n, **how(edits))
    ended.set()
    for reader in readers:
        reader.join()
    assert len({version for version, *_ in seen}) > 3
    assert all(members == counted == own * (1 + version % 2) for version, members, counted in seen)


def test_several_writers_lose_nothing(store: Store) -> None:
    assert durability.writing(store, 4, 20) == {"edits": 80, "lost": 0, "twice": 0, "replayed": True}
    entries = list(read_log(store.root / "edits/r0/log.jsonl"))
    assert [e["base_version"] for e in entries] == list(range(80))


def test_killed_while_editing(store: Store) -> None:
    """What was acknowledged is there after `kill -9`; what is there is whole."""
    found = durability.editing(store, 10, int(time.time()))
    assert found["lost"] == 0 and found["whole"] and found["edits"] >= 10


def test_contacts_and_the_smallest_cut(store: Store) -> None:
    """Two rods joined by one bridge: the cut goes through the bridge; contacts are faces between cubes."""
    state = State.of(index.load(store, "r0"))
    image = supervoxel_image_of(store, "r0")
    own = np.sort(state.index.supervoxels[np.concatenate([state.members(1), state.members(2)])])
    ends, faces = contacts.among(image, own)
    n = results.SHAPE[2] // results.CUBE
    assert len(own) == 2 * n and len(ends) == (n - 1) * 2 + n and set(faces.tolist()) == {results.CUBE**2}
    bridge = np.array([[k, k + 1] for k in range(n - 1)] + [[n + k, n + k + 1] for k in range(n - 1)] + [[3, n + 4]])
    weight = np.array([16] * (2 * n - 2) + [5])
    side, cost = cuts.smallest(2 * n, bridge, weight, [0], [2 * n - 1])
    assert side.tolist() == [False] * n + [True] * n and cost == 5
    with pytest.raises(ParameterError, match="same supervoxel"):
        cuts.smallest(2 * n, bridge, weight, [0], [0])


def tubes(length: int = 12, width: int = 3) -> tuple[np.ndarray, np.ndarray, int]:
    """Contacts of two tubes of width x width supervoxels, joined in four places: ends, faces, size of one."""
    number = np.arange(2 * length * width * width).reshape(2, length, width, width)
    pairs = [np.stack([a.ravel(), b.ravel()], axis=1) for a, b in (
        (number[:, :-1], number[:, 1:]), (number[:, :, :-1], number[:, :, 1:]), (number[..., :-1], number[..., 1:]),
        (number[0, 6:8, -1, :2], number[1, 6:8, 0, :2]))]  # fmt: skip
    ends = np.concatenate(pairs)
    return ends, np.random.default_rng(1).integers(12, 20, len(ends)), length * width * width


def test_one_point_a_side_splits_two_neurites() -> None:
    """Wherever the two points lie, but for those at the contact itself: the smallest cut is mostly that around a point."""
    ends, faces, half = tubes()
    wanted, rng = np.arange(2 * half) >= half, np.random.default_rng(2)
    right = {cuts.natural: 0, cuts.smallest: 0}
    for _ in range(40):
        keep, take = (int(rng.choice(np.r_[0:45, 81:half])) for _ in range(2))
        for way in right:
            side, cost = way(2 * half, ends, faces, [keep], [half + take])
            right[way] += bool((side == wanted).all())
            assert not side[keep] and side[half + take] and cost == faces[side[ends[:, 0]] != side[ends[:, 1]]].sum()
    assert right[cuts.natural] == 40 and right[cuts.smallest] < 30
    apart = cuts.natural(4, np.array([[0, 1], [2, 3]]), np.array([5, 5]), [0], [2])
    assert apart[0].tolist() == [False, False, True, True] and apart[1] == 0


def test_contacts_are_those_of_the_whole(store: Store) -> None:
    """Shard by shard, and at once: the same faces, each once, also where they were kept."""
    image = supervoxel_image_of(store, "r0")
    whole = image.read()
    pairs, faces = contacts.touching(whole, whole.shape)
    ids = np.unique(whole)
    for kept in (None, store.root / "kept", store.root / "kept"):
        ends, found = contacts.among(image, ids, kept)
        assert {(*ids[e].tolist(), f) for e, f in zip(ends, found.tolist(), strict=True)} == {
            (*p, f) for p, f in zip(pairs.tolist(), faces.tolist(), strict=True)
        }
    assert json.dumps(len(list((store.root / "kept").iterdir()))) == "4"
