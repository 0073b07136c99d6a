"""Movie figures: the right files, the same bytes twice, bounded; also where there is little or nothing to show."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from voxelmill.inference.linking import Links
from voxelmill.inference.track_cells import save_tracks
from voxelmill.inference.tracking import TRACK, region_table, track
from voxelmill.postprocess.features import TraceBuilder
from voxelmill.postprocess.traces import filter_traces, left_out, left_out_name, traces_name, write_csv
from voxelmill.serving import field_plots as mp
from voxelmill.serving import movie_figures as mf
from voxelmill.testing.movies import INTERVAL_MIN, PIXEL_UM, make_fovs
from voxelmill.testing.stages import record_of, run_stage
from voxelmill.testing.timelapse import Movie
from voxelmill.timelapse.store import Facts, FrameWriter, fov_name

KINDS = (
    "1_cells.pdf",
    "1_cells.png",
    "2_lineages.pdf",
    "2_lineages.png",
    "3_traces.pdf",
    "3_traces.png",
    "4_counts.pdf",
    "4_counts.png",
    "movie.gif",
)


def make_stores(
    folder: Path, movies: list[Movie], *, min_frames: int = 4, border_margin: int = 8, pixel_um: float | None = PIXEL_UM
) -> dict[str, Path]:
    """What the stages before leave, from the truth of made movies."""
    n_channels, n_frames, height, width = movies[0].fluorescence.shape
    fovs = [
        {
            "name": f"P{i}",
            "height": height,
            "width": width,
            "n_frames": n_frames,
            "n_planes": 1,
            "times": [t * INTERVAL_MIN for t in range(n_frames)],
            "pixel_size_um": pixel_um,
        }
        for i in range(len(movies))
    ]
    folder.mkdir(parents=True, exist_ok=True)
    facts = folder / "movie.json"
    facts.write_text(
        json.dumps(
            {
                "base_name": "made",
                "fovs": fovs,
                "chosen": list(range(len(movies))),
                "pc_channel": 0,
                "fl_channels": list(range(1, n_channels + 1)),
                "channel_names": ["phase", "GFP", "RFP"][: n_channels + 1],
            }
        )
    )
    known = Facts.read(facts)
    for fov, made in enumerate(movies):
        images = {"pc_ch_0": made.phase} | {f"fl_ch_{c + 1}": made.fluorescence[c] for c in range(n_channels)}
        stores = [("movie", name, stack) for name, stack in images.items()]
        for store, name, stack in [*stores, ("tracked", known.tracked(), made.labels)]:
            with FrameWriter(folder / store, fov, name, known, stack.dtype, label=store == "tracked") as writer:
                for frame in stack:
                    writer.add(frame)
        parents = {i: mother for i, _, _, mother in made.tracks if mother}
        tables = [region_table(frame) for frame in made.labels]
        save_tracks(
            folder / "tracked" / fov_name(fov) / "tracks.npz",
            track(tables, lambda regions, p=parents: Links([r.label for r in regions], p)),
        )
        features = {0: ["area", "aspect_ratio"]} | {c + 1: ["intensity_total"] for c in range(n_channels)}
        builder = TraceBuilder(fov, known.views[fov].times, features, 0)
        for t, frame in enumerate(made.labels):
            builder.add(
                t,
                frame,
                {c + 1: made.fluorescence[c, t] for c in range(n_channels)},
                {c + 1: made.background[c, t] for c in range(n_channels)},
            )
        kept, report = filter_traces(builder.table(), (height, width), n_frames, min_frames, border_margin)
        place = folder / "traces" / fov_name(fov)
        place.mkdir(parents=True)
        write_csv(place / traces_name("made", fov), kept)
        write_csv(place / left_out_name("made", fov), left_out(builder.table(), report))
    return {name: folder / name for name in ("movie", "tracked", "traces")} | {"facts": facts}


def draw(folder: Path, stores: dict[str, Path], name: str = "figures", **params) -> dict[str, bytes]:
    last = len(json.loads(stores["facts"].read_text())["chosen"]) - 1
    given = {key: path.resolve() for key, path in stores.items()}
    assert (
        run_stage("serving.movie_figures", folder, **given, batch=f"0-{last}", output=name, **{"figure_dpi": 60, **params})
        == 0
    )
    return {p.name: p.read_bytes() for p in (folder / name).iterdir()}


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> dict[str, Path]:
    return make_stores(tmp_path_factory.mktemp("made"), make_fovs(2, frames=6, size=160, divide=0.0))


def opened(stores: dict[str, Path], fov: int = 0) -> mf.Field:
    return mf.Field.open(stores["movie"], stores["tracked"], stores["traces"], Facts.read(stores["facts"]), fov)


def frames_of(path: Path) -> list[np.ndarray]:
    with Image.open(path) as film:
        return [np.asarray(film.convert("RGB")) for k in range(film.n_frames) if film.seek(k) is None]


def test_first_fields_only_and_the_same_bytes_twice(stores, tmp_path: Path):
    first = draw(tmp_path, stores, figure_fovs=1)
    assert set(first) == {f"fov_000_{kind}" for kind in KINDS} and all(first.values())
    quality = record_of(tmp_path, "movie_figures")["quality"]
    assert list(quality["per_fov"]) == ["0"]
    assert first == draw(tmp_path, stores, "again", figure_fovs=1)
    assert not draw(tmp_path, stores, "none", figure_fovs=0)


def test_the_movie_shows_every_frame_and_outlines_in_the_colours_of_the_tracks(stores, tmp_path: Path):
    draw(tmp_path, stores, figure_fovs=1)
    film, field = frames_of(tmp_path / "figures/fov_000_movie.gif"), opened(stores)
    assert len(film) == 6 and film[0].shape == (480, 480, 3)  # three whole pixels for one
    colours = np.rint(mf.colour_table() * 255).astype(int)
    cell = int(field.at(0)["track_id"][np.argmax(field.at(0)["area"])])
    mask = np.kron(field.labels(0) == cell, np.ones((3, 3), bool))
    hit = (film[0] == colours[mf.colour_number(np.array(cell))]).all(axis=-1)
    assert hit.sum() > 50 and not (hit & ~mask).any()


def test_a_large_movie_stays_small(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(mf, "MOVIE_BYTES", 60_000)
    monkeypatch.setattr(mf, "MOVIE_FRAMES", 3)
    draw(tmp_path, make_stores(tmp_path, make_fovs(1, frames=5, size=300)))
    assert (tmp_path / "figures/fov_000_movie.gif").stat().st_size <= 60_000
    assert len(frames_of(tmp_path / "figures/fov_000_movie.gif")) == 3


@pytest.mark.parametrize(
    "how", [{"cells": 0, "enter": 0, "size": 64, "frames": 5}, {"size": 64, "frames": 5}, {"size": 64, "frames": 1}]
)
def test_little_or_nothing_to_show(tmp_path: Path, how):
    stores = make_stores(tmp_path, make_fovs(1, **how), pixel_um=None)
    assert set(draw(tmp_path, stores)) == {f"fov_000_{kind}" for kind in KINDS}


def test_without_traces_the_cells_are_shown_still(tmp_path: Path):
    stores = make_stores(tmp_path, make_fovs(1, frames=3, size=96))
    for path in (tmp_path / "traces/fov_000").iterdir():
        path.unlink()
    assert set(draw(tmp_path, stores)) == {f"fov_000_{kind}" for kind in KINDS}
    field = opened(stores)
    assert field.reasons == {"not measured": len(field.tracks)}


def test_a_bad_field_harms_no_other(tmp_path: Path):
    stores = make_stores(tmp_path, make_fovs(2, frames=3, size=64))
    for chunk in (tmp_path / "tracked/fov_000/images.zarr").rglob("c/*/*/*"):
        chunk.write_bytes(b"damaged" * 20)
    assert set(draw(tmp_path, stores)) == {f"fov_001_{kind}" for kind in KINDS}
    assert list(record_of(tmp_path, "movie_figures")["left_out"]) == ["fov_000"]


def test_titles_say_what_was_left_out_and_why(tmp_path: Path):
    field = opened(make_stores(tmp_path, make_fovs(1, frames=6, size=160), min_frames=6, border_margin=20))
    assert field.reasons and len(field.kept) + sum(field.reasons.values()) == len(field.tracks)
    title = mp.trace_title(field, "Field of view 0", 0)
    assert f"traces of {len(field.kept)} of {len(field.tracks)} cells\nleft out (grey): " in title
    assert "within 20 px of the border" in title


def test_curves_and_quartiles_are_those_of_the_table():
    table = {
        "cell": np.array([2, 1, 2, 1, 1]),
        "time": np.array([5.0, 5, 0, 0, 20]),
        "frame": np.array([1, 1, 0, 0, 4]),
        "v": np.array([4.0, 2.0, np.nan, 1.0, 7.0]),
    }
    ids, lines = mp.curves(table, "v")
    # a gap where cell 1 was not seen, and nothing where cell 2 was not measured
    assert ids.tolist() == [1, 2] and [part.tolist() for part in lines[0]] == [[[0, 1], [5, 2]], [[20, 7]]]
    assert [part.tolist() for part in lines[1]] == [[[5, 4]]]
    table = {name: column[table["time"] < 20] for name, column in table.items()}
    times, quartiles = mp.quartiles_of(table, "v")
    assert times.tolist() == [0, 5] and quartiles[1].tolist() == [1, 3] and quartiles[0].tolist() == [1, 2.5]
    every, held = mp.quartiles_of(table, "v", np.array([0.0, 2.5, 5.0]))  # no line leads over a frame without cells
    assert every.tolist() == [0, 2.5, 5] and held[1, [0, 2]].tolist() == [1, 3] and np.isnan(held[:, 1]).all()


@pytest.mark.parametrize("least", [1, 1000])
def test_few_cells_have_no_median(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, least: int):
    field = opened(make_stores(tmp_path, make_fovs(1, frames=6, size=160)))
    monkeypatch.setattr(mp, "ENOUGH", least)
    (ax, *_) = mp.trace_plots(field, "F").axes
    assert bool(ax.lines) == ("median" in mp.trace_title(field, "F", 0)) == (least == 1)


def test_blank_and_saturated_frames_are_gaps_and_named(tmp_path: Path):
    (made,) = make_fovs(1, frames=6, size=160)
    for t, grey in ((2, 500), (4, 65535)):
        made.phase[t], made.labels[t] = grey, 0
    field = opened(make_stores(tmp_path, [made]))
    ax = mp.count_plot(field, "F").axes[0]
    assert ax.get_title(loc="left").endswith("blank or saturated: frame 2, 4")
    for line in ax.lines:
        assert np.flatnonzero(np.isnan(line.get_ydata())).tolist() == [2, 4]
    titles = [axes.get_title() for axes in mf.contact_sheet(field, "F", 60)[1].axes]
    assert titles[2].endswith("(frame 2: blank)") and titles[4].endswith("(frame 4: saturated)")
    assert titles[3].endswith("(frame 3)")


def test_a_blank_frame_is_named_however_its_picture_is_rounded(tmp_path: Path):
    """Shrinking a picture of one value may make two of it."""
    (made,) = make_fovs(1, frames=4, size=500)
    made.phase[2], made.labels[2] = 30001, 0
    sheet = mf.contact_sheet(opened(make_stores(tmp_path, [made])), "F", 60)[1]
    assert sheet.axes[2].get_title().endswith("(frame 2: blank)")


def test_a_single_frame_has_no_lineages_and_one_tick(tmp_path: Path):
    field = opened(make_stores(tmp_path, make_fovs(1, frames=1, size=160), min_frames=1))
    (ax,) = mp.lineage_tree(field, "F").axes
    assert "nothing to follow" in ax.texts[0].get_text() and not ax.collections
    for figure in (mp.count_plot(field, "F"), mp.trace_plots(field, "F")):
        assert figure.axes[0].get_xticks().tolist() == [0]


def test_area_and_every_fluorescence_feature_are_plotted():
    names = ("fov", "time", "area_ch_0", "aspect_ratio_ch_0", "intensity_total_ch_1", "own_ch_1")
    table = {name: np.zeros(0) for name in names}
    assert mp.columns_shown(table, {1: "GFP"}) == {
        "area_ch_0": "area (px)",
        "intensity_total_ch_1": "intensity total (counts)\nchannel 1 GFP",
        "own_ch_1": "own\nchannel 1 GFP",
    }


def lineage(*rows: tuple[int, int, int, int]) -> np.ndarray:
    return np.array(list(rows), TRACK)


def test_families_come_largest_first_mothers_before_daughters():
    tracks = lineage((1, 0, 9, 0), (2, 0, 3, 0), (3, 4, 9, 2), (4, 4, 6, 2), (5, 7, 9, 4), (6, 7, 9, 4), (7, 0, 4, 0))
    order = mp.families(tracks, 60)
    assert order == [2, 3, 4, 5, 6, 1, 7]
    rows = mp.tree_rows(order, mp.daughters_of(tracks))
    assert rows == {3: 0, 5: 1, 6: 2, 1: 3, 7: 4, 4: 1.5, 2: 0.75}
    assert mp.families(tracks, 3) == [2, 3, 4]
    assert mp.families(tracks, 4) == [2, 3, 4, 1] and mp.families(tracks, 6) == order[:6]  # no daughter without her sister
    small = lineage((1, 0, 9, 0), (2, 0, 3, 0), (3, 4, 9, 2), (4, 4, 6, 2), (5, 0, 3, 0), (6, 4, 9, 5), (7, 4, 9, 5))
    assert (
        mp.families(small, 4) == mp.families(small, 5) == [5, 6, 7, 1]
    )  # the second family does not fit, a smaller one does
    assert mp.tree_rows([2, 3, 4], mp.daughters_of(tracks)) == {3: 0, 4: 1, 2: 0.5}


def test_sisters_are_marked_in_the_frames_after_their_division(stores):
    made = opened(stores)
    nodes = made.at(2)[:2].copy()
    field = mf.Field(
        made.view,
        None,
        made.image,
        made.labels,
        nodes,
        lineage((99, 0, 1, 0), *((int(n["track_id"]), 2, 5, 99) for n in nodes)),
        {},
        {},
        {},
    )
    (pair,) = field.sisters(1, 2)
    assert pair.tolist() == [[n["y"], n["x"]] for n in nodes]
    assert field.sisters(3, 5) == [] and field.mothers.tolist() == [99] and field.counts == "3 tracks, 1 division"


def test_a_lens_shows_what_is_there():
    frame = np.arange(64, dtype=np.uint16).reshape(8, 8)
    near, far = mf.Lens((2, 2, 6, 6), 3.0), mf.Lens((0, 0, 8, 8), 0.5)
    assert (near.picture(frame) == np.kron(frame[2:6, 2:6], np.ones((3, 3)))).all()
    assert far.picture(frame)[0, 0] == frame[:2, :2].mean()
    assert near.place(np.array([[2, 2], [5, 5]])).tolist() == [[1, 1], [10, 10]]
    labels = np.zeros((8, 8), np.uint32)
    labels[3:6, 3:6] = 70_000
    edge = mf.Lens((0, 0, 8, 8), 1.0).outlines(labels, 3)
    assert (edge > 0).sum() == 8 and edge[4, 4] == 0 and edge.max() == 70_000


def test_the_sheet_is_a_window_where_cells_are_many_or_small(stores):
    field = opened(stores)
    assert mf.busy_window(field) == (0, 0, 160, 160)
    crowd = np.repeat(field.at(0)[:1], 1000)
    few = mf.Field(field.view, None, field.image, field.labels, crowd, field.tracks, {}, {}, {})
    y0, x0, y1, x1 = mf.busy_window(few)
    assert y1 - y0 == x1 - x0 == 39
    assert 0 <= y0 <= crowd["y"][0] <= y1 <= 160 and 0 <= x0 <= crowd["x"][0] <= x1 <= 160


@pytest.mark.parametrize(
    "size, width, expected", [(0.65, 640, (50 / 0.65, "50 µm")), (None, 64, (10, "10 px")), (0.01, 100, (20, "0.2 µm"))]
)
def test_scale_bars_are_round(size, width, expected):
    length, label = mf.round_bar(size, width)
    assert length == pytest.approx(expected[0]) and label == expected[1]


def test_a_blank_or_saturated_frame_does_not_set_the_greys():
    frames = [np.linspace(100, 200, 100)] * 3 + [np.full(100, 65535.0)]
    low, high = mf.grey_limits(frames)
    assert 100 <= low < 101 and 199 < high <= 200
    assert mf.grey_limits([np.full(9, 5.0)]) == (5, 6)


def test_axes_say_time_below_each_column_and_cells_in_whole_numbers(tmp_path):
    import matplotlib.pyplot as plt
    from voxelmill.serving.field import Field

    stores = make_stores(tmp_path, make_fovs(1, frames=6, size=256))
    field = Field.open(stores["movie"], stores["tracked"], stores["traces"], Facts.read(stores["facts"]), 0)
    shown = [ax for ax in mp.trace_plots(field, "").axes if ax.axison]
    lowest = {round(ax.get_position().x0, 2): ax for ax in shown}
    assert all(ax.get_xlabel() == "time (min)" for ax in lowest.values()) and len(lowest) == min(3, len(shown))
    (counts,) = mp.count_plot(field, "").axes
    counts.set_ylim(0, 2)
    assert all(float(tick).is_integer() for tick in counts.get_yticks())
    plt.close("all")
