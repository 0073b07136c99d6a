"""Readers against files whose content is known: values, times, sizes; and files that are damaged."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from voxelmill.core.errors import DataError, ParameterError
from voxelmill.ingest.movies.formats import open_movie
from voxelmill.ingest.movies.movie import base_name

ND2 = Path(__file__).parents[1] / "data" / "timelapse" / "example-timelapse.nd2"


def volume(*shape: int, seed: int = 0, dtype: type = np.uint16) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape).astype(dtype)


# ---- CZI -----------------------------------------------------------------------------------------


def write_czi(path: Path, scenes: list[np.ndarray]) -> Path:
    """Scenes (t, c, z, y, x) side by side."""
    czi = pytest.importorskip("pylibCZIrw.czi")
    left = 0
    with czi.create_czi(str(path)) as doc:
        for s, scene in enumerate(scenes):
            for t, c, z in np.ndindex(scene.shape[:3]):
                doc.write(
                    np.ascontiguousarray(scene[t, c, z])[..., None],
                    plane={"T": t, "C": c, "Z": z},
                    scene=s,
                    location=(left, 0),
                )
            left += scene.shape[-1] + 32
        doc.write_metadata("made", channel_names={0: "Phase", 1: "GFP"}, scale_x=0.65e-6, scale_y=0.65e-6)
    return path


def add_time_stamps(path: Path, seconds: list[float]) -> None:
    """Append a TimeStamps attachment as the vendor's software writes it."""
    data = bytearray(path.read_bytes())
    data += b"\0" * (-len(data) % 32)
    n = len(seconds)
    times = struct.pack(f"<ii{n}d", 8 + 8 * n, n, *seconds)

    def entry(position: int) -> bytes:
        return struct.pack("<2s10xqi16s8s80s", b"A1", position, 0, b"\1" * 16, b"CZTIMS", b"TimeStamps")

    at = len(data)
    body = struct.pack("<i12x", len(times)) + entry(at) + b"\0" * 112 + times
    body += b"\0" * (-len(body) % 32)
    data += struct.pack("<16sqq", b"ZISRAWATTACH", len(body), len(body)) + body
    directory, body = len(data), struct.pack("<i252x", 1) + entry(at)
    data += struct.pack("<16sqq", b"ZISRAWATTDIR", len(body), len(body)) + body
    struct.pack_into("<q", data, 32 + 72, directory)
    path.write_bytes(data)


def add_acquisition_times(path: Path, second: dict[tuple[int, int], float]) -> None:
    """Give each subblock (scene, t) its AcquisitionTime: a copy with metadata takes its place."""
    data = bytearray(path.read_bytes())
    (directory,) = struct.unpack_from("<q", data, 32 + 52)
    at = directory + 32 + 128
    for _ in range(struct.unpack_from("<i", data, directory + 32)[0]):
        position, n = struct.unpack_from("<6xq14xi", data, at)
        dims = {
            bytes(data[k : k + 4]).rstrip(b"\0"): struct.unpack_from("<i", data, k + 4)[0]
            for k in range(at + 32, at + 32 + 20 * n, 20)
        }
        stamp = f"2026-01-01T00:00:{second[dims.get(b'S', 0), dims[b'T']]:09.6f}0Z"
        xml = f"<METADATA><Tags><AcquisitionTime>{stamp}</AcquisitionTime></Tags></METADATA>".encode()
        old, _, pixels = struct.unpack_from("<iiq", data, position + 32)
        fixed = max(256, 16 + 32 + 20 * n)
        start, tail = position + 32, position + 32 + fixed + old
        body = bytearray(data[start : start + fixed] + xml + data[tail : tail + pixels])
        struct.pack_into("<iiq", body, 0, len(xml), 0, pixels)
        data += b"\0" * (-len(data) % 32)
        struct.pack_into("<q", body, 16 + 6, len(data))
        struct.pack_into("<q", data, at + 6, len(data))
        body += b"\0" * (-len(body) % 32)
        data += struct.pack("<16sqq", b"ZISRAWSUBBLOCK", len(body), len(body)) + body
        at += 32 + 20 * n
    path.write_bytes(data)


@pytest.fixture
def czi_scenes(tmp_path: Path) -> tuple[Path, list[np.ndarray]]:
    scenes = [volume(3, 2, 1, 40, 56, seed=1), volume(3, 2, 1, 64, 64, seed=2)]
    return write_czi(tmp_path / "run.czi", scenes), scenes


def test_czi_scenes_of_unequal_size_and_their_pixels(czi_scenes):
    path, scenes = czi_scenes
    with open_movie(path) as movie:
        assert [(f.height, f.width, f.n_frames) for f in movie.fovs] == [(40, 56, 3), (64, 64, 3)]
        assert movie.channel_names == ("Phase", "GFP")
        assert movie.pixel_size_um == pytest.approx(0.65)
        for s, t, c in np.ndindex(2, 3, 2):
            frame = movie.read_frame(s, t, c)
            assert frame.dtype == np.uint16
            assert np.array_equal(frame, scenes[s][t, c, 0])


def test_czi_times_come_from_the_time_stamps(czi_scenes):
    path, _ = czi_scenes
    add_time_stamps(path, [360.42, 420.40, 480.41])
    with open_movie(path) as movie:
        for fov in movie.fovs:
            assert fov.times == pytest.approx(np.array([360.42, 420.40, 480.41]) / 60)
        assert "TimeStamps" in movie.time_source
        assert not movie.notes


def test_czi_scenes_have_their_own_acquisition_times(czi_scenes):
    path, scenes = czi_scenes
    add_acquisition_times(path, {(s, t): 5 + 20 * t + 4 * s for s in (0, 1) for t in range(3)})
    add_time_stamps(path, [100.0, 120.0, 140.0])
    with open_movie(path) as movie:
        assert movie.fovs[0].times * 60 == pytest.approx([100, 120, 140])
        assert movie.fovs[1].times * 60 == pytest.approx([104, 124, 144])
        assert np.array_equal(movie.read_frame(1, 2, 1), scenes[1][2, 1, 0])


def test_czi_with_damaged_parts_says_which(czi_scenes):
    path, _ = czi_scenes
    add_time_stamps(path, [1.0, 2.0, 3.0])
    data = path.read_bytes()
    short = bytearray(data)
    at = data.index(b"ZISRAWATTACH") + 32 + 256 + 4  # the number of times
    struct.pack_into("<i", short, at, 3000)
    path.write_bytes(short)
    with pytest.raises(DataError, match="name 3000 times, but hold fewer"):
        open_movie(path)
    path.write_bytes(data.replace(b"ZISRAWDIRECTORY", b"ZISRAWDIRECTORX"))
    with pytest.raises(DataError, match=r"found b'ZISRAWDIRECTORX' .* expected b'ZISRAWDIRECTORY'"):
        open_movie(path)
    path.write_bytes(data[:-64])
    with pytest.raises(DataError, match="names parts beyond its end"):
        open_movie(path)


def test_czi_without_times_says_so_and_uses_the_interval(czi_scenes):
    with open_movie(czi_scenes[0], frame_interval=5) as movie:
        assert movie.fovs[0].times.tolist() == [0, 5, 10]
        (note,) = movie.notes_of([0])
        assert note.startswith("Field of view 0: no usable times in the file") and "5 min" in note


def test_czi_stopped_acquisition_shortens_the_scene_and_a_hole_is_an_error(tmp_path):
    czi = pytest.importorskip("pylibCZIrw.czi")
    path = tmp_path / "stopped.czi"
    with czi.create_czi(str(path)) as doc:
        for s, t in [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (2, 2)]:
            doc.write(np.full((16, 16, 1), 7 + t, np.uint16), plane={"T": t}, scene=s, location=(40 * s, 0))
        doc.write_metadata("stopped")
    with open_movie(path) as movie:
        assert [f.n_frames for f in movie.fovs] == [3, 1, 3]
        assert movie.lacks(0, [0]) == []
        assert movie.lacks(1, [0]) == ["1 of 3 planned frames are there: the acquisition was stopped."]
        assert "not recorded at frame 1" in movie.lacks(2, [0])[0] and not movie.acquired(2, 1, 0).any()
        with pytest.raises(DataError, match=r"field of view 2, frame 1.*not in the file"):  # libCZI gives zeros
            movie.read_frame(2, 1, 0)


def test_czi_scene_with_one_of_two_channels_harms_no_other(tmp_path):
    czi = pytest.importorskip("pylibCZIrw.czi")
    path = tmp_path / "stopped.czi"
    with czi.create_czi(str(path)) as doc:
        for s, c in [(0, 0), (0, 1), (1, 0)]:
            doc.write(np.full((16, 16, 1), 7, np.uint16), plane={"C": c}, scene=s, location=(40 * s, 0))
        doc.write_metadata("stopped")
    with open_movie(path) as movie:
        assert [f.n_frames for f in movie.fovs] == [1, 1]
        assert movie.read_frame(0, 0, 1).max() == movie.read_frame(1, 0, 0).max() == 7
        assert movie.lacks(1, [0]) == [] and movie.lacks(1, [0, 1]) == ["channel 1 (Channel 1) was not recorded."]
        assert not movie.recorded(1, 0, 1)


def test_czi_kinds_that_are_not_supported_are_refused(tmp_path, monkeypatch, czi_scenes):
    czi = pytest.importorskip("pylibCZIrw.czi")
    with czi.create_czi(str(tmp_path / "colour.czi")) as doc:
        doc.write(np.zeros((16, 16, 3), np.uint8), plane={"T": 0})
        doc.write_metadata("colour")
    with pytest.raises(DataError, match="pixels are Bgr24, expected one of Gray8"):
        open_movie(tmp_path / "colour.czi")
    box = czi.CziReader.total_bounding_box
    more = property(lambda self: box.fget(self) | {"H": (0, 32)})
    monkeypatch.setattr(czi.CziReader, "total_bounding_box", more)
    with pytest.raises(DataError, match=r"dimensions H .* are not supported"):
        open_movie(czi_scenes[0])


# ---- ND2 -----------------------------------------------------------------------------------------


def test_nd2_times_pixel_size_and_channel():
    pytest.importorskip("nd2")
    with open_movie(ND2) as movie:
        (fov,) = movie.fovs
        assert (fov.height, fov.width, fov.n_frames, fov.n_planes) == (64, 64, 53, 1)
        assert movie.channel_names == ("GFP 488 nm",)
        assert movie.pixel_size_um == pytest.approx(0.325)
        assert np.diff(fov.times) * 60 == pytest.approx(0.50016, rel=1e-4)
        assert fov.times[0] * 60 == pytest.approx(4.2272, rel=1e-3)
        first, last = movie.read_frame(0, 0, 0), movie.read_frame(0, 52, 0)
        assert first.shape == (64, 64)
        assert first.dtype == np.uint16
        assert not np.array_equal(first, last)


def test_a_missing_reader_package_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "nd2", None)
    with pytest.raises(ParameterError, match=r"needs the package nd2; pip install 'voxelmill\[timelapse\]'"):
        open_movie(ND2)


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [("is_rgb", True, "colour"), ("sizes", {"W": 3, "Y": 64, "X": 64}, "axes .'W'. are not supported")],
)
def test_nd2_kinds_that_are_not_supported_are_refused(monkeypatch, attribute, value, message):
    nd2 = pytest.importorskip("nd2")
    monkeypatch.setattr(nd2.ND2File, attribute, property(lambda self: value))
    with pytest.raises(DataError, match=message):
        open_movie(ND2)


def test_nd2_without_its_chunk_map_says_what_is_missing(tmp_path):
    (tmp_path / "a.nd2").write_bytes(ND2.read_bytes()[:-1])
    with pytest.raises(DataError, match="no chunk map at its end"):
        open_movie(tmp_path / "a.nd2")


def test_nd2_frames_that_the_chunk_map_lacks_are_not_zeros(tmp_path):
    pytest.importorskip("nd2")
    data = bytearray(ND2.read_bytes())
    chunks = struct.unpack("<Q", data[-8:])[0]  # the map is at the end of the file
    for number in (52, 51, 20):
        at = data.index(f"ImageDataSeq|{number}!".encode(), chunks)
        data[at : at + 5] = b"Other"
    path = tmp_path / "stopped.nd2"
    path.write_bytes(data)
    with open_movie(path) as movie:
        assert movie.fovs[0].n_frames == 51
        said = movie.lacks(0, [0])
        assert "51 of 53" in said[0] and "not recorded at frame 20" in said[1]
        with pytest.raises(DataError, match="frame 20, channel 0 is not in the file"):
            movie.read_frame(0, 20, 0)


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


# ---- OME-Zarr ------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["tczyx", "tcyx", "tyx"])
def test_ome_zarr_axes_times_and_scale(tmp_path, version, axes):
    import zarr

    shape = dict(zip("tczyx", (3, 2, 1, 20, 24)))
    data = volume(*(shape[a] for a in axes))
    root = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=3 if version == "0.5" else 2)
    root.create_array("0", data=data)
    units = {"t": "second", "y": "micrometer", "x": "micrometer"}
    scale = {"t": 300.0, "c": 1.0, "z": 1.0, "y": 0.65, "x": 0.65}
    multiscales = [
        {
            "axes": [{"name": a} | ({"unit": units[a]} if a in units else {}) for a in axes],
            "datasets": [
                {
                    "path": "0",
                    "coordinateTransformations": [
                        {"type": "scale", "scale": [scale[a] for a in axes]},
                        {"type": "translation", "translation": [{"y": -13.0, "x": 6.5}.get(a, 0.0) for a in axes]},
                    ],
                }
            ],
        }
    ]
    omero = {"channels": [{"label": "Phase"}, {"label": "GFP"}]}
    metadata = {"multiscales": multiscales, "omero": omero}
    root.attrs.update({"ome": {"version": "0.5"} | metadata} if version == "0.5" else metadata)
    with open_movie(tmp_path / "a.zarr") as movie:
        assert movie.fovs[0].times == pytest.approx([0, 5, 10])
        assert movie.pixel_size_um == pytest.approx(0.65)
        assert movie.describe()["fovs"][0]["origin_um"] == pytest.approx([-13, 6.5])
        n_c = 2 if "c" in axes else 1
        assert movie.channel_names == ("Phase", "GFP")[:n_c]
        full = data.reshape(3, n_c, 20, 24)
        for t, c in np.ndindex(3, n_c):
            assert np.array_equal(movie.read_frame(0, t, c), full[t, c])


def test_ome_zarr_collection_is_fields_of_view(tmp_path):
    import zarr

    root = zarr.open_group(str(tmp_path / "a.zarr"), mode="w")
    for i in (0, 1, 10, 2):
        group = root.create_group(str(i))
        group.create_array("0", data=np.full((1, 8, 8), i + 1, np.uint16))
        axes = list("tyx")
        group.attrs["ome"] = {"version": "0.3", "multiscales": [{"axes": axes, "datasets": [{"path": "0"}]}]}
    with open_movie(tmp_path / "a.zarr") as movie:
        assert [movie.read_frame(f, 0, 0)[0, 0] for f in range(4)] == [1, 2, 3, 11]


@pytest.mark.parametrize(
    ("axes", "message"), [(("tyx", "tcyx"), "process them apart"), (("tyxc",), "has axes 'TYXC'"), (("tyx/",), "'TYX' for")]
)
def test_ome_zarr_images_that_make_no_movie_are_refused(tmp_path, axes, message):
    import zarr

    root = zarr.open_group(str(tmp_path / "a.zarr"), mode="w")
    for i, names in enumerate(axes):
        group = root.create_group(str(i))
        group.create_array("0", data=np.ones([2 if a == "c" else 8 for a in names], np.uint16))  # "/": one more axis
        group.attrs["ome"] = {
            "version": "0.3",
            "multiscales": [{"axes": list(names.strip("/")), "datasets": [{"path": "0"}]}],
        }
    with pytest.raises(DataError, match=message), open_movie(tmp_path / "a.zarr") as movie:
        movie.choose(range(len(movie.fovs)))


def test_a_folder_without_ome_metadata_is_refused(tmp_path):
    import zarr

    zarr.open_group(str(tmp_path / "empty.zarr"), mode="w")
    with pytest.raises(DataError, match="no OME multiscales"):
        open_movie(tmp_path / "empty.zarr")
    with pytest.raises(DataError, match="not an OME-Zarr group"):
        open_movie(tmp_path)


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
