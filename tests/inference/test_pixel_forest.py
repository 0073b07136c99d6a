"""Decision trees of pixels: neurites are found by what comes along; what they see; models of the other kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from voxelmill.core import models
from voxelmill.core.volume import open_image
from voxelmill.inference import pixel_forest, section_linking
from voxelmill.inference.segment import FOREST, MODEL
from voxelmill.postprocess.score import score_volumes
from voxelmill.testing.em import neurites
from voxelmill.testing.stages import make_store, record_of, run_stage


@pytest.fixture(scope="module")
def made() -> tuple[np.ndarray, np.ndarray]:
    return neurites((12, 96, 96), 24)


def segment(folder: Path, raw: np.ndarray, block: str = "0-2", code: int = 0, part=slice(None), **more) -> np.ndarray | None:
    folder.mkdir(exist_ok=True)
    store = make_store(folder / "in.ome.zarr", raw, (10.0, 10.0, 10.0), shard=(4, 96, 96))
    words = {"volume": store, "block": block, "output": "s.ome.zarr", "overlaps": "o.npz", "segmentation": "forest", **more}
    assert run_stage("inference.segment", folder, **words) == code
    return open_image(folder / "s.ome.zarr").read(part) if code == 0 else None


def test_neurites_are_found(made, tmp_path: Path):
    """Made membranes, of a kind that the trees have not been shown; the record names the model."""
    pieces = segment(tmp_path, made[0])
    words = {"overlaps": ["o.npz"], "block": "all", "components": "c.parquet", "border": "b.npz", "segmentation": "forest"}
    assert run_stage("inference.agglomerate", tmp_path, **words) == 0
    assert record_of(tmp_path, "segment")["models"][0]["kind"] == "forest"
    found = section_linking.StoredComponents(tmp_path / "c.parquet").within([(0, 2**63)])
    labels = found.component[np.searchsorted(found.supervoxel, pieces)] + 1
    assert score_volumes(made[1], labels)["arand"] < 0.25


def test_blocks_agree(made, tmp_path: Path):
    whole, part = segment(tmp_path / "a", made[0]), segment(tmp_path / "b", made[0], "1-1", part=slice(4, 8))
    assert np.array_equal(whole[4:8], part)


def test_a_network_and_a_forest_are_not_taken_for_each_other(made, tmp_path: Path, capsys):
    segment(tmp_path / "a", made[0], code=65, model=MODEL)
    assert "a model of kind neurites; --segmentation forest expects one of forest" in capsys.readouterr().err
    segment(tmp_path / "b", made[0], code=65, model=FOREST, segmentation="learned")
    assert "a model of kind forest; --segmentation learned expects one of neurites" in capsys.readouterr().err


def test_features_are_of_the_pixel_and_its_neighbours():
    """A dark line along x: curvature across it is high, along it none; mirrored sections give mirrored features."""
    sections = np.zeros((3, 32, 40), np.float32)
    sections[:, 16] = -1
    found = pixel_forest.features(sections, 1).reshape(32, 40, pixel_forest.FEATURES)
    across, along = found[16, 20, 4], found[16, 20, 5]
    assert across > 0.5 and abs(along) < 1e-5 and abs(found[16, 20, 1]) < 1e-5  # and no change from section to section
    rng = np.random.default_rng(0)
    sections = rng.normal(size=(3, 32, 40)).astype(np.float32)
    a, b = pixel_forest.features(sections, 1), pixel_forest.features(np.ascontiguousarray(sections[::-1, :, ::-1]), 1)
    np.testing.assert_allclose(a.reshape(32, 40, -1)[:, ::-1], b.reshape(32, 40, -1), atol=1e-4)


def test_a_boundary_parts_voxels_on_both_of_its_sides(monkeypatch: pytest.MonkeyPatch):
    class Session:
        def run(self, _, given):
            return [np.where(given["x"][:, :1] < 0, 5.0, -5.0)]

    monkeypatch.setattr(pixel_forest, "features", lambda sections, z: sections[z].reshape(-1, 1))
    x = np.ones((1, 2, 3, 4), np.float32)
    x[0, 1, 1, 2] = -1
    logits = pixel_forest.network(Session())(x)
    low = logits < pixel_forest.EVEN
    assert low[2, 1, 1].tolist() == [False, False, True, True]  # the pixel with the one before it, the next one with it
    assert low[1, 1, :, 2].tolist() == [False, True, True] and low[0, :, 1, 2].tolist() == [True, True]


def test_the_shipped_model_is_small_and_its_card_true():
    card = models.load(FOREST).card
    assert card["kind"] == "forest" and card["bytes"] < 1_000_000 and card["training"]["data"][0]["name"] == "fib25"
