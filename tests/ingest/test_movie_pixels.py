"""Pixels of movies: folders of frames, floats that are no counts, channels of two pixel types."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from voxelmill.core.errors import DataError
from voxelmill.ingest.movies.conversion import check_pixels
from voxelmill.ingest.movies.formats import open_movie
from voxelmill.testing.movies import run_timelapse
from voxelmill.testing.stages import record_of
from voxelmill.timelapse.store import open_channel

from .test_movie_cases import CASES, counts, inspected, means, write_zarr

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
