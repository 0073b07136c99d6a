"""Disk space: what a run takes is said before it makes anything, and refused where it cannot fit."""

from __future__ import annotations

import shutil
from pathlib import Path

from .errors import StorageError


def check(need: dict[str, float], folder: Path, less: str) -> str:
    """Uncompressed bytes of each product, as one line. less: how to ask for less.

    Raises StorageError where they cannot fit."""
    where, total = folder.resolve(), sum(need.values()) / 2**30
    free = shutil.disk_usage(where).free / 2**30
    if total > free:
        raise StorageError(
            f"the products need up to {total:.1f} GB and {where} has {free:.1f} GB free; {less}, or put -work-dir elsewhere"
        )
    parts = ", ".join(f"{name} {size / 2**30:.3f}" for name, size in need.items())
    return f"Disk: up to {total:.3f} GB, uncompressed ({parts}); free here: {free:.1f} GB"
