"""The parts of a CZI file that libCZI's Python binding does not give: which planes and tiles are there, when they
were taken, and the bytes of each by itself.

Layout from Zeiss' description of the format (ZISRAW 1.2.2): a file is a row of segments, each 16 bytes name,
int64 allocated and int64 used size, then data. The header names the positions of the subblock directory, the
metadata and the attachment directory. All little endian.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from voxelmill.core.errors import DataError

SEGMENT = struct.Struct("<16sqq")
STAMP = re.compile(rb"<AcquisitionTime>\s*(\d+-\d+-\d+T\d+:\d+:\d+)(?:\.(\d+))?\s*(Z|[+-]\d\d:\d\d)?")


@dataclass(frozen=True, slots=True)
class Subblock:
    """One stored tile of layer 0: its file position, its start in each dimension ("S", "T", "C", ...), its sides in
    px, and the numbers of its pixel type and compression."""

    position: int
    start: dict[str, int]
    width: int
    height: int
    pixel_type: int
    compression: int = 0


class Segments:
    """Reads the segments of one CZI file; a context manager.

    Raises:
        DataError: on opening, when a segment that the file names lies beyond its end: it is cut off.
    """

    def __init__(self, path: Path):
        self.path = path
        self._file: BinaryIO = open(path, "rb")  # noqa: SIM115 (closed by __exit__)
        try:
            self.size = self._file.seek(0, 2)
            header = self._segment(0, b"ZISRAWFILE", 80)
            directory, metadata = struct.unpack_from("<qq", header, 52)
            (attachments,) = struct.unpack_from("<q", header, 72)
            for position in (metadata, attachments):
                if position > 0:
                    self._check(position)
            self._metadata = metadata
            self.subblocks = self._read_directory(directory)
            self._attachments = attachments
            for block in self.subblocks:
                self._check(block.position)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Segments:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def _cut_off(self) -> DataError:
        return DataError(
            f"{self.path}: the file is cut off or was never finished (it names parts beyond "
            f"its end at {self.size} bytes); copy it again from the microscope"
        )

    def _check(self, position: int) -> int:
        """The used size of the segment there, which lies within the file."""
        self._file.seek(position)
        head = self._file.read(SEGMENT.size)
        if len(head) < SEGMENT.size:
            raise self._cut_off()
        _, allocated, used = SEGMENT.unpack(head)
        used = used or allocated
        if position + SEGMENT.size + used > self.size:
            raise self._cut_off()
        return used

    def _segment(self, position: int, name: bytes, at_most: int = -1) -> bytes:
        used = self._check(position)
        self._file.seek(position)
        found = self._file.read(SEGMENT.size)[:16].rstrip(b"\0")
        if found != name:
            raise DataError(f"{self.path}: found {found!r} at byte {position}, expected {name!r}; the file is damaged")
        return self._file.read(used if at_most < 0 else min(used, at_most))

    def _read_directory(self, position: int) -> list[Subblock]:
        data = self._segment(position, b"ZISRAWDIRECTORY")
        (count,) = struct.unpack_from("<i", data)
        blocks, at = [], 128
        for _ in range(count):
            # "DV": pixel type i, file position q, file part i, compression i, pyramid type B, 5 spare,
            # dimensions i
            kind, position, _, compression, pyramid, n = struct.unpack_from("<2xiqiiB5xi", data, at)
            start, size = {}, {}
            for k in range(n):
                name, first, extent = struct.unpack_from("<4sii", data, at + 32 + 20 * k)
                axis = name.rstrip(b"\0").decode("ascii", "replace")
                start[axis], size[axis] = first, extent
            at += 32 + 20 * n
            if pyramid == 0:
                blocks.append(Subblock(position, start, size.get("X", 0), size.get("Y", 0), kind, compression))
        return blocks

    def data(self, block: Subblock) -> bytes:
        """The pixels of a subblock as they are stored, compressed or not."""
        self._file.seek(block.position)
        if self._file.read(SEGMENT.size)[:16].rstrip(b"\0") != b"ZISRAWSUBBLOCK":
            raise DataError(f"{self.path}: no subblock at byte {block.position}; the file is damaged")
        metadata, _, size = struct.unpack("<iiq", self._file.read(16))
        # the fixed part is 16 bytes and the directory entry, at least 256 bytes
        self._file.seek(block.position + SEGMENT.size + max(256, 48 + 20 * len(block.start)) + metadata)
        found = self._file.read(size)
        if len(found) < size:
            raise self._cut_off()
        return found

    def xml(self) -> str:
        """The metadata of the file; empty where it has none."""
        if self._metadata <= 0:
            return ""
        data = self._segment(self._metadata, b"ZISRAWMETADATA")
        (size,) = struct.unpack_from("<i", data)
        return data[256 : 256 + size].decode("utf-8", "replace")

    def acquired(self, block: Subblock) -> float:
        """When the subblock was taken, seconds on a clock common to the file; NaN when it does not say."""
        self._file.seek(block.position + SEGMENT.size)
        (length,) = struct.unpack("<i", self._file.read(4))
        self._file.seek(block.position + SEGMENT.size)
        # metadata begin after the fixed part (16 bytes and the directory entry), at least 256 bytes from the
        # start
        data = self._file.read(max(256, 16 + 32 + 20 * len(block.start)) + max(length, 0))
        found = STAMP.search(data)
        if not found:
            return np.nan
        date, fraction, zone = (g.decode() if g else "" for g in found.groups())
        stamp = datetime.fromisoformat(date + (zone if zone not in ("", "Z") else "+00:00"))
        return stamp.timestamp() + float("0." + (fraction or "0"))

    def time_stamps(self) -> NDArray[np.float64]:
        """Seconds in the attachment "TimeStamps"; empty when there is none."""
        none = np.zeros(0)
        if self._attachments <= 0:
            return none
        data = self._segment(self._attachments, b"ZISRAWATTDIR")
        (count,) = struct.unpack_from("<i", data)
        for k in range(count):
            position, name = struct.unpack_from("<12xq28x80s", data, 256 + 128 * k)
            if name.rstrip(b"\0") == b"TimeStamps":
                body = self._segment(position, b"ZISRAWATTACH")
                _, n = struct.unpack_from("<ii", body, 256)
                if n < 0 or 264 + 8 * n > len(body):
                    raise DataError(f"{self.path}: its TimeStamps name {n} times, but hold fewer; the file is damaged")
                return np.frombuffer(body, "<f8", n, 264).copy()
        return none
