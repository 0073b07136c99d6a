"""Several trained networks of one kind as one model, which says the mean of what they say.

    python -m voxelmill.training.mean MODEL_DIR MODEL_DIR ... --out MODEL_DIR

Networks that learnt from other parts of few data are wrong in other places. Fine-tuning starts from the first.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ..core import models
from ..core.errors import DataError, ParameterError
from .export import write_model

SAME = ("kind", "input", "outputs", "normalisation", "voxel_size_nm", "halo_nm", "licence")


def mean(networks: dict[str, Any]) -> Any:
    """ONNX of networks with the same inputs and outputs; what is inside all but the first gets its key before its name."""
    from onnx import checker, compose, helper

    first, *_ = networks.values()
    outputs = [o.name for o in first.graph.output]
    graphs = []
    for key, network in networks.items():
        new = dict.fromkeys(
            ("rename_nodes", "rename_edges", "rename_initializers", "rename_value_infos"), network is not first
        )
        graphs.append(compose.add_prefix(network, key, rename_inputs=False, rename_outputs=True, **new).graph)
    ends = [helper.make_node("Mean", [key + name for key in networks], [name]) for name in outputs]
    nodes = [node for graph in graphs for node in graph.node]
    weights = [one for graph in graphs for one in graph.initializer]
    ports = list(first.graph.input), list(first.graph.output)
    whole = helper.make_graph([*nodes, *ends], first.graph.name, *ports, weights)
    made = helper.make_model(whole, opset_imports=first.opset_import, ir_version=first.ir_version)
    checker.check_model(made, full_check=True)
    return made


def write_mean(folders: list[Path], out: Path) -> None:
    """A model folder; its card is the first's, with the training of each. Raises DataError where cards differ."""
    import onnx

    if len(folders) < 2:
        raise ParameterError(f"{len(folders)} model; expected two or more to take the mean of")
    found = [models.load(folder) for folder in folders]
    cards = [model.card for model in found]
    for folder, card in zip(folders, cards, strict=True):
        other = [name for name in SAME if card.get(name) != cards[0].get(name)]
        if other:
            raise DataError(f"{folder}: {other[0]} is not that of {folders[0]}; expected networks of one kind")
    network = mean({f"{n}.{m.card['sha256'][:8]}/": onnx.load(m.weights) for n, m in enumerate(found)})
    told = {name: cards[0][name] for name in SAME if name in cards[0]}
    training = {**cards[0]["training"], "members": [card["training"] for card in cards]}
    figures = {"validation_loss": [card["figures"].get("validation_loss") for card in cards]}
    write_model(out, network.SerializeToString(), told, training=training, figures=figures)
    print(json.dumps({"members": len(folders), "bytes": (out / "model.onnx").stat().st_size}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL_DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="MODEL_DIR")
    given = parser.parse_args()
    write_mean(given.models, given.out)
