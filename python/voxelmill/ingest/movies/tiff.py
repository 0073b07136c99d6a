"""TIFF movies without OME-XML, by the package `tifffile`: ImageJ, LSM, MetaMorph, and plain ones.

A plain TIFF is one channel: its pages are the frames. tifffile reads a file that is cut off as a shorter one,
with no more than a line in the log: here that is an error.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.core.errors import DataError

from ..volumes.tiff_pages import full, greys, has_alpha, mirrored, opaque, plane, transparent
from . import vendor_tags
from .fov import Fov
from .movie import Movie
from .ome_xml import pixel_size_of, step_of
from .times import best

FRAME_AXES = "TIQRSZ"  # of a plain TIFF, the letters that may stand for time, likeliest first
LARGE, MOST_SHRUNK = 2**30, 10_000  # a plane above so many bytes, and shrunk by more, is no image


class TiffMovie(Movie):
    """An ImageJ, LSM, MetaMorph or plain TIFF: one field of view."""

    file_type = "tiff"

    def __init__(self, path: Path):
        self.path = path
        import tifffile

        with gathered_log() as log:
            self._file = tifffile.TiffFile(path, is_ome=False)
            try:
                every = list(self._file.series)
                refuse_faults(log, path)
                kept, self._left_out = full(self._file.pages)
                own = {page.offset for page in kept}
                series = [one for one in every if any(page is None or page.offset in own for page in one.pages)]
                self._series = series[0]
                self._pages: list[Any] = [p for one in series for p in one.pages if p is None or p.offset in own]
                if len(series) > 1:
                    self._refuse_unlike(series)
                # frames that were written one by one, or beside smaller copies of the same size
                self._several = len(series) > 1 or len(self._pages) < len(self._series.pages)
                self._read_metadata()
                self._check_extent()
            except BaseException:
                self._file.close()
                raise

    def _refuse_unlike(self, series: list[Any]) -> None:
        """Several series are a movie only where each is one picture, and all are alike."""
        kinds = {(one.shape, one.axes, one.dtype) for one in series}
        if len(kinds) > 1 or self._series.axes != "YX":
            shapes = sorted({str(one.shape) for one in series})
            raise DataError(
                f"{self.path}: its pages are of unequal kind or size, or of several movies ({', '.join(shapes[:4])}); frames "
                "of unequal size cannot make a movie, save each field of view in a file of its own"
            )

    def _read_metadata(self) -> None:
        series, first = self._series, self._file.pages.first
        axes, self._shape = series.axes, tuple(series.shape)
        if has_alpha(series.keyframe):
            alpha = axes.index("S")
            axes, self._shape = axes.replace("S", ""), self._shape[:alpha] + self._shape[alpha + 1 :]
        self._axes = _axes(axes, self._shape, series.dtype, self.path)
        if self._several:
            self._axes, self._shape = "TYX", (len(self._pages), *plane(series.keyframe))
        self.dtype = np.dtype(series.dtype)
        size = dict(zip(self._axes, self._shape))
        notes: dict[str, Any] = self._file.imagej_metadata or {}
        step, no_time = step_of(float(notes.get("finterval") or 0), str(notes.get("tunit") or "s"))
        pixel_size, no_length = self._pixel_size(notes)
        n_t, n_c = size.get("T", 1), size.get("C", 1)
        times, source = np.arange(n_t, dtype=np.float64) * step, "ImageJ frame interval" if step > 0 else ""
        names = tuple(f"Channel {i}" for i in range(n_c))
        tags = vendor_tags.read(self._file)
        if tags:
            pixel_size, no_length = pixel_size_of(*tags.sides)
            no_length += tags.doubts
            step = tags.step or np.nan
            clocks = [(tags.times, f"{tags.source} time stamps"), (np.arange(n_t) * step, f"{tags.source} frame interval")]
            times, source = best(clocks, n_t)
            names = tags.names if len(tags.names) == n_c else names
        fov = Fov(
            "Image 0",
            size["Y"],
            size["X"],
            n_t,
            size.get("Z", 1),
            times,
            source,
            step,
            pixel_size,
            names,
            notes=no_length + no_time + self._samples() + _calibrated(notes) + said_of_greys(first),
        )
        self.fovs = (fov,)
        self.channel_names = fov.channels
        self.notes = (*mirrored(self._file.pages.first), *(f"{said[:1].upper()}{said[1:]}." for said in self._left_out))

    def _samples(self) -> tuple[str, ...]:
        """A note where frames are stored as the colours of one page: writers do so with three or four of them."""
        if "S" not in self._series.axes or has_alpha(self._series.keyframe):
            return ()
        n = self._series.shape[self._series.axes.index("S")]
        return (f"the file says that its {n} planes are colours of one picture: they are taken for frames.",)

    def _pixel_size(self, notes: dict[str, Any]) -> tuple[float | None, tuple[str, ...]]:
        """By ImageJ's unit. Without one, an inch or cm is the printing density that many writers put there."""
        unit, sides = str(notes.get("unit") or ""), []
        for axis in "XY":
            up, down = self._file.pages.first.tags.valueof(f"{axis}Resolution", default=(0, 1))
            sides.append((down / up if up and down else 0.0, str(notes.get("yunit") or unit) if axis == "Y" else unit))
        return pixel_size_of(*sides) if unit else (None, ())

    def _check_extent(self) -> None:
        """All pixels lie within the file. Sizes first: a hostile header must not make us allocate."""
        series = self._series
        for page in self._pages:
            if page is None:
                raise DataError(f"{self.path}: a page is missing; the TIFF is cut off, copy it again from the microscope")
            check_page(page, self.path)
        told, held = series.nbytes, sum(page.nbytes for page in series.pages if page is not None)
        if held > told and not self._several:
            raise DataError(
                f"{self.path}: its header tells of {told} bytes of pixels {series.shape}, its pages hold {held}; save it "
                "anew with ImageJ, so that both agree"
            )
        size = self._file.filehandle.size
        if (series.dataoffset or 0) + series.nbytes * (series.dataoffset is not None) > size:
            raise DataError(f"{self.path}: the TIFF is cut off; copy it again from the microscope")

    def _plane(self, fov: int, t: int, channel: int, z: int) -> NDArray:
        series = self._series
        at = {"T": t, "C": channel, "Z": z}
        leading = [(at[a], n) for a, n in zip(self._axes, self._shape) if a not in "YX"]
        k = int(np.ravel_multi_index([i for i, _ in leading], [n for _, n in leading])) if leading else 0
        view = self.fovs[0]
        if series.dataoffset is not None and not self._several and not has_alpha(series.keyframe):
            # all planes one after the other, perhaps behind a single page
            stored, n = np.dtype(series.dtype).newbyteorder(self._file.byteorder), view.height * view.width
            plane = np.fromfile(self.path, stored, n, offset=series.dataoffset + k * n * stored.itemsize)
            return as_seen(plane.reshape(view.height, view.width).astype(self.dtype), series.keyframe, self.path)
        per_page = int(np.prod([n for _, n in leading], dtype=np.int64)) // len(self._pages)
        held: Any = self._pages[k // per_page]  # there: checked when the file was opened
        page = as_seen(held.asarray(), held, self.path)
        return page if per_page == 1 else page.reshape(-1, view.height, view.width)[k % per_page]

    def close(self) -> None:
        self._file.close()


def as_seen(values: NDArray, page: Any, path: Path) -> NDArray:
    """Grey values as the page looks. A palette of colours, which is how ImageJ keeps the colour of a channel, changes none.

    Raises:
        DataError: WhiteIsZero with other than whole numbers from 0 on, alpha that differs from pixel to pixel.
    """
    if has_alpha(page):
        values = opaque(page, values)
    kind, colours = page.keyframe.photometric, page.keyframe.colormap
    if kind != 0 and (kind != 3 or values.dtype != np.uint8 or not (colours == colours[0]).all()):
        return values
    return greys(page, path)[1](values)


def refuse_faults(log: list[str], path: Path) -> None:
    """Raise DataError for what tifffile would only have written to its log."""
    faults = [line for line in log if any(word in line for word in ("invalid", "corrupt", "failed"))]
    if faults:
        raise DataError(f"{path}: the TIFF is cut off or damaged ({faults[0]}); copy it again from the microscope")


def check_page(page: Any, path: Path) -> None:
    """All pixels of a page lie within its file.

    Raises:
        DataError: they do not, or a size is claimed that nothing backs.
    """
    size, stored = page.parent.filehandle.size, sum(page.databytecounts)
    packed = page.keyframe.size * page.keyframe.bitspersample // 8  # 10, 12 or 14 bits may lie without gaps
    if page.nbytes > LARGE and page.nbytes > MOST_SHRUNK * stored:
        raise DataError(f"{path}: a plane of {page.shape} is claimed to be stored in {stored} bytes; damaged or hostile")
    short = page.compression == 1 and stored < packed
    if short or min(page.databytecounts, default=0) == 0:
        raise DataError(
            f"{path}: a plane of {page.shape} has only {stored} bytes of pixels; they would be read as zeros, copy the file "
            "again from the microscope"
        )
    if any(at + n > size for at, n in zip(page.dataoffsets, page.databytecounts)):
        raise DataError(
            f"{path}: the TIFF is cut off (a plane ends beyond its {size} bytes); copy it again from the microscope"
        )


def said_of_greys(page: Any) -> tuple[str, ...]:
    """A note where grey values as they look are not those that are stored, or colours hide them."""
    alpha = tuple(f"the file {said}." for said in transparent(page))
    if page.photometric == 0:
        return ("white is zero in the file: grey values are turned round, as they look.", *alpha)
    if page.photometric != 3:
        return alpha
    steps = np.diff(np.asarray(page.colormap, np.int64), axis=1)
    if (steps >= 0).all():  # it grows brighter: the colour of a channel
        return ()
    if (np.ptp(np.asarray(page.colormap), axis=0) == 0).all():
        return ("the file has a palette of greys: grey values are as they look.",)
    return ("the file has a palette of colours: counts are the numbers of its colours.",)


def room_behind(page: Any) -> int:
    """Bytes from the pixels of a file's only page to what else the file holds behind them (its metadata), or to its end."""
    start = page.dataoffsets[0]
    others = (page.offset, *(tag.valueoffset for tag in page.tags))
    return min((at for at in others if at > start), default=page.parent.filehandle.size) - start


def _calibrated(notes: dict[str, Any]) -> tuple[str, ...]:
    """A note where ImageJ shows other values than it stores, as of 16 bits with a sign."""
    zero, slope = float(notes.get("c0") or 0), float(notes.get("c1") or 1)
    if (zero, slope) == (0, 1):
        return ()
    return (f"ImageJ shows its counts as {zero:g} + {slope:g} x what is stored: what is stored is taken.",)


@contextmanager
def gathered_log() -> Iterator[list[str]]:
    """Collects what tifffile would write to its log."""
    lines: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(" ".join(record.getMessage().split()))

    logger, handler = logging.getLogger("tifffile"), Collect(logging.WARNING)
    before, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.propagate = before


def _axes(axes: str, shape: tuple[int, ...], dtype: np.dtype, path: Path) -> str:
    """One letter per axis of a series, of T, C, Z, Y, X; in a plain TIFF the only other axis is time."""
    if axes[-2:] != "YX" or ("S" in axes and dtype.itemsize == 1):
        raise DataError(f"{path}: axes {axes} {shape}: colour (RGB) images are not supported; save single channels")
    other = [i for i, a in enumerate(axes) if a in FRAME_AXES and a not in "TZ"]
    if "T" not in axes and len(other) == 1:
        axes = axes[: other[0]] + "T" + axes[other[0] + 1 :]
    unknown = [a for a in axes if a not in "TCZYX"]
    if unknown or len(set(axes)) < len(axes):
        raise DataError(
            f"{path}: cannot tell time, channel and z apart in axes {axes} {shape}; save it as OME-TIFF with named axes"
        )
    return axes
