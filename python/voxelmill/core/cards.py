"""A model's card against its weights: standard library only, so that the head of a run asks it as well as the stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .errors import DataError, StorageError

CARD = "card.json"
NEEDED = ("kind", "file", "sha256", "licence", "normalisation", "training")


def card_of(folder: Path) -> dict[str, Any]:
    """The card of a model's folder. Raises StorageError where there is none, DataError where its weights are others."""
    from .manifest import digest_file

    path = folder / CARD
    if not path.is_file():
        raise StorageError(f"{path}: no card here; a model is a folder with {CARD} and the weights that it names")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        missing = [name for name in NEEDED if name not in card]
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: not a model's card ({error})") from None
    if missing:
        raise DataError(f"{path}: {', '.join(missing)} missing; expected {', '.join(NEEDED)}")
    if not all(isinstance(card[name], str) for name in ("file", "sha256")):
        raise DataError(f"{path}: file {card['file']!r}, sha256 {card['sha256']!r}; expected text")
    if (known := card.get("voxel_size_nm")) is not None and not _is_range(known):
        raise DataError(f"{path}: voxel_size_nm {known!r}; expected least and largest, three numbers each")
    weights = folder / card["file"]
    if Path(card["file"]).name != card["file"] or not weights.is_file():
        raise DataError(f"{path}: file {card['file']!r}; expected a file beside the card")
    if (found := digest_file(weights)) != card["sha256"]:
        raise DataError(
            f"{weights}: sha256 {found[:16]}..., and {card['sha256'][:16]}... on the card: not the weights that it "
            "describes; take both from one release of the model"
        )
    return card


def _is_range(known: Any) -> bool:
    ends = [known.get(name) for name in ("least", "largest")] if isinstance(known, dict) else []
    return len(ends) == 2 and all(
        isinstance(end, list) and len(end) == 3 and all(isinstance(v, int | float) for v in end) for end in ends
    )
