"""Align: the table's signs, bad sections flagged and bridged, missing ones named, --strict."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from voxelmill.testing.em import neurites
from voxelmill.testing.stages import make_facts, make_store, record_of, run_stage
from voxelmill.transform import warp
from voxelmill.transform.transforms import load


def align(folder: Path, stack: np.ndarray, missing: tuple[int, ...] = (), **params) -> int:
    files = {
        "volume": make_store(folder / "in.ome.zarr", stack, shard=(32, 96, 96), chunk=(32, 96, 96)),
        "facts": make_facts(folder / "facts.json", len(stack), missing=missing),
    }
    shared = {k: v for k, v in params.items() if k != "strict"}
    assert run_stage("transform.align_pairs", folder, **files, block="0-0", output="pairs.npz", **shared) == 0
    return run_stage(
        "transform.align", folder, **files, pairs="pairs.npz", transforms="transforms.npz", table="alignment.csv", **params
    )


def rows(folder: Path) -> list[dict]:
    with open(folder / "alignment.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def stack() -> np.ndarray:
    return neurites((24, 96, 96), seed=2)[0]


def test_dy_dx_are_added_to_the_content(tmp_path: Path, stack: np.ndarray):
    """Section 12's content is moved by (+3, -2): its correction is (-3, +2) more than it was."""
    moved = stack.copy()
    moved[12] = warp.render(stack[12], warp.shift_transform(3, -2), fill=int(stack[12].mean()))
    for name, values in (("still", stack), ("moved", moved)):
        assert align(tmp_path / name, values, alignment="translation") == 0
    before, after = rows(tmp_path / "still")[12], rows(tmp_path / "moved")[12]
    # The correction that undoes it, less what the trend over ten sections takes for structure.
    assert float(after["dy"]) - float(before["dy"]) == pytest.approx(-3, abs=0.35)
    assert float(after["dx"]) - float(before["dx"]) == pytest.approx(2, abs=0.35)
    transform = load(tmp_path / "moved/transforms.npz")[12]
    assert np.allclose(transform.matrix[:, 2], [float(after["dy"]), float(after["dx"])], atol=1e-3)


def test_blank_and_missing_sections_are_named_and_bridged(tmp_path: Path, stack: np.ndarray):
    holed = stack.copy()
    holed[7] = 0
    holed[15] = 0
    assert align(tmp_path, holed, missing=(15,)) == 0
    found = rows(tmp_path)
    assert found[7]["status"] == "blank" and found[15]["status"] == "missing"
    assert [r["section"] for r in found if r["status"] != "ok"] == ["7", "15"]
    between = [float(found[z]["dy"]) for z in (6, 7, 8)]
    assert min(between[0], between[2]) - 1e-3 <= between[1] <= max(between[0], between[2]) + 1e-3
    assert record_of(tmp_path, "align")["quality"]["sections_flagged"] == {"7": "blank", "15": "missing"}


def test_strict_ends_with_an_error(tmp_path: Path, stack: np.ndarray, capsys):
    holed = stack.copy()
    holed[7] = 0
    assert align(tmp_path, holed, strict=True) == 65
    assert "sections that cannot be aligned: {7: 'blank'}" in capsys.readouterr().err
    assert not (tmp_path / "alignment.csv").exists()


def test_no_alignment_leaves_all_in_place(tmp_path: Path, stack: np.ndarray):
    assert align(tmp_path, stack, alignment="none") == 0
    assert all(t.is_identity for t in load(tmp_path / "transforms.npz"))
    assert {r["status"] for r in rows(tmp_path)} == {"ok"}


def test_transforms_survive_the_file(tmp_path: Path):
    from voxelmill.transform.transforms import save

    field = np.random.default_rng(0).normal(size=(2, 5, 6)).astype(np.float32)
    moves = [warp.shift_transform(1, 2), warp.SectionTransform(np.eye(2, 3), field, 8)]
    save(tmp_path / "t.npz", moves)
    back = load(tmp_path / "t.npz")
    assert back[0].field is None and np.array_equal(back[1].field, field) and back[1].spacing == 8
    assert all(np.array_equal(a.matrix, b.matrix) for a, b in zip(moves, back))


def test_the_last_bit_of_a_sine_is_not_in_the_file(tmp_path: Path):
    """It is another one inside a container."""
    from voxelmill.transform.transforms import save

    matrix = warp.rigid_matrix(1.25, -2.5, 0.7, (124.5, 124.5))
    for name, bits in (("a.npz", 0), ("b.npz", 1e-15)):
        save(tmp_path / name, [warp.SectionTransform(matrix + bits)])
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert np.allclose(load(tmp_path / "a.npz")[0].matrix, matrix, rtol=0, atol=5e-8)
