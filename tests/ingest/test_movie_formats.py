"""One movie for each row of the table of movies in docs/formats.md, and all that the row says is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from voxelmill.ingest.movies.formats import open_movie
from voxelmill.testing.movies import write_ome_tiff

from .test_czi_nd2 import ND2, add_time_stamps, write_czi
from .vendor_files import write_lsm, write_ndtiff, write_stk

DOCS = Path(__file__).parents[2] / "docs" / "formats.md"
DATA = np.random.default_rng(0).integers(1, 4000, (2, 3, 2, 8, 10)).astype(np.uint16)  # position, t, c, y, x
NAMES = ("Phase", "GFP")
STAGE = 'PositionX="100" PositionXUnit="nm" PositionY="-2" PositionYUnit="&#181;m"'


def ome_tiff(folder: Path) -> Path:
    path = write_ome_tiff(folder / "a.ome.tif", list(DATA), interval=2, pixel_um=0.5)
    text = tifffile.tiffcomment(path)
    tifffile.tiffcomment(path, text.replace('DeltaTUnit="s"', f'DeltaTUnit="s" {STAGE}').encode())
    return path


def companion(folder: Path) -> Path:
    images = ""
    for p in range(2):
        tifffile.imwrite(folder / f"p{p}.tif", DATA[p].reshape(6, 8, 10), photometric="minisblack")
        channels = "".join(f'<Channel Name="{name}"/>' for name in NAMES)
        images += (
            f'<Image Name="P{p}"><Pixels DimensionOrder="XYCZT" Type="uint16" SizeX="10" SizeY="8" SizeC="2" SizeZ="1" '
            f'SizeT="3" PhysicalSizeX="500" PhysicalSizeXUnit="nm" TimeIncrement="2" TimeIncrementUnit="min">{channels}'
            f'<TiffData IFD="0" PlaneCount="6"><UUID FileName="p{p}.tif">urn:uuid:{p}</UUID></TiffData>'
            f'<Plane TheT="0" TheC="0" TheZ="0" {STAGE}/></Pixels></Image>'
        )
    (folder / "a.companion.ome").write_text(f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{images}</OME>')
    return folder / "a.companion.ome"


def czi(folder: Path) -> Path:
    path = write_czi(folder / "a.czi", [position[:, :, None] for position in DATA])
    add_time_stamps(path, [0.0, 120.0, 240.0])
    return path


def imagej(folder: Path) -> Path:
    told = {"axes": "TCYX", "finterval": 2.0, "tunit": "min", "unit": "micron"}
    tifffile.imwrite(folder / "a.tif", DATA[0], imagej=True, resolution=(2, 2), metadata=told)
    return folder / "a.tif"


def lsm(folder: Path) -> Path:
    three = DATA[0][:, [0, 1, 1]]  # tifffile takes two for those of an old writer
    return write_lsm(folder / "a.lsm", three, [0.0, 120.0, 240.0], 0.5, (*NAMES, "again"))


def stk(folder: Path) -> Path:
    return write_stk(folder / "a.stk", DATA[0, :, 0], [0.0, 120.0, 240.0], 0.5)


def ndtiff(folder: Path) -> Path:
    every = {(p, t, NAMES[c], None): DATA[p, t, c] for p, t, c in np.ndindex(2, 3, 2)}
    told = {"PixelSizeUm": 0.5, "XPositionUm": 0.1, "YPositionUm": -2}
    return write_ndtiff(folder / "run", every, {at: told | {"ElapsedTime-ms": 120_000 * at[1]} for at in every})


def plain(folder: Path) -> Path:
    tifffile.imwrite(folder / "a.tif", DATA[0, :, 0], photometric="minisblack")
    return folder / "a.tif"


def ome_zarr(folder: Path) -> Path:
    root = zarr.open_group(str(folder / "a.zarr"), mode="w")
    units = {"t": "minute", "y": "micrometer", "x": "micrometer"}
    axes = [{"name": a} | ({"unit": units[a]} if a in units else {}) for a in "tcyx"]
    scale = [{"type": "scale", "scale": [2.0, 1.0, 0.5, 0.5]}, {"type": "translation", "translation": [0, 0, -2, 0.1]}]
    for p in range(2):
        group = root.create_group(str(p))
        group.create_array("0", data=DATA[p])
        group.attrs["ome"] = {
            "version": "0.5",
            "multiscales": [{"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}],
            "omero": {"channels": [{"label": name} for name in NAMES]},
        }
    return folder / "a.zarr"


def frames(folder: Path) -> Path:
    for p, t, c in np.ndindex(2, 3, 2):
        place = folder / f"Pos{p}"
        place.mkdir(exist_ok=True)
        tifffile.imwrite(place / f"img_{t:09d}_{NAMES[c]}_000.tif", DATA[p, t, c])
        told = {f"FrameKey-{k}-0-0": {"ElapsedTime-ms": 120_000 * k, "FrameIndex": k, "PixelSizeUm": 0.5} for k in range(3)}
        told["FrameKey-0-0-0"] |= {"XPositionUm": 0.1, "YPositionUm": -2}
        (place / "metadata.txt").write_text(json.dumps({"Summary": {}} | told))
    return folder


ROWS: dict[str, Callable[[Path], Path] | None] = {
    "ND2": None,  # a file of a microscope, whose content is known
    "CZI": czi,
    "OME-TIFF": ome_tiff,
    "companion.ome": companion,
    "ImageJ TIFF": imagej,
    "LSM": lsm,
    "MetaMorph STK": stk,
    "NDTiff": ndtiff,
    "plain TIFF": plain,
    "OME-Zarr": ome_zarr,
    "folder of frames": frames,
}


def table() -> dict[str, list[str]]:
    """Rows of the table by format."""
    section = DOCS.read_text().partition("## Movies")[2].partition("\n- ")[0]
    rows = [[cell.strip() for cell in line.strip("|\n ").split("|")] for line in section.splitlines() if line.startswith("|")]
    return {row[0]: row[1:] for row in rows[2:]}


def test_the_table_and_the_tests_are_of_the_same_formats():
    assert list(table()) == list(ROWS)


@pytest.mark.parametrize("kind", ROWS)
def test_what_a_row_says_is_read(tmp_path, kind):
    make = ROWS[kind]
    if make is None:
        pytest.importorskip("nd2")
        with open_movie(ND2) as movie:
            assert movie.fovs[0].n_frames == 53 and movie.pixel_size_um == pytest.approx(0.325)
            assert movie.channel_names == ("GFP 488 nm",) and movie.time_source == "ND2 frame time stamps"
            assert movie.describe()["fovs"][0]["stage_um"] == pytest.approx([18491.4, 9744.0])
        return
    if kind == "CZI":
        pytest.importorskip("pylibCZIrw")
    _, times, size, names, positions, place = table()[kind]
    times, size, names, positions = (cell != "—" for cell in (times, size, names, positions))
    with open_movie(make(tmp_path), frame_interval=7) as movie:
        assert len(movie.fovs) == (2 if positions else 1)
        wanted = [movie.parse_channel(name) for name in NAMES] if names else range(len(movie.channel_names))
        for fov, t, c in np.ndindex(len(movie.fovs), 3, len(wanted)):
            assert np.array_equal(movie.read_frame(fov, t, wanted[c]), DATA[fov, t, c])
        for fov in movie.fovs:
            assert fov.times == pytest.approx([0, 2, 4] if times else [0, 7, 14])
            assert fov.pixel_size_um == (pytest.approx(0.65 if kind == "CZI" else 0.5) if size else None)
        if kind == "CZI":  # scenes lie side by side, 32 px apart
            assert [fov.origin_um for fov in movie.fovs] == [(0, 0), (0, pytest.approx(42 * 0.65))]
            return
        for fov in movie.describe()["fovs"]:
            found = {name: pytest.approx(fov[name]) for name in ("origin_um", "stage_um") if name in fov}
            assert found == ({} if place == "—" else {"stage_um" if "stage" in place else "origin_um": [-2, 0.1]})
