"""Volumes as other programs write them: what they say is obeyed, or doubted aloud; nothing is read as something else."""

from __future__ import annotations

import json
import struct

import h5py
import nrrd
import numpy as np
import pytest
import tifffile
import zarr
from voxelmill.core.errors import DataError, ParameterError
from voxelmill.core.ngff import multiscales
from voxelmill.ingest.volumes.formats import open_source

from .test_sources import ALL, EM
from .test_sources_said import write_n5

SIZE, ORIGIN = (30.0, 4.0, 5.0), (300.0, 40.0, 50.0)
UM = [v / 1000 for v in SIZE]


def opened(path, remark="", **more):
    """The source; its voxels are `EM`."""
    source = open_source(str(path), **more)
    np.testing.assert_array_equal(source.read(ALL), EM)
    assert len(source.remarks) == bool(remark) and all(remark in said for said in source.remarks), source.remarks
    return source


@pytest.mark.parametrize("unit", ["um", np.bytes_("um"), np.array(["um"], "S"), ["um"] * 3])
@pytest.mark.parametrize("name", ["unit", "units"])
def test_a_unit_is_obeyed_however_hdf5_holds_it(tmp_path, name, unit):
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file["em"] = EM
        file["em"].attrs.update({"resolution": UM, name: unit})
    assert opened(tmp_path / "v.h5").voxel_size == pytest.approx(SIZE)


@pytest.mark.parametrize("name", ["unit", "units"])
def test_a_unit_of_a_zarr_array_is_obeyed(tmp_path, name):
    zarr.create_array(store=str(tmp_path / "v.zarr"), data=EM, attributes={"resolution": UM, name: "um"})
    assert opened(tmp_path / "v.zarr").voxel_size == pytest.approx(SIZE)


def test_links_are_followed(tmp_path):
    with h5py.File(tmp_path / "far.h5", "w") as file:
        file["em"] = EM
        file["group/again"] = h5py.SoftLink("/em")
    with h5py.File(tmp_path / "near.h5", "w") as file:
        file["em"] = h5py.ExternalLink("far.h5", "/em")
        file["lost"] = h5py.ExternalLink("gone.h5", "/em")
    opened(tmp_path / "far.h5")
    opened(tmp_path / "far.h5", key="group/again")
    (tmp_path / "staged.h5").symlink_to(tmp_path / "near.h5")
    opened(tmp_path / "staged.h5", "its voxels lie in far.h5")
    opened(tmp_path / "staged.h5", "its voxels lie in far.h5", key="em")


@pytest.mark.parametrize("files", [["a.h5", "b.h5"], ["a.h5"]])
def test_a_virtual_dataset_has_its_files(tmp_path, files):
    """Else half of it would be the fill value, and nobody would know."""
    for name, part in zip(files, (EM[:4], EM[4:]), strict=False):
        with h5py.File(tmp_path / name, "w") as file:
            file["em"] = part
    where = h5py.VirtualLayout(EM.shape, EM.dtype)
    where[:4] = h5py.VirtualSource("a.h5", "em", EM[:4].shape)
    where[4:] = h5py.VirtualSource("b.h5", "em", EM[4:].shape)
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_virtual_dataset("em", where)
    if len(files) == 2:
        opened(tmp_path / "v.h5", "its voxels lie in a.h5, b.h5")
    else:
        with pytest.raises(DataError, match=r"its voxels lie in b.h5, not there \(1 of 2\)"):
            open_source(str(tmp_path / "v.h5"))


TRANSFORM = {"axes": list("zyx"), "units": ["nm"] * 3, "scale": SIZE, "translate": ORIGIN}
PYRAMIDS = {  # attributes of the group, of its finest level; whether they state the origin
    "COSEM": ({"multiscales": [{"datasets": [{"path": "s0", "transform": TRANSFORM}]}]}, {"transform": TRANSFORM}, True),
    "Paintera": ({"multiScale": True, "resolution": SIZE[::-1], "offset": ORIGIN[::-1]}, {}, True),
    "n5-viewer": ({"pixelResolution": {"dimensions": UM[::-1], "unit": "um"}, "scales": [[1, 1, 1], [2, 2, 2]]}, {}, False),
}


@pytest.mark.parametrize("name", PYRAMIDS)
def test_pyramids_in_n5(tmp_path, name):
    group, level, origin = PYRAMIDS[name]
    for n, told in (("s0", level), ("s1", {"downsamplingFactors": [2, 2, 2]})):
        write_n5(tmp_path / "v.n5/em" / n, EM, "")
        file = tmp_path / "v.n5/em" / n / "attributes.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **told}))
    (tmp_path / "v.n5/em/attributes.json").write_text(json.dumps(group))
    for more in ({}, {"key": "em"}, {"key": "em/s0"}):
        source = opened(tmp_path / "v.n5", **more)
        assert source.voxel_size == pytest.approx(SIZE)
        assert source.origin == (pytest.approx(ORIGIN) if origin else None)
    assert opened(tmp_path / "v.n5", key="em/s1").voxel_size is None


def test_the_finest_scale_of_precomputed_is_read_wherever_it_stands(tmp_path):
    import tensorstore as ts

    for factor in (2, 1):
        part = EM[::factor, ::factor, ::factor]
        size, resolution = list(part.shape[::-1]), [s * factor for s in SIZE[::-1]]
        spec = {
            "driver": "neuroglancer_precomputed",
            "kvstore": {"driver": "file", "path": f"{tmp_path}/v/"},
            "multiscale_metadata": {"data_type": "uint8", "num_channels": 1, "type": "image"},
            "scale_metadata": {"size": size, "resolution": resolution, "encoding": "raw", "chunk_size": [16, 8, 4]},
        }
        ts.open(spec, create=True, open=True).result()[..., 0].write(part.T).result()
    assert [s["size"][2] for s in json.loads((tmp_path / "v/info").read_text())["scales"]] == [5, 9]
    assert opened(tmp_path / "v").voxel_size == pytest.approx(SIZE)


def test_ome_xml_with_single_quotes(tmp_path):
    place = tmp_path / "v.ome.tif"
    size = {f"PhysicalSize{a}": v for a, v in zip("ZYX", UM, strict=True)}
    tifffile.imwrite(place, EM, metadata={"axes": "ZYX", **size}, photometric="minisblack")
    text = tifffile.tiffcomment(place)
    tifffile.tiffcomment(place, text.replace('"', "'"))
    assert opened(place).voxel_size == pytest.approx(SIZE)


def ome_set(folder, home="v0.ome.tif", channels=2):
    """Sections of two channels, every second section in a file of its own: v0.ome.tif, v1.ome.tif; and their OME-XML."""
    files = [[] for _ in range(2)]
    data = ""
    for c in range(channels):
        for z in range(len(EM)):
            held = files[z % 2]
            data += (
                f'<TiffData FirstZ="{z}" FirstC="{c}" IFD="{len(held)}" PlaneCount="1">'
                f'<UUID FileName="v{z % 2}.ome.tif">urn:uuid:{z % 2}</UUID></TiffData>'
            )
            held.append(EM[z] if c else 255 - EM[z])
    size = " ".join(f'PhysicalSize{a}="{v}"' for a, v in zip("ZYX", UM, strict=True))
    start = '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{}">'
    image = (
        f'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="30" SizeY="20" SizeZ="9" '
        f'SizeC="{channels}" SizeT="1" {size}>{data}</Pixels></Image></OME>'
    )
    only = f'<BinaryOnly MetadataFile="{home}" UUID="urn:uuid:9"/></OME>'
    for n, held in enumerate(files):
        rest = image if home == f"v{n}.ome.tif" or home == "each" else only
        text = start.format(n) + rest
        tifffile.imwrite(folder / f"v{n}.ome.tif", held, photometric="minisblack", metadata=None, description=text)
    if home.endswith(".companion.ome"):
        (folder / home).write_text(start.format(9) + image)


@pytest.mark.parametrize("home", ["v0.ome.tif", "each", "v.companion.ome"])
@pytest.mark.parametrize("given", ["v0.ome.tif", "v1.ome.tif", "v.companion.ome", "link.tif"])
def test_a_volume_over_several_ome_tiffs(tmp_path, home, given):
    ome_set(tmp_path, home)
    if not (tmp_path / given).exists():
        if given != "link.tif":
            return
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere/link.tif").symlink_to(tmp_path / "v1.ome.tif")
        given = "elsewhere/link.tif"
    source = opened(tmp_path / given, "in 2 files, v0.ome.tif to v1.ome.tif", channel=1)
    assert source.voxel_size == pytest.approx(SIZE)
    part = (slice(3, 8), slice(2, 9), slice(5, 29))
    np.testing.assert_array_equal(source.read(part), EM[part])
    source.close()
    with pytest.raises(ParameterError, match="--channel 2"):
        open_source(str(tmp_path / given), channel=2)


@pytest.mark.parametrize("spoilt", ["gone", "other", "short", "home", "wide"])
def test_a_volume_over_several_ome_tiffs_is_whole_or_refused(tmp_path, spoilt):
    ome_set(tmp_path, "v1.ome.tif" if spoilt == "home" else "v0.ome.tif")
    words = {"gone": "lie in v1.ome.tif, not beside it", "other": "of another volume by the UUID"}
    second = tmp_path / "v1.ome.tif"
    if spoilt in ("gone", "home"):
        second.unlink()
    if spoilt == "other":
        tifffile.tiffcomment(second, tifffile.tiffcomment(second).replace("urn:uuid:1", "urn:uuid:7").encode())
    if spoilt == "short":
        tifffile.imwrite(second, EM[:3], photometric="minisblack", metadata=None, description="short")
    if spoilt == "wide":
        first = tmp_path / "v0.ome.tif"
        tifffile.tiffcomment(first, tifffile.tiffcomment(first).replace('SizeX="30"', 'SizeX="31"').encode())
        words["wide"] = r"a page of \(20, 30\); expected \(20, 31\)"
    words |= {"short": "v1.ome.tif: 3 pages, and page 3 is wanted", "home": "lie in v1.ome.tif, which is not beside it"}
    with pytest.raises(DataError, match=words[spoilt]):
        open_source(str(tmp_path / "v0.ome.tif"))


def test_an_orientation_is_doubted_aloud(tmp_path):
    turned = {"photometric": "minisblack", "metadata": None, "extratags": [(274, "H", 1, 4, True)]}
    tifffile.imwrite(tmp_path / "v.tif", EM, **turned)
    opened(tmp_path / "v.tif", "TIFF orientation 4")
    (tmp_path / "v").mkdir()
    for n, section in enumerate(EM):
        tifffile.imwrite(tmp_path / f"v/{n}.tif", section, **turned)
    opened(tmp_path / "v", "TIFF orientation 4")


def test_no_error_of_python_is_the_message():
    axes = [{"name": a, "type": "space", "unit": "nanometer"} for a in "zyx"]
    with pytest.raises(DataError, match="no 'coordinateTransformations'"):
        multiscales({"multiscales": [{"version": "0.4", "axes": axes, "datasets": [{"path": "0"}]}]})


def test_nrrd_without_units(tmp_path):
    nrrd.write(str(tmp_path / "v.nrrd"), EM, {"space directions": np.diag(SIZE[::-1]), "space dimension": 3}, index_order="C")
    assert opened(tmp_path / "v.nrrd").placed.unknown.endswith("without unit is no length")


def greys_and(kind: str, alpha: np.ndarray) -> dict:
    """How to write grey with alpha, sample by sample or plane by plane."""
    axis = -1 if kind == "contig" else 1
    return {"data": np.stack([EM, alpha], axis), "planarconfig": kind, "extrasamples": ["unassalpha"]}


@pytest.mark.parametrize("form", ["contig", "separate", "folder", "png"])
def test_an_alpha_channel_goes_where_it_says_nothing(tmp_path, form):
    import imagecodecs

    alpha = np.full_like(EM, 200)
    for n, said in enumerate(("alpha channel", "")):
        place = tmp_path / f"{form}{n}"
        alpha[3, 2, 1] += not said
        place.mkdir()
        for z in range(len(EM) if form in ("folder", "png") else 0):
            if form == "png":
                (place / f"{z}.png").write_bytes(imagecodecs.png_encode(np.stack([EM[z], alpha[z]], -1)))
            else:
                tifffile.imwrite(
                    place / f"{z}.tif",
                    np.stack([EM[z], alpha[z]], -1),
                    metadata=None,
                    photometric="minisblack",
                    planarconfig="contig",
                    extrasamples=["unassalpha"],
                )
        if form in ("contig", "separate"):
            place = place / "v.tif"
            tifffile.imwrite(place, **greys_and(form, alpha), photometric="minisblack", metadata=None)
        if said:
            opened(place, said)
        else:
            with pytest.raises(DataError, match="differs from pixel to pixel"):
                open_source(str(place)).read(ALL)


@pytest.mark.parametrize("order", ["first", "last", "each"])
@pytest.mark.parametrize("shrunk", [1, 2])
def test_thumbnails_and_masks_are_no_sections(tmp_path, order, shrunk):
    """By NewSubfileType, also where they have the size of a section."""
    plain = {"photometric": "minisblack", "metadata": None, "contiguous": False}
    (tmp_path / "v").mkdir()
    with tifffile.TiffWriter(tmp_path / "v.tif") as stack:
        for n, section in enumerate(EM):
            for subfile in {"first": (1, 0) if not n else (0,), "last": (0, 9, 4) if n == 8 else (0,), "each": (0, 1)}[order]:
                page = section[::shrunk, ::shrunk] if subfile else section
                page = page > 9 if subfile == 4 else page
                stack.write(page, **plain, subfiletype=subfile)
                with tifffile.TiffWriter(tmp_path / f"v/{n}.tif", append=True) as file:
                    file.write(page, **plain, subfiletype=subfile)
    for place in ("v.tif", "v"):
        assert opened(tmp_path / place, "smaller copies or masks").shape == EM.shape


def test_pages_that_are_all_called_reduced_are_all_there_is(tmp_path):
    tifffile.imwrite(tmp_path / "v.tif", EM, photometric="minisblack", metadata=None, subfiletype=1)
    opened(tmp_path / "v.tif")


def test_each_axis_of_imagej_has_its_unit(tmp_path):
    meta = {"axes": "ZYX", "spacing": UM[0], "unit": "nm", "yunit": "um", "zunit": "um"}
    tifffile.imwrite(tmp_path / "v.tif", EM, imagej=True, resolution=(1 / SIZE[2], 1 / UM[1]), metadata=meta)
    assert opened(tmp_path / "v.tif").voxel_size == pytest.approx(SIZE)


def test_pages_that_are_stored_in_unlike_ways_are_one_stack(tmp_path):
    with tifffile.TiffWriter(tmp_path / "v.tif") as file:
        for n, section in enumerate(EM):
            how = {"compression": [None, "zlib", "lzw"][n % 3], "tile": (16, 16) if n % 2 else None}
            white = n % 4 == 0
            kind = "miniswhite" if white else "minisblack"
            file.write(255 - section if white else section, photometric=kind, metadata=None, contiguous=False, **how)
    opened(tmp_path / "v.tif")


def test_white_is_zero_of_one_bit(tmp_path):
    tifffile.imwrite(tmp_path / "v.tif", EM > 100, photometric="miniswhite", metadata=None)
    np.testing.assert_array_equal(open_source(str(tmp_path / "v.tif")).read(ALL), EM <= 100)


@pytest.mark.parametrize("bits", [1, 8, 16])
def test_png_sections(tmp_path, bits):
    from PIL import Image

    data = {1: EM > 100, 8: EM, 16: EM.astype(np.uint16) * 257}[bits]
    for n, section in enumerate(data):
        Image.fromarray(section).save(tmp_path / f"s{n + 8}.png")
    source = open_source(str(tmp_path))
    np.testing.assert_array_equal(source.read(ALL), data * 255 if bits == 1 else data)
    np.testing.assert_array_equal(source.read((slice(3, 4), slice(2, 9), slice(1, 30)))[0], source.read(ALL)[3, 2:9, 1:30])
    (tmp_path / "s9.png").write_bytes((tmp_path / "s9.png").read_bytes()[:-30])
    with pytest.raises(DataError, match=r"s9.png: not a whole PNG"):
        source.read(ALL)


def test_png_of_colours_is_refused(tmp_path):
    import imagecodecs

    (tmp_path / "s0.png").write_bytes(imagecodecs.png_encode(np.stack([EM[0]] * 3, -1)))
    with pytest.raises(DataError, match=r"s0.png: colours; expected a grey plane"):
        open_source(str(tmp_path))
    head = struct.pack(">I4s2I5B", 13, b"IHDR", 60_000, 60_000, 8, 0, 0, 0, 0)
    (tmp_path / "s0.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head + bytes(9))
    with pytest.raises(DataError, match=r"s0.png: claims to be 60000 x 60000; the header is damaged"):
        open_source(str(tmp_path))


def nrrd_header(extra: str) -> bytes:
    return f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 30 20 9\n{extra}\n".encode()


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
def test_nrrd_with_a_header_of_its_own_and_skips(tmp_path, encoding):
    import bz2
    import gzip

    packed = {"raw": bytes, "gzip": gzip.compress, "bzip2": bz2.compress}[encoding](b"12345" + EM.tobytes())
    about = f"encoding: {encoding}\nline skip: 2\nbyte skip: 5\n"
    (tmp_path / "v.nrrd").write_bytes(nrrd_header(about) + b"one\ntwo\n" + packed)
    opened(tmp_path / "v.nrrd").close()
    (tmp_path / "v.dat").write_bytes(b"one\ntwo\n" + packed)
    (tmp_path / "v.nhdr").write_bytes(nrrd_header(about + "data file: v.dat\n"))
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/v.nhdr").symlink_to(tmp_path / "v.nhdr")
    opened(tmp_path / "linked/v.nhdr", "its voxels lie in v.dat").close()
    (tmp_path / "v.dat").unlink()
    with pytest.raises(DataError, match=r"v.dat, which is not there"):
        open_source(str(tmp_path / "v.nhdr"))


@pytest.mark.parametrize(("kind", "dtype"), [("unsigned long long int", "u8"), ("signed short", "i2"), ("longlong", "i8")])
def test_nrrd_names_of_types(tmp_path, kind, dtype):
    head = nrrd_header("encoding: raw\nendian: little\n").replace(b"uchar", kind.encode())
    (tmp_path / "v.nrrd").write_bytes(head + EM.astype(dtype).tobytes())
    assert opened(tmp_path / "v.nrrd").dtype == dtype


@pytest.mark.parametrize("said", ["endian: LITTLE\n", "endian: Big\n", "endian: middle\n", ""])
def test_nrrd_says_its_byte_order_or_is_refused(tmp_path, said):
    head = nrrd_header(f"encoding: raw\n{said}").replace(b"uchar", b"ushort")
    (tmp_path / "v.nrrd").write_bytes(head + EM.astype(">u2" if "Big" in said else "<u2").tobytes())
    if "middle" in said or not said:
        with pytest.raises(DataError, match=r"says endian: (middle|nothing); expected little or big"):
            open_source(str(tmp_path / "v.nrrd"))
        return
    opened(tmp_path / "v.nrrd")


def test_nrrd_axes_that_are_none_of_space(tmp_path):
    for kinds, what in (("3-color domain domain", "3-color"), ("space space time", "time")):
        (tmp_path / "v.nrrd").write_bytes(nrrd_header(f"encoding: raw\nkinds: {kinds}\n") + EM.tobytes())
        with pytest.raises(DataError, match=f"an axis of the kind {what}; expected three of space"):
            open_source(str(tmp_path / "v.nrrd"))
    four = nrrd_header('encoding: raw\nspacings: 4 5 30 7\nunits: "nm" "nm" "nm" "s"\nkinds: space space space time\n')
    (tmp_path / "v.nrrd").write_bytes(
        four.replace(b"dimension: 3\nsizes: 30 20 9", b"dimension: 4\nsizes: 30 20 9 1") + EM.tobytes()
    )
    assert opened(tmp_path / "v.nrrd").voxel_size == pytest.approx((30, 5, 4))


def test_nrrd_labels_in_another_order_are_doubted(tmp_path):
    for labels, remark in (("zyx", "labelled z, y, x"), ("xyz", ""), ("RAS", "")):
        said = " ".join(f'"{one}"' for one in labels)
        (tmp_path / "v.nrrd").write_bytes(nrrd_header(f"encoding: raw\nlabels: {said}\n") + EM.tobytes())
        opened(tmp_path / "v.nrrd", remark)


def test_nrrd_at_the_end_of_its_file_or_in_many(tmp_path):
    (tmp_path / "v.nrrd").write_bytes(nrrd_header("encoding: raw\nbyte skip: -1\n") + b"before" + EM.tobytes())
    opened(tmp_path / "v.nrrd")
    for several in ("LIST\na.raw\nb.raw", "v%03d.raw 1 9 1"):
        (tmp_path / "v.nhdr").write_bytes(nrrd_header(f"encoding: raw\ndata file: {several}\n"))
        with pytest.raises(DataError, match="lie in several files; save it as one"):
            open_source(str(tmp_path / "v.nhdr"))


def test_nrrd_axis_mins_are_borders_of_cells(tmp_path):
    more = {"spacings": list(SIZE[::-1]), "units": ["nm"] * 3, "axis mins": [50.0, 40.0, 300.0]}
    for centring, moved in (("node", 0), ("cell", 0.5)):
        nrrd.write(str(tmp_path / "v.nrrd"), EM, {**more, "centerings": [centring] * 3}, index_order="C")
        expected = [o + moved * s for o, s in zip(ORIGIN, SIZE, strict=True)]
        assert opened(tmp_path / "v.nrrd").origin == pytest.approx(expected)
