"""Movies as people have them: the files of `tests/data/timelapse/cases`, and their kind in every other format.

What each case holds and what is right stands in the README beside them.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from voxelmill.core import plans
from voxelmill.core.errors import DataError, ParameterError
from voxelmill.ingest.movies.conversion import check_pixels
from voxelmill.ingest.movies.formats import open_movie
from voxelmill.ingest.movies.movie import Movie
from voxelmill.ingest.movies.ranges import listed
from voxelmill.ingest.movies.times import mended
from voxelmill.testing.movies import make_fovs, run_timelapse, stack_of
from voxelmill.testing.stages import record_of
from voxelmill.timelapse.store import acquired_in, open_channel

CASES = Path(__file__).parents[1] / "data" / "timelapse" / "cases"


def means(movie: Movie, fov: int, channel: int = 0) -> list[int | None]:
    """Greatest count of each frame, None where it was not recorded."""
    frames = range(movie.fovs[fov].n_frames)
    return [int(movie.read_frame(fov, t, channel).max()) if movie.recorded(fov, t, channel) else None for t in frames]


def inspected(folder: Path, source: Path, **params: object) -> tuple[int, dict]:
    """Exit code and facts of `inspect_movie`."""
    code = run_timelapse(folder, source, upto="inspect_movie", **params)
    return code, json.loads((folder / "movie.json").read_text()) if code == 0 else {}


# ---- one file a position -------------------------------------------------------------------------


@pytest.mark.parametrize("opened", ["run_MMStack_Pos0.ome.tif", "run_MMStack_Pos1.ome.tif"])
def test_each_plane_comes_from_its_own_file(opened):
    with open_movie(CASES / "multifile_positions" / opened) as movie:
        for fov, first in ((0, 1000), (1, 2000)):
            found = [int(movie.read_frame(fov, t, c).mean()) for t in range(6) for c in range(2)]
            assert found == list(range(first, first + 12))
        assert len(movie.files) == 2 and "2 files" in movie.notes[0]


@pytest.mark.parametrize("opened", ["run_MMStack_Pos0.ome.tif", "run_MMStack_Pos1.ome.tif"])
def test_the_metadata_file_is_followed(opened):
    with open_movie(CASES / "binaryonly" / opened) as movie:
        assert [(f.name, f.n_frames) for f in movie.fovs] == [("Pos0", 6), ("Pos1", 6)]
        assert movie.channel_names == ("Phase", "GFP")
        assert movie.read_frame(1, 0, 0).max() == 4003


def test_a_metadata_file_or_a_position_that_is_not_there_is_named(tmp_path):
    shutil.copy(CASES / "binaryonly" / "run_MMStack_Pos1.ome.tif", tmp_path)
    with pytest.raises(DataError, match=r"its metadata lie in run_MMStack_Pos0\.ome\.tif, which is not beside it"):
        open_movie(tmp_path / "run_MMStack_Pos1.ome.tif")
    (tmp_path / "alone").mkdir()
    shutil.copy(CASES / "multifile_positions" / "run_MMStack_Pos0.ome.tif", tmp_path / "alone" / "renamed.ome.tif")
    with open_movie(tmp_path / "alone" / "renamed.ome.tif") as movie:  # known by its UUID; Pos1 harms it not
        assert means(movie, 0)[0] == 1000
        movie.require([0], [0])
        with pytest.raises(
            DataError, match=r"name run_MMStack_Pos1\.ome\.tif, which is not beside it.*; .* leave field of view 1"
        ):
            movie.require([0], [0, 1])


def test_a_companion_file_leads_to_its_planes(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.arange(3 * 64, dtype=np.uint16).reshape(3, 8, 8), photometric="minisblack")
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="8" SizeY="8" SizeC="1" SizeZ="1" SizeT="3" '
        'TimeIncrement="2" TimeIncrementUnit="min"><TiffData IFD="0" PlaneCount="3">'
        '<UUID FileName="a.tif">urn:uuid:00000000-0000-0000-0000-00000000000a</UUID></TiffData></Pixels></Image></OME>'
    )
    (tmp_path / "run.companion.ome").write_text(xml)
    with open_movie(tmp_path / "run.companion.ome") as movie:
        assert movie.fovs[0].times.tolist() == [0, 2, 4] and movie.read_frame(0, 2, 0)[0, 0] == 128
    assert inspected(tmp_path, tmp_path / "run.companion.ome", pc_channel=0)[0] == 0


# ---- what was not recorded -----------------------------------------------------------------------


def write_zarr(path: Path, data: np.ndarray, axes: str = "tcyx", chunks=None, **how) -> Path:
    root = zarr.open_group(str(path), mode="w")
    root.create_array("0", data=data, chunks=chunks or tuple(1 if a in "tcz" else n for a, n in zip(axes, data.shape)), **how)
    scale = [{"type": "scale", "scale": [60.0 if a == "t" else 0.5 if a in "yx" else 1.0 for a in axes]}]
    units = {"t": "second", "y": "micrometer", "x": "micrometer"}
    listed_axes = [{"name": a} | ({"unit": units[a]} if a in units else {}) for a in axes]
    multiscales = [{"axes": listed_axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}]
    omero = {"channels": [{"label": name} for name in ("Phase", "GFP")]}
    root.attrs["ome"] = {"version": "0.5", "multiscales": multiscales, "omero": omero}
    return path


def counts(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(1, 4000, shape).astype(np.uint16)


def write_planes(path: Path, planes: dict[tuple[int, int, int], int], size: tuple[int, int, int]) -> Path:
    """OME-TIFF that names and holds these planes (t, c, z) of `size`, each full of its value."""
    data = np.stack([np.full((16, 16), value, np.uint16) for value in planes.values()])
    named = "".join(
        f'<TiffData FirstT="{t}" FirstC="{c}" FirstZ="{z}" IFD="{k}" PlaneCount="1"/>' for k, (t, c, z) in enumerate(planes)
    )
    t, c, z = size
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        f'<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="16" SizeY="16" SizeC="{c}" SizeZ="{z}" '
        f'SizeT="{t}"><Channel Name="Phase"/><Channel Name="GFP"/>{named}</Pixels></Image></OME>'
    )
    tifffile.imwrite(path, data, description=xml, metadata=None, photometric="minisblack")
    return path


def sparse(kind: str, folder: Path) -> Path:
    """GFP at every second of four frames, in three formats and a folder."""
    pytest.importorskip("pylibCZIrw")
    if kind == "czi":
        return CASES / "czi_every2.czi"
    there = [(t, c) for t in range(4) for c in range(2) if c == 0 or t % 2 == 0]
    if kind == "ome-tiff":
        return write_planes(folder / "a.ome.tif", {(t, c, 0): 10 + t for t, c in there}, (4, 2, 1))
    if kind == "ome-zarr":
        path = write_zarr(folder / "a.zarr", counts(4, 2, 16, 16))
        for t in (1, 3):
            (path / "0" / "c" / str(t) / "1" / "0" / "0").unlink()
        return path
    (folder / "frames").mkdir()
    for t, c in there:
        name = f"img_{t:09d}_{('Phase', 'GFP')[c]}_000.tif"
        tifffile.imwrite(folder / "frames" / name, counts(16, 16))
    return folder / "frames"


@pytest.mark.parametrize("kind", ["czi", "ome-tiff", "ome-zarr", "folder"])
def test_a_channel_of_every_second_frame_spoils_no_other(tmp_path, kind, capsys):
    source = sparse(kind, tmp_path)
    given = {"pc_channel": "phase", "fl_channels": "GFP"}
    code, facts = inspected(tmp_path, source, **given)
    assert code == 0 and facts["fovs"][0]["n_frames"] == 4
    channel = facts["fl_channels"][0]
    assert any(f"hannel {channel} (GFP) was not recorded at frame 1, 3" in note for note in facts["notes"])
    assert run_timelapse(tmp_path, source, upto="copy_movie", **given) == 0
    mask = acquired_in(tmp_path / "movie", 0, channel)
    assert [None if (seen := mask(t)) is None else bool(seen.any()) for t in range(4)] == [None, False, None, False]
    assert acquired_in(tmp_path / "movie", 0, facts["pc_channel"])(1) is None
    assert inspected(tmp_path, source, strict=True, **given)[0] == 65
    assert "was not recorded at frame 1, 3" in capsys.readouterr().err
    assert inspected(tmp_path, source, strict=True, pc_channel="Phase")[0] == 0  # nothing of that is chosen


@pytest.mark.parametrize("kind", ["czi", "ome-tiff"])
@pytest.mark.parametrize("z", [1, "max"])
def test_a_channel_with_one_z_plane_leaves_no_choice(tmp_path, kind, z):
    pytest.importorskip("pylibCZIrw")
    planes = {(t, c, k): 10 * c + k for t in range(4) for c in range(2) for k in range(3) if c == 1 or k == 1}
    path = CASES / "czi_home_z.czi" if kind == "czi" else write_planes(tmp_path / "a.ome.tif", planes, (4, 2, 3))
    with open_movie(path, z_plane=z) as movie:
        movie.require([0, 1])
        assert movie.lacks(0, [0, 1]) == []
        assert all(value for channel in (0, 1) for value in means(movie, 0, channel))
    with open_movie(path) as movie:
        movie.require([0])
        with pytest.raises(ParameterError, match="has 3 z planes"):
            movie.require([1])


def test_frames_count_from_the_first_that_is_there(tmp_path):
    czi = pytest.importorskip("pylibCZIrw.czi")
    with open_movie(CASES / "czi_tstart.czi") as movie:
        assert movie.fovs[0].n_frames == 4 and all(means(movie, 0)) and movie.lacks(0, [0]) == []
    path = tmp_path / "gaps.czi"  # scenes 2 and 5
    with czi.create_czi(str(path)) as doc:
        for scene in (2, 5):
            for t in (3, 4):
                doc.write(
                    np.full((16, 16, 1), 10 * scene + t, np.uint16), plane={"T": t}, scene=scene, location=(40 * scene, 0)
                )
        doc.write_metadata("made")
    with open_movie(path) as movie:
        assert [f.name for f in movie.fovs] == ["Scene 2", "Scene 5"]
        assert [means(movie, fov) for fov in (0, 1)] == [[23, 24], [53, 54]]


def stopped(kind: str, folder: Path) -> Path:
    """4 of 6 frames of two channels, or of one."""
    if kind == "ome-tiff":
        return CASES / "abort" / "run_MMStack_Pos0.ome.tif"
    if kind == "ome-zarr":
        path = write_zarr(folder / "a.zarr", counts(6, 2, 16, 16))
        for t in (4, 5):
            shutil.rmtree(path / "0" / "c" / str(t))
        return path
    if kind == "folder":  # position 1 was stopped
        (folder / "frames").mkdir()
        for t, p in [(t, p) for t in range(6) for p in range(2) if t < 4 or p == 0]:
            tifffile.imwrite(folder / "frames" / f"run_s{p + 1}_t{t + 1}.tif", counts(16, 16))
        return folder / "frames"
    czi = pytest.importorskip("pylibCZIrw.czi")
    with czi.create_czi(str(folder / "a.czi")) as doc:
        for s, t in [(s, t) for s in range(2) for t in range(6) if s == 0 or t < 4]:
            doc.write(counts(16, 16, 1), plane={"T": t}, scene=s, location=(40 * s, 0))
        doc.write_metadata("made")
    return folder / "a.czi"


@pytest.mark.parametrize("kind", ["ome-tiff", "ome-zarr", "folder", "czi"])
def test_one_rule_for_a_stopped_acquisition(tmp_path, kind, capsys):
    """ND2 is in test_czi_nd2."""
    source = stopped(kind, tmp_path)
    code, facts = inspected(tmp_path, source, pc_channel=0)
    assert code == 0 and facts["fovs"][-1]["n_frames"] == 4
    assert any("4 of 6 planned frames are there: the acquisition was stopped" in note for note in facts["notes"])
    assert inspected(tmp_path, source, pc_channel=0, strict=True)[0] == 65
    assert "the acquisition was stopped" in capsys.readouterr().err


# ---- parts of a picture --------------------------------------------------------------------------


def test_a_missing_tile_is_masked_and_said(tmp_path):
    pytest.importorskip("pylibCZIrw")
    code, facts = inspected(tmp_path, CASES / "czi_missing_tile.czi", pc_channel=0)
    assert code == 0 and any("lacks parts of the picture at frame 2" in note for note in facts["notes"])
    assert run_timelapse(tmp_path, CASES / "czi_missing_tile.czi", upto="copy_movie", pc_channel=0) == 0
    mask = acquired_in(tmp_path / "movie", 0, 0)
    seen = mask(2)
    assert seen is not None and seen[:, :48].all() and not seen[:, 48:].any() and mask(1) is None
    assert inspected(tmp_path, CASES / "czi_missing_tile.czi", pc_channel=0, strict=True)[0] == 65


@pytest.mark.parametrize("how", [{}, {"shards": (2, 2, 32, 32)}, {"chunk_key_encoding": {"name": "v2", "separator": "."}}])
def test_missing_chunks_of_ome_zarr_are_not_zeros(tmp_path, how):
    data = counts(4, 2, 32, 32)
    data[1, 0, :16, :16] = 0  # what zarr does not write
    path = write_zarr(tmp_path / "a.zarr", data, chunks=(1, 1, 16, 16), **how)
    with open_movie(path) as movie:
        assert movie.fovs[0].n_frames == 4
        seen = movie.acquired(0, 1, 0)
        assert seen is not None and not seen[:16, :16].any() and seen.sum() == 32 * 32 - 16 * 16
        assert movie.acquired(0, 0, 0) is None and movie.acquired(0, 1, 1) is None
        assert movie.lacks(0, [0]) == ["channel 0 (Phase) lacks parts of the picture at frame 1: they are left out."]


@pytest.mark.parametrize("method", ["cells", "logstd"])
def test_tiles_never_acquired_are_no_background_and_no_cell(tmp_path, method):
    """A quarter of the picture was never there: no cell, no level of background, no trace comes from it."""
    (made,) = make_fovs(1, frames=4, size=256)
    stack = stack_of(made)
    path = write_zarr(tmp_path / "a.zarr", stack, chunks=(1, 1, 128, 128))
    for folder in (path / "0" / "c").glob("*/*"):
        (folder / "1" / "1").unlink()
    given = {"pc_channel": 0, "fl_channels": "1", "min_frames": 1, "border_margin": 0, "segmentation_method": method}
    assert run_timelapse(tmp_path, path, **given) == 0
    labels = open_channel(tmp_path / "labels", 0, "seg_labeled_ch_0").read()
    surface = open_channel(tmp_path / "background", 0, "fl_background_ch_1").read()
    assert labels.any() and not labels[:, 128:, 128:].any()
    outside = np.ones((256, 256), bool)
    outside[128:, 128:] = False
    off = (surface - made.background[0])[:, outside]
    assert np.abs(off).max() < 25 and abs(np.median(off)) < 3
    assert surface.min() > 0


def test_what_a_method_finds_where_nothing_was_acquired_is_no_cell(tmp_path):
    path = write_zarr(tmp_path / "a.zarr", counts(3, 1, 64, 64), chunks=(1, 1, 32, 32))
    shutil.rmtree(path / "0" / "c" / "1")
    (path / "0" / "c" / "2" / "0" / "1" / "1").unlink()
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "all.py").write_text(
        "def segment_all(image):\n    assert image.min() > 0\n    return (image > 0).astype(int)\n"
    )
    given = {"pc_channel": 0, "segmentation_method": "plugin", "plugins": tmp_path / "plugins"}
    assert run_timelapse(tmp_path, path, upto="segment_cells", **given) == 0
    labels = open_channel(tmp_path / "labels", 0, "seg_labeled_ch_0").read()
    assert labels[0].all() and not labels[1].any() and labels[2].sum() == 64 * 64 - 32 * 32


def test_where_a_channel_was_not_recorded_nothing_is_measured(tmp_path):
    (made,) = make_fovs(1, frames=4, size=128)
    path = write_zarr(tmp_path / "a.zarr", stack_of(made))
    shutil.rmtree(path / "0" / "c" / "1" / "1")  # GFP of frame 1
    given = {"pc_channel": 0, "fl_channels": "1", "min_frames": 1, "border_margin": 0}
    assert run_timelapse(tmp_path, path, upto="extract_traces", **given) == 0
    (table,) = (tmp_path / "traces" / "fov_000").glob("*_traces.csv")
    header, *lines = [line.split(",") for line in table.read_text().splitlines()]
    rows = [dict(zip(header, line)) for line in lines]
    assert {row["frame"] for row in rows} == {"0", "1", "2", "3"}
    for row in rows:
        values = [float(row[name]) for name in ("intensity_total_ch_1", "intensity_mean_ch_1")]
        assert np.isnan(values).all() == (row["frame"] == "1") and float(row["area_ch_0"]) > 0


def test_a_plate_without_a_listed_well_keeps_the_others(tmp_path):
    root = zarr.open_group(str(tmp_path / "p.zarr"), mode="w")
    root.attrs["ome"] = {"version": "0.5", "plate": {"wells": [{"path": "A/1"}, {"path": "A/2"}]}}
    well = root.create_group("A/2")
    well.attrs["ome"] = {"version": "0.5", "well": {"images": [{"path": "0"}]}}
    write_zarr(tmp_path / "p.zarr" / "A" / "2" / "0", counts(2, 1, 8, 8))
    with open_movie(tmp_path / "p.zarr") as movie:
        assert [(f.name, f.n_frames) for f in movie.fovs] == [("A/1", 0), ("A/2/0", 2)]
        assert "Without a single frame: field of view 0 (image A/1)." in movie.notes


def test_ome_zarr_06_is_read(tmp_path):
    root = zarr.open_group(str(tmp_path / "a.zarr"), mode="w")
    data = counts(3, 1, 8, 8)
    root.create_array("s0", data=data)
    axes = [
        {"name": "t", "type": "time", "unit": "minute"},
        {"name": "c", "type": "channel"},
        {"name": "y", "type": "space", "unit": "nanometer"},
        {"name": "x", "type": "space", "unit": "nanometer"},
    ]
    scale = {"type": "scale", "scale": [5.0, 1.0, 300.0, 300.0], "input": {"path": "s0"}, "output": {"name": "physical"}}
    root.attrs["ome"] = {
        "version": "0.6",
        "multiscales": [
            {
                "coordinateSystems": [{"name": "physical", "axes": axes}],
                "datasets": [{"path": "s0", "coordinateTransformations": [scale]}],
            }
        ],
    }
    with open_movie(tmp_path / "a.zarr") as movie:
        assert movie.fovs[0].times.tolist() == [0, 5, 10] and movie.pixel_size_um == pytest.approx(0.3)
        assert np.array_equal(movie.read_frame(0, 2, 0), data[2, 0])


# ---- clocks and sizes ----------------------------------------------------------------------------


def test_each_field_of_view_has_its_own_clock(tmp_path):
    source = CASES / "clock" / "one_fov_without_times.ome.tif"
    code, facts = inspected(tmp_path, source, pc_channel=0)
    assert code == 0 and facts["fovs"][0]["times"] == [0, 1, 2, 3, 4, 5] and facts["fovs"][1]["times"] == [0]
    assert facts["notes"] == [] and facts["time_source"] == "OME TimeIncrement"


def write_stamped(path: Path, *seconds: list[float | None]) -> Path:
    """OME-TIFF with an image per list of DeltaT."""
    with tifffile.TiffWriter(path, ome=True) as file:
        for stamps in seconds:
            told = [s for s in stamps if s is not None]
            plane = {"Plane": {"DeltaT": told, "DeltaTUnit": ["s"] * len(told)}} if told else {}
            file.write(counts(len(stamps), 8, 8), photometric="minisblack", metadata={"axes": "TYX", **plane})
    return path


def test_a_bad_stamp_is_named_and_the_step_kept(tmp_path):
    good = [60.0 * t for t in range(6)]
    bad = [*good[:3], 0.0, *good[4:]]
    source = write_stamped(tmp_path / "a.ome.tif", good, bad, [None] * 6)
    with open_movie(source) as movie:
        assert all(f.times == pytest.approx([0, 1, 2, 3, 4, 5]) for f in movie.fovs)
        assert movie.fovs[0].notes == ()
        assert movie.fovs[1].notes[0].startswith("bad time stamps of frame 3 (0 min)")
        assert "1 min apart, as in the other fields of view" in movie.fovs[2].notes[0]
    code, facts = inspected(tmp_path, source, pc_channel=0, fovs="0")
    assert code == 0 and facts["notes"] == []  # the others were not chosen


def test_two_frames_of_one_stamp_are_named(tmp_path):
    source = write_stamped(tmp_path / "a.ome.tif", [0.0, 60, 60, 120, 180, 180], [60.0 * t for t in range(6)])
    with open_movie(source) as movie:
        assert movie.fovs[0].times == pytest.approx([0, 1, 1, 2, 3, 3]) and movie.fovs[1].notes == ()
        assert movie.fovs[0].notes[0].startswith("bad time stamps: frame 2, 5 has the time of the one before it")
    times = inspected(tmp_path, source, pc_channel=0, fovs="0", frame_interval=2)[1]["fovs"][0]["times"]
    assert times == pytest.approx([0, 2, 4, 6, 8, 10])  # what is given counts


@pytest.mark.parametrize(
    ("times", "right", "bad", "starts"),
    [
        ([0, 10, 1e9, 30], [0, 10, 20, 30], [2], []),
        ([np.nan, 10, 20, 30], [0, 10, 20, 30], [0], []),
        ([0, 10, 20, -5], [0, 10, 20, 30], [3], []),
        ([0, 10, 0, 10], [0, 10, 20, 30], [], [2]),
        ([0, 10, 20, 0, 5, 10, 15], [0, 10, 20, 25, 30, 35, 40], [], [3]),  # the median step lies between
        ([0, 1, 2, 0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5, 6, 7, 8], [], [3]),  # beyond where it was before
        ([0, 10, 20, 7, np.nan, 27, 2, 12], [0, 10, 20, 30, 40, 50, 60, 70], [4], [3, 6]),
        ([0, 10, 20, np.nan, 0, 99, 20, 30], [0, 10, 20, 30, 40, 50, 60, 70], [3, 5], [4]),
        ([0, 10, 20, 5, 15, 50, 60], [0, 10, 20, 30, 40, 50, 60], [3, 4], []),  # goes on where it would have been
        ([0, 10, 500, 510, 40, 50, 60], [0, 10, 20, 30, 40, 50, 60], [2, 3], []),
        ([0, 1, 60, 61, 62, 0, 120, 121, 122], [0, 1, 60, 61, 62, 91, 120, 121, 122], [5], []),  # pauses are no starts
        ([0, 1, 2, 3, 4, 64, 124, 184, 3], [0, 1, 2, 3, 4, 64, 124, 184, 185], [8], []),  # the step changes
        ([0, 60, 65, 3, 75, 80, 85], [0, 60, 65, 70, 75, 80, 85], [3], []),  # the pause is after the first
        ([0, 5, 15, 30, 60, np.nan, 240, 480], [0, 5, 15, 30, 60, 150, 240, 480], [5], []),
        ([0, 10, 20, 20, 29, 40, 50, 3], [0, 10, 15, 20, 29, 40, 50, 60], [2, 7], []),  # two alike are no start
    ],
)
def test_stamps_are_mended_by_their_neighbours(times, right, bad, starts):
    found = mended(np.array(times, float))
    assert found is not None and found[0].tolist() == right and found[1:] == (bad, starts)


def test_too_few_good_stamps_are_not_believed():
    assert mended(np.array([5.0, 4.0, 3.0, 2.0])) is None and mended(np.full(3, np.nan)) is None
    by_chance = np.random.default_rng(5)
    assert all(mended(by_chance.uniform(0, 100, 60)) is None for _ in range(20))


def test_a_clock_that_starts_again_keeps_its_steps_and_is_named(tmp_path):
    twice = [0.0, 120, 240, 0, 120, 240]
    with open_movie(write_stamped(tmp_path / "a.ome.tif", twice, [None] * 6)) as movie:
        assert all(f.times == pytest.approx([0, 2, 4, 6, 8, 10]) for f in movie.fovs)
        assert movie.fovs[0].notes[0].startswith("its clock starts again at frame 3 (0 min): the pause before is not in the")
        assert "2 min apart, as in the other fields of view" in movie.fovs[1].notes[0]

    def frames(minutes):
        folder = tmp_path / f"frames_{len(minutes)}"
        folder.mkdir()
        for t, one in enumerate(minutes):
            name = f"img_t{t}_{one // 1440:02d}d{one // 60 % 24:02d}h{one % 60:02d}m.tif"
            tifffile.imwrite(folder / name, np.full((8, 8), t, np.uint16))
        return folder

    with open_movie(frames([0, 2, 4, 0, 2, 4])) as movie:
        assert movie.fovs[0].times == pytest.approx([0, 2, 4, 6, 8, 10]) and "names" in movie.time_source
        assert any("clock starts again at frame 3" in note for note in movie.notes_of([0]))
    widening = [0, 1, 2, 4, 8, 16, 64, 1440, 9000]  # what rises needs no steps that are alike
    with open_movie(frames(widening)) as movie:
        assert movie.fovs[0].times == pytest.approx(widening)


def test_numbers_are_listed_in_runs():
    assert listed([1, 2, 3, 7, 9, 10]) == "1-3, 7, 9, 10" and listed([]) == ""


def test_each_field_of_view_has_its_own_pixel_size_and_order_of_channels(tmp_path):
    source = CASES / "clock" / "two_fovs_other_pixel_and_channel_order.ome.tif"
    code, facts = inspected(tmp_path, source, pc_channel="Phase", fl_channels="GFP")
    assert code == 0 and [f["pixel_size_um"] for f in facts["fovs"]] == [0.3, 0.6]
    assert run_timelapse(tmp_path, source, upto="copy_movie", pc_channel="Phase", fl_channels="GFP") == 0
    for name in ("pc_ch_0", "fl_ch_1"):  # both fields of view hold the same counts
        first, second = (open_channel(tmp_path / "movie", fov, name) for fov in (0, 1))
        a, b = first.read(), second.read()
        assert a.max() == (b.max()) and second.scale[1:] == (600, 600) and first.scale[1:] == (300, 300)
    stored = [tifffile.imread(source, series=s) for s in (0, 1)]
    assert np.array_equal(open_channel(tmp_path / "movie", 1, "pc_ch_0").read(), stored[1][:, 1])


@pytest.mark.parametrize(
    ("tunit", "step"), [("sec", 2), ("minutes", 120), ("min", 120), ("hours", 7200), ("hr", 7200), ("msec", 0.002), ("", 2)]
)
def test_imagej_units(tmp_path, tunit, step):
    told = {"axes": "TYX", "finterval": 120.0, "unit": "microns"} | ({"tunit": tunit} if tunit else {})
    tifffile.imwrite(tmp_path / "a.tif", counts(3, 8, 8), imagej=True, resolution=(2, 2), metadata=told)
    with open_movie(tmp_path / "a.tif") as movie:
        assert movie.fovs[0].times == pytest.approx([0, step, 2 * step])
        assert movie.pixel_size_um == pytest.approx(0.5)


def test_unknown_units_are_said(tmp_path):
    told = {"axes": "TYX", "finterval": 120.0, "unit": "pixel", "tunit": "frame"}
    tifffile.imwrite(tmp_path / "a.tif", counts(3, 8, 8), imagej=True, resolution=(2, 2), metadata=told)
    with open_movie(tmp_path / "a.tif") as movie:
        assert movie.pixel_size_um is None
        said = " ".join(movie.notes_of([0]))
        assert "'pixel', which is no length" in said and "'frame', which is no time" in said


# ---- frames by other names -----------------------------------------------------------------------


def test_a_z_stack_that_is_a_movie(tmp_path, capsys):
    source = CASES / "ij_z_as_t.tif"
    assert inspected(tmp_path, source, pc_channel=0)[0] == 64
    assert "--z_is_time if they are the frames of a movie" in capsys.readouterr().err
    code, facts = inspected(tmp_path, source, pc_channel=0, z_is_time=True, frame_interval=5)
    assert code == 0 and facts["fovs"][0]["times"] == [0, 5, 10, 15, 20, 25]
    assert run_timelapse(tmp_path, source, upto="copy_movie", pc_channel=0, z_is_time=True) == 0
    assert np.array_equal(open_channel(tmp_path / "movie", 0, "pc_ch_0").read(), tifffile.imread(source))
    both = CASES / "czi_home_z.czi"
    pytest.importorskip("pylibCZIrw")
    assert inspected(tmp_path, both, pc_channel=0, z_is_time=True)[0] == 64


FOLDERS = {
    "micro-manager 1": ("img_{t:09d}_{name}_000.tif", ("GFP", "Phase")),
    "micro-manager 2": ("img_channel{c:03d}_position000_time{t:09d}_z000.tif", ("Channel 000", "Channel 001")),
    "letters": ("run_w{c}{name}_t{t}.tif", ("Phase", "GFP")),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_folder_of_frames(tmp_path, kind):
    form, names = FOLDERS[kind]
    data = counts(11, 2, 8, 8)
    for t, c in np.ndindex(11, 2):
        tifffile.imwrite(tmp_path / form.format(t=t, c=c, name=("Phase", "GFP")[c]), data[t, c])
    with open_movie(tmp_path) as movie:
        assert sorted(movie.channel_names) == sorted(names) and movie.fovs[0].n_frames == 11
        phase = movie.parse_channel("phase") if "Phase" in names else 0
        for t in range(11):
            assert np.array_equal(movie.read_frame(0, t, phase), data[t, 0])


@pytest.mark.parametrize("kind", FOLDERS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_folder_of_png_frames(tmp_path, kind, dtype):
    import imagecodecs

    form, names = FOLDERS[kind]
    data = (counts(11, 2, 8, 8) // (1 if dtype == np.uint16 else 100)).astype(dtype)
    for t, c in np.ndindex(11, 2):
        file = tmp_path / form.format(t=t, c=c, name=("Phase", "GFP")[c]).replace(".tif", ".png")
        file.write_bytes(imagecodecs.png_encode(data[t, c]))
    with open_movie(tmp_path) as movie:
        assert sorted(movie.channel_names) == sorted(names) and movie.dtype == dtype and movie.pixel_size_um is None
        phase = movie.parse_channel("phase") if "Phase" in names else 0
        assert all(np.array_equal(movie.read_frame(0, t, phase), data[t, 0]) for t in range(11))
    with pytest.raises(DataError, match="a PNG is a single frame; give the folder"):
        open_movie(file)
    with pytest.raises(DataError, match="it is a pattern: give the folder"):
        open_movie(tmp_path / "*.png")


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_frames_of_8_and_16_bits_make_no_movie(tmp_path, kind):
    import imagecodecs

    for t, dtype in enumerate((np.uint8, np.uint8, np.uint16)):
        values = np.full((8, 8), t, dtype)
        if kind == "png":
            (tmp_path / f"a_t{t}.png").write_bytes(imagecodecs.png_encode(values))
        else:
            tifffile.imwrite(tmp_path / f"a_t{t}.tif", values)
    with open_movie(tmp_path) as movie:
        movie.read_frame(0, 1, 0)
        with pytest.raises(DataError, match="frame 2, channel 0: found uint16, expected uint8 as in the frame"):
            movie.read_frame(0, 2, 0)


def test_png_frames_that_are_no_counts(tmp_path):
    import imagecodecs

    (tmp_path / "a_t0.jpg").write_bytes(b"\xff\xd8")
    with pytest.raises(DataError, match=r"it holds a_t0\.jpg, a picture and no counts: export the frames as TIFF or PNG"):
        open_movie(tmp_path)
    for t in range(2):
        (tmp_path / f"a_t{t}.png").write_bytes(imagecodecs.png_encode(np.zeros((8, 8, 3), np.uint8)))
    with pytest.raises(DataError, match=r"a_t0\.png: colours; expected a grey plane"):
        open_movie(tmp_path)
    for t in range(2):
        tifffile.imwrite(tmp_path / f"a_t{t}.tif", np.full((8, 8), t, np.uint16))
    with open_movie(tmp_path) as movie:
        assert means(movie, 0) == [0, 1] and "2 PNG files beside its TIFF frames are not read." in movie.notes


def test_any_other_names_are_frames_in_natural_order(tmp_path):
    for t in range(12):
        tifffile.imwrite(tmp_path / f"cell-{t}.tif", np.full((8, 8), t, np.uint16))
    with open_movie(tmp_path) as movie:
        assert means(movie, 0) == list(range(12)) and "natural order" in movie.notes[0]


def test_positions_in_folders_and_metadata_of_micro_manager(tmp_path):
    told = {"Summary": {"ChNames": ["Phase"], "Interval_ms": 60000}}
    for p in range(2):
        (tmp_path / f"Pos{p}").mkdir()
        for t in range(3):
            tifffile.imwrite(tmp_path / f"Pos{p}" / f"img_{t:09d}_Default_000.tif", np.full((8, 8), 10 * p + t, np.uint16))
            told[f"FrameKey-{t}-0-0"] = {"ElapsedTime-ms": 120_000 * t + p, "FrameIndex": t, "PixelSizeUm": 0.65}
        (tmp_path / f"Pos{p}" / "metadata.txt").write_text(json.dumps(told))
    with open_movie(tmp_path) as movie:
        assert [f.name for f in movie.fovs] == ["Pos0", "Pos1"] and means(movie, 1) == [10, 11, 12]
        assert movie.fovs[0].times == pytest.approx([0, 2, 4]) and movie.pixel_size_um == 0.65


def test_the_step_by_the_file_s_own_word_is_kept_where_there_are_no_stamps(tmp_path):
    (tmp_path / "frames").mkdir()
    for t in range(3):
        tifffile.imwrite(tmp_path / "frames" / f"img_{t:09d}_Default_000.tif", np.full((8, 8), t, np.uint16))
    (tmp_path / "frames" / "metadata.txt").write_text(json.dumps({"Summary": {"Interval_ms": 90_000}}))
    told = {"axes": "ZYX", "finterval": 90.0, "tunit": "sec"}
    tifffile.imwrite(tmp_path / "z.tif", counts(3, 8, 8), imagej=True, metadata=told)
    for path, z_is_time in ((tmp_path / "frames", False), (tmp_path / "z.tif", True)):
        with open_movie(path, z_is_time=z_is_time) as movie:
            assert movie.fovs[0].times.tolist() == [0, 1.5, 3] and "own word" in movie.time_source
            assert not any("usable times" in note for note in movie.notes_of([0]))


def test_the_key_of_a_batch_changes_with_its_files_alone(tmp_path):
    frames = tmp_path / "frames"
    for p in range(2):
        (frames / f"Pos{p}").mkdir(parents=True)
        for t in range(3):
            tifffile.imwrite(frames / f"Pos{p}" / f"img_{t:09d}_Default_000.tif", np.full((8, 8), 10 * p + t, np.uint16))

    def keys() -> list[str]:
        assert inspected(tmp_path, frames, pc_channel=0, batch_size=1)[0] == 0
        return [row["files"] for row in plans.read(tmp_path / "batches.csv")]

    before = keys()
    assert keys() == before and len(set(before)) == 2
    os.utime(frames / "Pos1" / "img_000000002_Default_000.tif", ns=(1, 1))
    after = keys()
    assert after[0] == before[0] and after[1] != before[1]


def test_a_folder_that_is_no_folder_of_frames(tmp_path):
    with pytest.raises(DataError, match="holds no TIFF or PNG files"):
        open_movie(tmp_path)
    shutil.copy(CASES / "czi_every2.czi", tmp_path / "a.czi")
    import imagecodecs

    for _ in range(2):
        with pytest.raises(DataError, match=r"it holds a\.czi: give one of them"):
            open_movie(tmp_path)
        (tmp_path / "preview.png").write_bytes(imagecodecs.png_encode(np.ones((8, 8), np.uint8)))  # is not its frame
    shutil.copy(CASES / "ij_z_as_t.tif", tmp_path)
    with pytest.raises(DataError, match=r"ij_z_as_t\.tif is a movie, not a frame"):
        open_movie(tmp_path)
    with pytest.raises(DataError, match=r"Pos\d\.ome\.tif is a movie, not a frame"):
        open_movie(CASES / "multifile_positions")


# ---- pixels --------------------------------------------------------------------------------------


def test_one_rule_for_a_whole_float_movie(tmp_path, capsys):
    source = CASES / "f32_darkframe.tif"
    assert inspected(tmp_path, source, pc_channel=0)[0] == 65  # before any copy
    assert "give --convert" in capsys.readouterr().err
    assert run_timelapse(tmp_path, source, upto="copy_movie", pc_channel=0, convert=True) == 0
    stored = open_channel(tmp_path / "movie", 0, "pc_ch_0").read()
    assert np.array_equal(stored, np.rint(tifffile.imread(source)))


def test_a_ratio_image_is_not_made_ones(tmp_path, capsys):
    ratio = np.random.default_rng(0).uniform(0.75, 1.18, (3, 16, 16)).astype(np.float32)
    tifffile.imwrite(tmp_path / "a.tif", ratio, photometric="minisblack")
    assert inspected(tmp_path, tmp_path / "a.tif", fl_channels="0", convert=True)[0] == 65
    assert "rounding to whole counts would destroy them; give e.g. --convert_factor 10000" in capsys.readouterr().err
    given = {"fl_channels": "0", "convert": True, "convert_factor": 10000}
    assert run_timelapse(tmp_path, tmp_path / "a.tif", upto="copy_movie", **given) == 0
    assert np.abs(open_channel(tmp_path / "movie", 0, "fl_ch_0").read() / 10000 - ratio).max() < 1e-4
    assert "times 10000" in record_of(tmp_path, "inspect_movie")["quality"]["notes"][-1]


@pytest.mark.parametrize("low, message", [(np.nan, "NaN"), (-5.0, "do not fit"), (7e4, "do not fit")])
def test_float_movies_that_cannot_be_counts(tmp_path, low, message):
    data = np.full((2, 8, 8), 100.5, np.float32)
    data[1, 0, 0] = low
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="minisblack")
    with open_movie(tmp_path / "a.tif", convert=True) as movie, pytest.raises(DataError, match=message):
        check_pixels(movie, [0], [0])


def test_a_channel_may_be_segmented_and_measured(tmp_path, movie_file):
    given = {"pc_channel": 0, "fl_channels": "0,1", "min_frames": 1, "border_margin": 0}
    assert run_timelapse(tmp_path, movie_file, **given) == 0
    (table,) = (tmp_path / "traces" / "fov_000").glob("*_traces.csv")
    header, first = table.read_text().splitlines()[:2]
    assert {"area_ch_0", "intensity_mean_ch_0", "intensity_mean_ch_1"} <= set(header.split(","))
    row = dict(zip(header.split(","), first.split(",")))
    counts_in = open_channel(tmp_path / "movie", 0, "fl_ch_0").read(int(row["frame"]))
    cells = open_channel(tmp_path / "tracked", 0, "seg_tracked_ch_0").read(int(row["frame"])) == int(row["cell"])
    level = open_channel(tmp_path / "background", 0, "fl_background_ch_0").read(int(row["frame"]))
    assert float(row["intensity_mean_ch_0"]) == pytest.approx((counts_in[cells] - level[cells]).mean(), abs=0.01)


RATIO = np.random.default_rng(0).uniform(0.75, 1.18, (3, 16, 16)).astype(np.float32)


def mixed_czi(folder: Path, second: np.ndarray) -> Path:
    czi = pytest.importorskip("pylibCZIrw.czi")
    with czi.create_czi(str(folder / "a.czi")) as doc:
        for t in range(3):
            for c, movie in enumerate((counts(3, 16, 16), second)):
                doc.write(np.ascontiguousarray(movie[t])[..., None], plane={"T": t, "C": c, "Z": 0}, scene=0)
        doc.write_metadata("made", channel_names={0: "Phase", 1: "GFP"})
    return folder / "a.czi"


def mixed_folder(folder: Path, second: np.ndarray) -> Path:
    (folder / "frames").mkdir()
    for t in range(3):
        for c, movie in enumerate((counts(3, 16, 16), second)):
            tifffile.imwrite(folder / "frames" / f"img_t{t:03d}_c{c}.tif", movie[t])
    return folder / "frames"


def mixed_ome_tiff(folder: Path, second: np.ndarray) -> Path:
    """One OME-TIFF, whose pages are of two types: some software writes so, whatever its XML says."""
    told = "".join(
        f'<TiffData FirstT="{t}" FirstC="{c}" IFD="{2 * t + c}" PlaneCount="1"/>' for t in range(3) for c in range(2)
    )
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels DimensionOrder="XYCZT" '
        'Type="uint16" SizeX="16" SizeY="16" SizeC="2" SizeZ="1" SizeT="3"><Channel Name="Phase"/><Channel Name="GFP"/>'
        f"{told}</Pixels></Image></OME>"
    )
    with tifffile.TiffWriter(folder / "a.ome.tif") as file:
        for t in range(3):
            for c, movie in enumerate((counts(3, 16, 16), second)):
                first = {"description": xml} if not t + c else {}
                file.write(movie[t], photometric="minisblack", contiguous=False, metadata=None, **first)
    return folder / "a.ome.tif"


@pytest.mark.parametrize("kind", [mixed_czi, mixed_folder, mixed_ome_tiff])
def test_channels_of_two_pixel_types(tmp_path, kind, capsys):
    """Each channel is judged by its own pixels: the one that is not chosen spoils nothing, the one that is is not
    made ones because the other is whole."""
    source = kind(tmp_path, RATIO)
    assert run_timelapse(tmp_path, source, upto="copy_movie", pc_channel=0) == 0
    assert np.array_equal(open_channel(tmp_path / "movie", 0, "pc_ch_0").read(), counts(3, 16, 16))
    assert inspected(tmp_path, source, pc_channel=0, fl_channels="1")[0] == 65
    assert "channel 1 (" in (said := capsys.readouterr().err) and "pixels are float32" in said
    assert inspected(tmp_path, source, pc_channel=0, fl_channels="1", convert=True)[0] == 65
    assert "would destroy them" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [mixed_czi, mixed_folder, mixed_ome_tiff])
def test_bytes_beside_words_are_read_as_they_are(tmp_path, kind):
    small = (counts(3, 16, 16) % 256).astype(np.uint8)
    with open_movie(kind(tmp_path, small)) as movie:
        assert np.array_equal([movie.read_frame(0, t, 1) for t in range(3)], small)
        assert np.array_equal([movie.read_frame(0, t, 0) for t in range(3)], counts(3, 16, 16))


def test_images_of_an_ome_zarr_of_two_pixel_types(tmp_path, capsys):
    root = zarr.open_group(str(tmp_path / "a.zarr"), mode="w")
    for p, data in enumerate((counts(3, 1, 16, 16), RATIO[:, None])):
        write_zarr(tmp_path / "a.zarr" / str(p), data)
    root.attrs["bioformats2raw.layout"] = 3
    assert inspected(tmp_path, tmp_path / "a.zarr", pc_channel=0, convert=True)[0] == 65
    assert "would destroy them" in capsys.readouterr().err
    assert inspected(tmp_path, tmp_path / "a.zarr", pc_channel=0, fovs="0")[0] == 0
