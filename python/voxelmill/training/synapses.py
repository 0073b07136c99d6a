"""Training of the network of `--synapses learned`: cubes around dark spots, of which some are synapses.

Truth is a table of places (`z,y,x,verdict` in voxels; verdicts `synapse`, `unsure`, anything else is none) or a volume
whose voxels above 0 are synapses. Dark spots that are none of these are what the network learns to tell them from. Each cube
is shown turned and mirrored, displaced, in other contrast, and, of isotropic volumes, as thick sections show it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.errors import DataError
from ..postprocess import densities
from .data import Example, Recipe

if TYPE_CHECKING:
    import torch

BATCH = 32
SPARE = 2  # samples on each side of a cube, for displacement
NEAR, CLEAR = 80.0, 160.0  # nm from a synapse: up to here a spot is one, from here on it is none
SHARE = 0.35  # of a batch that are synapses
THICK = (1, 2, 3)  # samples a section, where an isotropic volume is shown as sections
ZOOMS = (0.88, 1.0, 1.14)  # voxels are shown as if they were so much larger


class Cubes(NamedTuple):
    """uint8 (n, side, side, side) with SPARE samples on each side, and whether each is a synapse."""

    grey: NDArray[np.uint8]
    synapse: NDArray[np.bool_]
    isotropic: bool


def places(labels: NDArray[np.int32]) -> NDArray[np.float64]:
    """Middles of the synapses of a volume, voxels (n, 3): of what hangs together, across corners too."""
    from scipy import ndimage

    found, many = ndimage.label(labels > 0, np.ones((3, 3, 3)))
    return np.array(ndimage.center_of_mass(found > 0, found, np.arange(1, many + 1))).reshape(-1, 3)


def told(points: NDArray[np.int64], labels: NDArray[np.int32], scale: densities.Scale) -> NDArray[np.int8]:
    """Of each spot: 1 synapse, 0 none, -1 too near to say, by its distance to the voxels that are labelled."""
    from scipy.spatial import cKDTree

    away = []
    for marked in (labels > 0, labels < 0):
        at = np.argwhere(marked) * np.asarray(scale, float)
        away.append(cKDTree(at).query(points * np.asarray(scale, float))[0] if len(at) else np.full(len(points), np.inf))
    return np.where(away[0] <= NEAR, 1, np.where(np.minimum(*away) < CLEAR, -1, 0)).astype(np.int8)


def cubes(example: Example) -> Cubes:
    """The spots of an image, as it is and with contrast equalised, whose answer is known, and all synapses."""
    from ..transform.contrast import enhance

    if len(example.voxel_size) != 3:
        raise DataError(f"{example.name}: no voxel size; give --voxel_size Z Y X, in nm")
    scale, raw = example.voxel_size, np.asarray(example.image)
    if raw.dtype != np.uint8:
        raise DataError(f"{example.name}: image of {raw.dtype}; expected uint8")
    size = densities.SIDE + 2 * SPARE
    zooms = [densities.taps([s * zoom for s in scale], size) for zoom in ZOOMS]
    middles = np.rint(places(example.labels)).astype(np.int64)
    grey, answers = [], []
    for image in (raw, enhance(raw)):
        at = densities.spots(image, scale)
        known = told(at, example.labels, scale)
        at, known = np.concatenate([at[known >= 0], middles]), np.concatenate([known[known >= 0], np.ones(len(middles))])
        grey += [np.rint(densities.cube(image, p, weights)).astype(np.uint8) for weights in zooms for p in at]
        answers += [known > 0] * len(ZOOMS)
    return Cubes(np.reshape(grey, (-1, size, size, size)), np.concatenate(answers), max(scale) < 1.5 * min(scale))


class Synapses:
    """What the training loop asks of a kind of network."""

    kind = "synapses"

    def __init__(self, recipe: Recipe) -> None:
        self.sets = {p: [cubes(e) for e in recipe.examples(p)] for p in ("train", "validation")}
        self.sizes = np.array([e.voxel_size for e in recipe.examples("train")])
        for part, sets in self.sets.items():
            found = sum(int(s.synapse.sum()) for s in sets)
            if not found or found == sum(len(s.synapse) for s in sets):
                raise DataError(f"part {part}: {found} synapses among its dark spots; expected some, and not all")
        often = np.mean(np.concatenate([s.synapse for s in self.sets["train"]]))
        # batches hold more synapses than there are: what is exported is as sure as spots of the data let it be
        self.shift = float(np.log(SHARE / (1 - SHARE)) - np.log(often / (1 - often)))

    def network(self) -> torch.nn.Module:
        from .networks import Synapses as Network

        return Network()

    def batch(self, rng: np.random.Generator, part: str = "train") -> dict[str, NDArray[np.float32]]:
        """x float32 (n, 1, z, y, x); synapse float32 (n,)."""
        x, answers = [], []
        sets = self.sets[part]
        for n in range(BATCH):
            wanted = n < SHARE * BATCH
            able = [s for s in sets if (s.synapse == wanted).any()]
            one = able[rng.integers(len(able))]
            found = one.grey[rng.choice(np.flatnonzero(one.synapse == wanted))].astype(np.float32)
            x.append(densities.normalised(varied(rng, found, one.isotropic) if part == "train" else middle(found)))
            answers.append(wanted)
        return {"x": np.stack(x)[:, None].astype(np.float32), "synapse": np.array(answers, np.float32)}

    def loss(self, network: torch.nn.Module, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        import torch.nn.functional as F

        return {"synapse": F.binary_cross_entropy_with_logits(network(batch["x"]) + self.shift, batch["synapse"])}

    def example_input(self) -> NDArray[np.float32]:
        return np.zeros((1, 1, *[densities.SIDE] * 3), np.float32)

    def card(self) -> dict[str, Any]:
        even = (self.sizes.max(1) < 1.5 * self.sizes.min(1)).any()
        least, largest = np.array([0.0, 0.0, 0.0]), self.sizes.max(0) * ZOOMS[-1]  # finer voxels are averaged
        largest = np.maximum(largest, [max(THICK) * densities.STEP * 1.1 if even else 0, densities.STEP, densities.STEP])
        return {
            "input": {"name": "x", "axes": ["n", "one", "z", "y", "x"], "side": densities.SIDE, "step_nm": densities.STEP},
            "outputs": {"synapse": {"axes": ["n"], "unit": "logit"}},
            "normalisation": "mean 0 and standard deviation 1 of each cube",
            "voxel_size_nm": {"least": least.tolist(), "largest": largest.round(1).tolist()},
            "halo_nm": densities.SIDE * densities.STEP / 2,
        }


def middle(found: NDArray[np.float32]) -> NDArray[np.float32]:
    """A cube without its spare samples."""
    return found[(slice(SPARE, -SPARE),) * 3]


def varied(rng: np.random.Generator, found: NDArray[np.float32], isotropic: bool) -> NDArray[np.float32]:
    """A cube turned, mirrored, displaced, thickened and in another contrast."""
    order = rng.permutation(3) if isotropic else np.array([0, *(1 + rng.permutation(2))])
    found = found.transpose(order)
    z, y, x = rng.integers(0, 2 * SPARE + 1, 3)
    side = densities.SIDE
    found = found[z : z + side, y : y + side, x : x + side][tuple(slice(None, None, s) for s in rng.choice([-1, 1], 3))]
    thick = int(rng.choice(THICK)) if isotropic else 1
    if thick > 1:
        at = (np.arange(side) - rng.integers(thick)) / thick
        low = np.floor(at).astype(int)
        ends = [np.clip(n * thick + thick // 2, 0, side - 1) for n in (low, low + 1)]
        share = (at - low)[:, None, None].astype(np.float32)
        found = found[ends[0]] * (1 - share) + found[ends[1]] * share
    x = densities.normalised(found.astype(np.float32))
    bent = x + 0.15 * rng.normal() * x**2  # darks stretched against brights
    return (bent + rng.uniform(0, 0.35) * rng.normal(size=x.shape)).astype(np.float32)
