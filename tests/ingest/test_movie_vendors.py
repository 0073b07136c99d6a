"""Movies as microscopes and people pack them: LSM, MetaMorph, NDTiff, zips; and pages that are no frames."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import zarr
from voxelmill.core.errors import DataError
from voxelmill.ingest.inspect_movie import digest_of_files, key_of
from voxelmill.ingest.movies.formats import open_movie

from .vendor_files import write_lsm, write_ndtiff, write_stk

DATA = np.random.default_rng(3).integers(1, 4000, (2, 4, 3, 8, 10)).astype(np.uint16)  # position, t, c, y, x
NAMES = ("Phase", "GFP", "RFP")
PLAIN = {"photometric": "minisblack", "metadata": None, "contiguous": False}


def same(movie, data=DATA[0], fov=0) -> bool:
    frames, channels = data.shape[:2]
    assert (movie.fovs[fov].n_frames, len(movie.channel_names)) == (frames, channels)
    return all(np.array_equal(movie.read_frame(fov, t, c), data[t, c]) for t, c in np.ndindex(frames, channels))


@pytest.mark.parametrize("stamps", [[3.0, 63.0, 123.0, 190.0], []])
def test_lsm(tmp_path, stamps):
    path = write_lsm(tmp_path / "a.lsm", DATA[0], stamps, 0.4, NAMES)
    with open_movie(path) as movie:
        assert same(movie) and movie.channel_names == NAMES
        assert movie.pixel_size_um == pytest.approx(0.4)
        expected = np.array(stamps) / 60 if stamps else np.arange(4) * 7 / 60
        assert movie.fovs[0].times == pytest.approx(expected) and "LSM" in movie.time_source
        assert any("smaller copies" in note for note in movie.notes)


def test_metamorph_over_midnight(tmp_path):
    path = write_stk(tmp_path / "a.stk", DATA[0, :, 0], [86280.0, 86400.0, 86520.0, 86640.0], 0.4)
    with open_movie(path) as movie:
        assert same(movie, DATA[0, :, :1])
        assert movie.fovs[0].times == pytest.approx([1438, 1440, 1442, 1444]) and not movie.notes_of([0])
        assert movie.pixel_size_um == pytest.approx(0.4)


def test_wavelengths_of_metamorph_are_doubted(tmp_path):
    path = write_stk(tmp_path / "a.stk", DATA[0, :, 0], [0.0, 120.0, 240.0, 360.0], 0.4, waves=[488, 561, 488, 561])
    with open_movie(path) as movie:
        assert any("2 wavelengths (488, 561)" in note for note in movie.notes_of([0]))


def planes(channel=lambda c: NAMES[c], position=lambda p: p):
    return {(position(p), t, channel(c), None): DATA[p, t, c] for p, t, c in np.ndindex(2, 4, 3)}


@pytest.mark.parametrize("given", ["", "run_NDTiffStack_2.tif"])
def test_ndtiff(tmp_path, given):
    told = {
        at: {"ElapsedTime-ms": 90_000 * at[1] + 10 * at[0], "PixelSizeUm": 0.4, "XPositionUm": 0.1, "YPositionUm": at[0]}
        for at in planes()
    }
    folder = write_ndtiff(tmp_path / "run", planes(), told, split=7)
    with open_movie(folder / given) as movie:
        assert same(movie) and same(movie, DATA[1], 1) and movie.channel_names == NAMES
        assert movie.fovs[1].times == pytest.approx(np.arange(4) * 1.5 + 1e-2 / 60) and movie.pixel_size_um == 0.4
        assert [f.stage_um for f in movie.fovs] == [(0, 0.1), (1, 0.1)]
        assert movie.files_of(0) != movie.files_of(1) and key_of(movie, [0]) != key_of(movie, [1])


def test_ndtiff_without_positions_or_with_words_and_planes_that_lack(tmp_path):
    some = {(None, t, c, None): DATA[0, t, c] for t, c in np.ndindex(4, 3) if (t, c) != (2, 1)}
    with open_movie(write_ndtiff(tmp_path / "a", some, {})) as movie:
        assert movie.channel_names == ("Channel 0", "Channel 1", "Channel 2") and len(movie.fovs) == 1
        assert not movie.recorded(0, 2, 1) and np.array_equal(movie.read_frame(0, 3, 2), DATA[0, 3, 2])
    with open_movie(write_ndtiff(tmp_path / "b", planes(position=lambda p: f"Pos{p + 9}"), {})) as movie:
        assert [f.name for f in movie.fovs] == ["Pos9", "Pos10"] and same(movie, DATA[1], 1)


@pytest.mark.parametrize("spoilt", ["short", "gone", "index"])
def test_ndtiff_that_is_not_whole(tmp_path, spoilt):
    folder = write_ndtiff(tmp_path / "run", planes(), {}, split=7)
    last, index = folder / "run_NDTiffStack_2.tif", folder / "NDTiff.index"
    if spoilt == "gone":
        last.unlink()
    else:
        file = last if spoilt == "short" else index
        text = file.read_bytes()
        file.write_bytes(text[:-20] if spoilt == "short" else text.replace(b'"time": 2', b'"time: 22', 1))
    words = {"short": "cut off", "gone": "is not beside it", "index": "damaged behind 6 planes"}
    with pytest.raises(DataError, match=words[spoilt]):
        open_movie(folder)


@pytest.mark.parametrize("ends", ["in a number", "in axes", "in zeros"])
def test_ndtiff_whose_index_is_cut_off_is_shorter(tmp_path, ends):
    folder = write_ndtiff(tmp_path / "run", planes(), {}, split=7)
    index = folder / "NDTiff.index"
    text = index.read_bytes()
    last = text.rindex(b'{"position') - 4
    index.write_bytes({"in a number": text[:-1], "in axes": text[: last + 9], "in zeros": text[:last] + bytes(500)}[ends])
    with open_movie(folder) as movie:
        assert not movie.recorded(1, 3, 2) and np.array_equal(movie.read_frame(1, 3, 1), DATA[1, 3, 1])
        assert same(movie) and any("stopped: 23 planes are whole" in note for note in movie.notes)


BYTES = {  # what is written over the index: from which byte on, what, and what is said
    "colours": (-20, 2, "colour"),
    "packed": (-16, 1, "compressed planes"),
    "long name": (0, 10**6, "damaged behind 0 planes .1000000 bytes"),
}


@pytest.mark.parametrize("what", BYTES)
def test_ndtiff_of_planes_that_are_not_read(tmp_path, what):
    folder = write_ndtiff(tmp_path / "run", planes(), {}, split=7)
    at, value, words = BYTES[what]
    text = bytearray((folder / "NDTiff.index").read_bytes())
    struct.pack_into("<i", text, at % len(text), value)
    (folder / "NDTiff.index").write_bytes(text)
    with pytest.raises(DataError, match=words):
        open_movie(folder)


def test_ndtiff_of_planes_that_make_no_movie(tmp_path):
    plane = DATA[0, 0, 0]
    write_ndtiff(tmp_path / "a", {(0, 0, 0, 0): plane, (0, 10**6, 0, 0): plane}, {})
    with pytest.raises(DataError, match="2 planes are some of 1000001 x 1 x 1"):
        open_movie(tmp_path / "a")
    write_ndtiff(tmp_path / "b", {(0, 0, 0, 0): plane, (0, 1, 0, 0): plane[:4]}, {})
    with pytest.raises(DataError, match="planes of unequal size"):
        open_movie(tmp_path / "b")


# ---- zips ----------------------------------------------------------------------------------------


def zipped(path: Path, root: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for one in sorted(root.rglob("*")):
            file.write(one, one.relative_to(root.parent))
        file.writestr("__MACOSX/._a", "x")
    return path


@pytest.mark.parametrize("kind", ["frames", "file", "store"])
def test_a_movie_in_a_zip(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "from" / "run"
    root.mkdir(parents=True)
    if kind == "frames":
        for t, c in np.ndindex(4, 3):
            tifffile.imwrite(root / f"t{t}_c{c}.tif", DATA[0, t, c], photometric="minisblack", metadata=None)
    elif kind == "file":
        root.rmdir()
        root = tmp_path / "from" / "a.tif"
        tifffile.imwrite(root, DATA[0], imagej=True, metadata={"axes": "TCYX"})
    else:
        group = zarr.open_group(str(root), mode="w")
        group.create_array("0", data=DATA[0])
        scale = [{"type": "scale", "scale": [1, 1, 1, 1]}]
        group.attrs["ome"] = {
            "version": "0.5",
            "multiscales": [
                {"axes": [{"name": a} for a in "tcyx"], "datasets": [{"path": "0", "coordinateTransformations": scale}]}
            ],
        }
    path = zipped(tmp_path / "a.zip", root) if kind != "file" else tmp_path / "a.zip"
    if kind == "file":
        with zipfile.ZipFile(path, "w") as file:
            file.write(root, root.name)
    with open_movie(path) as movie:
        assert same(movie) and any("is unpacked in each task" in note for note in movie.notes)
        assert movie.files_of(0) and key_of(movie, [0]) == key_of(movie, [0])
        known = key_of(movie, [0]), digest_of_files(path, movie.files)
        assert list(tmp_path.glob("unpacked-*"))
    assert not list(tmp_path.glob("unpacked-*"))
    with open_movie(path) as movie:
        assert known == (key_of(movie, [0]), digest_of_files(path, movie.files))


@pytest.mark.parametrize("name", ["../out.tif", "/out.tif", "link"])
def test_a_zip_that_leads_out_of_itself(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        entry = zipfile.ZipInfo(name)
        entry.external_attr = 0o120777 << 16 if name == "link" else 0
        file.writestr(entry, "/etc/passwd")
    with pytest.raises(DataError, match="leads out of it"):
        open_movie(tmp_path / "a.zip")
    assert not list(tmp_path.glob("unpacked-*")) and not (tmp_path.parent / "out.tif").exists()


def test_a_zip_that_is_damaged_or_holds_a_zip(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("t0.tif", bytes(1000))
    whole = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "b.zip").write_bytes(whole[:300] + b"x" + whole[301:])
    with pytest.raises(DataError, match="damaged"):
        open_movie(tmp_path / "b.zip")
    for name in ("a.zip", "a"):
        with zipfile.ZipFile(tmp_path / "c.zip", "w") as file:
            file.write(tmp_path / "a.zip", name)
        with pytest.raises(DataError, match="holds another zip"):
            open_movie(tmp_path / "c.zip")
    with zipfile.ZipFile(tmp_path / "d.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("t0.tif", bytes(range(256)) * 9)
    packed = (tmp_path / "d.zip").read_bytes()
    (tmp_path / "d.zip").write_bytes(packed[:40] + b"\xff" * 20 + packed[60:])
    with pytest.raises(DataError, match="the zip is damaged"):
        open_movie(tmp_path / "d.zip")


def test_a_zip_that_is_too_large_or_secret(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as file:
        file.writestr("t0.tif", bytes(2**22))
    with pytest.raises(DataError, match="bytes claim to hold 4194304"):
        open_movie(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("t0.tif", bytes(1000))
    with monkeypatch.context() as full:
        full.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=999))
        with pytest.raises(DataError, match="takes 1000 bytes, and 999 are free"):
            open_movie(path)
    text = bytearray(path.read_bytes())
    text[text.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(text)
    with pytest.raises(DataError, match="in it is encrypted"):
        open_movie(path)
    assert not list(tmp_path.glob("unpacked-*"))


def test_notes_on_a_zip_are_the_same_each_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite(tmp_path / "frame.tif", DATA[0, 0, 0], photometric="minisblack", metadata=None)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for t in range(4):
            file.write(tmp_path / "frame.tif", f"t{t}.tif")
    said = []
    for _ in range(2):
        with open_movie(tmp_path / "a.zip") as movie:
            said.append(movie.notes)
    assert said[0] == said[1] and not any("unpacked-" in note for note in said[0])


# ---- pages and levels that are no frames ---------------------------------------------------------


@pytest.mark.parametrize("shrunk", [1, 2])
@pytest.mark.parametrize("form", ["stack", "folder"])
def test_thumbnails_are_no_frames(tmp_path, form, shrunk):
    for t, frame in enumerate(DATA[0, :, 0]):
        path = tmp_path / ("a.tif" if form == "stack" else f"t{t}.tif")
        with tifffile.TiffWriter(path, append=True) as file:
            if not t or form == "folder":
                file.write(frame[::shrunk, ::shrunk], subfiletype=1, **PLAIN)
            file.write(frame, **PLAIN)
    with open_movie(tmp_path / "a.tif" if form == "stack" else tmp_path) as movie:
        assert same(movie, DATA[0, :, :1])
        assert form == "folder" or any("smaller copies" in note for note in movie.notes)


@pytest.mark.parametrize("form", ["stack", "folder"])
@pytest.mark.parametrize("kind", ["contig", "separate"])
def test_alpha_that_says_nothing_is_left_out(tmp_path, form, kind):
    path = tmp_path / "a.tif" if form == "stack" else tmp_path
    how = {"planarconfig": kind, "extrasamples": ["unassalpha"], **PLAIN}
    for differs in (False, True):
        for t, frame in enumerate(DATA[0, :, 0]):
            samples = np.stack([frame, np.full_like(frame, 255)], -1 if kind == "contig" else 0)
            samples.flat[-1] -= differs
            tifffile.imwrite(
                path if form == "stack" else path / f"t{t}.tif", samples, append=path.suffix != "" and t > 0, **how
            )
        if differs:
            with (
                pytest.raises(DataError, match=r"differs from pixel to pixel \(alpha 254 to 255\)"),
                open_movie(path) as movie,
            ):
                movie.read_frame(0, 0, 0)
        else:
            with open_movie(path) as movie:
                assert same(movie, DATA[0, :, :1]) and any("alpha channel" in note for note in movie.notes_of([0]))


def test_the_finest_level_is_read_wherever_it_stands(tmp_path):
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w")
    levels = {"0": (DATA[0, :, :, ::2, ::2], 1.0), "1": (DATA[0], 0.5)}
    for name, (data, _) in levels.items():
        group.create_array(name, data=np.ascontiguousarray(data))
    datasets = [
        {"path": n, "coordinateTransformations": [{"type": "scale", "scale": [1, 1, s, s]}]} for n, (_, s) in levels.items()
    ]
    axes = [{"name": a, "unit": "micrometer"} if a in "yx" else {"name": a} for a in "tcyx"]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    with open_movie(tmp_path / "a.zarr") as movie:
        assert same(movie) and movie.pixel_size_um == 0.5
        assert any("level 1 is read" in note for note in movie.notes_of([0]))


# ---- times in names ------------------------------------------------------------------------------

TIMES = {
    "VID_B1_1_2020y02m{d}d_{h:02d}h30m.tif": True,  # over the end of a leap February
    "a_2020-02-{d} {h:02d}.30.00_c{c}.tif": True,
    "a_{day:02d}d{h:02d}h30m_ch{c}.tif": True,
    "a_{h:02d}h30m_ch{c}.tif": False,  # hours of what?
    "a_2020-{d}-02_{h:02d}30_ch{c}.tif": False,
    "a_2020y13m{d}d_{h:02d}h30m_ch{c}.tif": False,
}


@pytest.mark.parametrize("form", TIMES)
def test_times_in_names_that_can_be_read_in_one_way(tmp_path, form):
    channels = 3 if "{c}" in form else 1
    for t, c in np.ndindex(4, channels):
        name = form.format(d=26 + t // 2, day=t // 2, h=3 * t % 6 + 2, c=c)
        tifffile.imwrite(tmp_path / name, DATA[0, t, c], photometric="minisblack", metadata=None)
    with open_movie(tmp_path, frame_interval=7) as movie:
        found = movie.fovs[0]
        if not TIMES[form]:
            assert "names" not in found.time_source
            return
        assert same(movie, DATA[0, :, :channels])
        start = 150 if "{day" in form else 0
        assert found.times == pytest.approx([start, start + 180, start + 1440, start + 1620])
        assert any("times are those in the names" in note for note in movie.notes_of([0]))


def test_a_frame_that_lacks_gives_no_clock(tmp_path):
    for t in (0, 1, 3):
        tifffile.imwrite(tmp_path / f"t{t}_00d0{t}h30m.tif", DATA[0, t, 0], photometric="minisblack", metadata=None)
    with open_movie(tmp_path, frame_interval=7) as movie:
        assert movie.fovs[0].n_frames == 4 and movie.fovs[0].times == pytest.approx([0, 7, 14, 21])


def test_channels_of_a_frame_with_times_of_their_own_give_no_clock(tmp_path):
    for t, c in np.ndindex(4, 2):
        tifffile.imwrite(tmp_path / f"t{t}_c{c}_00d0{t}h3{c}m.tif", DATA[0, t, c], photometric="minisblack", metadata=None)
    with open_movie(tmp_path, frame_interval=7) as movie:
        assert same(movie, DATA[0, :, :2]) and movie.fovs[0].times == pytest.approx([0, 7, 14, 21])
