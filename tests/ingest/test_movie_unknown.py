"""Movies as other programs write them, each with what would be read wrongly in silence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from voxelmill.core.errors import DataError
from voxelmill.ingest.movies.formats import open_movie
from voxelmill.ingest.movies.movie import Movie

DATA = np.random.default_rng(2).integers(1, 4000, (3, 2, 8, 10)).astype(np.uint16)  # t, c, y, x
FLAT = DATA.reshape(6, 8, 10)


def same(movie: Movie, data: np.ndarray = DATA, fov: int = 0) -> bool:
    """Whether all frames (t, c, y, x) are those."""
    frames = [[movie.read_frame(fov, t, c) for c in range(data.shape[1])] for t in range(data.shape[0])]
    return movie.fovs[fov].n_frames == len(data) and np.array_equal(frames, data)


def said(movie: Movie) -> str:
    return " ".join(movie.notes_of(range(len(movie.fovs))))


def ome(
    t: int, c: int, tiff: str = "<TiffData/>", attributes: str = "", root: str = "", size: str = 'SizeX="10" SizeY="8"'
) -> str:
    return (
        f'<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" {root}><Image ID="Image:0">'
        f'<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" {size} SizeC="{c}" SizeZ="1" SizeT="{t}" {attributes}>'
        f"{tiff}</Pixels></Image></OME>"
    )


def tiff(path: Path, data: np.ndarray, description: str | None = None, **how) -> Path:
    how.setdefault("photometric", "minisblack")
    tifffile.imwrite(path, data, description=description and description.encode(), metadata=None, **how)
    return path


# ---- grey values ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tiff", "ome-tiff", "folder"])
def test_white_is_zero_is_turned_round_and_said(tmp_path, kind):
    stored, path = 65535 - DATA[:, :1], tmp_path / "a.tif"
    if kind == "folder":
        for t in range(3):
            tiff(tmp_path / f"a_t{t}.tif", stored[t, 0], photometric="miniswhite")
        path = tmp_path
    else:
        tiff(path, stored[:, 0], ome(3, 1) if kind == "ome-tiff" else None, photometric="miniswhite")
    with open_movie(path) as movie:
        assert movie.file_type == kind and same(movie, DATA[:, :1]) and "hite is zero in the file" in said(movie)


def test_palettes(tmp_path):
    grey = (DATA[:, :1] % 250).astype(np.uint8)
    ramp = np.arange(256, dtype=np.uint16) * 257
    colours = {"green": [ramp * 0, ramp, ramp * 0], "inverted": [ramp[::-1]] * 3, "fire": [ramp, ramp[::-1], ramp]}
    for name, colour in colours.items():
        tiff(tmp_path / f"{name}.tif", grey[:, 0], photometric="palette", colormap=np.array(colour, np.uint16))
    with open_movie(tmp_path / "green.tif") as movie:  # a colour for the screen
        assert same(movie, grey)
    with open_movie(tmp_path / "inverted.tif") as movie:
        assert same(movie, 255 - grey) and "palette of greys" in said(movie)
    with open_movie(tmp_path / "fire.tif") as movie:
        assert same(movie, grey) and "counts are the numbers of its colours" in said(movie)


def test_what_imagej_shows_otherwise_than_it_stores_is_said(tmp_path):
    told = {"axes": "TCYX", "c0": -32768.0, "c1": 1.0}
    tifffile.imwrite(tmp_path / "a.tif", DATA, imagej=True, metadata=told)
    with open_movie(tmp_path / "a.tif") as movie:
        assert same(movie) and "ImageJ shows its counts as -32768 + 1 x" in said(movie)


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("description", [None, ome(3, 2)])
def test_packed_bits(tmp_path, bits, description):
    pytest.importorskip("imagecodecs")
    tiff(tmp_path / "a.tif", FLAT % 1000, description, bitspersample=bits)
    with open_movie(tmp_path / "a.tif") as movie:
        assert same(movie, DATA % 1000) if description else same(movie, FLAT[:, None] % 1000)


def test_frames_that_were_written_one_by_one(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for frame in FLAT:
            file.write(frame, photometric="minisblack", subifds=1)
            file.write(frame[::2, ::2], photometric="minisblack", subfiletype=1)
    with open_movie(tmp_path / "a.tif") as movie:
        assert same(movie, FLAT[:, None])


# ---- sizes of pixels -----------------------------------------------------------------------------


def imagej(path: Path, resolution: tuple[float, float], **told) -> Path:
    tifffile.imwrite(path, DATA, imagej=True, resolution=resolution, metadata={"axes": "TCYX", **told})
    return path


def ome_zarr(path: Path, scale: list[float], *units: str | None) -> Path:
    root = zarr.open_group(str(path), mode="w")
    root.create_array("0", data=DATA)
    axes = [{"name": a} | ({"unit": unit} if unit else {}) for a, unit in zip("tcyx", units)]
    steps = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": [0, 0, 2000, 3]}]
    root.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [{"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": steps}]}],
    }
    return path


def test_pixels_that_are_not_square_are_said(tmp_path):
    pytest.importorskip("pylibCZIrw")
    from pylibCZIrw import czi

    with czi.create_czi(str(tmp_path / "a.czi")) as file:
        file.write(DATA[0, 0][..., None], plane={"T": 0})
        file.write_metadata("made", scale_x=0.5e-6, scale_y=0.25e-6)
    movies = [
        imagej(tmp_path / "a.tif", (2, 4), unit="micron"),
        ome_zarr(tmp_path / "a.zarr", [1, 1, 0.25, 0.5], "second", None, "micrometer", "micrometer"),
        tiff(tmp_path / "a.ome.tif", FLAT, ome(3, 2, attributes='PhysicalSizeX="0.5" PhysicalSizeY="0.25"')),
        tmp_path / "a.czi",
    ]
    for path in movies:
        with open_movie(path) as movie:
            assert movie.pixel_size_um == pytest.approx(0.5) and "not square (0.5 x 0.25 µm)" in said(movie), path


def test_sizes_without_a_unit_or_of_no_microscope_are_said(tmp_path):
    with open_movie(ome_zarr(tmp_path / "a.zarr", [60, 1, 0.5, 0.5], "second", None, None, None)) as movie:
        assert movie.pixel_size_um is None and "without a unit: lengths are in pixels" in said(movie)
    with open_movie(imagej(tmp_path / "a.tif", (72, 72), unit="inch")) as movie:
        assert "352.778 µm wide by its metadata: is that the density of a print" in said(movie)
    path = tiff(tmp_path / "a.ome.tif", FLAT, ome(3, 2, attributes='PhysicalSizeX="0.00065"'))  # millimetres, unsaid
    with open_movie(path) as movie:
        assert "0.00065 µm wide by its metadata" in said(movie)


def test_axes_in_two_units_of_length(tmp_path):
    with open_movie(ome_zarr(tmp_path / "a.zarr", [60, 1, 500, 0.5], "second", None, "nanometer", "micrometer")) as movie:
        assert movie.pixel_size_um == 0.5 and movie.fovs[0].origin_um == pytest.approx((2, 3)) and said(movie) == ""


# ---- OME-TIFF ------------------------------------------------------------------------------------


def test_metadata_behind_the_only_page_are_no_planes(tmp_path):
    path = tmp_path / "a.ome.tif"
    listed = "".join(f'<TiffData IFD="{k}" FirstT="{k}" PlaneCount="1"/>' for k in range(50))
    tiff(path, FLAT[0], "<OME/>")
    tifffile.tiffcomment(path, ome(50, 1, listed).encode())  # longer than before: at the end of the file
    with open_movie(path) as movie:
        assert same(movie, FLAT[:1, None])
        assert movie.lacks(0, [0]) == ["1 of 50 planned frames are there: the acquisition was stopped."]


def test_pages_and_planes_that_do_not_fit_are_said(tmp_path):
    with open_movie(tiff(tmp_path / "a.ome.tif", FLAT, ome(2, 2))) as movie:
        assert same(movie, DATA[:2]) and "2 of the 6 pages of a.ome.tif are no plane by its metadata" in said(movie)
    place = "".join(f'<TiffData IFD="{k}" FirstT="{k // 2}" FirstC="{k % 2}" PlaneCount="1"/>' for k in range(6))
    again = '<TiffData IFD="5" FirstT="0" FirstC="0" PlaneCount="1"/>'
    with open_movie(tiff(tmp_path / "b.ome.tif", FLAT, ome(3, 2, place + again))) as movie:
        assert "name 1 planes a second time" in said(movie) and "1 of its planes lie on the page of another" in said(movie)


def test_pages_of_another_kind_than_the_metadata_are_refused_at_once(tmp_path):
    tiff(tmp_path / "size.ome.tif", FLAT, ome(3, 2, size='SizeX="8" SizeY="10"'))
    tiff(tmp_path / "rgb.ome.tif", np.zeros((3, 8, 10, 3), np.uint8), ome(3, 1), photometric="rgb")
    tiff(tmp_path / "none.ome.tif", FLAT, ome(3, 2, tiff=""))
    for name, why in (("size", r"are \(10, 8\) .* is \(8, 10\)"), ("rgb", r"is \(8, 10, 3\)"), ("none", "TiffData")):
        with pytest.raises(DataError, match=why):
            open_movie(tmp_path / f"{name}.ome.tif")


# ---- folders -------------------------------------------------------------------------------------

NAMES = {
    "MetaMorph": "exp_w{w}{name}_s{s}_t{t}.TIF",
    "MetaMorph, one name for two": "exp_w{w}conf488_s{s}_t{t}.TIF",
    "time points": "TimePoint_{t}/exp_A01_s{s}_w{w}.TIF",
    "IncuCyte": "VID1_B{s}_ch{w}_1_2018y08m1{t}d_00h30m.tif",
    "Opera": "r01c02f0{s}p01-ch{w}sk{t}fk1fl1.tiff",
    "hours": "exp_s{s}_{t:02d}h_ch{w}.tif",
    "channel folders": "Pos{s}/{name}/img_{t:03d}.tif",
    "no frame, but more": "s{s}_w{w}_{t}of3.tif",
}


@pytest.mark.parametrize("kind", NAMES)
def test_names_as_other_programs_give_them(tmp_path, kind):
    names = ("Phase", "GFP") if "folders" not in kind else ("GFP", "Phase")
    for s, t, c in np.ndindex(2, 3, 2):
        path = tmp_path / NAMES[kind].format(s=s, t=t, w=c + 1, name=names[c])
        path.parent.mkdir(parents=True, exist_ok=True)
        tiff(path, DATA[t, c] + 5000 * s)
    with open_movie(tmp_path) as movie:
        assert [f.n_frames for f in movie.fovs] == [3, 3]
        assert same(movie) and same(movie, DATA + 5000, fov=1)
        if kind in ("MetaMorph", "channel folders"):
            assert movie.channel_names == names
        if "two" in kind:
            assert movie.channel_names == ("1 conf488", "2 conf488")


def test_micro_manager_s_metadata_that_are_cut_off_and_its_order_of_channels(tmp_path):
    told: dict = {"Summary": {"ChNames": ["Phase", "GFP"]}}
    for t, c in np.ndindex(3, 2):
        name = f"img_{t:09d}_{('Phase', 'GFP')[c]}_000.tif"
        tiff(tmp_path / name, DATA[t, c])
        told[f"FrameKey-{t}-{c}-0"] = {"FileName": name, "ElapsedTime-ms": 60_000 * t * t + c, "PixelSizeUm": 0.65}
    whole = json.dumps(told, indent=1)
    for text in (whole, whole[:-30]):
        (tmp_path / "metadata.txt").write_text(text)
        with open_movie(tmp_path) as movie:
            assert movie.channel_names == ("Phase", "GFP") and same(movie)
            assert movie.fovs[0].times == pytest.approx([0, 1, 4]) and movie.pixel_size_um == 0.65
            assert ("is cut off: 6 entries" in said(movie)) == (text != whole)
