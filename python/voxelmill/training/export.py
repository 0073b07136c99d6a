"""A trained network as a model folder: `model.onnx` and `card.json`, which onnxruntime and a reader need."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import DataError, StorageError

if TYPE_CHECKING:
    from torch import nn

    from .kind import Kind

VERSION = 1  # of the card
OPSET = 17


def fold(network: nn.Module) -> nn.Module:
    """A copy in which a convolution that a normalisation follows holds it in its own weights; for inference."""
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    network = copy.deepcopy(network).eval()
    for part in network.modules():
        if isinstance(part, nn.Sequential) and len(part) > 1:
            a, b = part[0], part[1]
            if isinstance(a, nn.Conv2d | nn.Conv3d) and isinstance(b, nn.BatchNorm2d | nn.BatchNorm3d):
                part[0], part[1] = fuse_conv_bn_eval(a, b), nn.Identity()
    return network


def load_weights(network: nn.Module, folder: Path) -> nn.Module:
    """The network with the weights of a model folder, normalisations folded in: what fine-tuning starts from.

    Raises StorageError where there is no model, DataError where it is another network's.
    """
    import torch

    try:
        import onnx
    except ImportError as error:
        raise StorageError("fine-tuning reads ONNX; pip install 'voxelmill[train]'") from error
    if not (folder / "model.onnx").is_file():
        raise StorageError(f"{folder}: no model.onnx here; expected a model folder")
    try:
        stored = {i.name: onnx.numpy_helper.to_array(i) for i in onnx.load(folder / "model.onnx").graph.initializer}
    except Exception as error:  # protobuf has a kind of its own, which onnx does not name
        raise DataError(f"{folder}/model.onnx: no ONNX file ({type(error).__name__}); expected a network") from error
    network = fold(network)
    state = network.state_dict()
    for name, value in state.items():
        if name.endswith("num_batches_tracked") or name.startswith("aux."):
            continue  # not part of what runs
        if name not in stored or stored[name].shape != tuple(value.shape):
            raise DataError(f"{folder}/model.onnx: has no {name} of shape {tuple(value.shape)}; it is another network")
        state[name] = torch.from_numpy(stored[name].copy())
    network.load_state_dict(state)
    return network


def export(kind: Kind, network: Any, out: Path, *, training: dict[str, Any], figures: dict[str, float]) -> None:
    """Write the model folder; a reader sees the old model or the new one, and the card says which it is of."""
    import torch

    told = kind.card()
    axes = {"cells": {0: "n", 2: "y", 3: "x"}, "neurites": {1: "z", 2: "y", 3: "x"}, "synapses": {0: "n"}}
    names = {"x": axes[kind.kind]}
    plain = fold(network).cpu()
    partial = out / "model.onnx.partial"
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # tracing says what it takes for constant
        torch.onnx.export(
            plain, (torch.from_numpy(kind.example_input()),), str(partial), input_names=["x"],
            output_names=list(told["outputs"]), dynamic_axes=names, opset_version=OPSET, dynamo=False,
        )  # fmt: skip
    weights = partial.read_bytes()
    partial.unlink()
    write_model(out, weights, {"kind": kind.kind, **told}, training={**training, "torch": torch.__version__}, figures=figures)


def write_model(
    out: Path, weights: bytes, told: dict[str, Any], *, training: dict[str, Any], figures: dict[str, Any]
) -> None:
    """`model.onnx` and its card, which says `told` and the digest; each is replaced whole."""
    from .. import __version__

    out.mkdir(parents=True, exist_ok=True)
    partial = out / "model.onnx.partial"
    partial.write_bytes(weights)
    card = {
        "card": VERSION,
        "kind": told["kind"],
        "voxelmill": __version__,
        "file": "model.onnx",
        "sha256": hashlib.sha256(weights).hexdigest(),
        "bytes": len(weights),
        "licence": "BSD-3-Clause",
        **told,
        "training": training,
        "figures": figures,
    }
    (out / "card.json.partial").write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n")
    os.replace(partial, out / "model.onnx")
    os.replace(out / "card.json.partial", out / "card.json")
