"""The `multiscales` of an OME-Zarr image, of any version from 0.1 to 0.6, from its group's attributes.

| version | axes | scale and origin |
|---|---|---|
| 0.1, 0.2 | t, c, z, y, x, not written | not stated |
| 0.3 | names | not stated |
| 0.4, 0.5 | with type and unit | of each dataset, then of the whole |
| 0.6 | of the coordinate system that each dataset's transformation leads to | of each dataset |

What leads from there to further coordinate systems (0.6) is not applied: a voxel has one place, its own system's.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from .errors import DataError

MALFORMED = (KeyError, TypeError, IndexError, AttributeError, ValueError, OverflowError)
CLASSIC = ("t", "c", "z", "y", "x")
TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}


@dataclass(frozen=True)
class Multiscales:
    """One image: its axes as they are written, and a path, scale and translation for each level."""

    version: str
    axes: tuple[str, ...]
    types: tuple[str, ...]
    units: tuple[str | None, ...]  # None: not stated
    paths: tuple[str, ...]
    scales: tuple[tuple[float, ...], ...] | None  # in the axes' units; None: not stated (before 0.4)
    translations: tuple[tuple[float, ...], ...] | None

    @property
    def finest(self) -> int:
        """Which level has the smallest voxels: the first, as the standard wants it, unless another one says so."""
        sizes = np.abs(self.scales or ((1.0,),)).prod(1)
        return int(sizes.argmin()) if sizes.min() < sizes[0] else 0


def attributes_of(stored: Any) -> dict[str, Any]:
    """OME attributes from those of a group: under `ome` since 0.5. Raises DataError for what is no object."""
    inner = stored.get("ome", stored) if isinstance(stored, dict) else stored
    if not isinstance(inner, dict):
        raise DataError(f"attributes are a {type(inner).__name__}; expected an object")
    return inner


def multiscales(stored: dict[str, Any]) -> Multiscales | None:
    """The first image of a group with these attributes; None where there is none.

    Raises DataError naming what is wrong."""
    attributes = attributes_of(stored)
    if not attributes.get("multiscales"):
        return None
    try:
        entry = attributes["multiscales"][0]
        if "axes" not in entry and all("transform" in d for d in entry.get("datasets") or [{}]):
            return None  # of COSEM, who put scale and place on the arrays
        version = str(entry.get("version") or attributes.get("version") or "0.4")
        datasets = entry["datasets"]
        paths = tuple(str(d["path"]) for d in datasets)
        systems = "coordinateSystems" in entry or version in ("0.1", "0.2", "0.3")
        if not systems and not isinstance(entry["axes"], list):
            raise TypeError(f"axes are a {type(entry['axes']).__name__}")
        described = _described(entry)
        axes = tuple(str(a["name"]) for a in described)
        made = [_placed(d, entry, len(axes)) for d in datasets] if _stated(entry) else []
        found = Multiscales(
            version,
            axes,
            tuple(str(a.get("type") or TYPES.get(str(a["name"]), "space")) for a in described),
            tuple(a.get("unit") for a in described),
            paths,
            tuple(scale for scale, _ in made) or None,
            tuple(shift for _, shift in made) or None,
        )
    except DataError:
        raise
    except KeyError as error:
        raise DataError(f"multiscales metadata is malformed: no {error}, which each image and dataset must have") from None
    except MALFORMED as error:
        raise DataError(f"multiscales metadata is malformed ({type(error).__name__}: {error})") from None
    if not paths:
        raise DataError("multiscales metadata names no dataset")
    for path in paths:
        if ".." in PurePosixPath(path).parts or PurePosixPath(path).is_absolute():
            raise DataError(f"datasets path {path!r} leads out of the store")
    return found


def _stated(entry: dict[str, Any]) -> bool:
    """Versions before 0.4 have no transformations at all."""
    return "coordinateSystems" in entry or any(isinstance(a, dict) for a in entry.get("axes", ()))


def _described(entry: dict[str, Any]) -> list[dict[str, Any]]:
    if "coordinateSystems" in entry:
        output = entry["datasets"][0]["coordinateTransformations"][0]["output"]
        wanted = output["name"] if isinstance(output, dict) else output
        known = {system["name"]: system["axes"] for system in entry["coordinateSystems"]}
        if wanted not in known:
            raise DataError(f"coordinateTransformations: output {wanted!r}; expected one of {', '.join(known)}")
        return known[wanted]
    return [a if isinstance(a, dict) else {"name": str(a)} for a in entry.get("axes", CLASSIC)]


def _placed(dataset: dict[str, Any], entry: dict[str, Any], count: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Scale and translation of a level: what its voxel indices are multiplied by, then moved by."""
    steps = list(dataset["coordinateTransformations"])
    if "coordinateSystems" not in entry:
        steps += entry.get("coordinateTransformations", [])
    scale, shift, scaled = np.ones(count), np.zeros(count), "coordinateSystems" in entry
    for step in itertools.chain(*(s["transformations"] if s["type"] == "sequence" else [s] for s in steps)):
        kind = step["type"]
        if kind == "identity":
            continue
        if kind not in ("scale", "translation") or kind not in step:
            raise DataError(f"coordinateTransformations: a {kind} of a dataset; expected scale and translation, in numbers")
        try:
            values = np.asarray(step[kind], float)
        except (TypeError, ValueError, OverflowError):
            values = np.zeros(0)
        if values.shape != (count,):
            raise DataError(f"coordinateTransformations: {kind} {step[kind]}; expected {count} numbers, one per axis")
        if kind == "scale":
            with np.errstate(invalid="ignore"):  # a scale that is not finite is refused by who uses it
                scale, shift, scaled = scale * values, shift * values, True
        else:
            shift = shift + values
    if not scaled:
        raise DataError(f"coordinateTransformations: no scale; expected {count} numbers, one per axis")
    return tuple(float(v) for v in scale), tuple(float(v) for v in shift)


def as_0_6(entry: dict[str, Any]) -> dict[str, Any]:
    """A `multiscales` entry of 0.5 as 0.6 has it: axes in a named system, each dataset with one way into it."""
    system = "physical"
    rest = {key: value for key, value in entry.items() if key not in ("axes", "datasets")}
    datasets = [
        {
            "path": dataset["path"],
            "coordinateTransformations": [
                {
                    "type": "sequence",
                    "input": {"path": dataset["path"]},
                    "output": {"name": system},
                    "transformations": dataset["coordinateTransformations"],
                }
            ],
        }
        for dataset in entry["datasets"]
    ]
    return {**rest, "coordinateSystems": [{"name": system, "axes": entry["axes"]}], "datasets": datasets}
