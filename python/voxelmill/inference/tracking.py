"""Cell tracking in three passes: measure the label frames, link the tables, relabel the frames.

    tables = [region_table(frame) for frame in movie]      # one frame in memory at a time
    tracks = track(tables)                                 # no pixels at all
    tracked = [tracks.relabel(t, frame) for t, frame in enumerate(movie)]

Methods: `growth` (default), which expects cells to move, grow and divide, and `iou`, the bounding-box
overlap of the PyAMA workflow. A plug-in is a function from tables to `Links`, passed as `method`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxelmill.core.errors import DataError, ParameterError

from .cell_tables import Regions, region_table, relabel_frame
from .growth import link_growth
from .linking import Links, packing

__all__ = [
    "METHODS",
    "Links",
    "Regions",
    "Tracks",
    "link_growth",
    "link_iou",
    "link_labels",
    "region_table",
    "relabel_frame",
    "track",
]

NODE = np.dtype([("frame", "i4"), ("label", "i8"), ("track_id", "u4"), ("y", "f8"), ("x", "f8"), ("area", "f8")])
TRACK = np.dtype([("track_id", "u4"), ("first", "i4"), ("last", "i4"), ("parent", "u4")])


@dataclass(frozen=True, slots=True)
class Tracks:
    """A tracked movie.

    Attributes:
        tracks: (k,) TRACK, by track_id: `first` and `last` frame (both included), `parent` (0 = none).
        nodes: (n,) NODE, by frame and label: which track each region belongs to, its centroid in px and its
            area. A region left out for its size has track_id 0.
    """

    tracks: NDArray
    nodes: NDArray

    def ids(self, t: int) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
        """The labels of frame t and their track ids, both (n_t,)."""
        low, high = np.searchsorted(self.nodes["frame"], [t, t + 1])
        return self.nodes["label"][low:high], self.nodes["track_id"][low:high]

    def relabel(self, t: int, labels: NDArray) -> NDArray[np.uint32]:
        """Frame t, (y, x), with track ids in place of its labels, as uint32: more than 65,535 ids never wrap.

        Raises:
            DataError: the frame has a label that frame t did not have when it was tracked.
        """
        return relabel_frame(labels, *self.ids(t))


Method = Callable[..., Links]


def track(
    tables: Sequence[Regions], method: str | Method = "growth", *, min_size: int = 0, max_size: int = 0, **params: object
) -> Tracks:
    """Link the regions of a movie into tracks.

    Args:
        tables: one table per frame, from `region_table`; frames without regions are fine.
        method: "growth", "iou", "labels" (the labels are track ids already), or a function `(tables,
            **params) -> Links`.
        min_size, max_size: regions outside these areas (px, both included; 0 = no bound) are left out: they
            get id 0.
        params: the parameters of the method.

    Raises:
        ParameterError: a method or parameter that is not known, bounds that contradict each other, a
            parameter out of its bounds.
        DataError: frames of unequal size, or a method whose answer is not a set of tracks.
    """
    if isinstance(method, str):
        if method not in METHODS:
            raise ParameterError(f"tracking method {method!r} is not known; choose one of {sorted(METHODS)}")
        method = METHODS[method]
        if unknown := set(params) - set(inspect.signature(method).parameters):
            raise ParameterError(f"tracking method {method.__name__} has no parameter {sorted(unknown)}")
    shapes = [r.shape for r in tables]
    if len(set(shapes)) > 1:
        t = next(t for t, shape in enumerate(shapes) if shape != shapes[0])
        raise DataError(f"tracking: frame {t} is {shapes[t]}, frame 0 is {shapes[0]}; expected equal frames")
    if min_size < 0 or max_size < 0 or 0 < max_size < min_size:
        raise ParameterError(
            f"tracking: min_size {min_size} and max_size {max_size} leave no region; expected "
            "0 <= min_size <= max_size, or max_size 0 for no bound"
        )
    sized = [(r.area >= min_size) & ((r.area <= max_size) | (max_size == 0)) for r in tables]
    links = method([r.take(keep) for r, keep in zip(tables, sized)], **params)
    ids = _checked(links, sized, getattr(method, "__name__", str(method)))
    table = np.concatenate([np.zeros(0, NODE), *(_node_rows(t, r, i) for t, (r, i) in enumerate(zip(tables, ids)))])
    return Tracks(_track_table(table, links.parents), table)


def _checked(links: Links, sized: Sequence[NDArray], name: str) -> list[NDArray[np.int64]]:
    """Ids of all regions, those left out included; a method that breaks the rules is refused by its name."""
    if len(links.ids) != len(sized):
        raise DataError(f"tracking method {name} answered {len(links.ids)} frames, expected {len(sized)}")
    out = []
    for t, (found, keep) in enumerate(zip(links.ids, sized)):
        ids = np.zeros(len(keep), np.int64)
        found = np.asarray(found, np.int64)
        if len(found) != keep.sum():
            raise DataError(f"tracking method {name}, frame {t}: {len(found)} ids for {keep.sum()} regions")
        if len(found) and (found.min() < 1 or found.max() > np.iinfo(np.uint32).max):
            raise DataError(
                f"tracking method {name}, frame {t}: ids {found.min()} to {found.max()}, "
                f"expected 1 to {np.iinfo(np.uint32).max}"
            )
        if len(np.unique(found)) != len(found):
            raise DataError(f"tracking method {name}, frame {t}: one id was given to two regions")
        ids[keep] = found
        out.append(ids)
    return out


def _node_rows(t: int, regions: Regions, ids: NDArray) -> NDArray:
    nodes = np.empty(len(regions), NODE)
    nodes["frame"], nodes["label"], nodes["track_id"], nodes["area"] = t, regions.label, ids, regions.area
    nodes["y"], nodes["x"] = regions.centroid.T
    return nodes


def _track_table(nodes: NDArray, parents: dict[int, int]) -> NDArray:
    tracked = nodes[nodes["track_id"] > 0]
    ids, first = np.unique(tracked["track_id"], return_index=True)  # nodes are in order of time
    last = len(tracked) - 1 - np.unique(tracked["track_id"][::-1], return_index=True)[1]
    table = np.zeros(len(ids), TRACK)
    table["track_id"], table["first"], table["last"] = ids, tracked["frame"][first], tracked["frame"][last]
    row = {int(i): k for k, i in enumerate(ids)}
    for child, parent in parents.items():
        if child not in row or parent not in row:
            raise DataError(f"tracking: daughter {child} of parent {parent}: there is no such track")
        if table["last"][row[parent]] >= table["first"][row[child]]:
            raise DataError(
                f"tracking: parent {parent} is still there in frame "
                f"{table['last'][row[parent]]}, but its "
                f"daughter {child} begins in frame {table['first'][row[child]]}"
            )
        table["parent"][row[child]] = parent
    return table


def link_iou(tables: Sequence[Regions], *, min_iou: float = 0.1) -> Links:
    """The tracking of the PyAMA workflow: IoU of bounding boxes, Hungarian assignment from frame to frame.

    A region without a partner of at least `min_iou` in the frame before gets a new id. No gaps, no
    divisions. Boxes that do not overlap are never compared, and each group of overlapping boxes is assigned
    for itself.
    """
    if not 0 < min_iou <= 1:
        raise ParameterError(f"tracking: min_iou is {min_iou}, expected 0 < min_iou <= 1")
    ids, next_id, before = [], 1, None
    for regions in tables:
        now = np.zeros(len(regions), np.int64)
        if before is not None and len(before) and len(regions):
            i, j, iou = _box_iou(before.bbox, regions.bbox)
            good = iou >= min_iou
            i, j, iou = i[good], j[good], iou[good]
            taken = packing(np.stack([i, j + len(before)], axis=1), iou, len(before) + len(regions))
            now[j[taken]] = ids[-1][i[taken]]
        new = np.flatnonzero(now == 0)
        now[new] = np.arange(next_id, next_id + len(new))
        next_id += len(new)
        ids.append(now)
        before = regions
    return Links(ids, {})


def _box_iou(a: NDArray, b: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Index pairs of overlapping boxes (y0, x0, y1, x1), and their IoU."""
    from scipy.spatial import cKDTree

    # boxes overlap only if their centres are nearer than the largest height and width
    largest = np.maximum((a[:, 2:] - a[:, :2]).max(axis=0), (b[:, 2:] - b[:, :2]).max(axis=0))
    centres = (cKDTree((box[:, :2] + box[:, 2:]) / 2 / largest) for box in (a, b))
    near = next(centres).sparse_distance_matrix(next(centres), 1.0, p=np.inf, output_type="ndarray")
    i, j = near["i"], near["j"]
    side = np.minimum(a[i, 2:], b[j, 2:]) - np.maximum(a[i, :2], b[j, :2])
    inter = np.where((side > 0).all(axis=1), side.prod(axis=1), 0)
    both = (a[i, 2:] - a[i, :2]).prod(axis=1) + (b[j, 2:] - b[j, :2]).prod(axis=1)
    hit = inter > 0
    return i[hit], j[hit], (inter / (both - inter))[hit]


def link_labels(tables: Sequence[Regions]) -> Links:
    """Labels that are track ids already, as they are: for movies that something else has tracked."""
    return Links([regions.label for regions in tables], {})


METHODS: dict[str, Method] = {"growth": link_growth, "iou": link_iou, "labels": link_labels}
