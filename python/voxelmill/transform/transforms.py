"""The file of section transforms: one npz with matrices, fields and their spacing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..core.errors import DataError
from .warp import SectionTransform

# Of turns and of shifts (px). What sine and cosine give differs in the last bit from one C library to another, as inside
# a container and outside.
DECIMALS = np.array([10, 10, 7])


def save(path: Path, moves: Sequence[SectionTransform]) -> None:
    """Write transforms, without their last digits; fields that are all zero are left out. Same transforms, same bytes."""
    matrices = np.stack([m.matrix for m in moves])
    parts: dict[str, np.ndarray] = {"matrices": np.rint(matrices * 10.0**DECIMALS) / 10.0**DECIMALS}
    with_field = [z for z, m in enumerate(moves) if m.field is not None and m.field.any()]
    if with_field:
        parts["fields"] = np.stack([moves[z].field for z in with_field])  # type: ignore[misc]
        parts["field_sections"] = np.array(with_field)
        parts["spacing"] = np.array(moves[with_field[0]].spacing)
    with open(path, "wb") as file:
        np.savez(file, **parts)  # type: ignore[arg-type]


def load(path: Path) -> list[SectionTransform]:
    """Read transforms, one a section. Raises DataError for another kind of file."""
    try:
        with np.load(path) as parts:
            fields = dict(zip(parts["field_sections"].tolist(), parts["fields"])) if "fields" in parts else {}
            spacing = int(parts["spacing"]) if "spacing" in parts else 16
            return [SectionTransform(m, fields.get(z), spacing) for z, m in enumerate(parts["matrices"])]
    except (ValueError, KeyError, OSError) as error:
        raise DataError(f"{path.name}: not a file of section transforms ({error})") from None
