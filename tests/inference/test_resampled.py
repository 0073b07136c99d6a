"""Voxels of a size that the network does not know: faces lie where they lay, blocks agree, and it is better than as it is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from voxelmill.core.volume import open_image
from voxelmill.inference import affinities, region_graph, resampled, supervoxels
from voxelmill.testing.em import neurites
from voxelmill.testing.stages import make_store, record_of, run_stage


@pytest.mark.parametrize("step", [0.5, 2.0, 0.8, 1.6])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_face_lies_where_it_lay(tmp_path: Path, step: float, axis: int):
    """A network that says 0 between dark and bright: the face's voxel has the lowest affinity, also beside a part's end."""
    shape, steps = (32, 32, 32), tuple(step if k == axis else 1.0 for k in range(3))
    grey = np.full(shape, 50, np.uint8)
    grey[tuple(slice(16, None) if k == axis else slice(None) for k in range(3))] = 200
    image = open_image(make_store(tmp_path / "in.ome.zarr", grey, (10.0, 10.0, 10.0), shard=shape))

    def edges(x: np.ndarray) -> np.ndarray:
        found = np.zeros((3, *x[0].shape), np.float32)
        for k in range(3):
            found[k] = 4 - 40 * np.abs(np.diff(x[0], axis=k, prepend=x[0].take([0], k)))
        return found

    level = affinities.Grey(np.full(32, 125, np.float32), np.full(32, 75, np.float32))
    whole = resampled.seen(edges, image, tuple(slice(0, 32) for _ in range(3)), 0, level, steps)
    profile = whole[axis].mean(tuple(k for k in range(3) if k != axis))
    weight = profile.max() - profile
    assert abs((weight * np.arange(32)).sum() / weight.sum() - 16) <= (0.01 if step in (0.5, 2.0) else step / 2)
    assert profile[16] < 128 and all((whole[k] > 240).all() for k in range(3) if k != axis)
    tile = tuple(slice(16, 32) if k == axis else slice(4, 20) for k in range(3))
    part = resampled.seen(edges, image, tile, 0, level, steps)
    assert np.array_equal(part[(slice(None), *(slice(2, -2),) * 3)], whole[(slice(None), *tile)][:, 2:-2, 2:-2, 2:-2])


def test_no_data_stays_no_data():
    voxels = np.full((1, 1, 8), 100, np.uint8)
    voxels[..., :4] = 0
    _, w = resampled.samples(8, slice(0, 4), 2.0)
    one = np.ones((1, 1), np.float32)
    assert resampled.grey_cells(voxels, (one, one, w)).tolist() == [[[0, 0, 100, 100]]]


def loaded(tables: list[Path]) -> tuple[region_graph.Nodes, region_graph.Edges]:
    """The region graph of all blocks."""
    paths = supervoxels.in_order(tables)
    return supervoxels.nodes_of(paths), region_graph.merged(list(supervoxels.pieces(paths)))


def test_blocks_agree(tmp_path: Path):
    """Voxels half as wide as the least that is known: as one block and as two, and on the source's grid."""
    grey, _ = neurites((12, 96, 96), 24)
    fine = grey.repeat(2, 1).repeat(2, 2)[:8, :128, :128]
    store = make_store(tmp_path / "in.ome.zarr", fine, (10.0, 2.0, 2.0), shard=(4, 128, 128))
    for block in ("0-1", "0-0", "1-1"):
        words = {"volume": store, "block": block, "output": "s.ome.zarr", "overlaps": "o.npz", "model_mismatch": "resample"}
        assert run_stage("inference.segment", tmp_path / block, **words) == 0
    assert "shown voxels of (10.0, 4.17, 4.17) nm" in record_of(tmp_path / "0-1", "segment")["quality"]["notes"][0]
    labels = open_image(tmp_path / "0-1/s.ome.zarr").read()
    assert labels.shape == fine.shape and (labels > 0).all()
    for block, z in (("0-0", slice(0, 4)), ("1-1", slice(4, 8))):
        assert np.array_equal(open_image(tmp_path / block / "s.ome.zarr").read(z), labels[z])
    whole = loaded([tmp_path / "0-1/o.npz"])
    parts = loaded([tmp_path / f"{block}/o.npz" for block in ("0-0", "1-1")])
    assert all(np.array_equal(a, b) for f, t in zip(parts, whole) for a, b in zip(f, t, strict=True))


def test_only_what_is_far_from_known_is_resampled():
    card = {"voxel_size_nm": {"least": [10, 4, 4], "largest": [50, 13, 13]}}
    for size, steps in (
        ((8.0, 8.0, 8.0), (1, 1, 1)),  # hardly thinner than the thinnest
        ((5.0, 5.0, 16.0), (2, 1, 1)),
        ((90.0, 2.0, 26.0), (1, 2, 0.5)),  # no section is made up between two
    ):
        image = SimpleNamespace(space=SimpleNamespace(scale=size))
        assert resampled.steps_of(card, image) == steps


def test_too_far_off_is_refused(tmp_path: Path, capsys):
    store = make_store(tmp_path / "in.ome.zarr", np.zeros((4, 64, 64), np.uint8), (10.0, 0.1, 0.1), shard=(4, 64, 64))
    words = {"volume": store, "block": "0-0", "output": "s.ome.zarr", "overlaps": "o.npz", "model_mismatch": "resample"}
    assert run_stage("inference.segment", tmp_path, **words) == 65
    assert "over 8 times off" in capsys.readouterr().err
