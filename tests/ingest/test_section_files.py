"""Folders of section files: order, missing and odd ones; units of ImageJ and OME."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tifffile
from voxelmill.core.errors import DataError
from voxelmill.ingest.volumes.formats import open_source
from voxelmill.ingest.volumes.sections import numbered

from .test_tiff import EM, WIDE, same


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
