"""The subject's levels: values, places and sizes at any resolution; blocks agree; what was stacked is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from ome_zarr_models import open_ome_zarr
from voxelmill.core import manifest, plans
from voxelmill.core.space import MM, Axis, Space
from voxelmill.core.volume import create_image, layout, open_image
from voxelmill.testing.stages import run_stage

STORED = (0.010, 0.010, 0.010)


def stack(folder: Path, values: np.ndarray, scale: tuple[float, ...] = STORED, origin=(1.0, 2.0, -3.0)) -> Path:
    """As `stack` leaves it."""
    space = Space.of([Axis(name, "space", MM) for name in "zyx"], scale, origin)
    path = folder / "stack.ome.zarr"
    image = create_image(path, layout(values.shape, "float32", (16, 32, 32), (8, 16, 16)), space)
    image.write(tuple(slice(0, n) for n in values.shape), values.astype(np.float32))
    manifest.write(path)
    return path


def ramp(shape: tuple[int, ...], scale: tuple[float, ...] = STORED, origin=(1.0, 2.0, -3.0)) -> np.ndarray:
    """Grey values that say where a voxel lies: 1 z + 10 y + 100 x in mm."""
    grid = np.meshgrid(*(o + s * np.arange(n) for n, s, o in zip(shape, scale, origin)), indexing="ij")
    return grid[0] + 10 * grid[1] + 100 * grid[2]


def published(folder: Path, store: Path, blocks: int = 1, **flags: Any) -> Path:
    assert run_stage("serving.plan_levels", folder, volume=store, block_list="levels.csv", blocks=blocks, **flags) == 0
    parts = []
    for row in plans.read(folder / "levels.csv"):
        parts.append(folder / row["id"] / "volume.levels")
        assert run_stage("serving.make_levels", folder, volume=store, block=row["block"], output=parts[-1], **flags) == 0
    more: dict[str, Any] = {"parts": parts} if parts else {}
    given = {"volume": store, "name": "sub-01", "output": "sub-01.ome.zarr"}
    assert run_stage("serving.publish_volume", folder, **given, **more, **flags) == 0
    return folder / "sub-01.ome.zarr"


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


def test_levels_do_not_depend_on_blocks(tmp_path: Path):
    store = stack(tmp_path, np.random.default_rng(0).random((40, 70, 90)))
    whole, parts = published(tmp_path / "whole", store), published(tmp_path / "parts", store, blocks=5)
    rows = plans.read(tmp_path / "parts/levels.csv")
    assert {row["id"][0] for row in rows} == {"1", "2", "3"} and not plans.read(tmp_path / "whole/levels.csv")
    files = {p.relative_to(whole): p.read_bytes() for p in whole.rglob("*") if p.is_file()}
    assert files == {p.relative_to(parts): p.read_bytes() for p in parts.rglob("*") if p.is_file()}
    assert (whole / "0/c/0/0/0").stat().st_ino == (store / "0/c/0/0/0").stat().st_ino  # linked
    assert manifest.verify(parts, deep=True)


def test_fine_texture_does_not_alias(tmp_path: Path):
    """Stripes a voxel wide are grey at 25 um and more; nearest voxels of them would be stripes again."""
    stripes = np.zeros((10, 10, 200)) + np.arange(200) % 2
    path = published(tmp_path, stack(tmp_path, stripes))
    for n in (1, 2, 3):
        values = open_image(path).level(n).read().result()
        assert abs(values[..., 1:-1] - 0.5).max() <= 0.11, n


def test_voxels_become_cubes_or_keep_their_ratio(tmp_path: Path):
    fine = (0.002, 0.004, 0.004)
    store = stack(tmp_path, ramp((60, 30, 40), fine), fine)
    cubes = published(tmp_path / "cubes", store, pyramid_resolutions="10,25")
    assert sizes_mm(cubes) == [pytest.approx([s] * 3) for s in (0.004, 0.01, 0.025)]
    kept = published(tmp_path / "kept", store, pyramid_resolutions="10,25", pyramid_make_isotropic=False)
    assert sizes_mm(kept) == [pytest.approx([s / 2, s, s]) for s in (0.004, 0.01, 0.025)]
    assert np.allclose(open_image(cubes).read()[:15, :5, :5], ramp((15, 5, 5), (0.004,) * 3, (1.001, 2.0, -3.0)), atol=1e-3)


def test_levels_by_number_and_coarse_slices(tmp_path: Path):
    store = stack(tmp_path, np.zeros((20, 20, 20)), (0.025,) * 3)
    assert [s[0] for s in sizes_mm(published(tmp_path / "a", store))] == pytest.approx([0.025, 0.05, 0.1])
    two = published(tmp_path / "b", store, pyramid_n_levels=2)
    assert [s[0] for s in sizes_mm(two)] == pytest.approx([0.025, 0.05])


def test_a_lost_shard_is_no_volume(tmp_path: Path):
    store = stack(tmp_path, np.ones((40, 40, 40)))
    (store / "0/c/1/0/0").unlink()
    given = {"volume": store, "name": "sub-01", "output": "sub-01.ome.zarr"}
    assert run_stage("serving.publish_volume", tmp_path, **given) in (65, 74)
