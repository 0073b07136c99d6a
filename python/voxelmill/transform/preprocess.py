"""Preprocess: denoise each section lightly and equalise its local contrast; uint8 out."""

from __future__ import annotations

import json
from functools import partial
from typing import Literal

from ..core import blocks
from ..core.params import Params, param
from ..core.provenance import Task
from ..core.stage import In, Out
from ..core.volume import Image, Layout, Region, create_image, open_image
from . import contrast

DIMMEST = 63  # of 255: what goes less far up may be a few values as well, and would be dark
WIDENED = (1, 256, 257)  # what a grey level of 8 bits is in 16: as it is, shifted, or so that 255 is 65535


class Parameters(Params):
    """Denoising and contrast."""

    denoise_sigma: float = param(0.7, "Gaussian sigma of the denoising; 0: none", unit="px", ge=0, le=contrast.MAX_SIGMA)
    clahe_clip: float = param(0.01, "CLAHE clip limit, as a share of a tile's pixels", gt=0, le=1)
    membranes: Literal["dark", "bright"] = param("dark", "Bright: grey values are inverted, for all that follows")
    clahe_tile: Literal[16, 32, 64, 128, 256, 512] = param(64, "Side of a CLAHE tile", unit="px")


def run(p: Parameters, task: Task, *, volume: In, facts: In, block: str, output: Out) -> None:
    source = open_image(volume)
    lay = source.layout()
    window = None if lay.dtype == "uint8" else grey_window(json.loads(facts.read_text()), lay.dtype)
    target = create_image(output, Layout(lay.shape, "uint8", lay.chunk, lay.shard), source.space)
    task.do(partial(equalise, p, source, target, window), list(blocks.regions(lay, block)), "shards equalised")


def equalise(p: Parameters, source: Image, target: Image, window: tuple[float, float] | None, region: Region) -> None:
    """Write a region with its contrast made even; it reads what its tiles reach over."""
    z, core, (_, *size) = region[0], [(s.start, s.stop) for s in region[1:]], source.shape
    need = [contrast.source_range(*span, n, p.clahe_tile) for span, n in zip(core, size, strict=True)]
    part = source.read((z, *(slice(*n) for n in need)))
    even = contrast.enhance(
        part,
        section_shape=(size[0], size[1]),
        origin=(need[0][0], need[1][0]),
        core=(core[0], core[1]),
        window=window,
        sigma=p.denoise_sigma,
        clip_limit=p.clahe_clip,
        tile=p.clahe_tile,
    )
    target.write(region, contrast.negative(even) if p.membranes == "bright" else even)


def grey_window(facts: dict, dtype: str) -> tuple[float, float]:
    """Grey values that become 0 and 255: without hot pixels, where that leaves a range. Grey levels of 8 bits that were
    widened (k, 256 k, 257 k) become what they were; other steps are those of 10 or 12 bits, or of a few values."""
    for unit in WIDENED if dtype == "uint16" else ():
        least = 0 if unit == 1 else DIMMEST * unit
        if (facts.get("grey_step") or 1) % unit == 0 and least <= facts["value_range"][1] <= 255 * unit:
            return 0, 255 * unit
    low, high = facts.get("window") or facts["value_range"]
    return (low, high) if low < high else tuple(facts["value_range"])
