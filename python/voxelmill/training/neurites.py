"""Training of the neurite network: blocks of volumes in every direction and thickness, affinities, the loss.

An isotropic volume is also shown as sections cut apart are: every second to fifth section, its pixels finer, its
sections displaced, lost, unevenly stained. So one network serves isotropic and anisotropic EM.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import DataError
from . import augment, targets
from .data import NONE, Example, Recipe, chances

if TYPE_CHECKING:
    import torch

DEPTH, SIDE, BATCH = 16, 128, 2
LEAST = 9  # sections of a block: each has one at the farthest distance that the network looks at
SIGMA = 8.0  # px of an isotropic volume, of the window of the shape descriptors
STRIDES, OFTEN = (1, 2, 3, 4, 5), (0.5, 0.12, 0.12, 0.13, 0.13)
ZOOMS = {1: (0.75, 1.45), 2: (0.85, 1.7)}  # finer or coarser in the section, by stride
ZOOM_SECTIONS = (1.0, 2.4)
EDGE = 1.3  # voxels longer along z than in the section by no more than this are isotropic


@dataclass(frozen=True)
class Volume:
    raw: np.ndarray  # (z, y, x), grey values about 0-255
    labels: np.ndarray  # int32 (z, y, x), 0 = boundary or unknown
    isotropic: bool
    example: Example


def prepare(example: Example) -> Volume:
    """Raises DataError for a volume smaller than a block, or without labels."""
    raw, labels = example.image, example.labels
    if raw.ndim != 3 or len(raw) < 2 or min(raw.shape[1:]) < SIDE // 4:
        raise DataError(f"{example.name}: shape {raw.shape}; expected (z, y, x), at least 2 x {SIDE // 4} x {SIDE // 4}")
    if not labels.any():
        raise DataError(f"{example.name}: no voxel is labelled; give the truth with --labels")
    if raw.dtype != np.uint8:
        low, high = np.percentile(raw, [0.5, 99.5])
        raw = np.clip((raw.astype(np.float32) - low) * (235 / max(high - low, 1e-6)) + 10, 0, 255).astype(np.uint8)
    size = example.voxel_size
    isotropic = len(size) == 3 and max(size) <= EDGE * min(size)
    return Volume(raw, labels, isotropic, replace(example, image=NONE, labels=NONE))


def _thinnest(volume: Volume) -> int:
    return min(volume.raw.shape) if volume.isotropic else len(volume.raw)


def mirrored(at: np.ndarray, n: int) -> np.ndarray:
    """Sections of a volume of n, which goes on as in a mirror: 0 1 2 1 0 1 ... The network must not learn that there is
    nothing 4 sections away (its normalisation there would have no spread, and thick volumes a thousandfold answer)."""
    at = at % max(2 * (n - 1), 1)
    return np.where(at < n, at, 2 * (n - 1) - at)


class Neurites:
    """What `train` needs to know of this kind: `network`, `batch`, `loss`."""

    kind = "neurites"

    def __init__(self, recipe: Recipe, depth: int = DEPTH, side: int = SIDE, batch: int = BATCH) -> None:
        from .networks import OFFSETS

        self.offsets, self.side, self.size = OFFSETS, side, batch
        self.volumes = {p: [prepare(e) for e in recipe.examples(p)] for p in ("train", "validation")}
        if not self.volumes["train"]:
            raise DataError("no volume to train on; the recipe's train parts are empty")
        self.chances = {p: chances([v.example for v in volumes]) for p, volumes in self.volumes.items()}
        # sections of a block; all blocks of a batch have as many
        self.depth = {p: min([depth, *(max(_thinnest(v), LEAST) for v in volumes)]) for p, volumes in self.volumes.items()}

    def network(self) -> torch.nn.Module:
        from .networks import Neurites as Network

        return Network()

    def batch(self, rng: np.random.Generator, part: str = "train") -> dict[str, np.ndarray]:
        """x float32 (n, z, y, x); same, known bool (n, offset, z, y, x); shape float32 and object bool at a quarter."""
        blocks = [self._block(rng, part) for _ in range(self.size)]
        names = ("x", "same", "known", "shape", "object")
        return {name: np.stack(c) for name, c in zip(names, zip(*blocks))}

    def _block(self, rng: np.random.Generator, part: str) -> tuple[np.ndarray, ...]:
        volumes, learn = self.volumes[part], part == "train"
        volume = volumes[rng.choice(len(volumes), p=self.chances[part])]
        raw, labels = volume.raw, volume.labels
        stride, zoom = 1, 1.0
        if learn:
            order = rng.permutation(3) if volume.isotropic else np.arange(3)
            flips = tuple(slice(None, None, s) for s in rng.choice([-1, 1], 3))
            raw, labels = raw.transpose(order)[flips], labels.transpose(order)[flips]
            if volume.isotropic:
                stride = int(rng.choice(STRIDES, p=OFTEN))
            stride = max(1, min(stride, len(raw) // self.depth[part]))
            zoom = float(np.exp(rng.uniform(*np.log(ZOOMS.get(stride, ZOOM_SECTIONS)))))
        cut = stride > 2 or not volume.isotropic  # sections that were cut apart
        block, ids = self._warped(rng, raw, labels, self.depth[part], stride, zoom, learn, cut)
        if learn:
            block = augment.em_contrast(rng, block, ids, cut)
        x = (block - block.mean()) / max(float(block.std()), 1e-3)
        if learn:
            x = x * np.exp(rng.normal(0, 0.12)) + rng.normal(0, 0.15)
        same, known = targets.affinities(targets.thinned(ids), self.offsets)
        wide = SIGMA * zoom
        shape, there = targets.descriptors(ids, (max(SIGMA / stride, 1.0), wide, wide))
        return x.astype(np.float32), same, known, shape, there

    def _warped(
        self,
        rng: np.random.Generator,
        raw: np.ndarray,
        labels: np.ndarray,
        depth: int,
        stride: int,
        zoom: float,
        learn: bool,
        cut: bool,
    ) -> tuple[np.ndarray, np.ndarray]:
        """A block float32 and its labels int32 (z, y, x): every `stride`-th section, turned, zoomed, displaced."""
        import cv2

        side, span = self.side, depth * stride
        z = mirrored(rng.integers(max(len(raw) - span, 0) + 1) + stride // 2 + stride * np.arange(depth), len(raw))
        thick = learn and stride > 1 and rng.random() < 0.5
        half = np.minimum(np.array(raw.shape[1:]) / 2, 0.6 * side / zoom)
        at = rng.uniform(half, np.array(raw.shape[1:]) - half)
        yy, xx = np.mgrid[:side, :side].astype(np.float32)
        if learn:
            matrix = augment.turn(rng, zoom, side, at)
            jitter = rng.choice([0.0, 0.5, 1.5] if cut else [0.0, 0.0, 0.4])
            jumps = rng.choice([0, 8 if cut else 3]) if rng.random() < (0.3 if cut else 0.1) else 0.0
            field = augment.displacement(rng, depth, side, rng.uniform(0, 4), jitter, jumps)
        else:
            matrix = np.c_[np.eye(2), at[::-1] - (side - 1) / 2]
            field = np.zeros((depth, 2, 1, 1), np.float32)
        m = matrix.astype(np.float32)
        block = np.empty((depth, side, side), np.float32)
        ids = np.empty(block.shape, np.int32)
        for i, section in enumerate(z):
            v, u = yy + field[i, 0], xx + field[i, 1]
            to = m[0, 0] * u + m[0, 1] * v + m[0, 2], m[1, 0] * u + m[1, 1] * v + m[1, 2]
            image = raw[section].astype(np.float32)
            if thick:
                image = raw[section - stride // 2 : section - stride // 2 + stride].mean(0, dtype=np.float32)
            if zoom < 0.9:
                image = augment.blur(image, 0.4 / zoom)
            block[i] = cv2.remap(image, *to, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
            ids[i] = cv2.remap(labels[section].astype(np.float32), *to, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT)
        return block, ids

    def loss(self, network: torch.nn.Module, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Parts of the loss by name; their sum is what is minimised."""
        import torch.nn.functional as F

        logits, shape = network(batch["x"], aux=True)
        same, known = batch["same"].float(), batch["known"].float()
        over = (0, 2, 3, 4)
        many = known.sum(over).clamp(min=1)  # an offset may reach beyond all sections
        share = ((same * known).sum(over) / many).clamp(0.05, 0.95)[None, :, None, None, None]
        weight = known * (same * 0.5 / share + (1 - same) * 0.5 / (1 - share))  # both answers count alike
        each = (F.binary_cross_entropy_with_logits(logits, same, reduction="none") * weight).sum(over) / many
        there = batch["object"][:, None].float()
        described = ((shape - batch["shape"]) ** 2 * there).sum() / (there.sum() * shape.shape[1] + 1)
        return {"near": each[:3].mean(), "far": each[3:].mean(), "shape": described}

    def example_input(self) -> np.ndarray:
        return np.zeros((1, 12, 64, 64), np.float32)

    def card(self) -> dict[str, Any]:
        return {
            "input": {"name": "x", "axes": ["one", "z", "y", "x"], "multiple_of": [1, 1, 8, 8]},
            "outputs": {"affinities": {"axes": ["one", "offset", "z", "y", "x"], "unit": "logit"}},
            "offsets": [list(o) for o in self.offsets],
            "offsets_mean": "affinity k at voxel p: p and p + offset k, in voxels (z, y, x), are of one object",
            "normalisation": "mean 0 and standard deviation 1 of the volume, or of each section",
            "voxel_size_nm": self._sizes(),
            "halo_px": [11, 56, 56],
        }

    def _sizes(self) -> dict[str, list[float]]:
        """Least and largest voxel (z, y, x) that training showed, nm; empty where no volume states its size."""
        least, largest = [], []
        for v in self.volumes["train"]:
            if not v.example.voxel_size:
                continue
            size = np.array(v.example.voxel_size, float)
            z, fine = (max(STRIDES), ZOOM_SECTIONS[1]) if v.isotropic else (1, ZOOMS[1][1])
            least.append([size[0], size[1] / fine, size[2] / fine])
            largest.append([size[0] * z, size[1] / ZOOMS[1][0], size[2] / ZOOMS[1][0]])
        if not least:
            return {}
        return {"least": np.min(least, 0).round(2).tolist(), "largest": np.max(largest, 0).round(2).tolist()}
