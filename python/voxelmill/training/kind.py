"""What the loop of training asks of a kind of network: the network, its batches, its loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    import torch


class Kind(Protocol):
    kind: str

    def network(self) -> torch.nn.Module: ...
    def batch(self, rng: np.random.Generator, part: str = "train") -> dict[str, np.ndarray]: ...
    def loss(self, network: torch.nn.Module, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]: ...
    def example_input(self) -> np.ndarray: ...
    def card(self) -> dict[str, Any]: ...
