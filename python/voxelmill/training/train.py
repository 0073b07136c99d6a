"""The loop: batches, steps, checkpoints, a learning curve; goes on where it was killed.

A model folder in training holds `checkpoint.pt` (replaced whole every few minutes), `curve.csv` and, from the
first checkpoint on, `model.onnx` with `card.json`. Batches follow from the seed and the number of the step, so a run that
was killed and goes on is the run that was not.
"""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError, ParameterError
from .kind import Kind

WARM_UP = 200  # steps
DECAY = 0.3  # the last part of the steps, over which the rate goes to 0
AVERAGED = 0.998  # weights that are exported are a running mean of those that learn
HELD = 6  # batches of the validation part


def rate(step: int, steps: int, highest: float) -> float:
    """Learning rate of a step: up over WARM_UP, level, then down to 0 over the last DECAY of `steps`."""
    return highest * min(1.0, (step + 1) / WARM_UP, max(steps - step, 0) / max(DECAY * steps, 1))


def train(
    kind: Kind,
    out: Path,
    *,
    steps: int,
    seed: int = 0,
    highest: float = 0.0,
    every_s: float = 180.0,
    start: Path | None = None,
    data: list[dict[str, Any]] | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Train until `steps` are done, from `out`'s checkpoint where there is one; returns `out`.

    highest: learning rate; 0 takes 2e-3, or 5e-4 for weights that have learnt already. every_s: seconds between
    checkpoints. start: a model folder whose weights are the first ones. data: what the card
    says of the training data.
    Raises DataError where the checkpoint is of another kind of network.
    """
    import torch

    highest = highest or (2e-3 if start is None else 5e-4)
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = kind.network()
    if start is not None:
        from .export import load_weights

        network = load_weights(network, start)
    network = network.to(device).train()
    averaged = copy.deepcopy(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=highest, weight_decay=1e-3)
    done, spent = 0, 0.0
    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        if state["kind"] != kind.kind:
            raise DataError(f"{checkpoint}: of a {state['kind']} network; expected {kind.kind}; give another --out")
        seed, done, spent = state["seed"], state["step"], state["seconds"]
        try:
            network.load_state_dict(state["network"])
            averaged.load_state_dict(state["averaged"])
            optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError) as error:
            what = str(error).splitlines()[0]
            raise DataError(
                f"{checkpoint}: of another network ({what}); give the --start that it was begun with, or another --out"
            ) from error
        say(f"goes on at step {done} of {steps}")

    def tensors(batch: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
        return {k: torch.from_numpy(v).to(device) for k, v in batch.items()}

    def held_loss() -> float:
        """Loss on validation batches, always the same ones, of the averaged weights."""
        averaged.eval()
        with torch.no_grad():
            losses = [
                float(sum(kind.loss(averaged, tensors(kind.batch(np.random.default_rng([99, i]), "validation"))).values()))
                for i in range(HELD)
            ]
        return float(np.mean(losses))

    def save() -> None:
        state = {
            "kind": kind.kind,
            "seed": seed,
            "step": done,
            "seconds": spent,
            "network": network.state_dict(),
            "averaged": averaged.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        torch.save(state, out / "checkpoint.pt.partial")
        os.replace(out / "checkpoint.pt.partial", checkpoint)

    if done >= steps:
        say(f"{checkpoint} has {done} steps already; give more --steps to go on")
    last, seen = time.monotonic(), []
    while done < steps:
        begun = time.monotonic()
        for group in optimizer.param_groups:
            group["lr"] = rate(done, steps, highest)
        parts = kind.loss(network, tensors(kind.batch(np.random.default_rng([seed, 1, done]))))
        loss = torch.stack(list(parts.values())).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        keep = min(AVERAGED, (done + 1) / (done + 10))
        with torch.no_grad():
            for a, b in zip(averaged.state_dict().values(), network.state_dict().values()):
                a.lerp_(b, 1 - keep) if a.is_floating_point() else a.copy_(b)
        done, spent = done + 1, spent + time.monotonic() - begun
        seen.append([v.item() for v in parts.values()])
        if not np.isfinite(seen[-1]).all():
            raise DataError(f"{out}: the loss is no number at step {done}; the images hold NaN, or --rate is too high")
        if time.monotonic() - last >= every_s or done == steps:
            held = held_loss()
            save()
            row = dict(zip(parts, np.mean(seen, 0).round(4).tolist()))
            _note(out / "curve.csv", {"step": done, "seconds": round(spent), **row, "validation": round(held, 4)})
            said = ", ".join(f"{k} {v:.3f}" for k, v in row.items())
            say(f"step {done} of {steps}, {spent / done:.2f} s a step: {said}; validation {held:.4f}")
            _export(kind, averaged, out, done, steps, spent, seed, held, data or [])
            last, seen = time.monotonic(), []
    return out


def _export(
    kind: Kind, averaged: Any, out: Path, done: int, steps: int, spent: float, seed: int, held: float, data: list
) -> None:
    from .export import export

    told = {"steps": done, "of": steps, "seconds": round(spent), "seed": seed, "data": data}
    export(kind, averaged, out, training=told, figures={"validation_loss": round(held, 4)})


def _note(path: Path, row: dict[str, float]) -> None:
    """A row more of the learning curve; rows that a killed run wrote beyond its checkpoint are taken away."""
    head = ",".join(row)
    rows = path.read_text().splitlines()[1:] if path.exists() else []
    rows = [r for r in rows if float(r.split(",")[0]) < row["step"]]
    text = "\n".join([head, *rows, ",".join(str(v) for v in row.values())]) + "\n"
    path.with_suffix(".partial").write_text(text)
    os.replace(path.with_suffix(".partial"), path)


def run(
    kind: str,
    out: Path,
    *,
    recipe: Path | None = None,
    root: Path = Path(),
    images: list[str] | None = None,
    labels: list[str] | None = None,
    voxel_size: tuple[float, ...] = (),
    cell_diameter: float = 0.0,
    licence: str = "not stated",
    threads: int = 0,
    **how: Any,
) -> Path:
    """What `voxelmill train` does: a recipe, or a user's own files, into a model folder."""
    from .data import load_recipe, own_recipe

    if kind != "forest":
        try:
            import torch
        except ImportError as error:
            raise ParameterError("training needs torch, which is not here; pip install 'voxelmill[train]'") from error
    if (recipe is None) == (not images):
        raise ParameterError("give either --recipe, or --image and --labels")
    of = "neurites" if kind == "forest" else kind  # the data are the same
    chosen = load_recipe(recipe, root) if recipe else own_recipe(of, images or [], labels or [], voxel_size, licence)
    if chosen.kind != of:
        raise ParameterError(f"{recipe}: a recipe for {chosen.kind}; expected {of}, for --kind {kind}")
    said = json.loads(json.dumps(chosen.said()))
    if kind == "forest":
        from .forest import train_forest

        return train_forest(chosen, out, seed=how.get("seed", 0), data=said)
    if threads:
        import cv2

        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
    task: Kind
    if kind == "cells":
        from .cells import Cells

        task = Cells(chosen, cell_diameter)
    elif kind == "synapses":
        from .synapses import Synapses

        task = Synapses(chosen)
    else:
        from .neurites import Neurites

        task = Neurites(chosen)
    return train(task, out, data=said, **how)
