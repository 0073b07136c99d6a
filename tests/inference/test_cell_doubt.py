"""Whether outlines can be believed: sure where cells are plain, doubtful where the image is of another kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage as ndi
from voxelmill.inference import cells
from voxelmill.inference.cell_doubt import DIC, MOST_LIT, NOTHING, Look, doubts, lit_of, matched
from voxelmill.testing.movies import run_timelapse, write_ome_tiff
from voxelmill.testing.stages import record_of
from voxelmill.testing.timelapse import make_movie


@pytest.fixture(scope="module", params=["sparse", "dense"])
def movie(request):
    return make_movie(request.param, frames=1, size=256, channels=0, seed=31)


def brightfield(labels: np.ndarray, seed: int = 0) -> np.ndarray:
    """Cells of which only a faint dark rim is seen, with a faint bright glow round it."""
    edge = np.zeros(labels.shape)
    edge[1:] += labels[1:] != labels[:-1]
    edge[:, 1:] += labels[:, 1:] != labels[:, :-1]
    rim = ndi.gaussian_filter(edge, 1), ndi.gaussian_filter(edge, 3)
    noise = np.random.default_rng(seed).normal(0, 250, labels.shape)
    return (20_000 - 3000 * rim[0] + 1500 * rim[1] + 200 * (labels > 0) + noise).astype(np.uint16)


def test_made_cells_are_sure(movie):
    assert not cells.doubts_of([movie.phase[0]], cells.cell_diameter_of([movie.phase[0]]))


@pytest.mark.parametrize("bent", ["gamma", "clipped"])
def test_phase_contrast_bent_by_gamma_or_clipped_is_no_fluorescence(movie, bent):
    frame = movie.phase[0].astype(np.float32)
    low, high = np.percentile(frame, (0.1, 99.9))
    frame = ((frame - low) / (high - low)).clip(0) ** 4 if bent == "gamma" else frame.clip(np.percentile(frame, 30))
    assert not cells.doubts_of([frame], cells.cell_diameter_of([frame]))


def fluorescence(labels: np.ndarray) -> np.ndarray:
    """Cells of unequal brightness on a dark field, brightest in the middle."""
    rng = np.random.default_rng(0)
    level = rng.uniform(500, 2000, labels.max() + 1) * (np.arange(labels.max() + 1) > 0)
    depth = np.minimum(ndi.distance_transform_edt(labels > 0) / 8, 1)
    return rng.poisson(200 + ndi.gaussian_filter(level[labels] * depth, 1.5)).astype(np.uint16)


def test_inverted_and_fluorescent_cells_are_right_or_doubtful(movie):
    truth = movie.labels[0].astype(np.int32)
    for frame in (65_535 - movie.phase[0], fluorescence(truth)):
        width = cells.cell_diameter_of([frame])
        found = cells.segment(frame, cell_diameter=width)
        good = 2 * matched(truth, found) / (len(np.unique(truth)) - 1 + found.max())
        assert good > 0.9 or cells.doubts_of([frame], width), good


@pytest.mark.parametrize("dim", [False, True])
def test_fluorescence_is_of_another_kind(movie, dim):
    frame = fluorescence(movie.labels[0])
    if dim:  # what is darker than the background is noise
        frame = np.random.default_rng(1).poisson(1000 + 0.1 * (frame - 200.0).clip(0)).astype(np.uint16)
    assert any("as in fluorescence" in said for said in cells.doubts_of([frame], cells.cell_diameter_of([frame])))


def test_inverted_contrast_is_doubtful(movie):
    frame = 65_535 - movie.phase[0]
    assert any("no bright halo" in said for said in cells.doubts_of([frame], cells.cell_diameter_of([frame])))


def test_brightfield_is_doubtful(movie):
    frame = brightfield(movie.labels[0])
    said, *_ = cells.doubts_of([frame], cells.cell_diameter_of([frame]))
    assert said.startswith("the outlines of cells are doubtful") and "brightfield" in said


@pytest.mark.parametrize("degrees", [45, 100, 225])
def test_dic_is_of_another_kind_from_wherever_it_is_lit(movie, degrees):
    depth = ndi.gaussian_filter(np.sqrt(np.minimum(ndi.distance_transform_edt(movie.labels[0]), 10)), 1)
    along_y, along_x = np.gradient(depth)
    relief = np.sin(np.deg2rad(degrees)) * along_y + np.cos(np.deg2rad(degrees)) * along_x
    frame = 20_000 + 4000 * relief + np.random.default_rng(1).normal(0, 200, relief.shape)
    assert any("as in DIC" in said for said in cells.doubts_of([frame], cells.cell_diameter_of([frame])))


@pytest.mark.parametrize("seed", [1, 2])
def test_cells_that_are_not_seen_in_noise_are_said(movie, seed):
    noise = np.random.default_rng(seed).normal(0, 4 * movie.phase[0].std(), movie.phase[0].shape)
    frame = (ndi.gaussian_filter(movie.phase[0].astype(np.float32), 6) + noise).astype(np.float32)
    assert cells.doubts_of([frame], cells.cell_diameter_of([frame]))
    assert not cells.doubts_of([np.full((256, 256), 7, np.uint16)], 20)  # blank frames are named elsewhere


@pytest.mark.parametrize("what", [np.zeros((300, 400)), np.zeros((8, 8)), np.random.default_rng(2).normal(size=(300, 400))])
def test_nothing_and_noise_are_lit_from_nowhere(what):
    assert lit_of(what.astype(np.float32)) < MOST_LIT


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_width_that_is_wrong_is_said(movie, factor):
    width = cells.cell_diameter_of([movie.phase[0]])
    said = cells.doubts_of([movie.phase[0]], factor * width)
    assert any("give --cell_diameter" in note for note in said)


def test_rods_at_the_small_end_of_the_ladder_are_no_large_cell(monkeypatch):
    """A colony of rods 5 px thick, as the network saw it: their width, not that at which the colony is one cell."""
    seen = [(-0.03, 0.71), (-0.57, 0.59), (-0.2, 0.42), (0.33, 0.46), (0.16, 0.51), (-0.11, 0.55), (-0.4, 0.56)]
    ladder = dict(zip(cells._WIDTHS, seen))
    monkeypatch.setattr(cells, "_seen_at", lambda frame, diameter: ladder[diameter])
    assert cells.cell_diameter_of([np.zeros((64, 64), np.uint16)]) == pytest.approx(5)


def test_labels_are_matched_by_more_than_half():
    a, b = np.zeros((2, 10, 12), np.int32)
    a[:4, :4], b[:4, 1:4] = 1, 7  # 12 of 16
    a[6:, :4], b[6:, 2:6] = 2, 3  # 8 of 24
    assert matched(a, b) == matched(b, a) == 1


def look(
    seen: int = 5000,
    settled: int = 4500,
    wider: float = 0.0,
    same: int = 9,
    n: int = 20,
    flow: float = 0.85,
    halo: float = 1.5,
    dark: float = 0.6,
    lit: float = 0.3,
    below: float = 0.0,
) -> Look:
    return Look(seen, settled, wider, flow, halo, (same, same), (n, n), dark, lit, below)


def test_what_is_said():
    assert not doubts([look()], 12)
    assert "40% of what" in doubts([look(settled=2000)], 12)[0]
    assert "55% of what" in doubts([look(settled=2750, same=10)], 12)[0]  # outlines at other widths agree all the same
    assert "agree with these by F1 0.40" in doubts([look(same=4)], 12)[0]
    assert not doubts([look(same=0, n=4)], 12)  # too few to tell
    assert not doubts([], 12)
    assert doubts([look(seen=10, settled=0, same=0)], 12) == [NOTHING]
    assert doubts([look(seen=10, settled=0, same=0, lit=0.9)], 12) == [NOTHING, DIC]
    assert "middles of cells are 0.60 long" in doubts([look(flow=0.6)], 12)[0]
    assert "may be inverted" in doubts([look(halo=-0.5)], 12)[0]
    assert "not of a kind that the network knows" in doubts([look(dark=0.0)], 12)[0]
    assert not doubts([look(dark=0.0, below=0.2)], 12)
    assert "as in DIC" in doubts([look(lit=0.8)], 12)[0]
    assert "2 times as wide as the 12 px" in doubts([look(wider=1.0)], 12)[0]


def test_the_record_names_the_field_of_view(tmp_path: Path):
    movies = [make_movie("sparse", frames=1, size=256, channels=0, seed=s) for s in (31, 32)]
    stacks = [movies[0].phase[:, None], brightfield(movies[1].labels[0])[None, None]]
    source = write_ome_tiff(tmp_path / "a.ome.tif", stacks)
    assert run_timelapse(tmp_path, source, upto="segment_cells", pc_channel=0) == 0
    notes = record_of(tmp_path, "segment_cells")["quality"]["notes"]
    note = notes[0]
    assert all(note.startswith("Field of view 1: ") for note in notes)
    assert note.startswith("Field of view 1: the outlines of cells are doubtful")


@pytest.mark.parametrize(("flow", "doubtful"), [(0.652, False), (0.60, True)])
def test_arrows_as_long_as_in_good_fields_are_no_doubt(flow, doubtful):
    """The figures of a T98G field that is outlined at F1 0.74, but for the length of arrows."""
    look = Look(20_837, 12_606, 0.0, flow, 2.19, (52, 48), (125, 116))
    assert bool(doubts([look], 40.0)) == doubtful
