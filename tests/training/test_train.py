"""A toy of each network trained for some steps: killed and resumed, exported, fine-tuned. Needs torch."""

import hashlib
import inspect
import json

import numpy as np
import pytest
from voxelmill.cli import main
from voxelmill.core.errors import DataError, ParameterError
from voxelmill.testing.em import neurites
from voxelmill.testing.timelapse import make_movie
from voxelmill.training import train as module
from voxelmill.training.data import load_recipe
from voxelmill.training.neurites import Neurites, mirrored
from voxelmill.training.train import rate, run


def test_the_rate_rises_stays_and_falls():
    assert rate(0, 10_000, 1.0) == 1 / 200
    assert rate(5000, 10_000, 1.0) == 1
    assert rate(8500, 10_000, 1.0) == 0.5 and rate(10_000, 10_000, 1.0) == 0


def test_the_command_passes_on_what_training_takes(monkeypatch, tmp_path):
    """Without torch too: all that the command reads is an argument of `run` or, behind it, of `train`."""
    said = {}
    monkeypatch.setattr(module, "run", lambda **given: said.update(given))
    assert main(["train", "--kind", "cells", "--recipe", "cells.json", "--out", str(tmp_path)]) == 0
    known = {*inspect.signature(run).parameters, *inspect.signature(module.train).parameters}
    assert said and not set(said) - known


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    movie = make_movie(frames=3, size=128, channels=0)
    np.savez(folder / "cells.npz", phase=movie.phase, labels=movie.labels)
    raw, labels = neurites((32, 64, 64), 24)
    np.savez(folder / "neurites.npz", raw=raw, labels=labels.astype(np.uint16))
    return folder


def small(kind):
    """The task, with crops small enough for a test."""
    from voxelmill.training import cells, neurites
    from voxelmill.training.data import own_recipe

    def task(folder):
        path = str(folder / f"{kind}.npz")
        recipe = own_recipe(kind, [path], [path], (10.0, 10.0, 10.0) if kind == "neurites" else ())
        if kind == "cells":
            return cells.Cells(recipe, side=32, batch=2)
        recipe.sets[0]["parts"] = {"train": {"region": [[0, 16]]}, "validation": {"region": [[16, 32]]}}
        return neurites.Neurites(recipe, depth=8, side=32, batch=2)

    return task


@pytest.mark.parametrize("kind", ["cells", "neurites"])
def test_a_killed_run_goes_on_as_if_it_had_not_been(files, tmp_path, kind):
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    torch.set_num_threads(1)

    task = small(kind)(files)
    module.train(task, tmp_path / "whole", steps=4, every_s=0)
    said = []

    class Killed(Exception):
        pass

    class Dies:
        """The task, killed in its third step, after the second checkpoint."""

        def __getattr__(self, name):
            return getattr(task, name)

        def batch(self, rng, part="train"):
            if part == "train" and (tmp_path / "cut/curve.csv").exists() and len(rows()) == 3:
                raise Killed
            return task.batch(rng, part)

    def rows():
        return (tmp_path / "cut/curve.csv").read_text().splitlines()

    with pytest.raises(Killed):
        module.train(Dies(), tmp_path / "cut", steps=4, every_s=0)
    module.train(task, tmp_path / "cut", steps=4, every_s=0, say=said.append)
    assert said[0] == "goes on at step 2 of 4"
    assert [r.split(",")[0] for r in rows()] == ["step", "1", "2", "3", "4"]
    whole, cut = (torch.load(tmp_path / n / "checkpoint.pt", weights_only=True)["network"] for n in ("whole", "cut"))
    assert all(torch.equal(whole[k], cut[k]) for k in whole)
    with pytest.raises(DataError, match=r"another network|of a "):
        other = small("neurites" if kind == "cells" else "cells")(files)
        module.train(other, tmp_path / "cut", steps=5)


@pytest.mark.parametrize("kind", ["cells", "neurites"])
def test_a_model_folder_runs_without_torch_and_can_be_fine_tuned(files, tmp_path, kind):
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    torch.set_num_threads(1)
    from voxelmill.training import export

    task = small(kind)(files)
    out = module.train(task, tmp_path / "model", steps=2, data=[{"name": "made", "licence": "BSD-3-Clause"}])
    card = json.loads((out / "card.json").read_text())
    weights = (out / "model.onnx").read_bytes()
    assert card["sha256"] == hashlib.sha256(weights).hexdigest() and card["bytes"] == len(weights) < 1.3e6
    assert card["kind"] == kind and card["training"]["data"][0]["licence"] == "BSD-3-Clause"

    # other sizes than it was exported with; what onnxruntime gives is what torch gives
    x = np.random.default_rng(0).normal(size=(2, 1, 96, 80) if kind == "cells" else (1, 9, 96, 80)).astype(np.float32)
    session = runtime.InferenceSession(weights, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert given.name == card["input"]["name"] and [o.name for o in session.get_outputs()] == list(card["outputs"])
    found = session.run(None, {"x": x})[0]
    state = torch.load(out / "checkpoint.pt", weights_only=True)["averaged"]
    network = task.network()
    network.load_state_dict(state)
    with torch.no_grad():
        expected = network.eval()(torch.from_numpy(x))
    expected = expected[0] if kind == "cells" else expected
    np.testing.assert_allclose(found, expected.numpy(), atol=2e-4)

    tuned = export.load_weights(task.network(), out)
    with torch.no_grad():
        again = tuned.eval()(torch.from_numpy(x))
    np.testing.assert_allclose((again[0] if kind == "cells" else again).numpy(), found, atol=2e-4)
    module.train(task, tmp_path / "tuned", steps=1, start=out)
    (out / "model.onnx").write_bytes(b"no model")
    with pytest.raises(DataError, match="no ONNX"):
        export.load_weights(task.network(), out)


@pytest.mark.parametrize("kind", ["cells", "neurites"])
def test_nothing_beyond_the_halo_is_seen(kind):
    """The card's halo is what a block must be read with."""
    torch = pytest.importorskip("torch")
    from voxelmill.training import cells, networks, neurites

    torch.manual_seed(0)
    if kind == "cells":
        network, card = networks.Cells().eval(), cells.Cells.card(None)
        halo, x = card["halo_px"][1], torch.randn(1, 1, 16, 320)
        step = (..., slice(160 + halo, None))
        place = (0, ..., slice(0, 160))
    else:
        network = networks.Neurites().eval()
        task = object.__new__(neurites.Neurites)
        task.offsets, task.volumes = networks.OFFSETS, {"train": []}
        z, _, halo = neurites.Neurites.card(task)["halo_px"]
        x = torch.randn(1, 32, 8, 160)
        step, place = (..., slice(80 + halo, None)), (0, ..., slice(0, 80))
        other = x.clone()
        other[:, 16 + z :] = 0
        with torch.no_grad():
            assert torch.equal(network(x)[0, :, :16], network(other)[0, :, :16])
    other = x.clone()
    other[step] = 5
    with torch.no_grad():
        one, two = network(x), network(other)
    one, two = (t[0] if kind == "cells" else t for t in (one, two))
    assert torch.allclose(one[place], two[place], atol=1e-5) and not torch.allclose(one, two)


def test_the_command_trains_on_own_files(files, tmp_path, capsys):
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    path = str(files / "cells.npz")
    how = ["--image", path, "--labels", path, "--out", str(tmp_path / "m"), "--steps", "1", "--threads", "1"]
    assert main(["train", "--kind", "cells", *how]) == 0
    assert "validation" in capsys.readouterr().out
    assert {p.name for p in (tmp_path / "m").iterdir()} == {"checkpoint.pt", "curve.csv", "model.onnx", "card.json"}


def test_a_few_sections_are_enough(files, tmp_path):
    """Four sections to learn from and one to choose by, as where somebody drew outlines by hand."""
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    raw, labels = neurites((5, 160, 144), 24)
    np.savez(tmp_path / "few.npz", raw=raw.astype(np.uint16) * 20, labels=labels.astype(np.uint16))
    recipe = {"name": "few", "image": "few.npz", "labels": "few.npz", "licence": "mine", "attribution": "me"}
    recipe |= {"voxel_size": [50, 5, 5], "parts": {"train": {"region": [[0, 3]]}, "validation": {"region": [[3, 5]]}}}
    (tmp_path / "r.json").write_text(json.dumps({"kind": "neurites", "sets": [recipe]}))
    assert mirrored(np.arange(7), 3).tolist() == [0, 1, 2, 1, 0, 1, 2] and mirrored(np.arange(3), 1).tolist() == [0, 0, 0]
    # Sections four away are seen: a network that has only known nothing there answers a thicker volume with nonsense.
    assert Neurites(load_recipe(tmp_path / "r.json", tmp_path)).depth == {"train": 9, "validation": 9}
    out = run("neurites", tmp_path / "m", recipe=tmp_path / "r.json", root=tmp_path, steps=1)
    card = json.loads((out / "card.json").read_text())
    assert card["voxel_size_nm"]["largest"][0] == 50 and card["training"]["data"][0]["name"] == "few"


def test_what_is_missing_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    assert main(["train", "--kind", "cells", "--out", str(tmp_path)]) == 64
    assert "pip install 'voxelmill[train]'" in capsys.readouterr().err


def test_a_recipe_or_files_but_not_both(tmp_path):
    pytest.importorskip("torch")
    with pytest.raises(ParameterError, match="either --recipe"):
        run("cells", tmp_path)
