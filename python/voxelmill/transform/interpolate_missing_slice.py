"""Interpolate a missing slice: the slab of tissue that was cut away unseen, or not unseen at all.

    z of the block   slice before            What the slice before shows below its own slab is the missing slab: it is
      0 ----------   | imaged |              measured, however bad the next slice was. Only what nobody has seen is
      T - - - - -    |        |  missing     interpolated, from the planes on either side.
      2T - - - - -   |________|  slice
                      slice after, from 2T

z = 0 of what is written is the surface that the missing slice would have had. Where the gates of `zmorph` do not open
nothing is written but the reason, and the slot stays empty.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..core import blocks, slices
from ..core.params import param
from ..core.pictures import save_png
from ..core.provenance import Task
from ..core.shared import Sectioning, Strict
from ..core.space import MM, NM_PER_MM, Axis, Space
from ..core.stage import In, Out
from ..core.volume import Image, Layout, Region, create_image, open_image
from . import zmorph
from .affine import Metric

MANIFEST = ("slice_id", "interpolated", "interpolation_failed", "interpolation_method_used", "interpolation_fallback_reason")
SMOOTH = 2.0  # planes: sigma of `weighted`


class Parameters(Sectioning, Strict):
    """Missing slices."""

    interpolation_measured: bool = param(
        True, "Take what the slice before shows of the missing slab, before anything is made up"
    )
    interpolation_method: Literal["zmorph", "weighted", "average"] = param(
        "zmorph", "How planes that nobody has seen are made"
    )
    interpolation_blend_method: zmorph.Blend = param(
        "gaussian", "zmorph: how the two sides are mixed; gaussian: fading in from rims"
    )
    interpolation_registration_metric: Metric = param(
        "MSE", "zmorph: what registration makes small; CC: brightness does not matter"
    )
    interpolation_max_iterations: int = param(1000, "zmorph: most steps of the registration", ge=1)
    interpolation_overlap_search_window: int = param(
        5, "zmorph: planes to each side among which the most alike pair is looked for", ge=1
    )
    interpolation_min_overlap_correlation: float = param(0.3, "zmorph: least correlation of that pair", ge=-1, le=1)
    interpolation_reference_slab_size: int = param(3, "zmorph: planes averaged for the registration", ge=1)
    interpolation_min_foreground_fraction: float = param(0.1, "zmorph: part of a plane that must show something", ge=0, le=1)
    interpolation_min_ncc_improvement: float = param(
        0.05,
        "zmorph: least gain of correlation by a transform; with less, planes that are alike pass into each other unmoved",
        ge=0,
    )
    interpolation_preview: bool = param(False, "Draw a missing slice: what was decided, planes on either side, those between")

    @property
    def gates(self) -> zmorph.Gates:
        return zmorph.Gates(
            self.interpolation_registration_metric, self.interpolation_max_iterations,
            self.interpolation_min_overlap_correlation, self.interpolation_reference_slab_size,
            self.interpolation_min_foreground_fraction, self.interpolation_min_ncc_improvement,
        )  # fmt: skip


Made = Callable[[Region], np.ndarray]


def run(
    p: Parameters, task: Task, *, before: In, after: In, slice: str, manifest: Out, diagnostics: Out,
    output: Out | None = None, preview: Out | None = None,
) -> None:  # fmt: skip
    above, below, n = open_image(before), open_image(after), slices.number_of(slice)
    dz = above.scale[0] / NM_PER_MM
    planes = max(1, round(p.registration_slicing_interval_mm / dz))
    facts: dict[str, Any] = {"slice": n, "planes": planes, "measured_planes": seen_of(p, above.shape[0], planes)}
    try:
        made, method, more = fill(p, above, below, planes)
        facts |= {"method": method, **more}
        if output:
            write(output, above, made, planes, p.registration_slicing_interval_mm)
        told = f"filled: {method}, {facts['measured_planes']} of its {planes} planes are shown by the slice before"
        row = {"interpolated": True, "interpolation_failed": False, "interpolation_method_used": method}
    except zmorph.Rejected as why:
        facts |= {"rejected": str(why)}
        task.quarantine([slices.name_of(n)], f"not interpolated, stays a gap: {why}")
        told = f"stays a gap: {why}"
        row = {"interpolated": False, "interpolation_failed": True, "interpolation_fallback_reason": str(why)}
    if p.interpolation_preview and preview:
        draw(preview, above, open_image(output) if output and output.exists() else None, below, n, told)
    write_manifest(manifest, n, row)
    diagnostics.write_text(json.dumps(facts, indent=1))
    task.report(**{k: v for k, v in facts.items() if k not in ("gates", "matrix")})


def seen_of(p: Parameters, depth: int, planes: int) -> int:
    """How many planes of the missing slab the slice before shows."""
    return int(np.clip(depth - planes, 0, planes)) if p.interpolation_measured else 0


def fill(p: Parameters, above: Image, below: Image, planes: int) -> tuple[Made, str, dict[str, Any]]:
    """What a region of the missing slab shows, by what method, and facts. Raises Rejected."""
    seen, depth = seen_of(p, above.shape[0], planes), above.shape[0]

    def measured(region: Region) -> np.ndarray:
        z, y, x = region
        return above.read((slice(z.start + planes, z.stop + planes), y, x))

    if seen == planes:
        return measured, "measured", {}
    # Counted in planes of the slice before: its last one there, the first one of the slice after.
    last = (planes + seen if seen else min(depth, planes)) - 1
    shares = (np.arange(planes + seen, 2 * planes) - last) / (2 * planes - last)
    made, more = between(p, above, below, last + 1, shares)

    def both(region: Region) -> np.ndarray:
        z, y, x = region
        top = [measured((slice(z.start, min(z.stop, seen)), y, x))] if z.start < seen else []
        rest = [made((slice(max(z.start, seen) - seen, z.stop - seen), y, x))] if z.stop > seen else []
        return np.concatenate(top + rest)

    return both, f"measured+{p.interpolation_method}" if seen else p.interpolation_method, more


def between(p: Parameters, above: Image, below: Image, stop: int, shares: np.ndarray) -> tuple[Made, dict[str, Any]]:
    """Planes at shares of the way from plane `stop` - 1 of the slice before to plane 0 of the slice after."""
    window = max(p.interpolation_overlap_search_window, p.interpolation_reference_slab_size)
    ends = above.read(np.s_[max(0, stop - window) : stop]), below.read(np.s_[:window])
    if p.interpolation_method == "zmorph":
        morph = zmorph.estimate(*ends, p.gates)

        def morphed(region: Region) -> np.ndarray:
            z, y, x = region
            corner, shape = (y.start, x.start), (y.stop - y.start, x.stop - x.start)
            return np.stack([zmorph.plane(morph, float(a), corner, shape, p.interpolation_blend_method) for a in shares[z]])

        return morphed, morph.facts
    mean = mixed(ends[0][-1], ends[1][0])

    def flat(region: Region) -> np.ndarray:
        from scipy import ndimage

        z, *yx = region
        here = np.repeat(mean[(None, *yx)], len(shares), 0)
        if p.interpolation_method == "weighted":
            around = np.concatenate([ends[0][(slice(None), *yx)], here, ends[1][(slice(None), *yx)]])
            smooth = ndimage.gaussian_filter1d(around, SMOOTH, axis=0)[len(ends[0]) : len(ends[0]) + len(shares)]
            here = np.where(here > 0, smooth, 0)
        return here[z]

    return flat, {}


def mixed(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Mean of two planes where both show something; else what one shows."""
    count = (one > 0).astype(np.float32) + (other > 0)
    return (one + other) / np.maximum(count, 1)


def write(path: Path, above: Image, made: Made, planes: int, thickness: float) -> None:
    """The slice, shard by shard, on the canvas of the one before it."""
    was = above.layout()
    lay = Layout((planes, *was.shape[1:]), was.dtype, was.chunk, was.shard)
    scale, (z, *yx) = [s / NM_PER_MM for s in above.scale], (o / NM_PER_MM for o in above.origin)
    axes = [Axis(axis.name, "space", MM) for axis in above.space.axes]
    target = create_image(path, lay, Space.of(axes, scale, (z + planes * scale[0] - thickness, *yx)))
    for region in blocks.regions(lay, f"0-{int(np.prod(lay.grid)) - 1}"):
        target.write(region, made(region))


def write_manifest(path: Path, n: int, row: dict[str, Any]) -> None:
    from ..core.slice_config import written

    with open(path, "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(MANIFEST)
        table.writerow([f"{n:02d}", *(written(row.get(name)) for name in MANIFEST[1:])])


def draw(path: Path, above: Image, made: Image | None, below: Image, n: int, told: str) -> None:
    """What was decided, with the last plane before, the middle of what was made, the first plane after."""
    import textwrap

    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    step = max(1, -(-max(above.shape[1:]) // 1024))
    middle = None if made is None else made.read(np.s_[made.shape[0] // 2 : made.shape[0] // 2 + 1])
    shown = [
        ("slice before, last plane", above.read(np.s_[above.shape[0] - 1 :])),
        (f"{slices.name_of(n)}, its middle", middle),
        ("slice after, first plane", below.read(np.s_[:1])),
    ]
    figure, parts = plt.subplots(1, 3, figsize=(9, 3.6), layout="constrained")
    figure.suptitle(textwrap.fill(f"Slice {slices.name_of(n)} is missing; {told}", 110), fontsize=10)
    for ax, (title, planes) in zip(parts, shown, strict=True):
        values = np.ones((1, *above.shape[1:])) if planes is None else planes
        ax.set_title(title, fontsize=9)
        ax.set_axis_off()
        ax.imshow(values[0, ::step, ::step], cmap="gray", vmin=0, vmax=1)
        if planes is None:
            ax.text(0.5, 0.5, "nothing", ha="center", transform=ax.transAxes, color="0.4")
    save_png(figure, path)
