"""OME-Zarr movies (0.4 and 0.5), by the package `zarr`.

A store is one image, or a collection (bioformats2raw layout, or a plate) whose images are the fields of view.
Times come from the OME-XML beside a bioformats2raw collection, else from the scale of the time axis and its
unit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.core.errors import DataError

from .movie import Fov, Movie
from .ome_xml import MICROMETRES, MINUTES, OmeImage, read_ome_xml


class ZarrMovie(Movie):
    """An OME-Zarr store; level 0 of each image is read."""

    file_type = "ome-zarr"

    def __init__(self, path: Path):
        self.path = path
        import zarr

        try:
            root = zarr.open_group(str(path), mode="r")
        except Exception as error:
            raise DataError(
                f"{path}: not an OME-Zarr group ({type(error).__name__}); give a folder with "
                "multiscales metadata, or one movie file"
            ) from error
        groups = _images(root, path)
        ome = _ome_xml(path)
        self._arrays, self._axes, fovs, channels, sizes = [], [], [], [], []
        for i, (name, group) in enumerate(groups):
            scales = _ome(group)["multiscales"][0]
            axes = "".join(a["name"] if isinstance(a, dict) else a for a in scales["axes"]).upper()
            array = group[scales["datasets"][0]["path"]]
            if axes[-2:] != "YX" or set(axes) - set("TCZYX") or len(set(axes)) < len(axes) != array.ndim:
                raise DataError(
                    f"{path}: image {name!r} has axes {axes!r} {array.shape}; expected some of t, c, z, then y, x"
                )
            size = dict(zip(axes, array.shape))
            units = [a.get("unit", "") if isinstance(a, dict) else "" for a in scales["axes"]]
            scale = _scale(scales)
            image = ome[i] if len(ome) == len(groups) else None
            times, source = _times(size.get("T", 1), axes, scale, units, image)
            self.time_source = source
            x = axes.index("X")
            sizes.append(scale[x] * MICROMETRES.get(units[x], 0))
            channels.append(_channels(group, size.get("C", 1), image))
            self._arrays.append(array)
            self._axes.append(axes)
            fovs.append(Fov(name, size["Y"], size["X"], size.get("T", 1), size.get("Z", 1), times))
        if len({len(c) for c in channels}) > 1:
            raise DataError(
                f"{path}: its images have {sorted({len(c) for c in channels})} channels, "
                "expected the same number in all; convert them apart"
            )
        self.fovs, self.channel_names = tuple(fovs), channels[0]
        self.dtype, self.pixel_size_um = np.dtype(self._arrays[0].dtype), sizes[0] or None

    def _plane(self, fov: int, t: int, channel: int, z: int) -> NDArray:
        at = {"T": t, "C": channel, "Z": z, "Y": slice(None), "X": slice(None)}
        return self._arrays[fov][tuple(at[a] for a in self._axes[fov])]


def _ome(group: Any) -> dict[str, Any]:
    """OME metadata: under "ome" from 0.5 on, at the top before."""
    attributes = dict(group.attrs)
    return attributes.get("ome", attributes)


def _images(root: Any, path: Path) -> list[tuple[str, Any]]:
    """Names and groups of the images in the store."""
    ome = _ome(root)
    if "multiscales" in ome:
        return [("Image 0", root)]
    if "plate" in ome:
        return [
            (f"{well['path']}/{image['path']}", root[f"{well['path']}/{image['path']}"])
            for well in ome["plate"]["wells"]
            for image in _ome(root[well["path"]])["well"]["images"]
        ]
    names = [n for n in root.group_keys() if n.isdecimal() and "multiscales" in _ome(root[n])]
    if not names:
        raise DataError(f"{path}: no OME multiscales metadata in the store; expected OME-Zarr 0.4 or 0.5")
    return [(name, root[name]) for name in sorted(names, key=int)]


def _ome_xml(path: Path) -> list[OmeImage]:
    file = path / "OME" / "METADATA.ome.xml"
    return read_ome_xml(file.read_text(encoding="utf-8")) if file.exists() else []


def _scale(scales: dict[str, Any]) -> NDArray[np.float64]:
    """Scale of level 0 per axis: the level's own times the common one."""
    total = np.ones(len(scales["axes"]))
    for owner in (scales, scales["datasets"][0]):
        for transform in owner.get("coordinateTransformations", []):
            if transform.get("type") == "scale":
                total = total * np.asarray(transform["scale"], float)
    return total


def _times(n_t: int, axes: str, scale: NDArray, units: list[str], image: OmeImage | None) -> tuple[NDArray[np.float64], str]:
    if image is not None and len(image.times) == n_t and np.isfinite(image.times).all():
        return image.times, image.time_source
    unit = MINUTES.get(units[axes.index("T")]) if "T" in axes else None
    if unit and scale[axes.index("T")] > 0:
        return np.arange(n_t) * scale[axes.index("T")] * unit, "OME-Zarr scale of the time axis"
    return np.full(n_t, np.nan), ""


def _channels(group: Any, n: int, image: OmeImage | None) -> tuple[str, ...]:
    labels = [c.get("label") for c in _ome(group).get("omero", {}).get("channels", [])]
    names = labels or list(image.channel_names if image else ())
    return tuple((names[c] if c < len(names) else None) or f"Channel {c}" for c in range(n))
