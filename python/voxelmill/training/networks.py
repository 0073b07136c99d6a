"""The two networks, small and cheap on a CPU: two-dimensional kernels alone, nothing convolved at full size.

Pixels are folded 2 x 2 into channels on the way in and unfolded on the way out; three (cells: four) levels are
joined by sums. `Neurites` sees a block of sections at once: sections are the batch of its 2-D kernels, and
between these every pixel takes something over from the sections below and above (`Between`), nearby ones at
the fine level and ones further off at the coarse levels. That is a 3 x 3 x 3 kernel's view at a third of its price, and
the 2-D kernels are what onnxruntime is fast at.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CELL_MAPS = ("foreground", "boundary", "centrality", "flow_y", "flow_x")

# affinity k at voxel p: are p and p + OFFSETS[k] of one object? (z, y, x)
OFFSETS = (
    (-1, 0, 0), (0, -1, 0), (0, 0, -1),
    (-2, 0, 0), (0, -4, 0), (0, 0, -4),
    (-4, 0, 0), (0, -10, 0), (0, 0, -10),
)  # fmt: skip
DESCRIPTORS = 10  # mean offset (3), covariance (6), size (1)


def conv(n_in: int, n_out: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU())


def double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


class Cells(nn.Module):
    """Frames (n, 1, y, x), sides multiples of 16 -> maps (n, 5, y, x) as in CELL_MAPS, scale (n, 1, y/2, x/2).

    The first three maps are logits, flow is a unit vector inside cells; scale is log2 of the cells' width over
    the width that the network expects.
    """

    def __init__(self, channels: tuple[int, ...] = (24, 40, 64, 96)) -> None:
        super().__init__()
        a, b, c, d = channels
        self.stem = nn.Sequential(conv(4, a), conv(a, a))
        self.down1 = nn.Sequential(conv(a, b), conv(b, b))
        self.down2 = nn.Sequential(conv(b, c), conv(c, c))
        self.deep1, self.deep2 = conv(c, d), conv(d, d)
        self.to2, self.up2 = nn.Conv2d(d, c, 1), nn.Sequential(conv(c, c))
        self.to1, self.up1 = nn.Conv2d(c, b, 1), nn.Sequential(conv(b, b))
        self.to0, self.up0 = nn.Conv2d(b, a, 1), nn.Sequential(conv(a, a), conv(a, a))
        self.head = nn.Conv2d(a, 4 * len(CELL_MAPS) + 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        fine = self.stem(F.pixel_unshuffle(x, 2))
        middle = self.down1(F.max_pool2d(fine, 2))
        coarse = self.down2(F.max_pool2d(middle, 2))
        deep = self.deep1(F.max_pool2d(coarse, 2))
        deep = self.deep2(deep) + deep
        y = self.up2(coarse + double(self.to2(deep)))
        y = self.up1(middle + double(self.to1(y)))
        y = self.head(self.up0(fine + double(self.to0(y))))
        return F.pixel_shuffle(y[:, :-1], 2), y[:, -1:]


class Between(nn.Module):
    """Take over from the sections `reach` below and above: (n * z, c, y, x), n blocks of sections in a row."""

    def __init__(self, channels: int, reach: int) -> None:
        super().__init__()
        self.reach = reach
        self.mix = nn.Conv2d(channels, 2 * channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, blocks: int) -> Tensor:
        below, above = self.mix(x).chunk(2, dim=1)
        r = self.reach
        if blocks == 1:  # as exported: plain slices along the first axis
            none = torch.zeros_like(x[:r])
            moved = torch.cat([none, below[:-r]]) + torch.cat([above[r:], none])
        else:
            below, above = (t.unflatten(0, (blocks, -1)) for t in (below, above))
            none = torch.zeros_like(below[:, :r])
            moved = torch.cat([none, below[:, :-r]], 1) + torch.cat([above[:, r:], none], 1)
            moved = moved.flatten(0, 1)
        return F.relu(x + self.norm(moved))


class Neurites(nn.Module):
    """Blocks (n, z, y, x), y and x multiples of 8 -> affinity logits (n, len(OFFSETS), z, y, x).

    With `aux`, also local shape descriptors (n, DESCRIPTORS, z, y/4, x/4), which only training asks for.
    """

    def __init__(self, channels: tuple[int, ...] = (24, 48, 64)) -> None:
        super().__init__()
        a, b, c = channels
        self.stem, self.fine, self.z0 = conv(4, a), conv(a, a), Between(a, 1)
        self.down1, self.middle, self.z1 = conv(a, b), conv(b, b), Between(b, 1)
        self.down2, self.deep, self.z2, self.deeper, self.z3 = (
            conv(b, c),
            conv(c, c),
            Between(c, 2),
            conv(c, c),
            Between(c, 4),
        )
        self.to1, self.up1, self.z4 = nn.Conv2d(c, b, 1), conv(b, b), Between(b, 2)
        self.to0, self.up0, self.z5, self.last = nn.Conv2d(b, a, 1), conv(a, a), Between(a, 1), conv(a, a)
        self.head = nn.Conv2d(a, 4 * len(OFFSETS), 1)
        self.aux = nn.Conv2d(b, DESCRIPTORS, 1)

    def forward(self, x: Tensor, aux: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        n = int(x.shape[0])  # exported for one block, of any size
        x = x.flatten(0, 1)[:, None] if n > 1 else x.transpose(0, 1)
        fine = self.z0(self.fine(self.stem(F.pixel_unshuffle(x, 2))), n)
        middle = self.z1(self.middle(self.down1(F.max_pool2d(fine, 2))), n)
        deep = self.z2(self.deep(self.down2(F.max_pool2d(middle, 2))), n)
        deep = self.z3(self.deeper(deep) + deep, n)
        y = self.z4(self.up1(middle + double(self.to1(deep))), n)
        described = y
        y = self.last(self.z5(self.up0(fine + double(self.to0(y))), n))
        y = F.pixel_shuffle(self.head(y), 2)
        y = y.unflatten(0, (n, -1)).transpose(1, 2) if n > 1 else y.transpose(0, 1)[None]
        if not aux:
            return y
        return y, self.aux(described).unflatten(0, (n, -1)).transpose(1, 2)


class Synapses(nn.Module):
    """Cubes (n, 1, 24, 24, 24) -> logits (n,) of a synapse in the middle."""

    def __init__(self, width: int = 14) -> None:
        super().__init__()

        def solid(n_in: int, n_out: int, stride: int = 1) -> nn.Module:
            return nn.Sequential(nn.Conv3d(n_in, n_out, 3, stride, padding=1, bias=False), nn.BatchNorm3d(n_out), nn.ReLU())

        w = width
        self.down = nn.ModuleList([solid(1, w, 2), solid(w, 2 * w, 2), solid(2 * w, 2 * w), solid(2 * w, 2 * w, 2)])
        self.says = nn.Linear(2 * w * 27, 1)

    def forward(self, x: Tensor) -> Tensor:
        for part in self.down:
            x = part(x)
        return self.says(x.flatten(1))[:, 0]
