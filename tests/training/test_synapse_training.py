"""Training of the synapse network: what a table says, what a spot is taken for, the card; the command where torch is."""

from __future__ import annotations

import hashlib
import json
import shutil

import numpy as np
import pytest
from voxelmill.cli import main
from voxelmill.core import models
from voxelmill.core.errors import DataError
from voxelmill.postprocess import densities
from voxelmill.postprocess.synapses import MODEL
from voxelmill.training import data, synapses
from voxelmill.training.data import RECIPES, load_recipe
from voxelmill.training.mean import write_mean


def test_a_table_becomes_places(tmp_path):
    (tmp_path / "t.csv").write_text("z,y,x,verdict,note\n1,2,3,synapse,a\n4,4,4,unsure,\n5,5,5,no,\n6,6,6,same,\n")
    labels = data.paint(tmp_path / "t.csv", (8, 8, 8))
    assert np.argwhere(labels > 0).tolist() == [[1, 2, 3]] and np.argwhere(labels < 0).tolist() == [[4, 4, 4]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("z,y,verdict\n1,1,no\n", "no column x; expected z, y, x, verdict"),
        ("z,y,x,verdict\n1,1,9,no\n", "outside"),
        ("z,y,x,verdict\n1,,1,no\n", "line 2: .* expected z, y, x in whole voxels"),
    ],
)
def test_a_table_that_says_something_else_is_refused(tmp_path, text, said):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        data.paint(tmp_path / "t.csv", (8, 8, 8))


def test_synapses_of_a_volume_are_what_hangs_together():
    labels = np.zeros((4, 9, 9), np.int32)
    labels[0, 1, 1], labels[1, 2, 2], labels[3, 7, 6:9] = 1, 1, 5
    assert synapses.places(labels).tolist() == [[0.5, 1.5, 1.5], [3, 7, 7]]


def test_a_spot_is_a_synapse_near_one_and_none_far_from_all():
    labels = np.zeros((1, 1, 100), np.int32)
    labels[0, 0, 10], labels[0, 0, 60] = 1, data.UNSURE
    points = np.array([[0, 0, x] for x in (10, 18, 19, 25, 26, 44, 45, 60, 76)])
    assert synapses.told(points, labels, (10.0, 10.0, 10.0)).tolist() == [1, 1, -1, -1, 0, 0, -1, -1, 0]


def test_a_varied_cube_is_a_cube():
    rng = np.random.default_rng(0)
    found = rng.normal(100, 20, (densities.SIDE + 2 * synapses.SPARE,) * 3).astype(np.float32)
    for isotropic in (True, False):
        for _ in range(6):
            x = synapses.varied(rng, found, isotropic)
            assert x.shape == (densities.SIDE,) * 3 and x.dtype == np.float32 and np.isfinite(x).all()


def test_the_table_that_ships_is_whole():
    """Every place lies in the part that its section belongs to, and the recipe's parts are these."""
    rows = (RECIPES / "fib25_synapses.csv").read_text().splitlines()
    assert len(rows) - 1 == 256 and sum(",synapse," in row for row in rows) >= 39
    painted = data.paint(RECIPES / "fib25_synapses.csv", (150, 250, 250))
    recipe = load_recipe(RECIPES / "synapses.json", RECIPES)
    ends = [part["region"][0] for part in recipe.sets[0]["parts"].values()]
    assert ends == [[0, 100], [100, 125], [125, 150]]
    assert [int((painted[a:b] > 0).sum()) for a, b in ends] == [26, 5, 8]


def test_the_command_makes_a_model(tmp_path, capsys):
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    rng = np.random.default_rng(0)
    raw = rng.normal(160, 6, (40, 120, 120))
    places, others = rng.integers(3, (37, 112, 112), (24, 3)), rng.integers(3, (37, 112, 112), (24, 3))
    where = np.indices(raw.shape)
    for at, flat in [(p, 1.0) for p in places] + [(p, 3.0) for p in others]:
        away = (where[0] - at[0]) ** 2 + (where[1] - at[1]) ** 2 * flat + (where[2] - at[2]) ** 2 / flat
        raw -= 90 * np.exp(-away / 12)
    np.save(tmp_path / "raw.npy", raw.clip(0, 255).astype(np.uint8))
    table = "z,y,x,verdict\n" + "".join(f"{z},{y},{x},synapse\n" for z, y, x in places)
    (tmp_path / "t.csv").write_text(table)
    files = ["--image", str(tmp_path / "raw.npy"), "--labels", str(tmp_path / "t.csv"), "--voxel_size", "10", "10", "10"]
    assert main(["train", "--kind", "synapses", "--out", str(tmp_path / "m"), "--steps", "2", *files]) == 0
    card = json.loads((tmp_path / "m/card.json").read_text())
    assert card["kind"] == "synapses" and card["input"]["step_nm"] == densities.STEP and card["bytes"] < 300_000


def test_the_mean_of_networks_says_the_mean(tmp_path):
    onnx = pytest.importorskip("onnx")
    other = shutil.copytree(MODEL, tmp_path / "other")
    network = onnx.load(other / "model.onnx")
    for one in network.graph.initializer:
        if one.name.endswith("says.bias"):
            one.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(one) + 3, one.name))
    weights = network.SerializeToString()
    (other / "model.onnx").write_bytes(weights)
    card = json.loads((other / "card.json").read_text()) | {"sha256": hashlib.sha256(weights).hexdigest()}
    (other / "card.json").write_text(json.dumps(card))
    write_mean([MODEL, other], tmp_path / "mean")
    cube = np.random.default_rng(0).normal(0, 1, (1, 1, *[densities.SIDE] * 3)).astype(np.float32)
    says = [models.load(f).session.run(None, {"x": cube})[0][0] for f in (MODEL, other, tmp_path / "mean")]
    assert says[1] > says[0] + 2 and abs(says[2] - (says[0] + says[1]) / 2) < 1e-4
    (other / "card.json").write_text(json.dumps(card | {"halo_nm": 1.0}))
    with pytest.raises(DataError, match="halo_nm is not that of"):
        write_mean([MODEL, other], tmp_path / "none")
