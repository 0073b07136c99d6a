"""TIFF: every kind reads back exactly; what is cut, gone or twice is refused or listed."""

from __future__ import annotations

import contextlib
import struct
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from voxelmill.core.errors import DataError, ParameterError, VoxelmillError
from voxelmill.ingest.volumes.formats import open_source

EM = np.random.default_rng(1).integers(0, 256, (9, 32, 40), np.uint8)
EM[:, 8:24] //= 32  # so that it packs
WIDE = EM.astype(np.uint16) * 257
GREY = {"photometric": "minisblack"}
KINDS = {
    "plain": GREY,
    "no metadata": GREY | {"metadata": None},
    "lzw": GREY | {"compression": "lzw"},
    "deflate": GREY | {"compression": "zlib", "predictor": True},
    "zstd": GREY | {"compression": "zstd"},
    "tiled": GREY | {"tile": (16, 16)},
    "tiled deflate": GREY | {"tile": (16, 16), "compression": "zlib"},
    "strips": GREY | {"rowsperstrip": 5},
    "big-endian": GREY | {"byteorder": ">"},
    "bigtiff": GREY | {"bigtiff": True},
    "imagej": {"imagej": True, "metadata": {"axes": "ZYX"}},
    "imagej without axes": {"imagej": True},
    "imagej frames": {"imagej": True, "metadata": {"axes": "TYX"}},
    "ome": {"ome": True, **GREY, "metadata": {"axes": "ZYX"}},
}


def same(path, expected, size=None, **more):
    source = open_source(str(path), **more)
    assert source.shape == expected.shape and source.dtype == expected.dtype
    part = (slice(2, 7), slice(3, 19), slice(5, 28))
    np.testing.assert_array_equal(source.read(part), expected[part])
    np.testing.assert_array_equal(source.read((slice(None),) * 3), expected)
    assert source.voxel_size == (None if size is None else pytest.approx(size))
    source.close()


@pytest.mark.parametrize("kind", KINDS)
def test_stacks(tmp_path, kind):
    for data in (EM, WIDE):
        tifffile.imwrite(tmp_path / "v.tif", data, **KINDS[kind])
        same(tmp_path / "v.tif", data)


@pytest.mark.parametrize(
    "written",
    [
        {"tile": (16, 16), "compression": "zlib", "predictor": True},
        {"rowsperstrip": 5, "compression": "lzw"},
        {"rowsperstrip": 7, "byteorder": ">"},
        {"rowsperstrip": 32, "compression": "zstd", "byteorder": ">"},
        {"tile": (16, 32)},
        {},
        {"rowsperstrip": 8, "compression": "jpeg"},
    ],
)
def test_parts_of_a_page(tmp_path, written):
    """Whatever strips and tiles it crosses, a part has the values that the whole page has there."""
    rng = np.random.default_rng(0)
    for data in (EM[:1], WIDE[:1])[: 1 if written.get("compression") == "jpeg" else 2]:
        tifffile.imwrite(tmp_path / "v.tif", data, **GREY, **written)
        source = open_source(str(tmp_path / "v.tif"))
        whole = source.read((slice(None),) * 3)
        for _ in range(40):
            y, x = (tuple(sorted(rng.choice(n + 1, 2, replace=False))) for n in data.shape[1:])
            np.testing.assert_array_equal(source.read((slice(0, 1), slice(*y), slice(*x))), whole[:, slice(*y), slice(*x)])
        source.close()


def test_a_part_decodes_no_more_strips_than_it_crosses(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "v.tif", EM[:1], rowsperstrip=4, compression="zlib", **GREY)
    source, read, real = open_source(str(tmp_path / "v.tif")), [], tifffile.FileHandle.read
    monkeypatch.setattr(tifffile.FileHandle, "read", lambda self, *a: read.append(a) or real(self, *a))
    np.testing.assert_array_equal(source.read((slice(0, 1), slice(7, 13), slice(2, 9))), EM[:1, 7:13, 2:9])
    assert len(read) == 3


def test_pages_written_one_by_one(tmp_path):
    with tifffile.TiffWriter(tmp_path / "v.tif") as f:
        for page in WIDE:
            f.write(page)
    same(tmp_path / "v.tif", WIDE)


def test_voxel_size_of_ome_and_imagej(tmp_path):
    ome = {
        "axes": "ZYX",
        "PhysicalSizeX": 5,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 0.004,
        "PhysicalSizeZ": 0.03,
        "PhysicalSizeZUnit": "µm",
    }
    tifffile.imwrite(tmp_path / "v.ome.tif", EM, metadata=ome, **GREY)
    same(tmp_path / "v.ome.tif", EM, (30, 4, 5))
    for unit in ("um", "micron", "\\u00B5m"):
        tifffile.imwrite(
            tmp_path / "v.tif",
            EM,
            imagej=True,
            resolution=(1 / 0.005, 1 / 0.004),
            metadata={"axes": "ZYX", "spacing": 0.03, "unit": unit},
        )
        same(tmp_path / "v.tif", EM, (30, 4, 5))
    tifffile.imwrite(tmp_path / "v.tif", EM, imagej=True, metadata={"axes": "ZYX", "spacing": 2, "unit": "pixel"})
    same(tmp_path / "v.tif", EM)


def test_channels_are_not_sections(tmp_path):
    both = np.stack([EM, 255 - EM])
    tifffile.imwrite(tmp_path / "v.ome.tif", both, metadata={"axes": "CZYX"}, **GREY)
    tifffile.imwrite(
        tmp_path / "v.tif", np.ascontiguousarray(both.transpose(1, 0, 2, 3)), imagej=True, metadata={"axes": "ZCYX"}
    )
    for name in ("v.ome.tif", "v.tif"):
        same(tmp_path / name, EM)
        same(tmp_path / name, 255 - EM, channel=1)
        with pytest.raises(ParameterError, match="has 2 channels"):
            open_source(str(tmp_path / name), channel=2)
    tifffile.imwrite(tmp_path / "v.tif", both, imagej=True, metadata={"axes": "TZYX"})
    with pytest.raises(DataError, match="axes TZYX"):
        open_source(str(tmp_path / "v.tif"))


def test_imagej_stack_of_one_page(tmp_path):
    """As ImageJ writes what is over 4 GB: one page, the other sections behind it without headers."""
    head = b"ImageJ=1.53t\nimages=9\nslices=9\n"
    tags = [
        (256, 3, 1, 40),
        (257, 3, 1, 32),
        (258, 3, 1, 16),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (270, 2, len(head), 200),
        (273, 4, 1, 300),
        (277, 3, 1, 1),
        (278, 3, 1, 32),
        (279, 4, 1, 2560),
    ]
    body = b"MM\0*" + struct.pack(">IH", 8, len(tags))
    for code, kind, count, value in tags:
        body += struct.pack(">HHI", code, kind, count)
        body += struct.pack(">HH", value, 0) if kind == 3 else struct.pack(">I", value)
    body = (body + bytes(4)).ljust(200, b"\0") + head
    content = body.ljust(300, b"\0") + WIDE.astype(">u2").tobytes()
    (tmp_path / "v.tif").write_bytes(content)
    same(tmp_path / "v.tif", WIDE)
    (tmp_path / "v.tif").write_bytes(content[:-1])
    with pytest.raises(DataError, match="metadata says 9 pages, found 1"):
        open_source(str(tmp_path / "v.tif"))


@pytest.mark.parametrize("kind", KINDS)
def test_cut_at_twenty_points(tmp_path, ingest, kind):
    """Never a value where there is none: each cut is an error, and nothing is left behind."""
    tifffile.imwrite(tmp_path / "v.tif", WIDE, **KINDS[kind])
    content = (tmp_path / "v.tif").read_bytes()
    for part in np.linspace(0, len(content), 22).astype(int)[1:-1]:
        (tmp_path / "v.tif").write_bytes(content[:part])
        ingest("--input", "v.tif").refused(65, "v.tif", "copy it again")
    for part in range(len(content) - 24, len(content)):
        (tmp_path / "v.tif").write_bytes(content[:part])
        with contextlib.suppress(DataError):  # the last bytes may be padding: then all voxels are there
            same(tmp_path / "v.tif", WIDE)


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["plain", "deflate", "tiled", "ome"]), st.data())
def test_damaged_headers_are_refused_or_harmless(tmp_path, kind, data):
    """Any bytes of header overwritten: an error of ours, or an array of the promised shape."""
    path = tmp_path / f"{kind}.tif"
    if not path.exists():
        tifffile.imwrite(path, EM, **KINDS[kind])
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, min(len(content), 600) - 1))
        content[at] = data.draw(st.integers(0, 255))
    (tmp_path / "damaged.tif").write_bytes(content)
    try:
        source = open_source(str(tmp_path / "damaged.tif"))
        first = source.read((slice(0, 1), slice(None), slice(None)))
        assert first.shape == (1, *source.shape[1:])
    except VoxelmillError as error:
        assert "damaged.tif" in str(error)


def header(width: int, height: int, following: int = 0) -> bytes:
    """A TIFF of one page that claims to be so large, and 16 bytes of pixels."""
    tags = [
        (256, 4, width),
        (257, 4, height),
        (258, 3, 8),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 400),
        (277, 3, 1),
        (278, 4, height),
        (279, 4, 16),
    ]
    body = b"II*\0" + struct.pack("<IH", 8, len(tags))
    body += b"".join(struct.pack("<HHII", code, kind, 1, value) for code, kind, value in tags)
    return (body + struct.pack("<I", following)).ljust(400, b"\0") + bytes(16)


def test_a_header_of_2_31_squared_is_refused_before_allocation(tmp_path):
    (tmp_path / "v.tif").write_bytes(header(2**31, 2**31))
    code = f"""
import re, resource
from voxelmill.core.errors import DataError
from voxelmill.ingest.volumes.formats import open_source
import tifffile
resource.setrlimit(resource.RLIMIT_DATA, (512 * 2**20,) * 2)
try:
    open_source({str(tmp_path / "v.tif")!r})
except DataError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "416 bytes claim 4611686018427387904 bytes of pixels" in done.stdout


def test_cut_pixels_are_seen_in_the_header(tmp_path):
    (tmp_path / "v.tif").write_bytes(header(4, 4)[:410])
    with pytest.raises(DataError, match=r"v\.tif: cut off: pixels reach to byte 416 of 410; copy it again"):
        open_source(str(tmp_path / "v.tif"))


def test_a_strip_that_is_shorter_than_its_rows_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "v.tif", EM, rowsperstrip=8, **GREY)
    with tifffile.TiffFile(tmp_path / "v.tif", mode="r+b") as file:
        file.pages[2].tags["StripByteCounts"].overwrite((320, 320, 300, 320))
    with pytest.raises(DataError, match=r"v\.tif: cut off: a page lacks some of its 1280 bytes; copy it again"):
        open_source(str(tmp_path / "v.tif"))


def test_a_palette_of_colours_is_no_grey_scale(tmp_path):
    ramp = np.arange(256, dtype=np.uint16) * 257
    for colours in (np.zeros((3, 256), np.uint16), np.stack([ramp, ramp, ramp[::-1]])):
        tifffile.imwrite(tmp_path / "v.tif", EM, photometric="palette", colormap=colours)
        with pytest.raises(DataError, match="a palette of colours"):
            open_source(str(tmp_path / "v.tif"))
        same(tmp_path / "v.tif", EM, labels=True)  # ids are drawn in colours


@pytest.mark.parametrize("kind", ["reversed", "8 bits"])
def test_a_palette_of_greys_is_looked_up(tmp_path, kind):
    ramp = np.arange(256, dtype=np.uint16)
    stored = ramp[::-1] * 257 if kind == "reversed" else ramp
    tifffile.imwrite(tmp_path / "v.tif", EM, photometric="palette", colormap=np.stack([stored] * 3))
    same(tmp_path / "v.tif", 255 - EM if kind == "reversed" else EM)


@pytest.mark.parametrize("data", [EM, WIDE])
def test_white_is_zero_reads_as_it_looks(tmp_path, data):
    tifffile.imwrite(tmp_path / "v.tif", data, photometric="miniswhite", tile=(16, 16))
    most = np.iinfo(data.dtype).max
    same(tmp_path / "v.tif", most - data)
    same(tmp_path / "v.tif", data, labels=True)
    folder = tmp_path / "s"
    folder.mkdir()
    for n, section in enumerate(data):
        tifffile.imwrite(folder / f"{n}.tif", section, photometric="miniswhite" if n % 2 else "minisblack")
    turned = np.stack([most - s if n % 2 else s for n, s in enumerate(data)])
    same(folder, turned)
    tifffile.imwrite(tmp_path / "f.tif", data.astype(np.float32), photometric="miniswhite")
    with pytest.raises(DataError, match="WhiteIsZero with float32"):
        open_source(str(tmp_path / "f.tif"))


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("tiled", [False, True])
def test_packed_samples(tmp_path, bits, tiled):
    small = WIDE[:, :, :39] >> (16 - bits)  # an odd number of columns: lines end within a byte
    tifffile.imwrite(
        tmp_path / "v.tif", small, bitspersample=bits, photometric="minisblack", **({"tile": (16, 16)} if tiled else {})
    )
    same(tmp_path / "v.tif", small)
    content = (tmp_path / "v.tif").read_bytes()
    (tmp_path / "v.tif").write_bytes(content[: len(content) - 100])
    with pytest.raises(DataError, match="copy it again"):
        open_source(str(tmp_path / "v.tif")).read((slice(None),) * 3)


def test_pages_in_a_circle_and_a_bomb(tmp_path):
    (tmp_path / "v.tif").write_bytes(header(4, 4, following=8))
    with pytest.raises(DataError, match=r"v\.tif: damaged TIFF"):
        open_source(str(tmp_path / "v.tif"))
    tifffile.imwrite(tmp_path / "v.tif", np.zeros((1, 8192, 8192), np.uint8), compression="zstd", rowsperstrip=8192, **GREY)
    assert (tmp_path / "v.tif").stat().st_size < 6000
    with pytest.raises(DataError, match="claim 67108864 bytes"):
        open_source(str(tmp_path / "v.tif"))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.zeros((3, 8, 8, 3), np.uint8), "colour"),
        (np.zeros((9, 8, 8), np.float32), "float32 values; expected uint8 or uint16"),
        (np.zeros((9, 8, 8), np.int8), "int8 values; expected uint8 or uint16"),
        (np.zeros((9, 8, 8), np.complex64), "complex64 values; expected uint8 or uint16"),
    ],
)
def test_types_that_are_no_grey_values(ingest, tmp_path, data, words):
    tifffile.imwrite(tmp_path / "v.tif", data, photometric="rgb" if data.ndim == 4 else "minisblack")
    ingest("--input", "v.tif").refused(65, "v.tif", words)


def test_pages_of_unlike_shape_or_type(tmp_path):
    for other in (EM[0, 1:], WIDE[0]):
        with tifffile.TiffWriter(tmp_path / "v.tif") as f:
            for page in (EM[0], EM[1], other):
                f.write(page)
        with pytest.raises(DataError, match="pages of unlike shape or type"):
            open_source(str(tmp_path / "v.tif"))
