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
from voxelmill.ingest.movies.formats import open_movie
from voxelmill.ingest.movies.movie import Movie
from voxelmill.testing.movies import make_fovs, run_timelapse, stack_of
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
