"""The GPU path of every OCT stage that has one, executed on a stand-in of CuPy; and what is said where there is no GPU."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from voxelmill.core import device
from voxelmill.core.volume import open_image
from voxelmill.serving.pyramid import mean
from voxelmill.testing import oct
from voxelmill.testing.slices import STEP, slice_store, texture
from voxelmill.testing.stages import record_of, run_stage
from voxelmill.transform.register_pairwise import phase_correlation

RAW = oct.Acquisition(slices=1, grid=(2, 2), tile=(8, 36, 24), surface=1.0, thickness=2, n_extra=6, galvo_shift=17)
MADE = oct.Acquisition(slices=1, grid=(2, 2), tile=(24, 64, 64), thickness=8, curvature=2.0)


class OnGpu(np.ndarray):
    """An array that meets arrays of NumPy as little as one of CuPy does."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: tuple = (), **more: Any) -> Any:
        into = {"out": tuple(v.view(np.ndarray) for v in out)} if out else {}
        return sent(getattr(ufunc, method)(*map(fetched, inputs), **into, **more))

    def __array_function__(self, *_: Any) -> Any:
        raise TypeError("a function of NumPy on an array of the GPU")


def fetched(value: Any) -> Any:
    assert type(value) is not np.ndarray or value.ndim == 0, "an array of NumPy among those of the GPU"
    return value.view(np.ndarray) if isinstance(value, OnGpu) else value


def kept(more: dict[str, Any]) -> dict[str, Any]:
    return {name: fetched(value) for name, value in more.items()}


def sent(value: Any) -> Any:
    return np.asarray(value).view(OnGpu)


class CuPy:
    """NumPy under its name."""

    def __init__(self, of: Any = np):
        self.of, self.calls = of, 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.of, name)
        return (lambda *a, **k: sent(found(*map(fetched, a), **kept(k)))) if callable(found) else CuPy(found)

    def asarray(self, values: Any) -> OnGpu:
        self.calls += 1
        return sent(values)

    def asnumpy(self, values: OnGpu) -> np.ndarray:
        assert isinstance(values, OnGpu)
        return values.view(np.ndarray)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """raw/ tiles, grids/, two slices of one block."""
    folder = tmp_path_factory.mktemp("made")
    oct.write_raw(folder / "raw", RAW)
    oct.write_mosaics(folder / "grids", MADE)
    block = texture((24, 80, 90))
    for n in (0, 1):
        slice_store(folder, n, block[8 * n : 8 * n + 16])
    return folder


def of(stage: str, made: Path, folder: Path) -> dict[str, Any]:
    """What a stage is given."""
    if stage == "create_mosaic_grid":
        out = {"tiles": "tiles.csv", "of_slices": "slices", "slice_list": "slices.csv", "tables": "tables"}
        assert run_stage("ingest.list_tiles", folder / "listed", source=made / "raw", **out) == 0
        files = {"source": made / "raw", "tiles": folder / "listed/tiles.csv", "slice": "0", "resolution": 20}
        return {**files, "output": "out.ome.zarr", "galvo": "galvo.json"}
    grid = {"grid": made / "grids/mosaic_grid_3d_z00.ome.zarr", "slice": "0", "output": "out.ome.zarr"}
    slices = [made / f"slice_z0{n}_normalize.ome.zarr" for n in (0, 1)]
    overlap = {"stitch_overlap_fraction": MADE.overlap}
    return {
        "generate_aip": grid | {"output": "aips"},
        "resample_mosaic_grid": grid | {"resolution": 20},
        "fix_illumination": grid | overlap,
        "estimate_global_illumination": overlap
        | {"grids": [grid["grid"]], "resolution": 20, "output": "light.npy", "described_in": "light.json"},
        "normalize": {"volume": slices[0], "slice": "0", "output": "out.ome.zarr"},
        "prepare_slice": grid | overlap | {"resolution": 14, "tiles": "t.csv", "seams": "q.csv"},
        "register_pairwise": {
            "fixed": slices[0], "moving": slices[1], "name": "0-1", "registration_slicing_interval_mm": 8 * STEP,
            "transform": "t.tfm", "metrics": "m.json", "offsets": "o.txt",
        },
    }[stage]  # fmt: skip


STAGES = {
    "create_mosaic_grid": "transform", "generate_aip": "serving", "resample_mosaic_grid": "transform",
    "fix_illumination": "transform", "normalize": "transform", "prepare_slice": "transform", "register_pairwise": "transform",
    "estimate_global_illumination": "transform",
}  # fmt: skip


@pytest.mark.parametrize("stage", STAGES)
def test_a_gpu_is_used_where_there_is_one_and_else_it_is_said(stage: str, made: Path, tmp_path: Path, monkeypatch, capsys):
    cupy, outcomes = CuPy(), {}
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    for there, use_gpu in ((True, True), (True, False), (False, True)):
        monkeypatch.setattr(device, "gpu_name", lambda there=there: "A GPU" if there else None)
        folder, cupy.calls = tmp_path / f"{there}{use_gpu}", 0
        given = of(stage, made, folder)
        capsys.readouterr()
        assert run_stage(f"{STAGES[stage]}.{stage}", folder, **given, use_gpu=use_gpu) == 0
        used = there and use_gpu
        assert (cupy.calls > 0) == used and record_of(folder, stage)["device"] == ("A GPU" if used else "cpu")
        assert ("CuPy finds no GPU: on the CPU" in capsys.readouterr().err) == (use_gpu and not there)
        stores = sorted(folder.glob("*.ome.zarr"))
        files = sorted(path for name in ("aips/*", "t.tfm", "light.npy") for path in folder.glob(name))
        outcomes[there, use_gpu] = [open_image(path).read() for path in stores] or [
            np.frombuffer(path.read_bytes(), np.uint8) for path in files
        ]
    on_gpu, *others = outcomes.values()
    assert on_gpu
    for other in others:
        for a, b in zip(on_gpu, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def test_a_gpu_is_none_where_libraries_of_cupy_are_lacking(monkeypatch, capsys):
    cupy = CuPy()
    found = SimpleNamespace(getDeviceProperties=lambda n: {"name": b"A GPU"}, CUDARuntimeError=OSError)
    cupy.cuda = SimpleNamespace(runtime=found)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    assert device.gpu_name.__wrapped__() == "A GPU" and not capsys.readouterr().err

    def lacking(*_: Any) -> None:
        raise RuntimeError("failed to load libnvrtc.so\nlong")

    cupy.tensordot = lacking
    assert device.gpu_name.__wrapped__() is None
    assert capsys.readouterr().err == "CuPy cannot work on A GPU: RuntimeError: failed to load libnvrtc.so\n"


def test_levels_are_made_on_either():
    values = np.random.default_rng(1).random((9, 10, 11)).astype(np.float32)
    assert np.array_equal(mean(values, (2, 2, 2), CuPy()), mean(values, (2, 2, 2)))


def test_phase_correlation_has_the_sign_of_the_content():
    image = texture((64, 80))
    assert phase_correlation(image, np.roll(image, (5, -7), (0, 1)), CuPy()) == [5, -7]
