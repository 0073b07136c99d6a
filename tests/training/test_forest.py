"""Training of decision trees: what they learn from, the file that they become, the command."""

from __future__ import annotations

import json

import numpy as np
import pytest
from voxelmill.cli import main
from voxelmill.core import models
from voxelmill.testing.em import neurites
from voxelmill.training import forest
from voxelmill.training.data import NONE, Example
from voxelmill.training.neurites import Volume


def volume(labels: np.ndarray, isotropic: bool) -> Volume:
    return Volume(np.zeros(labels.shape, np.uint8), labels, isotropic, Example("s", "n", NONE, NONE))


def test_boundaries_of_touching_labels_and_of_membranes():
    labels = np.ones((2, 1, 12), np.int32)
    labels[:, :, 4:] = 2
    assert forest.boundaries(volume(labels, True))[0, 0].tolist() == [0, 0, 0, 1, 1, *[0] * 7]
    labels[:, :, 6:] = 0  # membrane for two pixels, then nobody knows
    assert forest.boundaries(volume(labels, True))[0, 0].tolist() == [0, 0, 0, 1, 1, 0, 1, 1, *[-1] * 4]
    labels[1] = 3
    flat, solid = (forest.boundaries(volume(labels, isotropic))[1, 0] for isotropic in (False, True))
    assert not flat.any() and solid[:6].all()  # 3 lies on 1 and 2: in a thick section that says nothing of its own pixels


def test_the_command_makes_a_model_that_says_what_the_trees_said(tmp_path, capsys):
    lightgbm = pytest.importorskip("lightgbm")
    pytest.importorskip("onnx")
    raw, labels = neurites((10, 96, 96), 24)
    np.save(tmp_path / "raw.npy", raw)
    np.save(tmp_path / "labels.npy", labels.astype(np.uint32))
    files = ["--image", str(tmp_path / "raw.npy"), "--labels", str(tmp_path / "labels.npy")]
    how = ["--kind", "forest", "--out", str(tmp_path / "m"), "--voxel_size", "10", "10", "10"]
    assert main(["train", *how, *files]) == 0
    assert "told right: boundary" in capsys.readouterr().out
    card = json.loads((tmp_path / "m/card.json").read_text())
    assert card["kind"] == "forest" and card["figures"]["inside"] > 0.8 and card["figures"]["boundary"] > 0.5
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 24)).astype(np.float32)
    y = (x[:, 3] + x[:, 7] ** 2 > 1).astype(np.float32)
    booster = lightgbm.train({"objective": "binary", "verbose": -1}, lightgbm.Dataset(x, y), 20)
    (tmp_path / "m/model.onnx").write_bytes(forest.to_onnx(booster.dump_model()))
    session = models.Model(tmp_path / "m", card).session
    found = session.run(None, {"x": x})[0].ravel()
    assert np.isclose(found, booster.predict(x, raw_score=True), atol=1e-4).mean() > 0.999


def test_what_is_missing_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "lightgbm", None)
    np.save(tmp_path / "a.npy", np.zeros((4, 64, 64), np.uint8))
    np.save(tmp_path / "l.npy", np.ones((4, 64, 64), np.uint32))
    files = ["--image", str(tmp_path / "a.npy"), "--labels", str(tmp_path / "l.npy")]
    assert main(["train", "--kind", "forest", "--out", str(tmp_path / "m"), *files]) == 64
    assert "needs LightGBM" in capsys.readouterr().err and not (tmp_path / "m").exists()
