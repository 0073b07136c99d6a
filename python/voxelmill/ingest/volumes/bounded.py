"""Codecs that stop at what a chunk of the array can take, whether or not a chunk says how large it is unpacked.

A few kB can be made to unpack to GBs, which would be known for wrong only once they lie in memory. `use` puts these codecs in
the place of the libraries' own for the whole process; they stop nothing but while `within` is open.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, ClassVar

import numcodecs
import numpy as np
import zarr
from numcodecs.compat import ensure_bytes, ndarray_copy
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec
from zarr.registry import register_codec

WIDEST = 16  # bytes that a voxel may take between two codecs
DICTIONARY = 2**27  # bytes that LZMA may take for itself; its highest level takes half of that


MOST = 2**62  # bytes: no limit


class _Bounded:
    most: ClassVar[int] = MOST

    def refuse(self, size: int) -> None:
        if not 0 <= size <= self.most:
            raise ValueError(f"a chunk unpacks to more than {self.most} bytes")


class _Stream(_Bounded):
    """Of chunks that do not say it."""

    def unpacker(self) -> Any:
        raise NotImplementedError

    def decode(self, buf: Any, out: Any = None) -> Any:
        packed, values = ensure_bytes(buf), b""
        while packed:  # a chunk may be written in several members, one behind the other
            unpacker = self.unpacker()
            values += unpacker.decompress(packed, self.most + 1 - len(values))
            self.refuse(len(values))
            if not unpacker.eof:
                raise EOFError("a chunk is cut off")
            packed = unpacker.unused_data
        return ndarray_copy(values, out)


class Lzma(_Stream, numcodecs.LZMA):
    def unpacker(self) -> Any:
        if self.format == lzma.FORMAT_RAW:
            return lzma.LZMADecompressor(self.format, filters=self.filters)
        return lzma.LZMADecompressor(self.format, DICTIONARY)


class Bzip2(_Stream, numcodecs.BZ2):
    def unpacker(self) -> Any:
        return bz2.BZ2Decompressor()


class Zlib(_Stream, numcodecs.Zlib):
    def unpacker(self) -> Any:
        return zlib.decompressobj()


class Gzip(_Stream, numcodecs.GZip):
    def unpacker(self) -> Any:
        return zlib.decompressobj(wbits=31)


class Blosc(_Bounded, numcodecs.Blosc):
    """The library believes a chunk's head, and reads on behind the end of one that is cut off."""

    def decode(self, buf: Any, out: Any = None) -> Any:
        packed = ensure_bytes(buf)
        size, stated = (int.from_bytes(packed[at : at + 4], "little") for at in (4, 12))
        self.refuse(size)
        if len(packed) < max(stated, 16):
            raise EOFError("a chunk is cut off")
        return super().decode(packed, out)


class Lz4(_Bounded, numcodecs.LZ4):
    def decode(self, buf: Any, out: Any = None) -> Any:
        self.refuse(int.from_bytes(ensure_bytes(buf)[:4], "little"))
        return super().decode(buf, out)


class Zstd(_Bounded, numcodecs.Zstd):
    """A frame says its size, but for one that was written piece by piece."""

    def decode(self, buf: Any, out: Any = None) -> Any:
        import imagecodecs

        packed = ensure_bytes(buf)
        if (size := stated_by_zstd(packed)) is not None:
            self.refuse(size)
            return super().decode(packed, out)
        try:
            if self.most == MOST:
                return super().decode(packed, out)
            return ndarray_copy(imagecodecs.zstd_decode(packed, out=self.most), out)
        except imagecodecs.ZstdError as error:
            if "too small" in str(error):
                self.refuse(self.most + 1)
            raise


def stated_by_zstd(packed: bytes) -> int | None:
    """Bytes that a frame unpacks to, by its head (RFC 8878, 3.1.1.1); None where it does not say."""
    if packed[:4] != b"\x28\xb5\x2f\xfd" or len(packed) < 5:
        return None
    single = packed[4] >> 5 & 1
    width = (single, 2, 4, 8)[packed[4] >> 6]
    at = 6 - single + (0, 1, 2, 4)[packed[4] & 3]
    return int.from_bytes(packed[at : at + width], "little") + 256 * (width == 2) if width else None


class V3Blosc(BloscCodec):
    @cached_property
    def _blosc_codec(self) -> Any:
        return _like(Blosc, super()._blosc_codec)


class V3Gzip(GzipCodec):
    @cached_property
    def _gzip_codec(self) -> Any:
        return _like(Gzip, super()._gzip_codec)


class V3Zstd(ZstdCodec):
    @cached_property
    def _zstd_codec(self) -> Any:
        return _like(Zstd, super()._zstd_codec)


def _like(kind: Any, codec: Any) -> Any:
    """A codec of this kind with the settings of another."""
    return kind.from_config({name: value for name, value in codec.get_config().items() if name != "id"})


def use() -> None:
    """Arrays that are opened from now on have these codecs."""
    for codec in (Lzma, Bzip2, Zlib, Gzip, Blosc, Lz4, Zstd):
        numcodecs.register_codec(codec)
    for name, codec in (("blosc", V3Blosc), ("gzip", V3Gzip), ("zstd", V3Zstd)):
        register_codec(name, codec)
        zarr.config.set({f"codecs.{name}": f"{__name__}.{codec.__name__}"})


@contextmanager
def within(chunk: tuple[int, ...]) -> Iterator[None]:
    """While this is open no chunk may unpack to more than so many voxels take."""
    before, _Bounded.most = _Bounded.most, WIDEST * int(np.prod(chunk, dtype=np.int64))
    try:
        yield
    finally:
        _Bounded.most = before
