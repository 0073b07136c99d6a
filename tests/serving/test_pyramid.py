"""Pyramid: the same bytes whatever the number of tasks, both versions; nothing missing goes unnoticed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from voxelmill.core import blocks, levels, manifest
from voxelmill.core.volume import open_image
from voxelmill.serving.pyramid import mean
from voxelmill.testing.stages import make_store, record_of, run_stage

# name: shape, voxel size, shard, chunk, level up to which superblocks go, all levels
CASES = {
    "isotropic": ((12, 150, 70), (8.0, 8.0, 8.0), (1, 16, 70), (1, 16, 35), 2, 3),
    "anisotropic": ((4, 300, 70), (30.0, 4.0, 4.0), (1, 32, 70), (1, 16, 70), 2, 4),
    "odd shards": ((11, 140, 40), (8.0, 8.0, 8.0), (3, 15, 52), (3, 15, 13), 1, 3),
}


def stores(folder: Path, case: str) -> dict[str, Path]:
    shape, voxel, shard, chunk, *_ = CASES[case]
    rng = np.random.default_rng(0)
    return {
        "volume": make_store(folder / "v.ome.zarr", rng.random(shape, np.float32), voxel, shard, chunk),
        "labels": make_store(
            folder / "l.ome.zarr", rng.integers(0, 9, shape).astype(np.uint32), voxel, shard, chunk, label=True
        ),
    }


def parts_of(folder: Path, given: dict[str, Path], tasks: int, **params) -> list[Path]:
    image = open_image(given["volume"])
    grid = levels.superblocks(image.layout(), image.scale)[1]
    made = []
    for n, block in enumerate(blocks.plan(grid, tasks)):
        assert (
            run_stage(
                "serving.pyramid", folder / f"part{n}", **{"name": "out", **given, **params}, block=block, output="out.levels"
            )
            == 0
        )
        made.append(folder / f"part{n}/out.levels")
    return made


def publish(folder: Path, given: dict[str, Path], **more) -> Path:
    assert run_stage("serving.multiscale", folder, **given, output="out.ome.zarr", **more) == 0
    return folder / "out.ome.zarr"


def contents(store: Path) -> dict[str, bytes]:
    return {str(p.relative_to(store)): p.read_bytes() for p in sorted(store.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(("case", "version"), [*((case, "0.5") for case in CASES), ("anisotropic", "0.4")])
def test_same_bytes_for_any_number_of_tasks(tmp_path: Path, case: str, version: str):
    given = stores(tmp_path, case)
    whole = publish(tmp_path / "whole", given, ome_zarr_version=version)
    lower, count = CASES[case][4:]
    assert (whole / f"labels/neurites/{count - 1}").exists() and not (whole / str(count)).exists()
    for tasks in (1, 2, 7):
        folder = tmp_path / str(tasks)
        parts = parts_of(folder, given, tasks, ome_zarr_version=version)
        assert len(parts) == tasks
        made = {path.name for part in parts for path in part.iterdir()} - {"labels"}
        assert made == {str(n) for n in range(0 if version == "0.4" else 1, lower + 1)}
        divided = publish(folder, given, parts=parts, ome_zarr_version=version)
        assert contents(divided) == contents(whole)
        assert manifest.verify(divided, deep=True) == manifest.read(whole)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_the_aligned_volume_is_published_as_asked_for(tmp_path: Path, dtype: str, version: str):
    """Grey levels until then; a pyramid is made from what is published, by one task or several."""
    grey = np.random.default_rng(0).integers(0, 256, (4, 300, 70), np.uint8)
    given = {"volume": make_store(tmp_path / "v.ome.zarr", grey, (30.0, 4.0, 4.0), (1, 32, 70), (1, 16, 70))}
    params = {"aligned_dtype": dtype, "ome_zarr_version": version, "name": "aligned"}
    whole = publish(tmp_path / "whole", given, **params)
    shares = (grey / 255.0).astype(dtype)
    found = [zarr.open_array(str(whole / str(n)))[:] for n in (0, 1)]
    np.testing.assert_array_equal(found[0], shares)
    np.testing.assert_array_equal(found[1], mean(shares, (1, 2, 2)))
    assert found[0].dtype == found[1].dtype == dtype
    parts = parts_of(tmp_path, given, 3, **params)
    assert contents(publish(tmp_path / "divided", given, parts=parts, **params)) == contents(whole)
    raw = publish(tmp_path / "raw", given, **{**params, "name": "raw"})
    assert zarr.open_array(str(raw / "0")).dtype == "uint8"


def test_what_is_no_grey_level_is_not_published_as_one(tmp_path: Path, capsys):
    given = stores(tmp_path, "isotropic") | {"output": "out.ome.zarr", "name": "aligned", "aligned_dtype": "float16"}
    assert run_stage("serving.multiscale", tmp_path, **given) == 65
    assert "float32 values; expected uint8 grey levels" in capsys.readouterr().err


def test_fewer_levels_than_superblocks_reach(tmp_path: Path):
    given = stores(tmp_path, "isotropic")
    for params in ({"max_levels": 2}, {"save_minimal": True}):
        folder = tmp_path / next(iter(params))
        parts = parts_of(folder, given, 2, **params)
        assert contents(publish(folder / "divided", given, parts=parts, **params)) == contents(
            publish(folder / "whole", given, **params)
        )


def test_lower_levels_are_linked_not_made_again(tmp_path: Path):
    given = stores(tmp_path, "anisotropic")
    parts = parts_of(tmp_path, given, 1)
    path = publish(tmp_path, given, parts=parts)
    for name in ("1/c/0/0/0", "labels/neurites/2/c/0/0/0"):
        assert (path / name).stat().st_ino == (parts[0] / name).stat().st_ino
    assert record_of(tmp_path / "part0", "pyramid")["block"] == "out.0-" + str(
        int(np.prod(levels.superblocks(open_image(given["volume"]).layout(), (30.0, 4.0, 4.0))[1].grid)) - 1
    )


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_a_missing_part_is_an_error(tmp_path: Path, capsys, version: str):
    """All levels of this volume are made in superblocks, so that nothing reads them again."""
    given = stores(tmp_path, "isotropic")
    parts = parts_of(tmp_path, given, 7, ome_zarr_version=version)
    assert (
        run_stage(
            "serving.multiscale",
            tmp_path,
            **given,
            parts=parts[:3] + parts[4:],
            output="out.ome.zarr",
            ome_zarr_version=version,
        )
        == 65
    )
    assert "shard missing; it would read as zeros" in capsys.readouterr().err
    assert not (tmp_path / "out.ome.zarr").exists()


def test_a_file_missing_from_a_part_is_an_error(tmp_path: Path, capsys):
    given = stores(tmp_path, "isotropic")
    parts = parts_of(tmp_path, given, 2)
    (parts[0] / "labels/neurites/1/c/0/0/0").unlink()
    assert run_stage("serving.multiscale", tmp_path, **given, parts=parts, output="out.ome.zarr") == 65
    assert "labels/neurites/1/c/0/0/0: missing, though the manifest lists it" in capsys.readouterr().err


def test_a_hole_in_the_source_is_an_error(tmp_path: Path, capsys):
    given = stores(tmp_path, "isotropic")
    shutil.rmtree(given["labels"] / "0/c/0")
    assert run_stage("serving.pyramid", tmp_path, **given, block="0-0", output="out.levels") == 65
    assert "re-run the stage that made it" in capsys.readouterr().err
    assert not (tmp_path / "out.levels").exists()


def test_mean_of_odd_ends_and_floats():
    values = np.array([[[0, 1, 2]]], np.float32)
    assert mean(values, (1, 1, 2)).tolist() == [[[0.5, 2.0]]]
    assert mean(np.array([[[1, 2, 255]]], np.uint8), (1, 1, 2)).tolist() == [[[2, 255]]]


@pytest.mark.gpu
def test_gpu_agrees_with_cpu():
    cupy = pytest.importorskip("cupy")
    values = np.random.default_rng(0).random((8, 64, 64), np.float32)
    assert np.abs(mean(values, (2, 2, 2), cupy) - mean(values, (2, 2, 2))).max() < 1e-6
