"""Track exports, read back: a movie with a division, a gap, and a cell that enters."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest
from voxelmill.core.errors import DataError
from voxelmill.inference.cell_tables import region_table
from voxelmill.inference.linking import Links
from voxelmill.inference.tracking import track
from voxelmill.serving import track_exports as exports


def frame(**blocks):
    """4 x 6 px blocks, label = digit of the name, top left corner at the value."""
    out = np.zeros((40, 60), np.uint8)
    for name, (y, x) in blocks.items():
        out[y : y + 4, x : x + 6] = int(name[1:])
    return out


@pytest.fixture
def movie():
    """1 divides into 2 and 3 in frame 2; 4 is missing in frames 1 and 2; 5 enters in frame 3."""
    frames = [
        frame(c1=(10, 10), c4=(30, 40)),
        frame(c1=(10, 11)),
        frame(c2=(10, 6), c3=(10, 18)),
        frame(c2=(10, 5), c3=(10, 19), c4=(30, 41), c5=(20, 0)),
    ]
    tables = [region_table(f) for f in frames]
    tracks = track(tables, lambda tables: Links([t.label for t in tables], {2: 1, 3: 1}))
    return tracks, frames


EMPTY = [np.zeros((8, 8), np.uint8)] * 2


def empty():
    return track([region_table(f) for f in EMPTY])


def test_edges_go_along_tracks_and_from_mothers_to_daughters(movie):
    nodes = movie[0].nodes[["frame", "track_id"]].tolist()
    found = {(nodes[a], nodes[b]) for a, b in exports.track_edges(movie[0])}
    assert found == {
        ((0, 1), (1, 1)),
        ((1, 1), (2, 2)),
        ((1, 1), (2, 3)),
        ((2, 2), (3, 2)),
        ((2, 3), (3, 3)),
        ((0, 4), (3, 4)),
    }
    assert exports.lineages(movie[0]).tolist() == [1, 1, 1, 4, 5]


def test_edges_leave_out_regions_without_a_track(movie):
    tables = [region_table(f) for f in movie[1]]
    tracks = track(tables, lambda tables: Links([t.label for t in tables], {}), min_size=100)
    assert len(tracks.nodes) == 9 and exports.track_edges(tracks).shape == (0, 2)


def test_ctc_splits_tracks_at_gaps_and_keeps_lineages(movie, tmp_path):
    import tifffile

    tracks, frames = movie
    folder = exports.write_ctc(tmp_path / "ctc", tracks, iter(frames))
    rows = [tuple(map(int, line.split())) for line in (folder / "res_track.txt").read_text().splitlines()]
    assert rows == [(1, 0, 1, 0), (2, 2, 3, 1), (3, 2, 3, 1), (4, 0, 0, 0), (5, 3, 3, 0), (6, 3, 3, 4)]
    masks = [tifffile.imread(folder / f"mask{t:04d}.tif") for t in range(4)]
    assert sorted(p.name for p in folder.iterdir()) == [*(f"mask{t:04d}.tif" for t in range(4)), "res_track.txt"]
    for t, (mask, f) in enumerate(zip(masks, frames)):
        assert mask.dtype == np.uint16
        assert set(np.unique(mask)) - {0} == {label for label, b, e, _ in rows if b <= t <= e}
        np.testing.assert_array_equal(mask, np.where((f == 4) & (t == 3), 6, f))


def test_ctc_daughters_of_a_mother_with_a_gap_hang_on_its_last_stretch():
    frames = [frame(c1=(10, 10)), frame(), frame(c1=(10, 10)), frame(c2=(10, 6), c3=(10, 14))]
    tables = [region_table(f) for f in frames]
    tracks = track(tables, lambda tables: Links([t.label for t in tables], {2: 1, 3: 1}))
    assert exports.ctc_table(tracks)[0].tolist() == [[1, 0, 0, 0], [2, 3, 3, 4], [3, 3, 3, 4], [4, 2, 2, 1]]


def test_ctc_labels_beyond_16_bits_do_not_wrap(tmp_path):
    import tifffile

    labels = np.array([[0, 1, 2]])
    tracks = track([region_table(labels)], lambda tables: Links([np.array([70_000, 5])], {}))
    folder = exports.write_ctc(tmp_path, tracks, [labels])
    mask = tifffile.imread(folder / "mask0000.tif")
    assert mask.dtype == np.uint32 and mask.tolist() == [[0, 70_000, 5]]


def test_ctc_refuses_frames_that_were_not_tracked(movie, tmp_path):
    tracks, frames = movie
    with pytest.raises(DataError, match="3 frames were given"):
        exports.write_ctc(tmp_path / "a", tracks, frames[:3])
    with pytest.raises(DataError, match="label 9"):
        exports.write_ctc(tmp_path / "b", tracks, [np.full((40, 60), 9)])
    assert not list(tmp_path.glob("*/res_track.txt"))


def test_napari_table_and_graph(movie, tmp_path):
    table, graph = exports.write_napari(tmp_path / "t.csv", tmp_path / "t.json", movie[0])
    assert table.read_text().splitlines()[0] == "track_id,t,y,x"
    rows = np.loadtxt(table, delimiter=",", skiprows=1)
    assert rows.tolist()[:3] == [[1, 0, 11.5, 12.5], [1, 1, 11.5, 13.5], [2, 2, 11.5, 8.5]]
    assert rows[:, :2].tolist() == sorted(rows[:, :2].tolist())
    assert json.loads(graph.read_text()) == {"2": [1], "3": [1]}


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_geff_read_back(movie, tmp_path, zarr_format):
    zarr = pytest.importorskip("zarr")
    tracks = movie[0]
    store = exports.write_geff(tmp_path / "t.geff", tracks, pixel_size=0.65, frame_interval=5.0, zarr_format=zarr_format)
    root = zarr.open_group(store, mode="r")
    meta = root.attrs["geff"]
    assert meta["directed"] and meta["track_node_props"] == {"lineage": "lineage", "tracklet": "tracklet"}
    assert [(a["name"], a["type"], a["unit"], a["scale"], a["scaled_unit"]) for a in meta["axes"]] == [
        ("t", "time", "frame", 5.0, "minute"),
        ("y", "space", "pixel", 0.65, "micrometer"),
        ("x", "space", "pixel", 0.65, "micrometer"),
    ]
    ids, edges = root["nodes/ids"][:], root["edges/ids"][:]
    assert ids.dtype == edges.dtype == np.uint64 and len(ids) == 9 and edges.shape == (6, 2)
    assert set(meta["node_props_metadata"]) == set(root["nodes/props"].group_keys())
    props = {name: root[f"nodes/props/{name}/values"][:] for name in meta["node_props_metadata"]}
    for name, values in props.items():
        assert str(values.dtype) == meta["node_props_metadata"][name]["dtype"] and len(values) == 9
    assert props["t"].tolist() == tracks.nodes["frame"].tolist()
    np.testing.assert_array_equal(props["x"], tracks.nodes["x"])
    assert (props["t"][edges[:, 0].astype(int)] < props["t"][edges[:, 1].astype(int)]).all()


def test_geff_is_accepted_by_its_own_package(movie, tmp_path):
    geff = pytest.importorskip("geff")
    for name, tracks in (("a", movie[0]), ("b", empty())):
        store = exports.write_geff(tmp_path / f"{name}.geff", tracks)
        geff.validate_structure(store)
        graph, _ = geff.read(store)
        assert graph.number_of_edges() == len(exports.track_edges(tracks))


def test_trackmate_spots_tracks_and_units(movie, tmp_path):
    path = exports.write_trackmate(
        tmp_path / "t.xml", movie[0], pixel_size=0.5, times=[60.0, 65.0, 72.0, 75.0], shape=(40, 60)
    )
    root = ElementTree.parse(path).getroot()
    model = root.find("Model")
    assert (model.get("spatialunits"), model.get("timeunits")) == ("micrometer", "minute")
    spots = {s.get("ID"): s for s in model.iter("Spot")}
    assert len(spots) == int(model.find("AllSpots").get("nspots")) == 9
    first = spots["0"]
    assert (float(first.get("POSITION_X")), float(first.get("POSITION_Y"))) == (6.25, 5.75)
    assert float(first.get("RADIUS")) == pytest.approx(0.5 * np.sqrt(24 / np.pi), rel=1e-4)
    assert {float(s.get("POSITION_T")) for s in spots.values()} == {60.0, 65.0, 72.0, 75.0}
    for group in model.find("AllSpots"):
        assert {s.get("FRAME") for s in group} == {group.get("frame")}
    found = {t.get("TRACK_ID"): len(t) for t in model.find("AllTracks")}
    assert found == {"1": 5, "4": 1}  # a lineage is a track; the cell that was seen once has no edge
    assert [t.get("TRACK_ID") for t in model.find("FilteredTracks")] == ["1", "4"]
    for edge in model.iter("Edge"):
        a, b = spots[edge.get("SPOT_SOURCE_ID")], spots[edge.get("SPOT_TARGET_ID")]
        assert int(a.get("FRAME")) < int(b.get("FRAME"))
    declared = {f.get("feature") for f in model.find("FeatureDeclarations").iter("Feature")}
    assert {k for s in spots.values() for k in s.attrib} - {"ID", "name"} <= declared
    assert root.find("Settings/ImageData").attrib["nframes"] == "4"


def test_a_movie_without_cells_makes_valid_files(tmp_path):
    tracks = empty()
    folder = exports.write_ctc(tmp_path / "ctc", tracks, EMPTY)
    assert (folder / "res_track.txt").read_text() == "" and len(list(folder.glob("mask*.tif"))) == 2
    exports.write_napari(tmp_path / "t.csv", tmp_path / "t.json", tracks)
    exports.write_geff(tmp_path / "t.geff", tracks)
    exports.write_trackmate(tmp_path / "t.xml", tracks)
    assert exports.track_edges(tracks).shape == (0, 2)
