"""Files of Zeiss, MetaMorph and Micro-Manager as these programs lay them out, byte by byte."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import tifffile


def write_lsm(path: Path, data: np.ndarray, times: list[float], pixel_um: float, names: tuple[str, ...]) -> Path:
    """data (t, c, y, x): a page a frame, its channels plane by plane, each followed by a thumbnail in colours."""
    info = np.zeros(1, [(name or f"_{n}", "<" + kind) for n, (name, kind) in enumerate(tifffile.TIFF.CZ_LSMINFO)])
    frames, channels, height, width = data.shape
    told = {
        "MagicNumber": 67127628, "StructureSize": info.dtype.itemsize, "DimensionX": width, "DimensionY": height,
        "DimensionZ": 1, "DimensionChannels": channels, "DimensionTime": frames, "VoxelSizeX": pixel_um * 1e-6,
        "VoxelSizeY": pixel_um * 1e-6, "VoxelSizeZ": 1e-6, "TimeIntervall": 7.0,
        "ScanType": next(n for n, axes in tifffile.TIFF.CZ_LSMINFO_SCANTYPE.items() if axes == "TCYX"),
    }  # fmt: skip
    for name, value in told.items():
        info[name] = value
    stamps = struct.pack("<ii", 8 + 8 * len(times), len(times)) + struct.pack(f"<{len(times)}d", *times)
    words = b"".join(struct.pack("<I", len(name) + 1) + name.encode() + b"\0" for name in names)
    colours = struct.pack("<6I", 24 + 4 * channels + len(words), channels, channels, 24, 24 + 4 * channels, 0)
    colours += bytes(4 * channels) + words
    for _ in range(2):  # where the blocks stand is known once the file is written
        with tifffile.TiffWriter(path, byteorder="<") as file:
            for n, frame in enumerate(data):
                tag = [(34412, 1, info.nbytes, info.tobytes(), True)] if not n else []
                file.write(frame, photometric="minisblack", planarconfig="separate", metadata=None, extratags=tag)
                small = np.zeros((4, 5, 3), np.uint8)
                file.write(small, photometric="rgb", subfiletype=1, metadata=None)
        end = path.stat().st_size
        info["OffsetTimeStamps"], info["OffsetChannelColors"] = end if times else 0, end + len(stamps)
    with open(path, "ab") as out:
        out.write(stamps + colours)
    return path


def write_stk(
    path: Path, data: np.ndarray, times: list[float], pixel_um: float, start: int = 2459000, waves: list[int] | None = None
) -> Path:
    """data (t, y, x): all planes behind one page. times in s from midnight of the Julian day `start`."""
    frames, height, width = data.shape
    pixels = data.astype("<u2").tobytes()
    rows = b"".join(struct.pack("<6I", 0, 1, start + int(t // 86400), round(t % 86400 * 1000), 0, 0) for t in times)
    lights = b"".join(struct.pack("<2I", wave, 1) for wave in waves or [488] * frames)
    unit = b"um\0"
    at = 8 + len(pixels)
    places, blocks = {}, b""
    for name, block in (("uic2", rows), ("uic3", lights), ("cal", struct.pack("<2I", round(pixel_um * 1000), 1000)),
                        ("unit", struct.pack("<I", len(unit)) + unit + b"\0")):  # fmt: skip
        places[name] = at + len(blocks)
        blocks += block
    entries = [(3, 1), (4, places["cal"]), (5, places["cal"]), (6, places["unit"])]
    places["uic1"] = at + len(blocks)
    blocks += b"".join(struct.pack("<2I", *entry) for entry in entries)
    tags = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8),
        (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, height * width * 2), (33628, 4, len(entries), places["uic1"]),
        (33629, 5, frames, places["uic2"]), (33630, 5, frames, places["uic3"]),
    ]  # fmt: skip
    ifd = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    path.write_bytes(b"II*\0" + struct.pack("<I", at + len(blocks)) + pixels + blocks + ifd)
    return path


def write_ndtiff(folder: Path, planes: dict[tuple, np.ndarray], told: dict, split: int = 3) -> Path:
    """planes: (position, t, channel, z) -> (y, x); None for an axis that the index does not name. told: the metadata of
    each. `split` planes go into a file."""
    folder.mkdir(exist_ok=True)
    index, held = b"", bytearray()
    for n, (at, plane) in enumerate(planes.items()):
        name = f"run_NDTiffStack{f'_{n // split}' if n >= split else ''}.tif"
        if n % split == 0:
            held = bytearray(b"II*\0" + bytes(20))
        axes = {axis: v for axis, v in zip(("position", "time", "channel", "z"), at, strict=True) if v is not None}
        pixels, text = plane.tobytes(), json.dumps(told.get(at, {})).encode()
        start, words = len(held), json.dumps(axes).encode()
        held += pixels + text
        (folder / name).write_bytes(held)
        kind = 0 if plane.dtype == np.uint8 else 1
        index += struct.pack("<I", len(words)) + words + struct.pack("<I", len(name)) + name.encode()
        index += struct.pack("<IiiiiIii", start, *plane.shape[::-1], kind, 0, start + len(pixels), len(text), 0)
    (folder / "NDTiff.index").write_bytes(index)
    return folder
