"""Train the weights of `voxelmill.inference.cellnet` on made movies and hand-drawn real frames.

    python benchmarks/train_cellnet.py FOLDER OUT.npz [--steps 4000] [--without t98g_manual/set10_ ...]

FOLDER holds T98G (MIT, Okinawa Institute of Science and Technology), C2C12 (CC BY 4.0,
doi 10.1038/sdata.2018.237) and bacteria (MIT, B. Gallusser) as `benchmarks/timelapse_segmentation.py` reads
them. `--without` names what is kept out for a test: the start of a file's path, with `:frame` for one frame.
Needs torch; about ten CPU minutes. The weights in the package are 4000 steps without the "pattern" movies and
then 1200 with them (`--start`, `--rate 2e-3`).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from voxelmill.inference.cellnet import WIDTH, flatten
from voxelmill.testing.timelapse import make_movie

# a typical cell's width in px, and how often its set is drawn
SETS = {"made": (26.0, 0.25), "t98g_manual": (28.0, 0.40), "c2c12_manual": (9.0, 0.20), "bacteria_tracks": (14.0, 0.15)}
# cells are shown this many times narrower than WIDTH: mostly near it, sometimes far off so that it can tell
SHRINK = np.array([0.3, 0.42, 0.6, 0.75, 0.9, 1.0, 1.1, 1.3, 1.7, 2.3, 3.2])
OFTEN = np.array([0.35, 0.5, 0.9, 1, 1, 1, 1, 1, 0.7, 0.45, 0.35])
CROP = 96
BATCH = 12
PURE_NOISE = 0.05  # share of crops that hold nothing but noise


class Net(nn.Module):
    """The network that `cellnet.predict` runs in numpy."""

    def __init__(self) -> None:
        super().__init__()

        def conv(n_in: int, n_out: int, side: int = 3) -> nn.Conv2d:
            return nn.Conv2d(n_in, n_out, side, padding=side // 2)

        self.e1a, self.e1b = conv(4, 16), conv(16, 16)
        self.e2a, self.e2b = conv(16, 24), conv(24, 24)
        self.e3a, self.e3b = conv(24, 48), conv(48, 48)
        self.l3, self.d2 = conv(48, 24, 1), conv(24, 24)
        self.l2, self.d1 = conv(24, 16, 1), conv(16, 16)
        self.h = conv(16, 9, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        def double(t: torch.Tensor) -> torch.Tensor:
            return F.interpolate(t, scale_factor=2, mode="nearest")

        fine = F.relu(self.e1b(F.relu(self.e1a(F.pixel_unshuffle(x, 2)))))
        middle = F.relu(self.e2b(F.relu(self.e2a(F.max_pool2d(fine, 2)))))
        coarse = F.relu(self.e3a(F.max_pool2d(middle, 2)))
        coarse = F.relu(self.e3b(coarse)) + coarse
        y = F.relu(self.d2(double(self.l3(coarse)) + middle))
        y = self.h(F.relu(self.d1(double(self.l2(y)) + fine)))
        return F.pixel_shuffle(y[:, :8], 2), y[:, 8:]


def centrality(labels: np.ndarray) -> np.ndarray:
    """How far a pixel is from the outline of its cell, over the most in that cell: float32 (y, x), 0-1."""
    ids = cv2.copyMakeBorder(labels.astype(np.float32), 1, 1, 1, 1, cv2.BORDER_CONSTANT).astype(np.int32)
    edge = np.zeros(ids.shape, bool)
    edge[:-1] |= ids[:-1] != ids[1:]
    edge[:, :-1] |= ids[:, :-1] != ids[:, 1:]
    inside = ((ids > 0) & ~edge).astype(np.uint8)
    depth = (cv2.distanceTransform(inside, cv2.DIST_L2, 5)[1:-1, 1:-1] + 0.5) * (labels > 0)
    most = np.ones(int(labels.max()) + 1, np.float32)
    np.maximum.at(most, labels.ravel(), depth.ravel())
    return depth / most[labels]


def shown(image: np.ndarray, labels: np.ndarray, scale: float) -> tuple[np.ndarray, ...]:
    """Flattened frame, share of cell and centrality, shrunk by `scale`."""
    size = tuple(max(8, round(n / scale)) for n in image.shape[::-1])
    how = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
    maps = image.astype(np.float32), (labels > 0).astype(np.float32), centrality(labels)
    small, cell, centre = (cv2.resize(m, size, interpolation=how) for m in maps)
    return flatten(small), cell, centre


def frames(folder: Path, without: list[str]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    import tifffile

    for i in range(20):
        preset = ("sparse", "dense", "dense", "fast")[i % 4] if i < 14 else "pattern"
        movie = make_movie(preset, frames=13, size=448, channels=0, seed=1000 + i)
        for t in (0, 12):
            yield "made", movie.phase[t], movie.labels[t].astype(np.int32)
    for name, pattern, truth, step in (
        ("t98g_manual", "*_phase.tif", "instances", 1),
        ("c2c12_manual", "phase.tif", "instances", 1),
        ("bacteria_tracks", "phase.tif", "track_labels", 3),
    ):
        for path in sorted((folder / name).glob(pattern)):
            images = np.atleast_3d(tifffile.imread(path).T).T
            labels = np.atleast_3d(tifffile.imread(path.with_name(path.name.replace("phase", truth))).T).T
            for t in range(0, len(images), step):
                if any(f"{name}/{path.name}:{t}".startswith(w) for w in without):
                    continue
                yield name, images[t], labels[t].astype(np.int32)


class Crops:
    """Random crops of the frames: turned, mirrored, a little larger or smaller, louder, noisier, blurred."""

    def __init__(self, folder: Path, without: list[str], seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.sets: dict[str, list[list[tuple[np.ndarray, ...]]]] = {}
        for name, image, labels in frames(folder, without):
            every = [shown(image, labels, SETS[name][0] / WIDTH * s) for s in SHRINK]
            self.sets.setdefault(name, []).append(every)
        weight = np.array([SETS[name][1] for name in self.sets])
        self.weight = weight / weight.sum()

    def noise(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        rng, nothing = self.rng, np.zeros((CROP, CROP), np.float32)
        haze = cv2.GaussianBlur(rng.normal(size=(CROP, CROP)).astype(np.float32), (0, 0), rng.uniform(0.3, 6))
        x = haze / haze.std() + rng.normal(0, rng.uniform(0, 1), haze.shape)
        return np.arcsinh(x), nothing, nothing, 0.0

    def one(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        rng = self.rng
        if rng.random() < PURE_NOISE:
            return self.noise()
        name = list(self.sets)[rng.choice(len(self.sets), p=self.weight)]
        level = rng.choice(len(SHRINK), p=OFTEN / OFTEN.sum())
        maps = self.sets[name][rng.integers(len(self.sets[name]))][level]
        at = rng.uniform(0, 1, 2) * maps[0].shape
        if rng.random() < 0.5 and maps[1].any():  # half of the crops are centred on a cell
            at = rng.choice(np.argwhere(maps[1] > 0)).astype(float)
        turn, zoom = rng.uniform(0, 2 * np.pi), np.exp(rng.uniform(-0.12, 0.12))
        matrix = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        if rng.random() < 0.5:
            matrix[:, 0] *= -1
        affine = np.c_[matrix, at[::-1] - matrix @ np.full(2, CROP / 2)]
        how = {"flags": cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, "borderMode": cv2.BORDER_REFLECT_101}
        x, cell, centre = (cv2.warpAffine(m, affine, (CROP, CROP), **how) for m in maps)
        x = np.sinh(x) * np.exp(rng.normal(0, 0.5))
        if rng.random() < 0.5:
            x = x + rng.normal(0, rng.uniform(0, 0.8), x.shape)
        if rng.random() < 0.2:
            x = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.3, 0.7))
        return np.arcsinh(x), cell, centre, -float(np.log2(SHRINK[level] * zoom))

    def batch(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        crops = [self.one() for _ in range(BATCH)]
        x = np.stack([c[0] for c in crops])[:, None].astype(np.float32)
        y = np.stack([c[1:3] for c in crops]).astype(np.float32)
        scale = np.array([c[3] for c in crops], np.float32)[:, None, None, None]
        return torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(scale)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=5e-3, help="highest learning rate")
    parser.add_argument("--start", type=Path, help="weights to go on from")
    parser.add_argument("--without", nargs="*", default=[])
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    crops = Crops(options.folder, options.without, options.seed)
    net = Net()
    if options.start:
        with np.load(options.start) as stored:
            net.load_state_dict({k: torch.from_numpy(stored[k].astype(np.float32)) for k in stored.files})
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.rate, total_steps=options.steps)
    mean = np.zeros(4)
    for step in range(options.steps):
        x, y, scale = crops.batch()
        maps, seen = net(x)
        likely = torch.sigmoid(maps)
        cell, centre = F.binary_cross_entropy_with_logits(maps, y, reduction="none").mean((0, 2, 3))
        overlap = (2 * (likely * y).sum((2, 3)) + 1) / (likely.sum((2, 3)) + y.sum((2, 3)) + 1)
        inside = F.avg_pool2d(y[:, :1], 2)
        off = ((seen - scale).abs() * inside).sum() / (inside.sum() + 1)
        loss = cell + 1.5 * centre + 0.3 * (1 - overlap[:, 0].mean()) + 0.2 * off
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        mean = 0.98 * mean + 0.02 * np.array([loss.item(), cell.item(), centre.item(), off.item()])
        if step % 200 == 199:
            print(step + 1, "loss, cell, centre, scale:", np.round(mean, 4), flush=True)
        if step % 1000 == 999 or step == options.steps - 1:
            weights = {k: v.detach().numpy().astype(np.float16) for k, v in net.state_dict().items()}
            np.savez_compressed(options.out, **weights)


if __name__ == "__main__":
    main()
