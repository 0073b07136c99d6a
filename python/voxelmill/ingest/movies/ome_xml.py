"""What a movie needs of OME-XML: sizes, channel names, pixel size and times, of each image."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .movie import usable

MINUTES = {
    "s": 1 / 60,
    "ms": 1 / 60_000,
    "µs": 1 / 60e6,
    "μs": 1 / 60e6,
    "us": 1 / 60e6,
    "ns": 1 / 60e9,
    "min": 1.0,
    "h": 60.0,
    "d": 1440.0,
    "second": 1 / 60,
    "millisecond": 1 / 60_000,
    "microsecond": 1 / 60e6,
    "minute": 1.0,
    "hour": 60.0,
    "day": 1440.0,
}
MICROMETRES = {
    "µm": 1.0,
    "μm": 1.0,
    "um": 1.0,
    "micron": 1.0,
    "micrometer": 1.0,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "mm": 1e3,
    "millimeter": 1e3,
    "cm": 1e4,
    "centimeter": 1e4,
    "m": 1e6,
    "meter": 1e6,
    "inch": 25_400.0,
}


@dataclass(frozen=True, slots=True)
class OmeImage:
    """One image. times: minutes (T,), NaN where unknown; time_source: which attribute they come from."""

    name: str
    channel_names: tuple[str, ...]
    pixel_size_um: float | None
    times: NDArray[np.float64]
    time_source: str


def read_ome_xml(text: str) -> list[OmeImage]:
    """All images of an OME-XML document, in its order."""
    root = ElementTree.fromstring(text)
    return [_image(image, i) for i, image in enumerate(_children(root, "Image"))]


def _children(element: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    """Children by name, whatever the version in the namespace."""
    return [c for c in element if c.tag.rpartition("}")[2] == name]


def _image(image: ElementTree.Element, index: int) -> OmeImage:
    (pixels,) = _children(image, "Pixels")
    n_t = int(pixels.get("SizeT", 1))
    names = tuple(c.get("Name") or f"Channel {i}" for i, c in enumerate(_children(pixels, "Channel")))
    size = float(pixels.get("PhysicalSizeX", 0)) * MICROMETRES.get(pixels.get("PhysicalSizeXUnit", "µm"), 0)
    times, source = _times(pixels, n_t)
    return OmeImage(image.get("Name") or f"Image {index}", names, size or None, times, source)


def _times(pixels: ElementTree.Element, n_t: int) -> tuple[NDArray[np.float64], str]:
    """The planes' own DeltaT (of the first channel and z), else TimeIncrement; both in s by default."""
    times = np.full(n_t, np.nan)
    earliest: dict[int, tuple[int, int]] = {}
    for plane in _children(pixels, "Plane"):
        t, order = int(plane.get("TheT", 0)), (int(plane.get("TheC", 0)), int(plane.get("TheZ", 0)))
        unit = MINUTES.get(plane.get("DeltaTUnit", "s"))
        if plane.get("DeltaT") is not None and unit and t < n_t and order <= earliest.get(t, order):
            earliest[t], times[t] = order, float(plane.get("DeltaT", 0)) * unit
    if usable(times, n_t):
        return times, "OME DeltaT of the planes"
    step, unit = float(pixels.get("TimeIncrement", 0)), MINUTES.get(pixels.get("TimeIncrementUnit", "s"))
    if step > 0 and unit:
        return np.arange(n_t, dtype=np.float64) * step * unit, "OME TimeIncrement"
    return np.full(n_t, np.nan), ""
