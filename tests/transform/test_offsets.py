"""Joint solution of pairwise offsets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxelmill.transform import offsets
from voxelmill.transform.offsets import Offsets


def grid(rows: int, columns: int) -> list[tuple[int, int]]:
    """Links of a lattice numbered row by row."""
    number = np.arange(rows * columns).reshape(rows, columns)
    right = zip(number[:, :-1].ravel().tolist(), number[:, 1:].ravel().tolist())
    down = zip(number[:-1].ravel().tolist(), number[1:].ravel().tolist())
    return [*right, *down]


def differences(x: np.ndarray, links: list[tuple[int, int]]) -> np.ndarray:
    return np.array([x[j] - x[i] for i, j in links])


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 99))
def test_consistent_offsets_are_met_exactly(rows, columns, seed):
    n, links = rows * columns, grid(rows, columns)
    truth = np.random.default_rng(seed).normal(size=(n, 2))
    graph = Offsets(links, [1.0] * len(links), np.arange(n), [], n)
    found = graph.solve(differences(truth, links).reshape(-1, 2), floor=0.1)
    np.testing.assert_allclose(found, truth - truth.mean(0), atol=1e-9)


@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (20, 20)])  # a band, a sparse system
def test_the_solution_is_that_of_dense_least_squares(rows, columns):
    rng, n, links = np.random.default_rng(1), rows * columns, grid(rows, columns)
    weight, measured = rng.uniform(0.2, 3, len(links)), rng.normal(size=(len(links), 2))
    matrix = np.zeros((len(links), n))
    for k, (i, j) in enumerate(links):
        matrix[k, [i, j]] = -1, 1
    root = weight[:, None] ** 0.5
    expected = np.linalg.lstsq(matrix * root, measured * root, rcond=None)[0]
    found = Offsets(links, weight.tolist(), np.arange(n), [], n).solve(measured)
    np.testing.assert_allclose(found, expected - expected.mean(0), atol=1e-9)


def test_a_link_that_contradicts_the_rest_moves_next_to_nothing():
    n, links = 36, grid(6, 6)
    measured = np.zeros((len(links), 2))
    measured[7] = 40, -25
    graph = Offsets(links, [1.0] * len(links), np.arange(n), [], n)
    assert np.abs(graph.solve(measured)).max() > 5
    assert np.abs(Offsets(links, [1.0] * len(links), np.arange(n), [], n).solve_despite(measured, 0.5, 3)).max() < 0.02


def test_what_no_link_ties_is_tied_by_the_first_tie_that_can():
    graph = Offsets([(0, 1), (3, 4)], [1, 1], np.array([0, 1, 3, 4, 5]), [(0, 1), (1, 3), (0, 4), (4, 5)], 6)
    assert graph.ties == [(1, 3), (4, 5)]
    x = graph.solve(np.array([[2.0, 0], [1.0, 0]]))[:, 0]
    np.testing.assert_allclose(np.diff(x[[0, 1, 3, 4, 5]]), [2, 0, 1, 0], atol=1e-12)
    assert x[2] == 0  # not solved for


def test_a_thousand_tiles_take_no_time():
    """Linear in tiles: 1,024 of them in well under a second."""
    import time

    links = grid(32, 32)
    start = time.process_time()
    Offsets(links, [1.0] * len(links), np.arange(1024), [], 1024).solve(np.zeros((len(links), 2)), floor=0.1)
    assert time.process_time() - start < 2


def test_the_banded_solution_is_the_dense_one():
    rng, n = np.random.default_rng(0), 30
    lower = np.tril(np.triu(rng.normal(size=(n, n)), -3)) + 5 * np.eye(n)
    matrix = lower @ lower.T
    bands = np.stack([np.r_[np.zeros(d), np.diagonal(matrix, -d)] for d in range(4)], 1)
    right = rng.normal(size=(n, 2))
    expected = np.linalg.solve(matrix, right)
    np.testing.assert_allclose(offsets.solve_banded(bands, right), expected, atol=1e-10)


def test_a_chain_goes_where_its_links_say_however_far_from_what_was_expected():
    chain = [(k, k + 1) for k in range(9)]
    found = Offsets(chain, [1.0] * 9, np.arange(10), [], 10, soft=chain).solve_despite(np.full((9, 2), 60.0), 0.5, 3)
    np.testing.assert_allclose(np.diff(found, axis=0), 60, atol=0.05)


def test_a_loop_that_does_not_quite_close_shares_the_gap():
    """Bent tiles: four seams of a square that miss each other by 4 px in all, none of them by more than its share."""
    square, measured = [(0, 1), (1, 3), (0, 2), (2, 3)], np.array([[0.0, 10], [10, 0], [10, 0], [4, 10]])
    x = Offsets(square, [1.0] * 4, np.arange(4), [], 4).solve_despite(measured, 0.5, 3)
    assert max(np.abs(x[j] - x[i] - d).max() for (i, j), d in zip(square, measured)) < 1.1
