"""Codecs whose chunks do not say how large they are unpacked: they stop at what a chunk of the array can take.

A few kB can be made to unpack to GBs, which would be known for wrong only once they lie in memory.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import Any, ClassVar

import numcodecs
import numpy as np
from numcodecs.compat import ensure_bytes, ndarray_copy

WIDEST = 16  # bytes that a voxel may take between two codecs
DICTIONARY = 2**27  # bytes that LZMA may take for itself; its highest level takes half of that


class _Bounded:
    most: ClassVar[int] = 0

    def unpacker(self) -> Any:
        raise NotImplementedError

    def decode(self, buf: Any, out: Any = None) -> Any:
        unpacker = self.unpacker()
        values = unpacker.decompress(ensure_bytes(buf), self.most + 1)
        if len(values) > self.most:
            raise ValueError(f"a chunk unpacks to more than {self.most} bytes")
        if not unpacker.eof:
            raise EOFError("a chunk is cut off")
        return ndarray_copy(values, out)


class Lzma(_Bounded, numcodecs.LZMA):
    def unpacker(self) -> Any:
        if self.format == lzma.FORMAT_RAW:
            return lzma.LZMADecompressor(self.format, filters=self.filters)
        return lzma.LZMADecompressor(self.format, DICTIONARY)


class Bzip2(_Bounded, numcodecs.BZ2):
    def unpacker(self) -> Any:
        return bz2.BZ2Decompressor()


class Zlib(_Bounded, numcodecs.Zlib):
    def unpacker(self) -> Any:
        return zlib.decompressobj()


class Gzip(_Bounded, numcodecs.GZip):
    def unpacker(self) -> Any:
        return zlib.decompressobj(wbits=31)


def use() -> None:
    """Arrays that are opened from now on have these codecs."""
    for codec in (Lzma, Bzip2, Zlib, Gzip):
        numcodecs.register_codec(codec)


def allow(chunk: tuple[int, ...]) -> None:
    """Chunks of so many voxels may be unpacked, from now on, beside those that were allowed before."""
    _Bounded.most = max(_Bounded.most, WIDEST * int(np.prod(chunk, dtype=np.int64)))
