"""CZI and ND2 files whose content is known: values, times, sizes; and files that are damaged."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from voxelmill.core.errors import DataError, ParameterError
from voxelmill.ingest.movies.formats import open_movie

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
