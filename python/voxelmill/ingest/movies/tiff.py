"""TIFF movies, by the package `tifffile`: OME-TIFF (also several images, also over several files), ImageJ,
plain.

A plain TIFF is one channel: its pages are the frames. tifffile reads a file that is cut off as a shorter one,
and one whose OME-XML is lost as another kind, with no more than a line in the log: here both are errors.
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

from .movie import Fov, Movie
from .ome_xml import MICROMETRES, MINUTES, OmeImage, read_ome_xml

FRAME_AXES = "TIQRSZ"  # of a plain TIFF, the letters that may stand for time, likeliest first
LARGE, MOST_SHRUNK = 2**30, 10_000  # a plane above so many bytes, and shrunk by more, is no image


class TiffMovie(Movie):
    """A TIFF file: OME images are fields of view."""

    def __init__(self, path: Path):
        self.path = path
        import tifffile

        with _log() as log:
            self._file = tifffile.TiffFile(path)
            try:
                self._series = list(self._file.series)
                self.file_type = "ome-tiff" if self._file.is_ome else "tiff"
                missing = [line for line in log if "FileNotFound" in line or "missing" in line]
                if missing:
                    raise DataError(
                        f"{path}: the OME-TIFF lacks planes that its metadata name "
                        f"({missing[0]}); keep all its files in one folder, or copy it again"
                    )
                words = ("invalid", "corrupt", "failed")
                faults = [line for line in log if any(word in line for word in words)]
                if faults:
                    raise DataError(
                        f"{path}: the TIFF is cut off or damaged ({faults[0]}); copy it again from the microscope"
                    )
                self._read_metadata()
                self._check_extent()
            except BaseException:
                self._file.close()
                raise

    def _read_metadata(self) -> None:
        ome = read_ome_xml(self._file.ome_metadata or "") if self._file.is_ome else []
        if not ome and len(self._series) != 1:
            shapes = sorted({str(s.shape) for s in self._series})
            raise DataError(
                f"{self.path}: its pages are of unequal kind or size ({', '.join(shapes[:4])}); "
                "frames of unequal size cannot make a movie, save each field of view in a file "
                "of its own"
            )
        self._axes = [_axes(s, bool(ome), self.path) for s in self._series]
        self.dtype = np.dtype(self._series[0].dtype)
        images = ome if len(ome) == len(self._series) else [self._plain_image()] * len(self._series)
        fovs, n_channels = [], set()
        for i, (series, axes, image) in enumerate(zip(self._series, self._axes, images)):
            size = dict(zip(axes, series.shape))
            n_channels.add(size.get("C", 1))
            n_t = size.get("T", 1)
            times = image.times
            if len(times) != n_t:
                times = np.arange(n_t, dtype=np.float64) * _step(times)
            name = image.name if ome else f"Image {i}"
            fovs.append(Fov(name, size["Y"], size["X"], n_t, size.get("Z", 1), times))
        if len(n_channels) > 1:
            raise DataError(
                f"{self.path}: its images have {sorted(n_channels)} channels, expected the same "
                "number in all; save them apart"
            )
        self.fovs = tuple(fovs)
        names, n = images[0].channel_names, n_channels.pop()
        self.channel_names = tuple(names[c] if c < len(names) else f"Channel {c}" for c in range(n))
        self.pixel_size_um, self.time_source = images[0].pixel_size_um, images[0].time_source

    def _plain_image(self) -> OmeImage:
        """What the TIFF tags and ImageJ's notes say; times as a step from 0."""
        notes: dict[str, Any] = self._file.imagej_metadata or {}
        step = float(notes.get("finterval") or 0) * MINUTES.get(str(notes.get("tunit", "s")).lower(), 1 / 60)
        tags = self._file.pages.first.tags
        unit = str(notes.get("unit", "")).replace("\\u00B5", "µ") or {2: "inch", 3: "cm"}.get(
            int(tags.valueof("ResolutionUnit", default=1)), ""
        )
        up, down = tags.valueof("XResolution", default=(0, 1))
        # an inch or cm without ImageJ's notes is the printing density that many writers put there
        known = notes.get("unit") and up and down
        size = down / up * MICROMETRES.get(unit, 0) if known else 0
        return OmeImage(
            "", (), size or None, np.array([0.0, step] if step else [np.nan]), "ImageJ frame interval" if step else ""
        )

    def _check_extent(self) -> None:
        """All pixels lie within the file. Sizes first: a hostile header must not make us allocate."""
        for series in self._series:
            for page in series.pages:
                if page is None:
                    raise DataError(
                        f"{self.path}: the OME-TIFF lacks a plane that its metadata name; it is "
                        "cut off, or one of its files is missing"
                    )
                size = page.parent.filehandle.size
                stored = sum(page.databytecounts)
                if page.nbytes > LARGE and page.nbytes > MOST_SHRUNK * stored:
                    raise DataError(
                        f"{self.path}: a plane of {page.shape} is claimed to be stored in "
                        f"{stored} bytes; the file is damaged or hostile"
                    )
                short = page.compression == 1 and stored < page.nbytes
                if short or min(page.databytecounts, default=0) == 0:
                    raise DataError(
                        f"{self.path}: a plane of {page.shape} has only {stored} bytes of "
                        "pixels; they would be read as zeros, copy the file again from the "
                        "microscope"
                    )
                if any(at + n > size for at, n in zip(page.dataoffsets, page.databytecounts)):
                    raise DataError(
                        f"{self.path}: the TIFF is cut off (a plane ends beyond its {size} "
                        "bytes); copy it again from the microscope"
                    )
            if (series.dataoffset or 0) + series.nbytes * (series.dataoffset is not None) > size:
                raise DataError(f"{self.path}: the TIFF is cut off; copy it again from the microscope")

    def _plane(self, fov: int, t: int, channel: int, z: int) -> NDArray:
        series, axes = self._series[fov], self._axes[fov]
        at = {"T": t, "C": channel, "Z": z}
        leading = [(at[a], n) for a, n in zip(axes, series.shape) if a not in "YX"]
        k = int(np.ravel_multi_index([i for i, _ in leading], [n for _, n in leading])) if leading else 0
        view = self.fovs[fov]
        if series.dataoffset is not None and not series.is_multifile:
            # all planes one after the other, perhaps behind a single page
            stored, n = np.dtype(series.dtype).newbyteorder(self._file.byteorder), view.height * view.width
            plane = np.fromfile(self.path, stored, n, offset=series.dataoffset + k * n * stored.itemsize)
            return plane.reshape(view.height, view.width).astype(self.dtype)
        per_page = int(np.prod([n for _, n in leading], dtype=np.int64)) // len(series.pages)
        held: Any = series.pages[k // per_page]  # there: checked when the file was opened
        page = held.asarray()
        return page if per_page == 1 else page.reshape(-1, view.height, view.width)[k % per_page]

    def close(self) -> None:
        self._file.close()


@contextmanager
def _log() -> Iterator[list[str]]:
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


def _axes(series: Any, ome: bool, path: Path) -> str:
    """One letter per axis of the series, of T, C, Z, Y, X; of a plain TIFF the only other axis is time."""
    axes, shape = series.axes, series.shape
    if axes[-2:] != "YX":
        raise DataError(f"{path}: axes {axes} {shape}: colour (RGB) images are not supported; save single channels")
    if not ome:
        other = [i for i, a in enumerate(axes) if a in FRAME_AXES and a not in "TZ"]
        if "T" not in axes and len(other) == 1:
            axes = axes[: other[0]] + "T" + axes[other[0] + 1 :]
    unknown = [a for a in axes if a not in "TCZYX"]
    if unknown or len(set(axes)) < len(axes):
        raise DataError(
            f"{path}: cannot tell time, channel and z apart in axes {axes} {shape}; save it as OME-TIFF with named axes"
        )
    return axes


def _step(times: NDArray) -> float:
    return float(times[1] - times[0]) if len(times) > 1 else np.nan
