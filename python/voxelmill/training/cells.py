"""Training of the cell network: crops of frames at many scales, what the maps are to be, the loss."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import DataError
from ..inference.cell_flows import FOLD, MAPS, WIDTH, normalise
from . import augment, targets
from .data import NONE, Example, Recipe, chances

if TYPE_CHECKING:
    import torch

SIDE, BATCH = 160, 8
LEVELS = 2.0 ** np.arange(-1, 1.01, 1 / 3)  # a cell is shown this many times WIDTH wide
FINE = float(LEVELS[-1])  # scale at which labels are kept

ONLY_NOISE = 0.04  # share of crops without anything in them


@dataclass(frozen=True)
class Frame:
    """A frame at all LEVELS, normalised and in float16, with labels and fields at the finest; all (y, x)."""

    shown: list[np.ndarray]
    labels: np.ndarray
    central: np.ndarray
    way: np.ndarray
    example: Example


def prepare(example: Example, cell_width: float = 0.0) -> Frame:
    """cell_width: px, of the frame as it is; 0 takes the median of its labels. DataError without cells."""
    import cv2

    wide = cell_width or targets.width(example.labels)
    if not wide:
        raise DataError(f"{example.name}: no cell is labelled; leave the frame out or give --cell_diameter")
    shown = []
    for level in LEVELS:
        shrink = wide / (WIDTH * level)
        size = tuple(max(8, round(n / shrink)) for n in example.image.shape[::-1])
        how = cv2.INTER_AREA if shrink > 1 else cv2.INTER_LINEAR
        shown.append(normalise(cv2.resize(example.image.astype(np.float32), size, interpolation=how)).astype(np.float16))
    labels = cv2.resize(example.labels.astype(np.float32), shown[-1].shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    labels = labels.astype(np.int32)
    central, way = targets.centrality(labels), targets.way_to_middle(labels)
    return Frame(shown, labels.astype(np.int32), central.astype(np.float16), way, replace(example, image=NONE, labels=NONE))


class Cells:
    """What `train` needs to know of this kind: `network`, `batch`, `loss`."""

    kind, maps = "cells", MAPS

    def __init__(self, recipe: Recipe, cell_width: float = 0.0, side: int = SIDE, batch: int = BATCH) -> None:
        self.side, self.size = side, batch
        self.frames = {p: [prepare(e, cell_width) for e in recipe.examples(p)] for p in ("train", "validation")}
        if not self.frames["train"]:
            raise DataError("no frame to train on; the recipe's train parts are empty")
        self.chances = {p: chances([f.example for f in frames]) for p, frames in self.frames.items()}

    def network(self) -> torch.nn.Module:
        from .networks import Cells as Network

        return Network()

    def batch(self, rng: np.random.Generator, part: str = "train") -> dict[str, np.ndarray]:
        """x (n, 1, side, side), maps (n, 5, side, side) and scale (n,), float32; validation is not augmented."""
        crops = [self._crop(rng, part) for _ in range(self.size)]
        x, maps, scale = (np.stack(c) for c in zip(*crops))
        return {"x": x[:, None], "maps": maps, "scale": scale.astype(np.float32)}

    def _crop(self, rng: np.random.Generator, part: str) -> tuple[np.ndarray, np.ndarray, np.float32]:
        import cv2

        side, learn = self.side, part == "train"
        if learn and rng.random() < ONLY_NOISE:
            x = augment.blur(augment.noise(rng, (side, side)), rng.uniform(0, 4))
            x = x / x.std() + rng.uniform(0, 1) * augment.noise(rng, x.shape)
            return np.arcsinh(x), np.zeros((len(MAPS), side, side), np.float32), np.float32(0)
        frames = self.frames[part]
        frame = frames[rng.choice(len(frames), p=self.chances[part])]
        scale = float(np.clip(np.exp2(rng.normal(0, 0.45)), 0.5, 2)) if learn else 1.0
        level = int(np.argmin(np.abs(np.log2(LEVELS / scale))))
        at = rng.uniform(0, 1, 2) * frame.labels.shape
        if rng.random() < 0.6:  # crops on a cell
            inside = np.flatnonzero(frame.labels)
            at = np.array(np.unravel_index(rng.choice(inside), frame.labels.shape), float)
        fine = augment.turn(rng, scale / FINE, side, at)
        coarse = fine.copy()
        coarse *= LEVELS[level] / FINE
        coarse[:, 2] += 0.5 * LEVELS[level] / FINE - 0.5  # pixel centres

        def warp(source: np.ndarray, matrix: np.ndarray, how: int) -> np.ndarray:
            flags = how | cv2.WARP_INVERSE_MAP
            return cv2.warpAffine(source, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REFLECT)

        labels = warp(frame.labels.astype(np.float32), fine, cv2.INTER_NEAREST).astype(np.int32)
        way = warp(frame.way, fine, cv2.INTER_NEAREST)
        central = warp(frame.central.astype(np.float32), fine, cv2.INTER_LINEAR)
        x = np.sinh(warp(frame.shown[level].astype(np.float32), coarse, cv2.INTER_LINEAR))
        if learn:
            x = augment.cells(rng, x, labels)
        maps = np.stack([labels > 0, targets.seams(labels), central, *targets.flow(labels, way)])
        return np.arcsinh(x).astype(np.float32), maps.astype(np.float32), np.float32(np.log2(scale))

    def loss(self, network: torch.nn.Module, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Parts of the loss by name; their sum is what is minimised."""
        import torch
        import torch.nn.functional as F

        maps, scale = network(batch["x"])
        want = batch["maps"]
        inside, seam = want[:, :1], want[:, 1:2]
        care = 1 + 4 * seam  # where touching cells are told apart
        weight = torch.cat([care, care * (0.3 + inside), 1.5 * care], 1)
        maps_loss = F.binary_cross_entropy_with_logits(maps[:, :3], want[:, :3], reduction="none") * weight
        foreground, boundary, central = maps_loss.mean((0, 2, 3))
        likely = torch.sigmoid(maps[:, :1])
        overlap = (2 * (likely * inside).sum((2, 3)) + 1) / (likely.sum((2, 3)) + inside.sum((2, 3)) + 1)
        off = ((maps[:, 3:] - want[:, 3:]) ** 2).sum(1, keepdim=True)
        flow = (off * inside * care).sum() / (inside.sum() + 1)
        body = F.avg_pool2d(inside, 2)
        width = ((scale - batch["scale"][:, None, None, None]).abs() * body).sum() / (body.sum() + 1)
        return {
            "foreground": foreground + 0.3 * (1 - overlap.mean()),
            "boundary": boundary,
            "centrality": central,
            "flow": 0.4 * flow,
            "scale": 0.2 * width,
        }

    def example_input(self) -> np.ndarray:
        return np.zeros((1, 1, 64, 64), np.float32)

    def card(self) -> dict[str, Any]:
        return {
            "input": {"name": "x", "axes": ["frame", "one", "y", "x"], "multiple_of": [1, 1, FOLD, FOLD]},
            "outputs": {"maps": {"axes": ["frame", "map", "y", "x"], "maps": list(MAPS)}, "scale": {"unit": "log2 of width"}},
            "cell_width_px": WIDTH,
            "normalisation": "shrunk to cell_width_px, then voxelmill.inference.cell_flows.normalise",
            "halo_px": [96, 96],
        }
