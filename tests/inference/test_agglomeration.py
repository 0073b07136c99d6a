"""Agglomeration: the joins of a queue, all at once; cuts; small segments."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxelmill.core.graphs import components
from voxelmill.inference import agglomeration, enclosed, pending, scratch, small_segments
from voxelmill.inference.agglomeration import Divided
from voxelmill.inference.region_graph import Edges, chosen
from voxelmill.inference.small_segments import across


@pytest.fixture(autouse=True)
def tables_there(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("task"))


def graph(*rows: tuple[int, int, int, int]) -> Edges:
    """Edges from (u, v, total, faces)."""
    table = np.array(sorted(rows), np.int64).reshape(-1, 4)
    return Edges(table[:, :2].astype(np.uint64), table[:, 2], table[:, 3])


def join(n: int, edges: Edges, least: float = 0.0) -> agglomeration.Forest:
    return agglomeration.join(divided(n, [edges]), least)


def cut(n: int, forest: agglomeration.Forest, threshold: float) -> np.ndarray:
    assert len(forest.parent) == n
    return agglomeration.cut(forest, threshold)


@contextmanager
def room_for(edges: int, nodes: int) -> Iterator[None]:
    """So few edges and nodes are worked on at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pending, "ROOM", edges)
        patch.setattr(pending, "SEEN", max(2, edges // 50))
        patch.setattr(agglomeration, "BINS", 64)
        patch.setattr(scratch, "BLOCK", nodes)
        yield


def absorb(root: np.ndarray, sizes: np.ndarray, edges: Edges, smallest: int) -> np.ndarray:
    return small_segments.absorb(root.copy(), sizes, [edges], smallest)


def divided(n: int, pieces: list[Edges]) -> Divided:
    """A graph in pieces, with what is said of each node."""
    first, last = np.full(n, len(pieces), np.int32), np.zeros(n, np.int32)
    for k, edges in enumerate(pieces):
        ends = edges.pairs.astype(np.int64).ravel()
        first[ends], last[ends] = np.minimum(first[ends], k), k
    return Divided(pieces, first, last)


def pieces(edges: Edges, starts: list[int]) -> list[Edges]:
    """A graph divided where nodes begin: an edge is in the piece of its later end."""
    of = np.searchsorted(starts, edges.pairs[:, 1], "right") - 1
    return [chosen(edges, of == k) for k in range(len(starts))]


def by_queue(n: int, edges: Edges, threshold: float) -> list[int] | None:
    """Mean affinity, one join at a time; nothing where two edges have ever been equal, for then either may come first."""
    root = list(range(n))
    near: dict[int, dict[int, tuple[int, int]]] = {i: {} for i in range(n)}
    for (u, v), total, faces in zip(edges.pairs.tolist(), edges.total.tolist(), edges.faces.tolist()):
        near[u][v] = near[v][u] = (total, faces)
    queue = [(-t / f / 255, u, v) for u in near for v, (t, f) in near[u].items() if u < v]
    seen = [score for score, *_ in queue]
    heapq.heapify(queue)
    while queue:
        score, u, v = heapq.heappop(queue)
        if -score < threshold:
            break
        if v not in near.get(u, {}) or -near[u][v][0] / near[u][v][1] / 255 != score:
            continue
        for w, (t, f) in near.pop(v).items():
            near[w].pop(v)
            if w != u:
                t0, f0 = near[u].get(w, (0, 0))
                near[u][w] = near[w][u] = (t + t0, f + f0)
                heapq.heappush(queue, (-(t + t0) / (f + f0) / 255, min(u, w), max(u, w)))
                if f0:
                    seen.append(-(t + t0) / (f + f0) / 255)
        root = [u if r == v else r for r in root]
    return root if len(set(seen)) == len(seen) else None


@st.composite
def graphs(draw) -> tuple[int, Edges]:
    n = draw(st.integers(2, 12))
    pairs = draw(st.sets(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda p: p[0] < p[1]), max_size=30))
    faces = {p: draw(st.integers(1, 40)) for p in sorted(pairs)}
    return n, graph(*((*p, draw(st.integers(0, 255 * f)), f) for p, f in faces.items()))


@settings(deadline=None, max_examples=300)
@given(graphs(), st.sampled_from([0.1, 0.3, 0.5, 0.8]))
def test_all_at_once_is_as_one_after_the_other(made: tuple[int, Edges], threshold: float):
    n, edges = made
    found = cut(n, join(n, edges), threshold)
    assert by_queue(n, edges, threshold) in (None, found.tolist())
    assert found.tolist() == cut(n, join(n, edges, threshold), threshold).tolist()


@st.composite
def in_pieces(draw) -> tuple[int, Edges, list[int]]:
    """Few means, so that many are equal; nodes touch those close by, as blocks do."""
    n = draw(st.integers(2, 40))
    pairs = draw(st.sets(st.tuples(st.integers(0, n - 1), st.integers(1, 9)).filter(lambda p: sum(p) < n), max_size=120))
    rows = [(a, a + d, 51 * draw(st.integers(0, 5)) * f, f) for a, d in sorted(pairs) for f in [draw(st.integers(1, 3))]]
    return n, graph(*rows), sorted({0, *draw(st.sets(st.integers(0, n - 1), max_size=7))})


@settings(deadline=None, max_examples=300)
@given(in_pieces(), st.sampled_from([0.0, 0.2, 0.5]), st.sampled_from([1, 5, 20, 999]), st.sampled_from([1, 7, 999]))
def test_joins_are_the_same_however_the_graph_is_divided(made, least: float, edges_held: int, nodes_held: int):
    n, edges, starts = made
    whole, sizes = join(n, edges, least), np.arange(n) % 7 + 1
    root = cut(n, whole, 0.5)
    parts = pieces(edges, starts)
    with room_for(edges_held, nodes_held):
        found = agglomeration.join(divided(n, parts), least)
        assert all(np.array_equal(a, b) for a, b in zip(found, whole, strict=True))
        assert np.array_equal(cut(n, found, 0.5), root)
        absorbed = small_segments.absorb(root.copy(), sizes, parts, 12)
        grown = small_segments.join_smaller(root.copy(), sizes, parts, 9, 0.2)
        inside = enclosed.enclose(root.copy(), sizes, np.arange(n) % 5 == 0, parts)
    assert np.array_equal(absorbed, absorb(root, sizes, edges, 12))
    assert np.array_equal(absorbed, absorbed_in_memory(root, sizes, edges, 12))
    assert grown.tolist() == joined_in_memory(root, sizes, edges, 9, 0.2)
    assert inside.tolist() == enclosed_in_memory(root, sizes, np.arange(n) % 5 == 0, edges)


def joined_in_memory(root: np.ndarray, sizes: np.ndarray, edges: Edges, large: int, least: float) -> list[int]:
    """One join after the other: the best pair of those that may be joined, of equal ones that with the first edge."""
    ends = np.sort(root[edges.pairs.astype(int)], 1)
    number, size = ends[:, 0] * len(root) + ends[:, 1], np.bincount(root, sizes, len(root))
    while True:
        near: dict[tuple[int, int], np.ndarray] = {}
        first: dict[tuple[int, int], int] = {}
        for pair, total, faces, k in zip(map(tuple, np.sort(root[ends], 1).tolist()), edges.total, edges.faces, number):
            if pair[0] != pair[1]:
                near[pair] = near.get(pair, 0) + np.array([total, faces])
                first[pair] = min(first.get(pair, k), k)
        may = [
            (-total / faces / 255, first[pair], pair)
            for pair, (total, faces) in near.items()
            if min(size[list(pair)]) < large and total / faces / 255 >= least
        ]
        if not may:
            return root.tolist()
        _, _, (u, v) = min(may)
        size[u] += size[v]
        root = np.where(root == v, u, root)


def test_many_at_a_large_segment_are_joined_at_once(monkeypatch: pytest.MonkeyPatch):
    """300 pairs of small ones that touch one large one, each with another affinity."""
    rows = [(0, k, 60_000 + k, 300) for k in range(1, 601)] + [(k, k + 1, 0, 1) for k in range(1, 601, 2)]
    rounds: list[int] = []
    best = small_segments.reciprocal
    monkeypatch.setattr(small_segments, "reciprocal", lambda *given: rounds.append(1) or best(*given))
    sizes = np.array([9000, *[1] * 600])
    assert not small_segments.join_smaller(np.arange(601), sizes, [graph(*rows)], 500, 0.2).any()
    assert len(rounds) == 2


def enclosed_in_memory(root: np.ndarray, sizes: np.ndarray, ends: np.ndarray, edges: Edges) -> list[int]:
    """What is left when a cluster is taken away falls apart; pieces that are small enough and reach no end of the data lie
    inside it. From the smallest clusters on, as a power of two is above them."""
    for level in 2 ** np.arange(1, 12):
        size, open_ = np.bincount(root, sizes, len(root)), np.bincount(root, ends, len(root)) > 0
        u, v = root[edges.pairs.astype(int)].T
        pick = {}
        for around in np.flatnonzero(size >= level).tolist():
            group = components(len(root), *((end[(u != around) & (v != around)]) for end in (u, v)))
            touching = {int(group[b if a == around else a]) for a, b in zip(u, v) if around in (a, b) and a != b}
            for one in touching:
                those = np.flatnonzero((group == one) & (size > 0))
                if size[those].max() < level and not open_[those].any() and 2 * size[those].sum() <= size[around]:
                    pick |= dict.fromkeys(those.tolist(), around)
        for around in set(pick.values()):
            together = [around, *(k for k in pick if pick[k] == around)]
            root = np.where(np.isin(root, together), min(together), root)
    return root.tolist()


def absorbed_in_memory(root: np.ndarray, sizes: np.ndarray, edges: Edges, smallest: int) -> np.ndarray:
    """One round after the other, with dictionaries."""
    while True:
        size = np.bincount(root, sizes, len(root))
        near: dict[tuple[int, int], np.ndarray] = {}
        for (u, v), total, faces in zip(root[edges.pairs.astype(int)].tolist(), edges.total, edges.faces, strict=True):
            for pair in ((u, v), (v, u)) if u != v else ():
                near[pair] = near.get(pair, 0) + np.array([total, faces])
        best: dict[int, tuple[float, int]] = {}
        for (u, v), (total, faces) in near.items():
            if size[u] < smallest:
                best[u] = min(best.get(u, (0.0, len(root))), (-total / faces, v))
        if not best:
            return root
        up = components(len(root), np.array(list(best)), np.array([v for _, v in best.values()]))
        root = up[root]


def lattice(layers: int, side: int, mean: Callable[[int], np.ndarray]) -> tuple[int, Edges]:
    """Nodes that each touch the six next ones; mean: affinities of so many edges."""
    numbers = np.arange(layers * side**2).reshape(layers, side, side)
    pairs = [np.stack([np.moveaxis(numbers, k, 0)[:-1].ravel(), np.moveaxis(numbers, k, 0)[1:].ravel()], 1) for k in range(3)]
    pairs = np.unique(np.concatenate(pairs), axis=0).astype(np.uint64)
    faces = np.random.default_rng(0).integers(1, 99, len(pairs))
    return numbers.size, Edges(pairs, (mean(len(pairs)) * 255 * faces).astype(np.int64), faces)


def alike(n: int) -> np.ndarray:
    """A fifth of all edges has the same affinity."""
    return np.random.default_rng(0).integers(1, 6, n) / 5


def apart(n: int) -> np.ndarray:
    return np.random.default_rng(0).random(n)


@pytest.mark.parametrize("mean", [alike, apart])
def test_what_waits_is_not_held_together(monkeypatch: pytest.MonkeyPatch, mean: Callable[[int], np.ndarray]):
    """A lattice in pieces: no more edges are looked at together than there is room for, and the joins are the same, where
    any number of edges are equal, too."""
    seen: list[int] = []
    joined, connected = agglomeration._joined, agglomeration.components
    monkeypatch.setattr(agglomeration, "_joined", lambda edges, *rest: seen.append(len(edges.u)) or joined(edges, *rest))
    monkeypatch.setattr(agglomeration, "components", lambda n, u, v: seen.append(len(u)) or connected(n, u, v))
    n, edges = lattice(64, 8, mean)
    parts = divided(n, pieces(edges, list(range(0, n, 128))))
    whole = join(n, edges, 0.2)
    seen.clear()
    with room_for(500, 500):
        found = agglomeration.join(parts, 0.2)
    assert max(seen) <= 750 < len(edges.faces) / 10 and all(map(np.array_equal, found, whole))


def test_of_a_pair_no_more_edges_are_held_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch):
    """Two clusters that touch in many places, which are found one after the other."""
    one = pending.Pending(*np.array([[0], [1], [7], [2], [1]]).repeat(50, 1))
    seen: list[int] = []
    summed = pending.summed
    monkeypatch.setattr(pending, "summed", lambda n, edges: seen.append(len(edges.u)) or summed(n, edges))
    with room_for(100, 99):
        (found,) = pending.Parts(2, [one] * 60)
    assert [column.tolist() for column in found] == [[0], [1], [21000], [6000], [1]] and max(seen) <= 150


def test_one_part_after_the_other_is_held():
    """Edges on disk: those of a pair meet and are added up, and no part is much larger than there is room for."""
    rng, n = np.random.default_rng(0), 300
    u, v = rng.integers(0, n, (2, 9000))
    edges = pending.those(pending.Pending(u, v, u + v, u * 0 + 1, u * n + v), u != v)
    with room_for(1000, 99):
        parts = pending.Parts(n, [edges, edges])
    assert max(len(part.u) for part in parts) < 1500
    whole = pending.summed(n, pending.together([edges, edges]))
    found = pending.together(parts)
    order = np.lexsort((found.v, found.u))
    assert all(np.array_equal(a[order], b) for a, b in zip(found, whole, strict=True))


def test_scores_fall_and_cuts_lie_within_each_other():
    rng = np.random.default_rng(1)
    n = 400
    pairs = np.unique(np.sort(rng.integers(0, n, (1500, 2)), axis=1), axis=0)
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    faces = rng.integers(1, 60, len(pairs))
    edges = Edges(pairs.astype(np.uint64), (rng.random(len(pairs)) * 255 * faces).astype(np.int64), faces)
    forest = join(n, edges)
    assert (forest.score >= 0).sum() > 300
    finer = cut(n, forest, 0.6)
    for threshold in (0.5, 0.3, 0.1):
        coarser = cut(n, forest, threshold)
        assert len(np.unique(coarser)) < len(np.unique(finer))
        assert all(len(set(coarser[finer == r].tolist())) == 1 for r in np.unique(finer))
        finer = coarser


def test_a_thin_strong_bridge_does_not_hold_against_a_wide_weak_border():
    """0-1 and 1-2 are strong; once 0 and 1 are one, 2 has a long weak border with both."""
    edges = graph((0, 1, 250 * 50, 50), (1, 2, 240 * 5, 5), (0, 2, 10 * 95, 95))
    assert cut(3, join(3, edges), 0.5).tolist() == [0, 0, 2]


def test_small_segments_go_where_they_belong_most():
    edges = graph((0, 1, 10 * 20, 20), (1, 2, 60 * 20, 20), (2, 3, 5, 5), (3, 4, 0, 1))
    sizes = np.array([900, 20, 900, 30, 10])
    assert absorb(np.arange(5), sizes, edges, 100).tolist() == [0, 1, 1, 1, 1]
    assert absorb(np.arange(5), sizes, edges, 0).tolist() == list(range(5))


def test_one_that_touches_nothing_stays():
    assert absorb(np.arange(2), np.array([3, 3]), graph(), 100).tolist() == [0, 1]
    assert (join(2, graph()).score == -1).all()


@pytest.mark.parametrize("n", [0, 1])
def test_nothing_to_join(n: int):
    assert cut(n, join(n, graph()), 0.5).tolist() == list(range(n))


def test_two_large_segments_need_more_than_a_small_one():
    """0 and 1, and 3 and 4, are large; 2 is not, and 1 would be joined to 0 only if its size did not count."""
    edges = graph((0, 1, 60 * 9, 9), (1, 2, 55 * 9, 9), (3, 4, 80 * 9, 9))
    sizes = np.array([900, 800, 20, 900, 900])
    assert small_segments.join_smaller(np.arange(5), sizes, [edges], 500, 0.2).tolist() == [0, 1, 1, 3, 4]
    assert small_segments.join_smaller(np.arange(5), sizes, [edges], 850, 0.2).tolist() == [0, 0, 0, 3, 4]
    assert small_segments.join_smaller(np.arange(5), sizes, [edges], 901, 0.3).tolist() == [0, 1, 2, 3, 3]
    assert small_segments.join_smaller(np.arange(2), sizes[:2], [graph()], 500, 0.2).tolist() == [0, 1]


def test_what_lies_inside_a_segment_is_part_of_it():
    """1, 2 and 3 lie inside 0; 4 touches 5, too; 6 touches 0 alone, where the data end; 7 is too large to be 5's."""
    touching = [(0, 1), (0, 2), (1, 2), (2, 3), (0, 4), (4, 5), (0, 5), (0, 6), (5, 7)]
    sizes, ends = np.array([900, 50, 70, 60, 10, 300, 20, 200]), np.zeros(8, bool)
    ends[[0, 5, 6]] = True
    edges = graph(*((u, v, 0, 9) for u, v in touching))
    assert enclosed.enclose(np.arange(8), sizes, ends, [edges]).tolist() == [0, 0, 0, 0, 4, 5, 6, 7]
    sizes[7] = 150  # half of 5
    assert enclosed.enclose(np.arange(8), sizes, ends, [edges]).tolist() == [0, 0, 0, 0, 4, 5, 6, 5]
    assert enclosed.enclose(np.arange(1), sizes[:1], ends[:1], [graph()]).tolist() == [0]


def linked(rows: list[tuple[int, int, int, int]], sections: list[int], least: float = 0.2) -> list[int]:
    """Roots of clusters of one node each; rows: (node, node, mean affinity 0-255, faces)."""
    edges, sections_of = graph(*((u, v, mean * faces, faces) for u, v, mean, faces in rows)), np.array(sections)
    assert across(sections_of, edges).all()
    return small_segments.link(np.arange(len(sections)), sections_of, [edges], least).tolist()


def test_what_is_each_others_best_in_the_section_beside_is_linked():
    """Nodes 0 and 1 in section 0, 2 and 3 in section 1, 4 in section 2: the larger overlaps win."""
    rows = [(0, 2, 200, 90), (1, 2, 200, 20), (1, 3, 60, 80), (2, 4, 200, 50), (3, 4, 250, 30)]
    assert linked(rows, [0, 0, 1, 1, 2]) == [0, 1, 0, 1, 0]
    assert linked(rows, [0, 0, 1, 1, 2], least=0.3) == [0, 1, 0, 3, 0]  # 60 of 255 is too little then


def test_no_link_joins_two_segments_of_a_section():
    """As a neurite's two halves, wrongly cut in section 0, would be joined by the whole in section 1: one of them is."""
    assert linked([(0, 2, 250, 60), (1, 2, 250, 50)], [0, 0, 1]) == [0, 1, 0]
    assert linked([(0, 2, 250, 60), (1, 2, 250, 60)], [0, 0, 1]) == [0, 1, 0]  # of equal ones the first
