"""Readers against files whose content is known: values, times, sizes; and files that are damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from voxelmill.core.errors import DataError, ParameterError
from voxelmill.ingest.movies.formats import open_movie
from voxelmill.ingest.movies.movie import base_name

from .test_czi_nd2 import ND2, volume, write_czi

# ---- TIFF ----------------------------------------------------------------------------------------


def write_ome(path: Path, data: np.ndarray, **metadata) -> Path:
    import tifffile

    tifffile.imwrite(path, data, ome=True, metadata=metadata)
    return path


@pytest.mark.parametrize(("step", "unit"), [(600.0, "s"), (600_000.0, "ms"), (10.0, "min"), (1 / 6, "h")])
def test_ome_tiff_time_increment_units(tmp_path, step, unit):
    path = write_ome(
        tmp_path / "a.ome.tif",
        volume(4, 2, 20, 24),
        axes="TCYX",
        TimeIncrement=step,
        TimeIncrementUnit=unit,
        Channel={"Name": ["Phase", "GFP"]},
        PhysicalSizeX=650.0,
        PhysicalSizeXUnit="nm",
        PhysicalSizeY=650.0,
        PhysicalSizeYUnit="nm",
    )
    with open_movie(path) as movie:
        assert movie.fovs[0].times == pytest.approx([0, 10, 20, 30])
        assert movie.channel_names == ("Phase", "GFP")
        assert movie.pixel_size_um == pytest.approx(0.65)


def test_ome_tiff_plane_times_win_over_the_increment(tmp_path):
    seconds = [0.0, 61.0, 119.0]
    delta = [s + 0.5 * c for s in seconds for c in range(2)]
    path = write_ome(
        tmp_path / "a.ome.tif",
        volume(3, 2, 16, 16),
        axes="TCYX",
        TimeIncrement=60.0,
        TimeIncrementUnit="s",
        Plane={"DeltaT": delta, "DeltaTUnit": ["s"] * 6},
    )
    with open_movie(path) as movie:
        assert movie.fovs[0].times * 60 == pytest.approx(seconds)
        assert "DeltaT" in movie.time_source


@pytest.mark.parametrize("axes", ["TCYX", "CTYX"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_ome_tiff_several_images_of_unequal_size(tmp_path, axes, compression):
    import tifffile

    images = [volume(3, 2, 20, 24, seed=1), volume(3, 2, 32, 16, seed=2)]
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path) as writer:
        for image in images:
            stored = image if axes == "TCYX" else image.transpose(1, 0, 2, 3)
            writer.write(stored, metadata={"axes": axes}, compression=compression, photometric="minisblack")
    with open_movie(path) as movie:
        assert [(f.height, f.width) for f in movie.fovs] == [(20, 24), (32, 16)]
        for s, t, c in np.ndindex(2, 3, 2):
            assert np.array_equal(movie.read_frame(s, t, c), images[s][t, c])


@pytest.mark.parametrize("n", [1, 3, 4, 7])
@pytest.mark.parametrize("how", [{}, {"compression": "zlib"}, {"bigtiff": True}, {"byteorder": ">"}, {"truncate": True}])
def test_plain_tiff_pages_are_frames(tmp_path, n, how):
    import tifffile

    data = volume(n, 20, 24)
    tifffile.imwrite(tmp_path / "a.tif", data, **how)
    with open_movie(tmp_path / "a.tif") as movie:
        assert (movie.fovs[0].n_frames, movie.channel_names) == (n, ("Channel 0",))
        for t in range(n):
            assert np.array_equal(movie.read_frame(0, t, 0), data[t])


def test_imagej_tiff_interval_and_pixel_size(tmp_path):
    import tifffile

    tifffile.imwrite(
        tmp_path / "a.tif",
        volume(5, 16, 16),
        imagej=True,
        resolution=(1 / 0.65, 1 / 0.65),
        metadata={"axes": "TYX", "finterval": 120.0, "unit": "um"},
    )
    with open_movie(tmp_path / "a.tif") as movie:
        assert movie.fovs[0].times == pytest.approx([0, 2, 4, 6, 8])
        assert movie.pixel_size_um == pytest.approx(0.65, rel=1e-4)


def test_tiff_pages_of_unequal_size_are_refused(tmp_path):
    import tifffile

    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(volume(16, 16))
        writer.write(volume(16, 20))
    with pytest.raises(DataError, match="pages are of unequal kind"):
        open_movie(tmp_path / "a.tif")


def set_tag(path: Path, code: int, value: int) -> None:
    """Overwrite a tag's value (or its first value's place) on the first page."""
    import tifffile

    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages.first.tags[code].overwrite(value)


def test_pixels_that_are_not_stored_are_not_zeros(tmp_path):
    import tifffile

    tifffile.imwrite(tmp_path / "a.tif", volume(40, 40), compression="zlib")
    set_tag(tmp_path / "a.tif", 279, 0)  # StripByteCounts: tifffile reads such a strip as zeros
    with pytest.raises(DataError, match="would be read as zeros"):
        open_movie(tmp_path / "a.tif")


def test_a_claimed_size_that_nothing_backs_is_refused_before_memory_is_taken(tmp_path):
    import tifffile

    tifffile.imwrite(tmp_path / "a.tif", volume(40, 40), compression="zlib")
    for code in (256, 257, 278):  # width, height, rows per strip
        set_tag(tmp_path / "a.tif", code, 2**31 - 1)
    with pytest.raises(DataError, match="hostile"):
        open_movie(tmp_path / "a.tif")


def test_ome_tiff_images_with_unequal_channels_are_refused(tmp_path):
    import tifffile

    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as writer:
        for n in (2, 3):
            writer.write(volume(2, n, 16, 16), metadata={"axes": "TCYX"}, photometric="minisblack")
    with open_movie(tmp_path / "a.ome.tif") as movie:
        movie.choose([1])
        assert len(movie.channel_names) == 3
        with pytest.raises(DataError, match="process them apart with --fovs"):
            movie.choose([0, 1])


def test_ome_tiff_over_several_files_needs_them_all(tmp_path):
    import tifffile

    data = volume(2, 16, 16)
    files = [(f"{name}.ome.tif", f"urn:uuid:{name}0000000-0000-4000-8000-000000000000") for name in "ab"]
    planes = "".join(
        f'<TiffData FirstT="{t}" IFD="0" PlaneCount="1"><UUID FileName="{name}">{uuid}</UUID></TiffData>'
        for t, (name, uuid) in enumerate(files)
    )
    for t, (name, uuid) in enumerate(files):
        xml = (
            '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="{uuid}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" '
            'Type="uint16" SizeX="16" SizeY="16" SizeC="1" SizeZ="1" SizeT="2" '
            f'TimeIncrement="30">{planes}</Pixels></Image></OME>'
        )
        tifffile.imwrite(tmp_path / name, data[t], description=xml, metadata=None)
    with open_movie(tmp_path / "a.ome.tif") as movie:
        assert [np.array_equal(movie.read_frame(0, t, 0), data[t]) for t in (0, 1)] == [True, True]
        assert movie.fovs[0].times.tolist() == [0, 0.5]
    (tmp_path / "b.ome.tif").unlink()
    with pytest.raises(DataError, match=r"a\.ome\.tif: the OME-TIFF lacks planes"):
        open_movie(tmp_path / "a.ome.tif")


def test_ome_tiff_with_fewer_pages_than_it_names_was_stopped(tmp_path):
    import tifffile

    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="16" '
        'SizeY="16" SizeC="1" SizeZ="1" SizeT="3">'
        '<TiffData IFD="0" PlaneCount="3"/></Pixels></Image></OME>'
    )
    tifffile.imwrite(tmp_path / "a.ome.tif", volume(2, 16, 16), description=xml, metadata=None)
    with open_movie(tmp_path / "a.ome.tif") as movie:
        assert movie.fovs[0].n_frames == 2
        assert movie.lacks(0, [0]) == ["2 of 3 planned frames are there: the acquisition was stopped."]


def test_tiff_axes_that_nobody_named_are_refused(tmp_path):
    import tifffile

    tifffile.imwrite(tmp_path / "a.tif", volume(2, 3, 16, 16), photometric="minisblack")
    with pytest.raises(DataError, match="cannot tell time, channel and z apart in axes QQYX"):
        open_movie(tmp_path / "a.tif")


def test_colour_tiff_is_refused(tmp_path):
    import tifffile

    tifffile.imwrite(tmp_path / "a.tif", volume(16, 16, 3, dtype=np.uint8), photometric="rgb")
    with pytest.raises(DataError, match=r"colour \(RGB\)"):
        open_movie(tmp_path / "a.tif")


# ---- what holds for all --------------------------------------------------------------------------


def test_several_z_planes_must_be_chosen(tmp_path):
    data = volume(2, 3, 16, 16)
    path = write_ome(tmp_path / "a.ome.tif", data, axes="TZYX")
    with open_movie(path) as movie:
        with pytest.raises(ParameterError, match=r"3 z planes.*--z_plane"):
            movie.read_frame(0, 0, 0)
        with pytest.raises(ParameterError, match="3 z planes"):
            movie.require([0])
        assert np.array_equal(movie.read_frame(0, 1, 0, z=2), data[1, 2])
        with pytest.raises(ParameterError, match="z_plane 3"):
            movie.read_frame(0, 0, 0, z=3)
    with open_movie(path, z_plane="max") as movie:
        assert np.array_equal(movie.read_frame(0, 1, 0), data[1].max(0))


def test_a_channel_by_number_or_by_name_in_any_case(tmp_path):
    path = write_ome(tmp_path / "a.ome.tif", volume(2, 3, 16, 16), axes="TCYX", Channel={"Name": ["GFP", "gfp", "2"]})
    with open_movie(path) as movie:
        found = [movie.parse_channel(name) for name in ("gfp", "GFP", "1", "2")]
        assert found == [1, 0, 1, 2]  # as written first; a number that is a name is that name
        with pytest.raises(ParameterError, match=r"2 channels are called 'Gfp'; give its number; the file has 0 GFP, 1 gfp"):
            movie.parse_channel("Gfp")
    path = write_ome(tmp_path / "b.ome.tif", volume(2, 2, 16, 16), axes="TCYX", Channel={"Name": ["Phase", "gfp"]})
    with open_movie(path) as movie:
        assert [movie.parse_channel(name) for name in ("PHASE", "phase", "GFP")] == [0, 0, 1]


def test_indices_outside_are_refused_with_what_is_there(tmp_path):
    path = write_ome(tmp_path / "a.ome.tif", volume(3, 2, 16, 16), axes="TCYX", Channel={"Name": ["Phase", "GFP"]})
    with open_movie(path) as movie:
        with pytest.raises(ParameterError, match="no channel 2; the file has 0 Phase, 1 GFP"):
            movie.require([0, 2])
        with pytest.raises(ParameterError, match="no channel -1"):
            movie.read_frame(0, 0, -1)
        with pytest.raises(ParameterError, match="frames 0-2, not 3"):
            movie.read_frame(0, 3, 0)
        with pytest.raises(ParameterError, match="field of view 1"):
            movie.read_frame(1, 0, 0)
        with pytest.raises(ParameterError, match="4 is not there"):
            movie.parse_fovs("0,4")


def test_a_frame_of_another_size_is_named(tmp_path):
    path = write_ome(tmp_path / "a.ome.tif", volume(3, 16, 16), axes="TYX")
    with open_movie(path) as movie:
        movie._plane = lambda fov, t, channel, z: np.zeros((16, 16 + t), np.uint16)
        movie.read_frame(0, 0, 0)
        with pytest.raises(DataError, match=r"frame 1, channel 0: found \(16, 17\), expected \(16, 16\)"):
            movie.read_frame(0, 1, 0)


def test_a_reader_that_fails_becomes_one_line_that_names_the_file(tmp_path):
    def broken(*_):
        raise RuntimeError("bad bytes")

    path = write_ome(tmp_path / "a.ome.tif", volume(3, 16, 16), axes="TYX")
    with open_movie(path) as movie:
        movie._plane = broken
        with pytest.raises(DataError, match=r"a\.ome\.tif: .* frame 2.*bad bytes.*copy it again"):
            movie.read_frame(0, 2, 0)


def test_time_mapping_replaces_the_file_and_must_be_complete(tmp_path):
    path = write_ome(tmp_path / "a.ome.tif", volume(3, 16, 16), axes="TYX", TimeIncrement=60.0)
    with open_movie(path, time_mapping={0: 0, 1: 7, 2: 30}) as movie:
        assert movie.fovs[0].times.tolist() == [0, 7, 30]
    with pytest.raises(ParameterError, match="no time for frame 2"):
        open_movie(path, time_mapping={0: 0, 1: 7})
    with pytest.raises(ParameterError, match="frame_interval"):
        open_movie(path, frame_interval=0)


def test_base_name():
    assert [base_name(n) for n in ("a.b.ome.tif", "x/run.ND2", "m.ome.zarr")] == ["a.b", "run", "m"]


def test_not_a_movie(tmp_path):
    for name, content, message in (
        ("a.nd2", b"", "empty"),
        ("b.czi", b"hello world", "not an ND2"),
        ("c.tif", None, "no such file"),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=message):
            open_movie(tmp_path / name)


# ---- files that are cut off ----------------------------------------------------------------------

CUTS = [0.0, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 0.95, 0.99, 0.999]


def _whole(kind: str, folder: Path) -> Path:
    if kind == "nd2":
        pytest.importorskip("nd2")
        return ND2
    if kind == "czi":
        return write_czi(folder / "whole.czi", [volume(3, 2, 1, 40, 56), volume(3, 2, 1, 64, 64)])
    if kind == "ome.tif":
        return write_ome(folder / "whole.ome.tif", volume(4, 2, 40, 40), axes="TCYX", TimeIncrement=60.0)
    import tifffile

    tifffile.imwrite(
        folder / "whole.tif",
        volume(6, 40, 40),
        compression="zlib" if "zlib" in kind else None,
        imagej=kind == "imagej.tif",
        truncate=kind == "one_page.tif",
        metadata={"axes": "TYX"},
    )
    return folder / "whole.tif"


@pytest.mark.parametrize("kind", ["nd2", "czi", "ome.tif", "plain.tif", "zlib.tif", "imagej.tif", "one_page.tif"])
def test_a_file_that_is_cut_off_is_refused(tmp_path, kind):
    data = _whole(kind, tmp_path).read_bytes()
    path = tmp_path / f"cut.{kind}"
    spare = 1 if kind == "nd2" else 64  # the last bytes of a CZI or TIFF hold no pixels, and may be lost
    for length in sorted({int(len(data) * part) for part in CUTS} | {len(data) - spare}):
        path.write_bytes(data[:length])
        with pytest.raises(DataError, match=f"cut.{kind}"), open_movie(path):
            pytest.fail(f"{length} of {len(data)} bytes were taken for a whole movie")
