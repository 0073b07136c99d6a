"""What every reader of volumes gives: a `Source`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ...core.volume import Region


@dataclass
class Source:
    """A volume somewhere: shape (z, y, x), dtype, voxel size in nm where known, how to read it."""

    name: str
    kind: str
    shape: tuple[int, int, int]
    dtype: np.dtype
    read: Callable[[Region], np.ndarray]
    voxel_size: tuple[float, ...] | None = None
    missing: list[int] = field(default_factory=list)  # sections that the source lacks
    sections: list[str] = field(default_factory=list)  # file names, where a section is a file
    forward: bool = False  # can be read from the front only, so that one task must read it all
    close: Callable[[], None] = lambda: None  # raises where the rest of the source is damaged
