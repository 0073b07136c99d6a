"""The stage's axes against the images': a made turn and dilation are found, with errors that hold."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from voxelmill.serving.analyze_acquisition_rotation import fitted
from voxelmill.testing.slices import pair
from voxelmill.testing.stages import record_of, run_stage
from voxelmill.transform.common_space import CommonSpace, Placed
from voxelmill.transform.pairs import write_metrics

STEP = 0.01


def askew(turn: float, scale: float) -> np.ndarray:
    t = np.radians(turn)
    return scale * np.array([[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]])


def made(folder: Path, matrix: np.ndarray, slices: int = 8, noise: float = 0.0) -> dict[str, object]:
    """Slices that the stage moved at random, and what registration finds where its axes are those of `matrix`."""
    rng = np.random.default_rng(3)
    at = np.rint(np.cumsum(rng.normal(0, 25, (slices, 2)), 0)).astype(int)
    rest = rng.uniform(-0.5, 0.5, (slices, 2)) * STEP
    placed = {n: Placed(corner=tuple(at[n].tolist()), origin=tuple(rest[n].tolist())) for n in range(slices)}
    space = CommonSpace(shape=(100, 100), scale=(STEP, STEP), slices=placed)
    (folder / "space.json").write_text(space.model_dump_json())
    for n in range(slices - 1):
        moved = at[n + 1] - at[n] + (rest[n + 1] - rest[n]) / STEP
        left = moved - matrix @ moved + rng.normal(0, noise, 2)
        write_metrics(folder / f"{n}.json", pair(n, n + 1, dim1_px=float(left[0]), dim2_px=float(left[1])))
    return {"common_space": "space.json", "metrics": sorted(folder.glob("?.json")), "output": "out"}


@pytest.mark.parametrize("turn, scale", [(2.5, 1.0), (-4.0, 1.03), (0.0, 0.97)])
def test_turn_and_dilation_are_found(turn: float, scale: float, tmp_path: Path) -> None:
    assert run_stage("serving.analyze_acquisition_rotation", tmp_path, **made(tmp_path, askew(turn, scale))) == 0
    found = json.loads((tmp_path / "out/acquisition_rotation.json").read_text())
    assert found["rotation_deg"] == pytest.approx(turn, abs=1e-3) and found["scale"] == pytest.approx(scale, abs=1e-5)
    assert found["after_px"] < 1e-3 < found["before_px"]
    notes = record_of(tmp_path, "analyze_acquisition_rotation")["quality"].get("notes")
    assert bool(notes) == (abs(turn) > 2)


def test_errors_hold() -> None:
    """Over many draws the estimate lies within two standard errors as often as it should."""
    rng, inside = np.random.default_rng(0), []
    for _ in range(200):
        moved = rng.normal(0, 20, (12, 2))
        found = fitted(moved, moved - moved @ askew(1.0, 1.0).T + rng.normal(0, 1, moved.shape), np.full(12, 0.8))
        assert found
        inside.append(abs(found.rotation_deg - 1.0) < 2 * found.rotation_error)
    assert 0.88 < np.mean(inside) < 0.99


def test_too_few_pairs_say_nothing(tmp_path: Path) -> None:
    assert run_stage("serving.analyze_acquisition_rotation", tmp_path, **made(tmp_path, askew(3, 1), slices=3)) == 0
    assert "too few to say" in (tmp_path / "out/acquisition_rotation.txt").read_text()
    assert json.loads((tmp_path / "out/acquisition_rotation.json").read_text()) == {}
