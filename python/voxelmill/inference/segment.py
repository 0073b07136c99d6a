"""Segment: supervoxels, and the tables by which they are joined; no later step looks at voxels for that.

A task takes whole sections. `learned` (the default) asks a network which voxels belong together and leaves the region
graph. `classic` floods each section, counts how supervoxels lie on each other from section to section (the first section
of the next slab is segmented here too, for that) and across tile seams.
"""

from __future__ import annotations

import functools
import itertools
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from ..core.errors import DataError
from ..core.params import Methods, Params, param
from ..core.provenance import Task
from ..core.stage import In, Out
from ..core.volume import Image, Layout, create_image, open_image
from . import negative, resampled, section_linking, seeded_watershed, supervoxels
from .slabs import Column, columns_of, histograms, slabs_of

HOW = "How neurites are segmented: by a network, or by grey level alone"
MODEL = Path(__file__).with_name("neurites_model")
FOREST = Path(__file__).with_name("forest_model")


class Learned(Params):
    """`--segmentation learned`: basins of the affinities that a network finds."""

    segmentation: Literal["learned"] = param("learned", HOW)
    model: str = param("", "Folder of a network, as `voxelmill train` makes; empty: the one that comes along", path=True)
    model_mismatch: Literal["warn", "refuse", "resample"] = param(
        "resample",
        "What happens where the network has not been shown voxels of this size; resample: it is shown the nearest that it "
        "knows, and what it finds is brought back, where that is over 1.4 times off",
    )


class Forest(Learned):
    """`--segmentation forest`: the same, of affinities that decision trees find."""

    segmentation: Literal["forest"] = param("forest", HOW)  # type: ignore[assignment]


class Classic(Params):
    """`--segmentation classic`: seeded watershed in each section."""

    segmentation: Literal["classic"] = param("classic", HOW)
    foreground_quantile: float = param(0.55, "Share of a section's pixels that are not foreground", ge=0, lt=1)
    seed_distance: int = param(8, "Least distance between two seeds", unit="px", ge=1, le=64)
    min_size: int = param(128, "Smaller pieces of foreground get no seed", unit="px", ge=0)
    merge_level: int = param(
        90, "Neighbours whose boundary is brighter than this on average are one; 255: none", unit="grey level", ge=0, le=255
    )
    segment_shrink: Literal[1, 2] = param(
        2, "2: flood at half resolution, three times as fast; 1: at full, for accuracy", unit="px"
    )


Parameters = Methods("segmentation", Learned, Forest, Classic)


def run(
    p: Learned | Classic, task: Task, *, volume: In, block: str, model: In | None = None, output: Out, overlaps: Out
) -> None:
    source = open_image(volume)
    lay = source.layout()
    target = create_image(output, Layout(lay.shape, "uint64", lay.chunk, lay.shard), source.space, label=True)
    if isinstance(p, Learned):
        learned(p, task, source, target, block, model or (FOREST if isinstance(p, Forest) else MODEL), overlaps)
    else:
        classic(p, task, source, target, block, overlaps)


def learned(p: Learned, task: Task, source: Image, target: Image, block: str, folder: Path, overlaps: Path) -> None:
    card = task.model(folder).card
    kind = "forest" if isinstance(p, Forest) else "neurites"
    if card["kind"] != kind:
        raise DataError(f"{folder}: a model of kind {card['kind']}; --segmentation {p.segmentation} expects one of {kind}")
    steps, notes = resampled.SAME, list[str]()
    if remark := unlike(card, source):
        if p.model_mismatch == "refuse":
            raise DataError(f"{folder}: {remark}; give another --model, or --model_mismatch warn")
        if p.model_mismatch == "resample":
            steps = resampled.steps_of(card, source)
            shown = tuple(float(f"{s * n:.4g}") for s, n in zip(source.space.scale, steps))
            remark += f"; it was shown voxels of {shown} nm" if steps != resampled.SAME else ""
        notes.append(f"{remark}; look at the result, or train on this volume")
    if steps == resampled.SAME and block.startswith("0-") and negative.better(supervoxels.network(folder), source):
        notes.append("membranes look brighter than what they enclose; if they are, run with --membranes bright")
    for note in notes:
        print(f"WARNING [segment] {note}", file=sys.stderr)
    if notes:
        task.report(notes=notes)
    graph = supervoxels.segment(folder, source, target, block, task, steps)
    supervoxels.save(overlaps, graph)
    task.report(supervoxels=graph.number, empty_sections=graph.blank)


def unlike(card: dict[str, Any], source: Image) -> str:
    """What is new to a network in the voxel size of a volume, or nothing."""
    known = card.get("voxel_size_nm")
    if not known or not source.space.known:
        return ""
    size = source.space.scale
    if all(low <= s <= high for low, s, high in zip(known["least"], size, known["largest"], strict=True)):
        return ""
    return f"voxels of {size} nm (z, y, x), and the network was shown {known['least']} to {known['largest']}"


def classic(p: Classic, task: Task, source: Image, target: Image, block: str, overlaps: Path) -> None:
    lay = source.layout()
    slabs = slabs_of(lay, block)
    tables = Tables(seeded_watershed.tiles(lay.shape).first(slabs[0].start + 1, 0, 0))
    columns = columns_of(lay)
    for z in slabs:
        below = slice(z.start, min(z.stop + 1, lay.shape[0]))  # with the first section of the next slab
        foreground = thresholds(p, source, below, columns, task)
        edges = Edges()
        work = functools.partial(segment_column, p, source, target, z, foreground)
        for found in task.each(work, columns, f"columns of sections {z.start} on"):
            tables.add_slab(found.tables)
            edges.add_seams(found, tables)
    tables.save(overlaps)
    nothing = Counter(tables.empty)  # a section has an entry for each column that is empty
    task.report(supervoxels=tables.number, empty_sections=[z for z in sorted(nothing) if nothing[z] == len(columns)])


class Segmented(NamedTuple):
    """What is known of a column of a slab when its supervoxels are written."""

    tables: Tables
    at: Column
    first: tuple[np.ndarray, np.ndarray]  # uint64 (z, x) of its first row, (z, y) of its first column of pixels
    last: tuple[np.ndarray, np.ndarray]  # ... and of the last ones


def segment_column(p: Classic, source: Image, target: Image, z: slice, foreground: np.ndarray, column: Column) -> Segmented:
    """Segment the sections of a slab in one column and write them.

    foreground: grey level of each section, and of the first one of the next slab, which is segmented too."""
    depth, height, width = source.shape
    y, x = column
    below = slice(z.start, min(z.stop + 1, depth))
    core = ((y.start, y.stop), (x.start, x.stop))
    need = [seeded_watershed.source_range(*span, size) for span, size in zip(core, (height, width))]
    found = seeded_watershed.segment_block(
        source.read((below, *(slice(*n) for n in need))),
        foreground,
        first_section=z.start,
        section_shape=(height, width),
        origin=(need[0][0], need[1][0]),
        core=core,
        quantile=p.foreground_quantile,
        min_distance=p.seed_distance,
        min_size=p.min_size,
        merge_level=p.merge_level,
        shrink=p.segment_shrink,
    )
    tables, inside = Tables(), z.stop - z.start
    labels = found.labels[:inside]
    target.write((z, y, x), labels)
    beyond = seeded_watershed.tiles(source.shape).first(z.stop, 0, 0)  # ids of the next slab's section are its own
    tables.add_ids(found.ids[found.ids < beyond], found.empty[:inside], z.start)
    for upper, lower in itertools.pairwise(found.labels):
        tables.add_sections(upper, lower, p.segment_shrink)
    for section in labels:
        for at in range(seeded_watershed.MAX_TILE, section.shape[0], seeded_watershed.MAX_TILE):
            tables.add_seam(section[at - 1], section[at])
        for at in range(seeded_watershed.MAX_TILE, section.shape[1], seeded_watershed.MAX_TILE):
            tables.add_seam(section[:, at - 1], section[:, at])
    first, last = ((labels[:, n].copy(), labels[:, :, n].copy()) for n in (0, -1))
    return Segmented(tables, column, first, last)


class Edges:
    """The last rows and columns of pixels of what was segmented so far: what the next column's seams are with."""

    def __init__(self) -> None:
        self.left: np.ndarray | None = None
        self.above: dict[int, np.ndarray] = {}

    def add_seams(self, found: Segmented, tables: Tables) -> None:
        """Columns come in raster order."""
        y, x = found.at
        for n in range(len(found.first[0])):
            if x.start and self.left is not None:
                tables.add_seam(self.left[n], found.first[1][n])
            if y.start:
                tables.add_seam(self.above[x.start][n], found.first[0][n])
        self.left, self.above[x.start] = found.last[1], found.last[0]


def thresholds(p: Classic, source: Image, z: slice, columns: list[Column], task: Task) -> np.ndarray:
    """Foreground grey level of each section, from the histogram of all of it."""
    return seeded_watershed.threshold(histograms(source, z, columns, task), p.foreground_quantile)


class Tables:
    """Ids, overlaps and seams of a block, gathered and saved; `first_ends`: smallest id past its first section."""

    def __init__(self, first_ends: int = 0) -> None:
        self.first_ends = first_ends
        self.ids: list[np.ndarray] = []
        self.sections: list[section_linking.Overlaps] = []
        self.seams: list[section_linking.Overlaps] = []
        self.empty: list[int] = []

    @property
    def number(self) -> int:
        return sum(len(i) for i in self.ids)

    def add_ids(self, ids: np.ndarray, empty: np.ndarray, first: int) -> None:
        self.ids.append(ids)
        self.empty += [int(z) + first for z in np.flatnonzero(empty)]

    def add_sections(self, upper: np.ndarray, lower: np.ndarray, step: int = 1) -> None:
        self.sections.append(section_linking.section_overlaps(upper, lower, step=step))

    def add_seam(self, one: np.ndarray, other: np.ndarray) -> None:
        self.seams.append(section_linking.section_overlaps(one, other))

    def add_slab(self, more: Tables) -> None:
        self.ids += more.ids
        self.sections += more.sections
        self.seams += more.seams
        self.empty += more.empty

    def save(self, path) -> None:
        parts = {
            "ids": np.concatenate(self.ids) if self.ids else np.zeros(0, np.uint64),
            "first_ends": np.uint64(self.first_ends),
        }
        for name, tables in (("sections", self.sections), ("seams", self.seams)):
            for part, column in zip(("pairs", "counts", "sizes"), section_linking.concatenate(tables)):
                parts[f"{name}_{part}"] = column
        with open(path, "wb") as file:
            np.savez(file, **parts)  # type: ignore[arg-type]


def load_tables(path) -> tuple[np.ndarray, section_linking.Overlaps, section_linking.Overlaps, int]:
    """(ids, overlaps between sections, overlaps across seams, smallest id past the first section) of one block."""
    with np.load(path) as parts:
        both = [
            section_linking.Overlaps(*(parts[f"{n}_{c}"] for c in ("pairs", "counts", "sizes")))
            for n in ("sections", "seams")
        ]
        return parts["ids"], both[0], both[1], int(parts["first_ends"])
