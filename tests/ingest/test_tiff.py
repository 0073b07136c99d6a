"""TIFF: every kind reads back exactly; what is cut, gone or twice is refused or listed."""

from __future__ import annotations

import contextlib
import re
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
from voxelmill.ingest.volumes.sections import numbered

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


def sections(folder, names, data=EM):
    folder.mkdir()
    for name, page in zip(names, data):
        tifffile.imwrite(folder / name, page)
    return folder


def test_folder_in_natural_order(tmp_path):
    same(sections(tmp_path / "s", [f"em_{n}.tif" for n in range(4, 13)]), EM)
    same(sections(tmp_path / "steps", [f"z{n}.TIFF" for n in range(0, 90, 10)]), EM)
    same(sections(tmp_path / "two", [f"2024-{n}_{n * n}_s3.tif" for n in range(9)]), EM)
    (tmp_path / "s/._em_4.tif").write_bytes(b"a Mac leaves these")
    same(tmp_path / "s", EM)


def test_missing_sections_are_listed_and_stay_empty(ingest, tmp_path, capfd):
    sections(tmp_path / "s", [f"em_{n:03d}.tif" for n in (0, 1, 2, 5, 6, 7, 8, 10, 11)])
    done = ingest("--input", "s")
    assert done.volume.shape == (12, 32, 40)
    assert [s["section"] for s in done.facts["sections"] if s["status"] == "missing"] == [3, 4, 9]
    read = done.volume.read()
    assert not read[[3, 4, 9]].any()
    np.testing.assert_array_equal(read[[0, 1, 2, 5, 6, 7, 8, 10, 11]], EM)
    assert "sections missing or blank: [3, 4, 9]" in done.out
    assert done.facts["value_range"] == [float(EM.min()), float(EM.max())]
    for name in ("raw.ome.zarr", "raw.ome.zarr.manifest.json", "raw.json", "blocks.csv", "slabs.csv"):
        path = tmp_path / name
        path.rename(tmp_path / f"old.{name}")
    again = ingest("--input", "s", "--strict", "--voxel_size=1,1,1")
    again.refused(65, "missing or blank: [3, 4, 9]", "--strict false")


def test_missing_sections_take_no_part_in_rescaling(ingest, tmp_path):
    signed = np.full((3, 4, 4), -100, np.int16)
    signed[1], signed[2, 0] = -50, -1
    sections(tmp_path / "s", ["s1.tif", "s2.tif", "s4.tif"], signed)
    done = ingest("--input", "s", "--rescale")
    assert done.facts["rescaled_from"] == [-100.0, -1.0]
    assert done.volume.read()[:, 0, 0].tolist() == [0, 129, 0, 255]


def test_a_section_twice(tmp_path):
    folder = sections(tmp_path / "same", ["s1.tif", "s2.tif", "s02.tif", "s3.tif"], EM[[0, 1, 1, 2]])
    same(folder, EM[:3])
    (remark,) = open_source(str(folder)).remarks
    assert re.search(r"s0?2\.tif: the same as s0?2\.tif; left out", remark)
    folder = sections(tmp_path / "other", ["em_1_a.tif", "em_2_a.tif", "em_02_a.tif"])
    with pytest.raises(DataError, match=r"2_a\.tif: the same section twice, with unlike content; keep one"):
        open_source(str(folder))


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        (WIDE[0], "uint16; expected (32, 40) uint8"),
        (EM[0, 1:], "(31, 40) uint8; expected (32, 40) uint8"),
        (np.zeros((32, 40, 3), np.uint8), "colour"),
        (EM[:2], "2 pages; expected one section per file"),
    ],
)
def test_a_section_that_is_unlike_the_others(ingest, tmp_path, odd, words):
    sections(tmp_path / "s", [f"{n}.tif" for n in range(9)])
    tifffile.imwrite(tmp_path / "s/4.tif", odd, photometric="rgb" if odd.shape[-1] == 3 else "minisblack")
    ingest("--input", "s").refused(65, "4.tif", words)


def test_an_empty_and_a_cut_section(ingest, tmp_path):
    sections(tmp_path / "s", [f"{n}.tif" for n in range(9)])
    content = (tmp_path / "s/4.tif").read_bytes()
    for part in (0, 5, 200, len(content) - 1):
        (tmp_path / "s/4.tif").write_bytes(content[:part])
        ingest("--input", "s").refused(65, "4.tif", "copy it again")


def test_numbering(tmp_path):
    def order(*names, remarks=0):
        files, told = numbered([tmp_path / n for n in names])
        assert len(told) == remarks and all("do not number the sections" in t for t in told)
        return [p.name if p else None for p in files]

    assert order("a.tif") == ["a.tif"]
    assert order("s3.tif") == ["s3.tif"]
    assert order("s1_t9.tif", "s2_t9.tif", "s4_t9.tif") == ["s1_t9.tif", "s2_t9.tif", None, "s4_t9.tif"]
    assert order("a.tif", "b.tif", remarks=1) == ["a.tif", "b.tif"]
    assert order("s1.tif", "s2.tif", "s500.tif", remarks=1) == ["s1.tif", "s2.tif", "s500.tif"]
    far = order(*(f"s{n:03d}.tif" for n in (10, 20, 30, 400, 410)))  # by tens, with a gap wider than the rest
    assert len(far) == 41 and [n for n, name in enumerate(far) if name] == [0, 1, 2, 39, 40]
    clock = ["a1_101112.tif", "a2_101540.tif", "a3_112233.tif"]  # a time in each name is no number of a section
    assert order(*clock) == clock
    assert order("x_101112.tif", "x_101540.tif", "x_112233.tif", remarks=1) == [
        "x_101112.tif",
        "x_101540.tif",
        "x_112233.tif",
    ]


@pytest.mark.parametrize("unit", ["micron", "microns", "um", "\\u00B5m", "µm"])
def test_units_of_imagej_and_its_origin(tmp_path, unit):
    """ImageJ counts its origin in voxels."""
    meta = {"spacing": 0.04, "unit": unit.replace("µ", "?"), "axes": "ZYX", "xorigin": 10, "yorigin": -20, "zorigin": 3}
    tifffile.imwrite(tmp_path / "v.tif", EM, imagej=True, resolution=(1 / 0.008, 1 / 0.008), metadata=meta)
    content = (tmp_path / "v.tif").read_bytes()
    (tmp_path / "v.tif").write_bytes(content.replace(b"unit=?m", b"unit=\xb5m"))
    same(tmp_path / "v.tif", EM, (40, 8, 8))
    assert open_source(str(tmp_path / "v.tif")).origin == pytest.approx((-120, 160, -80))


@pytest.mark.parametrize("unit", ["µm", "&#181;m", "&#xB5;m", "nm", "pixel", "Å"])
def test_units_of_ome(tmp_path, unit):
    sizes = "".join(f'PhysicalSize{a}="{v}" PhysicalSize{a}Unit="{unit}" ' for a, v in (("Z", 40), ("Y", 8), ("X", 8)))
    depth, height, width = EM.shape
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        f'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="{width}" SizeY="{height}" '
        f'SizeZ="{depth}" SizeC="1" SizeT="1" {sizes}>'
        '<Channel ID="Channel:0:0" SamplesPerPixel="1"/><TiffData/></Pixels></Image></OME>'
    )
    tifffile.imwrite(tmp_path / "v.ome.tif", EM, description=xml.encode(), metadata=None)
    per = {"nm": 1, "Å": 0.1, "pixel": None}.get(unit, 1000)
    same(tmp_path / "v.ome.tif", EM, None if per is None else (40 * per, 8 * per, 8 * per))
    unknown = open_source(str(tmp_path / "v.ome.tif")).placed.unknown
    assert unknown == ("voxel size 40, 8, 8 in 'pixel' is no length" if per is None else "")
