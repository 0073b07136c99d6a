"""Training of the trees of `--segmentation forest`, in seconds, on some pixels of each section."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import DataError, ParameterError
from ..inference.pixel_forest import FEATURES, features
from .data import Recipe
from .neurites import Volume, prepare

TREES, LEAVES, RATE = 60, 63, 0.15
PIXELS = 200_000  # looked at in all
MEMBRANE = 2  # px from the nearest label up to which an unlabelled pixel is membrane; farther it is unknown


def train_forest(
    recipe: Recipe, out: Path, *, seed: int, data: list[dict[str, Any]], say: Callable[[str], None] = print
) -> Path:
    """Train on the recipe's part `train`, and say on `validation` how many boundaries are told right.

    Raises ParameterError where LightGBM is not installed, DataError where all pixels look alike."""
    try:
        import lightgbm
    except ImportError as error:
        raise ParameterError("--kind forest needs LightGBM, which is not here; pip install 'voxelmill[train]'") from error
    from .export import write_model

    rng = np.random.default_rng(seed)
    x, y = samples(recipe, "train", rng, PIXELS)
    held_x, held_y = samples(recipe, "validation", rng, PIXELS // 4)
    how = {"objective": "binary", "num_leaves": LEAVES, "learning_rate": RATE, "min_data_in_leaf": 40, "seed": seed}
    booster = lightgbm.train({**how, "deterministic": True, "verbose": -1}, lightgbm.Dataset(x, y), TREES)
    found = np.asarray(booster.predict(held_x)) > 0.5
    right = {"boundary": float(found[held_y > 0].mean()), "inside": float((~found[held_y == 0]).mean())}
    say(f"{len(x)} pixels of train; of validation told right: " + ", ".join(f"{k} {v:.3f}" for k, v in right.items()))
    sizes = np.array([e.voxel_size for e in recipe.examples("train") if len(e.voxel_size) == 3] or [(0.0, 0.0, 0.0)])
    card = {
        "kind": "forest",
        "input": {"name": "x", "axes": ["pixel", "feature"], "features": FEATURES},
        "outputs": {"boundary": {"axes": ["pixel", "one"], "unit": "logit"}},
        "normalisation": "mean 0 and standard deviation 1 of each section",
    }
    if sizes.any():
        card["voxel_size_nm"] = {"least": (sizes.min(0) * 0.75).tolist(), "largest": (sizes.max(0) * 1.33).tolist()}
    told = {"pixels": len(x), "trees": TREES, "seed": seed, "data": data, "lightgbm": lightgbm.__version__}
    write_model(out, to_onnx(booster.dump_model()), card, training=told, figures={k: round(v, 3) for k, v in right.items()})
    return out


def samples(
    recipe: Recipe, part: str, rng: np.random.Generator, most: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features and targets (1 = boundary) of some labelled pixels of each section, with and without contrast equalised."""
    from ..transform.contrast import enhance

    volumes = [prepare(example) for example in recipe.examples(part)]
    share = most // max(2 * sum(len(v.raw) for v in volumes), 1)
    xs, ys = [], []
    for volume in volumes:
        target = boundaries(volume)
        for raw in (volume.raw, enhance(volume.raw)):
            sections = raw.astype(np.float32)
            sections -= sections.mean((1, 2), keepdims=True)
            sections /= np.maximum(sections.std((1, 2), keepdims=True), 1)
            for z in range(len(sections)):
                known = np.flatnonzero(target[z] >= 0)
                if len(known):
                    chosen = rng.choice(known, min(share, len(known)), replace=False)
                    xs.append(features(sections, z)[chosen])
                    ys.append(target[z].ravel()[chosen].astype(np.float32))
    y = np.concatenate(ys) if ys else np.zeros(0, np.float32)
    if not 0 < y.sum() < len(y):
        raise DataError(
            f"part {part}: {int(y.sum())} of {len(y)} labelled pixels are at a boundary; expected some, and not all"
        )
    return np.concatenate(xs), y


def boundaries(volume: Volume) -> NDArray[np.int8]:
    """1 where two labels meet or a thin membrane lies, 0 inside, -1 where nothing is known: int8 (z, y, x)."""
    import cv2

    labels = volume.labels
    near = np.stack([cv2.dilate((s > 0).astype(np.uint8), np.ones((2 * MEMBRANE + 1,) * 2, np.uint8)) > 0 for s in labels])
    out = np.where(labels > 0, 0, np.where(near, 1, -1)).astype(np.int8)
    for axis in (0, 1, 2) if volume.isotropic else (1, 2):
        here, there = ((slice(None),) * axis + (part,) for part in (slice(1, None), slice(-1)))
        meet = (labels[here] != labels[there]) & (labels[here] > 0) & (labels[there] > 0)
        out[here][meet] = out[there][meet] = 1
    return out


def to_onnx(dumped: dict[str, Any]) -> bytes:
    """A LightGBM model, as `Booster.dump_model` gives it, as an ONNX tree ensemble: features (n, f) -> log-odds (n, 1)."""
    from onnx import TensorProto, checker, helper

    rows: dict[str, list] = {name: [] for name in ("tree", "node", "feature", "value", "mode", "yes", "no")}
    leaves: dict[str, list] = {name: [] for name in ("tree", "node", "weight")}

    def add(tree: int, node: dict[str, Any]) -> int:
        number = counts[tree]
        counts[tree] += 1
        place = len(rows["tree"])
        is_leaf = "leaf_value" in node
        for name, value in zip(
            rows,
            (
                tree,
                number,
                node.get("split_feature", 0),
                node.get("threshold", 0.0),
                "LEAF" if is_leaf else "BRANCH_LEQ",
                0,
                0,
            ),
            strict=True,
        ):
            rows[name].append(value)
        if is_leaf:
            for name, value in zip(leaves, (tree, number, node["leaf_value"]), strict=True):
                leaves[name].append(value)
        else:
            rows["yes"][place] = add(tree, node["left_child"])
            rows["no"][place] = add(tree, node["right_child"])
        return number

    counts = [0] * len(dumped["tree_info"])
    for tree, info in enumerate(dumped["tree_info"]):
        add(tree, info["tree_structure"])
    ensemble = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["boundary"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=rows["tree"],
        nodes_nodeids=rows["node"],
        nodes_featureids=rows["feature"],
        nodes_values=rows["value"],
        nodes_modes=rows["mode"],
        nodes_truenodeids=rows["yes"],
        nodes_falsenodeids=rows["no"],
        target_treeids=leaves["tree"],
        target_nodeids=leaves["node"],
        target_ids=[0] * len(leaves["tree"]),
        target_weights=leaves["weight"],
    )
    graph = helper.make_graph(
        [ensemble],
        "forest",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, dumped["max_feature_idx"] + 1])],
        [helper.make_tensor_value_info("boundary", TensorProto.FLOAT, [None, 1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)])
    model.ir_version = 8
    checker.check_model(model)
    return model.SerializeToString()
