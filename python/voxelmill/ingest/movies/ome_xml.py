"""What a movie needs of OME-XML: sizes, planes, channel names, pixel size and times, of each image."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...core.space import micrometres_per, minutes_per
from .times import best

MOST_PLANES = 10_000_000  # a document that claims more is damaged or hostile
LEAST_SIDE, MOST_SIDE = 0.01, 20.0  # µm, of a pixel in which cells are seen by light
Stored = tuple[str, str, int]  # UUID and name of a file ("" for the one that holds the XML), page in it


@dataclass(frozen=True, slots=True)
class OmeImage:
    """One image.

    shape: (t, c, z, y, x). times: minutes (t,), NaN where unknown; time_source: which attribute they come from;
    step: minutes between frames by TimeIncrement, NaN without. samples: of each channel. notes: what was not
    understood.
    planes: (t, c, z) -> where it is stored, as TiffData says. stage_um: (y, x), where a plane says it in a length.
    """

    name: str
    channel_names: tuple[str, ...]
    pixel_size_um: float | None
    times: NDArray[np.float64]
    time_source: str
    step: float = np.nan
    shape: tuple[int, int, int, int, int] = (1, 1, 1, 1, 1)
    samples: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    planes: dict[tuple[int, int, int], Stored] = field(default_factory=dict, repr=False)
    stage_um: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Ome:
    """A document. uuid: of the file that holds it; metadata_file: which file holds the metadata in its place."""

    images: list[OmeImage]
    uuid: str = ""
    metadata_file: str = ""


def read_ome(text: str, pages: int = 0) -> Ome:
    """A whole OME-XML document. pages: of the file that holds it, for TiffData that name no number.

    Raises:
        ElementTree.ParseError, ValueError: not XML, or none that can be.
    """
    root = ElementTree.fromstring(text.strip().rstrip("\0"))
    uuid = root.get("UUID", "")
    for other in _children(root, "BinaryOnly"):
        return Ome([], uuid, other.get("MetadataFile", ""))
    return Ome([_image(image, i, pages) for i, image in enumerate(_children(root, "Image"))], uuid)


def read_ome_xml(text: str) -> list[OmeImage]:
    """All images of an OME-XML document, in its order."""
    return read_ome(text).images


def _children(element: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    """Children by name, whatever the version in the namespace."""
    return [c for c in element if c.tag.rpartition("}")[2] == name]


def _image(image: ElementTree.Element, index: int, pages: int) -> OmeImage:
    (pixels,) = _children(image, "Pixels")
    size = {axis: int(pixels.get(f"Size{axis}", 1)) for axis in "TCZYX"}
    if not 0 < size["T"] * size["C"] * size["Z"] <= MOST_PLANES or min(size.values()) < 1:
        raise ValueError(f"image {index} claims to have {size['T']} x {size['C']} x {size['Z']} planes")
    channels = _children(pixels, "Channel")
    samples = tuple(int(c.get("SamplesPerPixel", 1)) for c in channels)
    names = tuple(c.get("Name") or f"Channel {i}" for i, c in enumerate(channels))
    names += tuple(f"Channel {i}" for i in range(len(names), size["C"] // max([1, *samples])))
    sides = [(float(pixels.get(f"PhysicalSize{a}", 0)), pixels.get(f"PhysicalSize{a}Unit", "µm")) for a in "XY"]
    pixel_size, notes = pixel_size_of(*sides)
    times, source, step, said = _times(pixels, size["T"])
    name = image.get("Name") or f"Image {index}"
    shape = (size["T"], size["C"], size["Z"], size["Y"], size["X"])
    beyond: list[int] = []
    listed = list(_planes(pixels, size, pages, beyond))
    planes = dict(listed)
    if twice := len(set(listed)) - len(planes):
        notes += (f"its metadata name {twice} planes a second time, on another page: the last counts.",)
    if shared := len(planes) - len(set(planes.values())):
        notes += (f"{shared} of its planes lie on the page of another one by its metadata: they show the same.",)
    if beyond:
        notes += (f"its metadata place {sum(beyond)} planes beyond the sizes that they state: these are not read.",)
    return OmeImage(name, names, pixel_size, times, source, step, shape, samples, notes + said, planes, _stage(pixels))


def _stage(pixels: ElementTree.Element) -> tuple[float, float] | None:
    """Of the first plane that states both positions, with a unit of length (the format's default is none)."""
    for plane in _children(pixels, "Plane"):
        per = [micrometres_per(plane.get(f"Position{axis}Unit")) for axis in "YX"]
        if per[0] and per[1] and plane.get("PositionY") and plane.get("PositionX"):
            return float(plane.get("PositionY", 0)) * per[0], float(plane.get("PositionX", 0)) * per[1]
    return None


def pixel_size_of(x: tuple[float, str], y: tuple[float, str] = (0.0, "")) -> tuple[float | None, tuple[str, ...]]:
    """Side of a pixel in micrometres, by what a file says along x, else along y, each a value and its unit; None where
    it says nothing of use. With notes on what is not understood or cannot well be."""
    found: list[float | None] = []
    notes: dict[str, None] = {}
    for value, unit in (x, y):
        factor = micrometres_per(unit)
        told = 0 < value < np.inf
        found.append(value * factor if told and factor else None)
        if told and not factor:
            said = f"is given in {unit!r}, which is no length" if unit else "is given without a unit"
            notes[f"its pixel size {said}: lengths are in pixels."] = None
    side, other = found[0] or found[1], found[1]
    if side and other and abs(other / side - 1) > 0.01:
        notes[f"its pixels are not square ({side:g} x {other:g} µm): lengths are by the first."] = None
    if side and not LEAST_SIDE <= side <= MOST_SIDE:
        notes[f"its pixels are {side:g} µm wide by its metadata: is that the density of a print, or of another unit?"] = None
    return side, tuple(notes)


def step_of(value: float, unit: str) -> tuple[float, tuple[str, ...]]:
    """Minutes between frames, NaN and a note where the unit is not known."""
    if not value > 0:
        return np.nan, ()
    factor = minutes_per(unit)
    if factor is None:
        return np.nan, (f"its frame interval is given in {unit!r}, which is no time: it is not used.",)
    return value * factor, ()


def _planes(
    pixels: ElementTree.Element, size: dict[str, int], pages: int, beyond: list[int]
) -> Iterator[tuple[tuple[int, int, int], Stored]]:
    """Where each plane is stored. TiffData name the first plane and page of a run, in the order of dimensions.
    beyond: numbers of planes outside of the sizes are added to it."""
    order = [axis for axis in pixels.get("DimensionOrder", "XYZCT")[2:] if axis in "TCZ"]
    lengths = [size[axis] for axis in order]
    total = int(np.prod(lengths))
    for data in _children(pixels, "TiffData"):
        uuid, file = "", ""
        for of in _children(data, "UUID"):
            uuid, file = (of.text or "").strip(), of.get("FileName", "")
        ifd = data.get("IFD")
        n = int(data.get("PlaneCount", 1 if ifd is not None else pages or total))
        start = [int(data.get(f"First{axis}", 0)) for axis in order]
        if any(not 0 <= at < length for at, length in zip(start, lengths)):
            beyond.append(n)
            continue
        first = int(np.ravel_multi_index(start, lengths, order="F"))
        if ifd is not None and first + n > total:
            beyond.append(first + n - total)
        for k in range(min(n, total - first)):
            at = dict(zip(order, np.unravel_index(first + k, lengths, order="F")))
            yield (int(at["T"]), int(at["C"]), int(at["Z"])), (uuid, file, int(ifd or 0) + k)


def _times(pixels: ElementTree.Element, n_t: int) -> tuple[NDArray[np.float64], str, float, tuple[str, ...]]:
    """The planes' own DeltaT (of the first channel and z), and the step by TimeIncrement; both in s by default."""
    times, notes = np.full(n_t, np.nan), set()
    earliest: dict[int, tuple[int, int]] = {}
    for plane in _children(pixels, "Plane"):
        t, order = int(plane.get("TheT", 0)), (int(plane.get("TheC", 0)), int(plane.get("TheZ", 0)))
        if plane.get("DeltaT") is not None and 0 <= t < n_t and order <= earliest.get(t, order):
            unit = minutes_per(plane.get("DeltaTUnit", "s"))
            if unit is None:
                notes.add(f"its times are given in {plane.get('DeltaTUnit')!r}, which is no time: they are not used.")
                continue
            earliest[t], times[t] = order, float(plane.get("DeltaT", 0)) * unit
    step, said = step_of(float(pixels.get("TimeIncrement", 0)), pixels.get("TimeIncrementUnit", "s"))
    times, source = best([(times, "OME DeltaT of the planes"), (np.arange(n_t) * step, "OME TimeIncrement")], n_t)
    return times, source, step, (*sorted(notes), *said)
