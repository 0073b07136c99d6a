"""Trained models: a folder with weights and a card, which says what they are; weights of another digest are refused.

    FOLDER/card.json      {"card": 1, "kind": "cells", "version": "1", "file": "weights.npz", "sha256": "...",
                           "licence": "...", "normalisation": "...", "training": {...}, ...}
           weights.npz    arrays by layer, for numpy; or model.onnx, for ONNX Runtime

`Task.model` loads one for a stage, and its record says which, of what digest, and what ran it.
"""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cards import card_of
from .device import providers
from .errors import DataError


@dataclass(frozen=True)
class Model:
    """A model whose weights are those of its card. use_gpu: where ONNX Runtime runs it, as `core/device.py`."""

    folder: Path
    card: dict[str, Any]
    use_gpu: bool = False

    @property
    def weights(self) -> Path:
        return self.folder / self.card["file"]

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Weights by layer, as float32, of an `.npz`. Raises DataError for anything else: objects could run code."""
        try:
            with np.load(self.weights, allow_pickle=False) as stored:
                return {name: stored[name].astype(np.float32) for name in stored.files}
        except (ValueError, OSError, zipfile.BadZipFile) as error:
            raise DataError(f"{self.weights}: not arrays of numbers ({error}); take the model again") from None

    @cached_property
    def session(self) -> Any:
        """Session of ONNX Runtime, with the threads that the task has."""
        chosen = providers(self.use_gpu)  # says so where there is no ONNX Runtime
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS") or 0)
        options.enable_mem_pattern = False  # it keeps a plan and its memory for each shape that is given
        # threads that wait would burn a quarter of the CPU time, and finish no sooner
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = onnxruntime.InferenceSession(str(self.weights), options, providers=chosen)
        except Exception as error:  # its own classes, which share no other base
            raise DataError(f"{self.weights}: not a network that ONNX Runtime can read ({error})") from None
        self.fits(session)
        return session

    def fits(self, session: Any) -> None:
        """Raises DataError where a network's input has other axes than the card says."""
        if (axes := self.card.get("input", {}).get("axes")) is None:
            return
        found = [(one.name, one.shape) for one in session.get_inputs()]
        if [len(shape) for _, shape in found] != [len(axes)]:
            raise DataError(
                f"{self.weights}: takes {found}; expected axes {axes}, as its card says; take both of one release"
            )

    @property
    def provider(self) -> str:
        """What runs it: `numpy`, or the provider that ONNX Runtime has taken."""
        return self.session.get_providers()[0] if self.weights.suffix == ".onnx" else "numpy"

    def described(self) -> dict[str, Any]:
        """For the record."""
        told = {key: self.card.get(key) for key in ("kind", "version", "licence")}
        return {"folder": self.folder.name, **told, "sha256": self.card["sha256"], "provider": self.provider}


def freeing() -> Any:
    """Options of a run of ONNX Runtime that leaves its memory to what follows, which may need as much."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


def load(folder: Path, use_gpu: bool = False) -> Model:
    """The model in a folder. Raises StorageError where there is none, DataError where card and weights do not match."""
    return Model(folder, card_of(folder), use_gpu)
