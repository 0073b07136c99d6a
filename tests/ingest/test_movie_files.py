"""Files that say one thing and hold another: names, sizes and numbers that a reader must not believe in silence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from voxelmill.core.errors import DataError
from voxelmill.ingest.movies.formats import open_movie

NS = 'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'


def write(path: Path, *values: int, xml: str | None = None) -> None:
    """A page a value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tifffile.TiffWriter(path) as file:
        for k, value in enumerate(values):
            told = {"description": xml} if xml and not k else {}
            page = np.full((8, 12), value, np.uint16)
            file.write(page, photometric="minisblack", metadata=None, contiguous=False, **told)


def image(index: int, frames: int, inner: str) -> str:
    return (
        f'<Image ID="Image:{index}" Name="P{index}"><Pixels DimensionOrder="XYZCT" Type="uint16" SizeX="12" SizeY="8" '
        f'SizeC="1" SizeZ="1" SizeT="{frames}">{inner}</Pixels></Image>'
    )


def levels(movie, fov: int = 0, channel: int = 0) -> list[int | None]:
    frames = range(movie.fovs[fov].n_frames)
    return [int(movie.read_frame(fov, t, channel).max()) if movie.recorded(fov, t, channel) else None for t in frames]


# ---- OME-TIFF ------------------------------------------------------------------------------------


def pair(folder: Path, other: str) -> Path:
    """Two files, one a position; the second has another UUID than the first says."""
    of = "".join(
        image(i, 3, f'<TiffData IFD="0" PlaneCount="3"><UUID FileName="{n}.ome.tif">urn:uuid:{n}</UUID></TiffData>')
        for i, n in enumerate("ab")
    )
    write(folder / "a.ome.tif", 10, 11, 12, xml=f'<OME {NS} UUID="urn:uuid:a">{of}</OME>')
    write(folder / "b.ome.tif", 20, 21, 22, xml=f'<OME {NS} UUID="{other}">{of}</OME>')
    return folder / "a.ome.tif"


def test_a_file_of_the_right_name_and_another_movie_is_not_taken(tmp_path):
    with open_movie(pair(tmp_path / "right", "urn:uuid:b")) as movie:
        assert levels(movie, 1) == [20, 21, 22]
    with open_movie(pair(tmp_path / "other", "urn:uuid:c")) as movie:
        assert levels(movie, 0) == [10, 11, 12] and not movie.notes_of([0])[1:]
        with pytest.raises(DataError, match=r"name b\.ome\.tif, which is not beside it \(or is of another movie by its UUID"):
            movie.read_frame(1, 0, 0)


def test_files_whose_names_were_swapped_give_no_pixels_of_each_other(tmp_path):
    first = pair(tmp_path, "urn:uuid:b")
    first.rename(tmp_path / "c")
    (tmp_path / "b.ome.tif").rename(first)
    (tmp_path / "c").rename(tmp_path / "b.ome.tif")
    with open_movie(first) as movie:  # holds position 1, whatever its name
        assert levels(movie, 1) == [20, 21, 22] and movie.fovs[0].broken


def test_planes_of_a_file_without_name_are_not_those_of_this_file(tmp_path):
    told = image(0, 3, '<TiffData IFD="0" PlaneCount="3"><UUID>urn:uuid:b</UUID></TiffData>')
    write(tmp_path / "a.ome.tif", 1, 2, 3, xml=f'<OME {NS} UUID="urn:uuid:a">{told}</OME>')
    with pytest.raises(DataError, match="name urn:uuid:b, which is not beside it"):
        open_movie(tmp_path / "a.ome.tif")


def test_planes_beyond_the_stated_sizes_are_said(tmp_path):
    told = image(0, 4, "".join(f'<TiffData FirstT="{t}" IFD="{k}" PlaneCount="1"/>' for k, t in enumerate((2, 3, 4, 5))))
    write(tmp_path / "a.ome.tif", 12, 13, 14, 15, xml=f"<OME {NS}>{told}</OME>")
    with open_movie(tmp_path / "a.ome.tif") as movie:
        assert levels(movie) == [None, None, 12, 13]
        assert "2 planes beyond the sizes" in " ".join(movie.notes_of([0]))


# ---- TIFF ----------------------------------------------------------------------------------------


def test_samples_of_a_pixel_are_no_frames(tmp_path):
    colour = np.zeros((3, 8, 12), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", colour, photometric="rgb", planarconfig="separate")
    with pytest.raises(DataError, match="colour"):
        open_movie(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", colour.astype(np.uint16), photometric="rgb", planarconfig="separate")
    with open_movie(tmp_path / "b.tif") as movie:  # how three frames are stored by a writer that is told nothing
        assert "its 3 planes are colours of one picture: they are taken for frames" in " ".join(movie.notes_of([0]))


def test_more_pages_than_imagej_tells_are_refused(tmp_path):
    told = "ImageJ=1.53\nimages=6\nchannels=2\nframes=3\nhyperstack=true\n"
    write(tmp_path / "a.tif", *range(8), xml=told)
    with pytest.raises(DataError, match="its pages hold"):
        open_movie(tmp_path / "a.tif")


# ---- OME-Zarr ------------------------------------------------------------------------------------


def write_image(group: zarr.Group, value: int) -> None:
    group.create_array("0", data=np.full((2, 8, 12), value, np.uint16))
    axes = [{"name": "t", "type": "time"}, {"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    scale = [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]
    multiscales = [{"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": multiscales}


@pytest.mark.filterwarnings("ignore:Object at OME")
def test_an_image_that_is_not_there_moves_no_other(tmp_path):
    root = zarr.open_group(str(tmp_path / "a.zarr"), mode="w")
    root.attrs["ome"] = {"version": "0.5", "bioformats2raw.layout": 3}
    for n in range(3):
        write_image(root.create_group(str(n)), 10 + n)
    times = "".join(image(n, 2, f'<Plane TheT="1" TheC="0" TheZ="0" DeltaT="{60 * (n + 1)}"/>') for n in range(3))
    (tmp_path / "a.zarr" / "OME").mkdir()
    (tmp_path / "a.zarr" / "OME" / "METADATA.ome.xml").write_text(f"<OME {NS}>{times}</OME>")
    for gone in ("1", "2"):  # in the middle, then the last
        shutil.rmtree(tmp_path / "a.zarr" / gone)
        with open_movie(tmp_path / "a.zarr") as movie:
            assert len(movie.fovs) == 3 and movie.fovs[int(gone)].n_frames == 0
            assert levels(movie, 0) == [10, 10] and "Without a single frame: field of view 1" in movie.notes[0]
            if gone == "1":
                assert levels(movie, 2) == [12, 12] and np.ptp(movie.fovs[2].times) > 0


@pytest.mark.parametrize("spoil", ["array", "image", "well"])
def test_a_part_of_a_plate_that_was_not_copied_harms_no_other(tmp_path, spoil):
    root = zarr.open_group(str(tmp_path / "p.zarr"), mode="w")
    root.attrs["ome"] = {"version": "0.5", "plate": {"wells": [{"path": "A/1"}, {"path": "A/2"}]}}
    for k in (1, 2):
        well = root.create_group(f"A/{k}")
        well.attrs["ome"] = {"version": "0.5", "well": {"images": [{"path": "0"}]}}
        write_image(well.create_group("0"), k)
    gone = tmp_path / "p.zarr" / "A" / "1"
    shutil.rmtree(gone / "0" / "0")
    if spoil == "image":
        (gone / "0" / "zarr.json").unlink()
    if spoil == "well":
        (gone / "zarr.json").write_text(json.dumps(json.loads((gone / "zarr.json").read_text()) | {"attributes": {}}))
    with open_movie(tmp_path / "p.zarr") as movie:
        assert movie.fovs[0].n_frames == 0 and levels(movie, 1) == [2, 2]


# ---- a folder of frames --------------------------------------------------------------------------


def test_micro_manager_s_clock_is_that_of_the_frames_and_position(tmp_path):
    """Frames that begin at 5, and two positions whose entries lie in one file."""
    (tmp_path / "a").mkdir()
    told: dict[str, dict] = {"Summary": {}}
    for t in (5, 6, 7):
        write(tmp_path / "a" / f"img_{t:09d}_GFP_000.tif", t)
        told[f"FrameKey-{t}-0-0"] = {"ElapsedTime-ms": 60_000 * t, "FrameIndex": t}
    (tmp_path / "a" / "metadata.txt").write_text(json.dumps(told))
    with open_movie(tmp_path / "a") as movie:
        assert movie.fovs[0].times.tolist() == [5, 6, 7] and levels(movie) == [5, 6, 7]
    told = {"Summary": {}}
    for p, t in np.ndindex(2, 3):
        name = f"img_channel000_position{p:03d}_time{t:09d}_z000.tif"
        write(tmp_path / "b" / name, 10 * p + t)
        stage = {"XPositionUm": 100 * p, "YPositionUm": 0}
        told[f"Metadata-Default/{name}"] = {"ElapsedTime-ms": 60_000 * t + 15_000 * p, "FrameIndex": t, **stage}
    (tmp_path / "b" / "metadata.txt").write_text(json.dumps(told))
    with open_movie(tmp_path / "b") as movie:
        assert [f.times.tolist() for f in movie.fovs] == [[0, 1, 2], [0.25, 1.25, 2.25]]
        assert [f.stage_um for f in movie.fovs] == [(0, 0), (0, 100)]


NAMES = {
    "img_{t:03d}_c{c}.tif": ([["Channel 0", "Channel 1"]], "the number that changes is the frame"),
    "img_{t:03d}_{name}.tif": ([["GFP", "phase"]], "GFP, phase are channels"),
    "img_t{t}_{name}.tif": ([["GFP", "phase"]], "GFP, phase are channels"),
    "{well}_s1_w{c}_t{t}.tif": ([["Channel 0", "Channel 1"]] * 2, "A01, B02 are fields of view"),
}


@pytest.mark.parametrize("form", NAMES)
def test_names_that_say_a_part_are_completed_by_what_changes(tmp_path, form):
    channels, note = NAMES[form]
    for w, t, c in np.ndindex(2 if "well" in form else 1, 3, 2):
        write(tmp_path / form.format(t=t, c=c, name=("GFP", "phase")[c], well=("A01", "B02")[w]), 100 * w + 10 * c + t)
    with open_movie(tmp_path) as movie:
        assert [list(f.channels) for f in movie.fovs] == channels and note in movie.notes[0]
        for w, c in np.ndindex(len(channels), 2):
            assert levels(movie, w, c) == [100 * w + 10 * c + t for t in range(3)]


@pytest.mark.parametrize(
    ("extra", "said"),
    [("background.tif", "background.tif does not"), ("r_t1_c1 (1).tif", "are the same frame by their names")],
)
def test_a_file_too_many_is_named_and_shifts_no_frame(tmp_path, extra, said):
    for t, c in np.ndindex(4, 2):
        write(tmp_path / f"r_t{t}_c{c}.tif", 10 * c + t)
    write(tmp_path / extra, 99)
    with pytest.raises(DataError, match=said.replace(".", r"\.")):
        open_movie(tmp_path)


def test_a_file_with_several_planes_among_frames_is_named(tmp_path):
    for t in range(4):
        write(tmp_path / f"cell-{t}.tif", *([t] if t != 2 else [2, 3]))
    with open_movie(tmp_path) as movie, pytest.raises(DataError, match=r"cell-2\.tif: holds 2 planes"):
        movie.read_frame(0, 2, 0)


def test_frames_tell_their_own_pixel_size(tmp_path):
    for t in range(2):
        frame = np.full((8, 12), t, np.uint16)
        tifffile.imwrite(tmp_path / f"x_t{t}.tif", frame, imagej=True, resolution=(2, 2), metadata={"unit": "micron"})
    with open_movie(tmp_path) as movie:
        assert movie.pixel_size_um == pytest.approx(0.5)


FRAMES = np.arange(3 * 8 * 12, dtype=np.uint8).reshape(3, 8, 12)
BEHIND_ONE_PAGE = {"imagej": True, "metadata": {"axes": "TYX"}}
OF_PAGES = {"metadata": None}
OF_OME = {"ome": True, "metadata": {"axes": "TYX"}}


def seen(path: Path) -> np.ndarray:
    with open_movie(path) as movie:
        return np.stack([movie.read_frame(0, t, 0) for t in range(movie.fovs[0].n_frames)])


@pytest.mark.parametrize("name, kind", [("a.tif", BEHIND_ONE_PAGE), ("a.tif", OF_PAGES), ("a.ome.tif", OF_OME)])
@pytest.mark.parametrize("packed", [None, "zlib"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_white_is_zero_is_read_as_it_looks(tmp_path, name, kind, packed, dtype):
    stored = np.iinfo(dtype).max - FRAMES.astype(dtype)
    more = {} if kind is BEHIND_ONE_PAGE else {"compression": packed}
    tifffile.imwrite(tmp_path / name, stored, photometric="miniswhite", **more, **kind)
    np.testing.assert_array_equal(seen(tmp_path / name), FRAMES)


def test_white_is_zero_in_a_folder_of_frames(tmp_path):
    for t, frame in enumerate(FRAMES):
        tifffile.imwrite(tmp_path / f"img_{t}.tif", 255 - frame, photometric="miniswhite", metadata=None)
    np.testing.assert_array_equal(seen(tmp_path), FRAMES)


def test_a_palette_of_greys_is_looked_up_and_the_colour_of_a_channel_is_not(tmp_path):
    ramp = np.arange(255, -1, -1, dtype=np.uint16) * 257
    tifffile.imwrite(tmp_path / "a.tif", 255 - FRAMES, photometric="palette", colormap=np.stack([ramp] * 3), metadata=None)
    np.testing.assert_array_equal(seen(tmp_path / "a.tif"), FRAMES)
    green = np.stack([ramp * 0, ramp[::-1], ramp * 0])
    tifffile.imwrite(tmp_path / "b.tif", FRAMES, photometric="palette", colormap=green, metadata=None)
    np.testing.assert_array_equal(seen(tmp_path / "b.tif"), FRAMES)


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif", "folder"])
def test_an_orientation_is_noted(tmp_path, name):
    turned = {"photometric": "minisblack", "extratags": [(274, "H", 1, 4, True)]}
    place = tmp_path / name
    if name == "folder":
        place.mkdir()
        for t, frame in enumerate(FRAMES):
            tifffile.imwrite(place / f"img_{t}.tif", frame, **turned)
    else:
        tifffile.imwrite(place, FRAMES, metadata={"axes": "TYX"} if "ome" in name else None, **turned)
    with open_movie(place) as movie:
        assert any("TIFF orientation 4; read as stored" in note for note in movie.notes_of([0]))
