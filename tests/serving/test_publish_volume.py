"""The subject's levels: values, places and sizes at any resolution; blocks agree; what was stacked is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from ome_zarr_models import open_ome_zarr
from voxelmill.core.space import Axis, Space
from voxelmill.core.volume import open_image
from voxelmill.testing.stages import run_stage
from voxelmill.testing.subject import published, ramp, stack


def sizes_mm(path: Path) -> list[list[float]]:
    group = zarr.open_group(str(path), mode="r")
    (entry,) = (group.attrs.get("ome") or group.attrs)["multiscales"]
    return [d["coordinateTransformations"][0]["scale"] for d in entry["datasets"]]


def where(path: Path, n: int) -> Space:
    group = zarr.open_group(str(path), mode="r")
    (entry,) = (group.attrs.get("ome") or group.attrs)["multiscales"]
    first, second = entry["datasets"][n]["coordinateTransformations"]
    return Space.of([Axis(a["name"], "space", a["unit"]) for a in entry["axes"]], first["scale"], second["translation"])


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_voxels_lie_where_the_metadata_says(tmp_path: Path, version: str):
    """A ramp is resampled exactly but at the edges: each voxel has the value of its centre."""
    path = published(tmp_path, stack(tmp_path, ramp((40, 50, 61))), ome_zarr_version=version)
    open_ome_zarr(zarr.open_group(str(path), mode="r"))
    assert [s[0] for s in sizes_mm(path)] == pytest.approx([0.01, 0.025, 0.05, 0.1])
    for n in range(4):
        values = open_image(path).level(n).read().result()
        space = where(path, n)
        expected = ramp(values.shape, space.scale, space.origin)
        cells = np.array((40, 50, 61)) // np.round(np.array(space.scale) / 0.01, 3)
        whole = tuple(slice(min(n, 1), int(count) - (n == 1)) for count in cells)
        assert np.allclose(values[whole], expected[whole], atol=2e-4), n
    assert values.shape == (4, 5, 7)  # the last voxel along x has a tenth of a cell


def test_voxels_become_cubes_or_keep_their_ratio(tmp_path: Path):
    fine = (0.002, 0.004, 0.004)
    store = stack(tmp_path, ramp((60, 30, 40), fine), fine)
    cubes = published(tmp_path / "cubes", store, pyramid_resolutions="10,25")
    assert sizes_mm(cubes) == [pytest.approx([s] * 3) for s in (0.004, 0.01, 0.025)]
    kept = published(tmp_path / "kept", store, pyramid_resolutions="10,25", pyramid_make_isotropic=False)
    assert sizes_mm(kept) == [pytest.approx([s / 2, s, s]) for s in (0.004, 0.01, 0.025)]
    assert np.allclose(open_image(cubes).read()[:15, :5, :5], ramp((15, 5, 5), (0.004,) * 3, (1.001, 2.0, -3.0)), atol=1e-3)


def test_a_lost_shard_is_no_volume(tmp_path: Path):
    store = stack(tmp_path, np.ones((40, 40, 40)))
    (store / "0/c/1/0/0").unlink()
    given = {"volume": store, "name": "sub-01", "output": "sub-01.ome.zarr"}
    assert run_stage("serving.publish_volume", tmp_path, **given) in (65, 74)
