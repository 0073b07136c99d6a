"""Models: weights are those of their card or refused; the record says which ran, and on what."""

from __future__ import annotations

import ast
import json
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from voxelmill.core import device, manifest, models
from voxelmill.core.errors import DataError, ParameterError, StorageError
from voxelmill.core.params import Params
from voxelmill.core.provenance import Task
from voxelmill.inference import cells, segment
from voxelmill.postprocess import synapses


def folder(path: Path, weights: str = "weights.npz", **card: object) -> Path:
    path.mkdir()
    if weights.endswith(".npz"):
        np.savez(path / weights, a=np.arange(3, dtype=np.float16))
    else:
        (path / weights).write_bytes(b"onnx")
    told = {
        "kind": "cells",
        "version": "7",
        "file": weights,
        "sha256": manifest.digest_file(path / weights),
        "licence": "BSD-3-Clause",
        "normalisation": "none",
        "training": {},
    }
    (path / "card.json").write_text(json.dumps({k: v for k, v in {**told, **card}.items() if v is not None}))
    return path


def test_the_record_says_which_model_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    task = Task("segment_cells", Params())
    found = task.model(folder(tmp_path / "m"))
    assert found.arrays()["a"].tolist() == [0, 1, 2] and found.arrays()["a"].dtype == np.float32
    record = json.loads(task.write_record([], []).read_text())
    assert record["model_hash"] == manifest.digest_file(tmp_path / "m/weights.npz")
    (told,) = record["models"]
    assert (told["kind"], told["version"], told["provider"]) == ("cells", "7", "numpy")


def test_other_weights_than_the_cards_are_refused(tmp_path: Path):
    path = folder(tmp_path / "m")
    np.savez(path / "weights.npz", a=np.zeros(3))
    with pytest.raises(DataError, match=r"m/weights.npz: sha256 .* on the card: not the weights"):
        models.load(path)


class Code:
    """What a pickle can do: run anything when it is read."""

    def __reduce__(self) -> tuple:
        return Path.touch, (Path("ran"),)


def test_weights_with_code_are_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    held = np.empty(1, object)
    held[0] = Code()
    path = folder(tmp_path / "m")
    np.savez(path / "weights.npz", a=held)
    card = json.loads((path / "card.json").read_text())
    (path / "card.json").write_text(json.dumps({**card, "sha256": manifest.digest_file(path / "weights.npz")}))
    with pytest.raises(DataError, match=r"m/weights.npz: not arrays of numbers"):
        models.load(path).arrays()
    assert not (tmp_path / "ran").exists()


# Functions that run what they read, by module; and arguments that make others do so.
RUN = {
    "pickle": None,
    "marshal": None,
    "dill": None,
    "yaml": {"load", "unsafe_load", "full_load", "load_all", "unsafe_load_all"},
}
UNSAFE = {"allow_pickle": True, "weights_only": False, "trust_remote_code": True}


def test_nothing_that_is_read_is_run():
    """Neither pickles nor unsafe YAML, anywhere in the package; code that is given as such by `--plugins` is."""
    package = Path(models.__file__).parents[1]
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            where = f"{path.relative_to(package)}:{node.lineno}"
            assert getattr(node.func, "id", "") not in ("eval", "exec") or path.name == "plugins.py", where
            called, of = getattr(node.func, "attr", ""), getattr(getattr(node.func, "value", None), "id", "")
            assert not (of in RUN and ((RUN[of] is None and called.startswith("load")) or called in (RUN[of] or ()))), where
            if (of, called) == ("torch", "load"):
                assert "weights_only" in {k.arg for k in node.keywords}, where
            for word in node.keywords:
                assert not (word.arg in UNSAFE and getattr(word.value, "value", None) is UNSAFE[word.arg]), where


@pytest.mark.parametrize(
    ("card", "said"),
    [
        ({"licence": None}, "licence missing"),
        ({"file": "../weights.npz"}, "expected a file beside the card"),
        ({"file": "other.npz"}, "expected a file beside the card"),
        ({"file": 3}, "file 3, .* expected text"),
        ({"sha256": 7}, "sha256 7; expected text"),
        ({"voxel_size_nm": {"least": "a", "largest": [1, 2]}}, "expected least and largest, three numbers each"),
    ],
)
def test_a_card_that_is_none(tmp_path: Path, card: dict, said: str):
    with pytest.raises(DataError, match=said):
        models.load(folder(tmp_path / "m", **card))


def test_no_card(tmp_path: Path):
    with pytest.raises(StorageError, match="no card here"):
        models.load(tmp_path)
    (tmp_path / "card.json").write_text("{")
    with pytest.raises(DataError, match="not a model's card"):
        models.load(tmp_path)


def test_weights_of_another_networks_card(tmp_path: Path):
    """The card of the network of neurites, with the digest of that of synapses."""
    path = shutil.copytree(synapses.MODEL, tmp_path / "m")
    card = json.loads((segment.MODEL / "card.json").read_text())
    (path / "card.json").write_text(json.dumps(card | {"sha256": manifest.digest_file(path / "model.onnx")}))
    with pytest.raises(DataError, match=r"takes \[\('x', .* expected axes \['one', 'z', 'y', 'x'\]"):
        _ = models.load(path).session


@pytest.mark.parametrize("folder, kind, most", [(cells.MODEL, "cells", 1.3e6), (segment.MODEL, "neurites", 1e6)])
def test_the_networks_that_come_along_are_small_and_have_their_cards(folder, kind, most):
    model = models.load(folder)
    assert model.card["kind"] == kind and model.weights.stat().st_size < most
    assert all(one["licence"] for one in model.card["training"]["data"])
    assert model.session.get_inputs()[0].name == model.card["input"]["name"]


class Runtime(types.ModuleType):
    """Stands for onnxruntime, with or without CUDA."""

    def __init__(self, *available: str):
        super().__init__("onnxruntime")
        self.available = available

    def get_available_providers(self) -> list[str]:
        return list(self.available)

    class SessionOptions:
        intra_op_num_threads = 0

        def add_session_config_entry(self, name: str, value: str) -> None:
            vars(self)[name] = value

    class InferenceSession:
        def __init__(self, path: str, options: Runtime.SessionOptions, providers: list[str]):
            self.providers, self.threads, self.options = providers, options.intra_op_num_threads, vars(options)

        def get_providers(self) -> list[str]:
            return self.providers


def test_providers_of_onnx_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    path = folder(tmp_path / "m", "model.onnx")
    task = Task("segment", Params())
    for available, use_gpu, expected in (
        ([device.CUDA, device.CPU], True, device.CUDA),
        ([device.CUDA, device.CPU], False, device.CPU),
        ([device.CPU], True, device.CPU),
    ):
        monkeypatch.setitem(sys.modules, "onnxruntime", Runtime(*available))
        session = task.model(path, use_gpu).session
        assert session.threads == 3 and session.options["session.intra_op.allow_spinning"] == "0"
        assert task.models[-1]["provider"] == expected
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ParameterError, match="pip install onnxruntime"):
        task.model(path)
