"""Register pairwise: the transform of a pair, as other tools read it, and its metrics."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
from voxelmill.core import manifest
from voxelmill.core.volume import open_image
from voxelmill.testing.slices import STEP, THICK, registered, slanting, slice_store, texture
from voxelmill.testing.stages import run_stage
from voxelmill.transform import register_pairwise
from voxelmill.transform.pairs import read_metrics
from voxelmill.transform.slice_solution import Believed, decided


def test_itk_reads_the_transform():
    sitk = pytest.importorskip("SimpleITK")
    made, source, stores = registered()
    pair = read_metrics(source / "0-1.json")
    transform = sitk.ReadTransform(str(source / "0-1.tfm"))
    a, b = (np.array(open_image(stores[s]).origin[1:]) / 1e4 for s in (0, 1))  # px
    for p in ((20.0, 30.0), (150.0, 90.0)):  # (dim 1, dim 2); ITK has x = dim 2 first
        x, y, _ = transform.TransformPoint((p[1], p[0], 0.0))
        on_stage = np.array([p]) + a + made.stage[0]
        truth = made.from_block(1, made.to_block(0, on_stage))[0] - made.stage[0] - b
        assert np.hypot(*(truth - (y, x))) < 0.3
    assert pair.status == "ok" and abs(pair.fixed_z - pair.expected_z) < 0.5


def test_the_pair_lies_where_it_was_cut():
    """Truth: of a point of the first slice, where it lies in the second; and how deep the second begins."""
    made, source, _ = registered()
    for a, b in zip(made.kept[:-1], made.kept[1:]):
        pair = read_metrics(source / f"{a}-{b}.json")
        assert pair.status == "ok" and abs(pair.fixed_z - pair.expected_z) < 0.5
        assert (source / f"{a}-{b}.tfm").read_text().startswith("#Insight Transform File V1.0")
        assert len((source / f"{a}-{b}.txt").read_text().split()) == 2
        assert (
            abs(pair.rotation_deg - (made.rotations[b] - made.rotations[a])) < 0.15
            or abs(pair.rotation_deg + (made.rotations[b] - made.rotations[a])) < 0.15
        )


@pytest.mark.parametrize("searched", [110, 384])
def test_large_slices_are_compared_smaller(monkeypatch, searched):
    """Depth on means of 2 x 2 px; slices read in tiles."""
    made, _, stores = registered()
    monkeypatch.setattr(register_pairwise, "SEARCHED", searched)
    monkeypatch.setattr(register_pairwise, "TILE", 100)
    p = register_pairwise.Parameters(registration_slicing_interval_mm=THICK)
    pair, _ = register_pairwise.registered(p, (open_image(stores[1]), open_image(stores[2])), (1, 2))
    assert pair.status == "ok" and abs(pair.fixed_z - pair.expected_z) < 0.5
    assert abs(abs(pair.rotation_deg) - abs(made.rotations[2] - made.rotations[1])) < 0.15


def test_slanting_tissue_that_light_weighs_unlike_is_measured_on_few_planes(tmp_path):
    """Light grows with depth in one slice and falls in the other: the mean of SLAB planes lies 0.39 px off."""
    tissue = slanting(26)
    light = np.exp(0.4 * np.arange(20))[:, None, None].astype(np.float32)
    slices = [tissue[:20] * light, tissue[6:] / light]
    images = tuple(open_image(slice_store(tmp_path, n, values)) for n, values in enumerate(slices))
    p = register_pairwise.Parameters(registration_slicing_interval_mm=6 * STEP)
    pair, _ = register_pairwise.registered(p, images, (0, 1))
    assert abs(pair.fixed_z - pair.expected_z) < 0.5 and abs(pair.dim1_px) < 0.25


@pytest.mark.parametrize("off, believed", [(0.5, True), (1.5, False)])
def test_what_few_planes_say_is_believed_near_what_many_say(monkeypatch, off, believed):
    p, planes = register_pairwise.Parameters(), texture((1, 120, 130))
    found = register_pairwise.from_start(p, planes[0], planes[0], (0, 0))
    other = replace(found, matrix=found.matrix + np.array([[0, 0, off], [0, 0, 0]]))
    monkeypatch.setattr(register_pairwise, "from_start", lambda *_: other)
    assert (register_pairwise.finely(p, found, planes[0], planes[0]).matrix is other.matrix) == believed


def test_where_slices_meet_deeper_than_expected_as_many_planes_of_both_are_measured(tmp_path):
    """Tissue slants by 0.3 px a plane; fixed has 5 planes from the expected one on, and 2 from the one that is found."""
    tissue = slanting(29)
    images = tuple(open_image(slice_store(tmp_path, n, planes)) for n, planes in enumerate((tissue[:15], tissue[9:])))
    p = register_pairwise.Parameters(registration_slicing_interval_mm=6 * STEP)
    pair, _ = register_pairwise.registered(p, images, (0, 1))
    assert round(pair.fixed_z) == 13 and pair.translation < 0.05


def test_planes_that_fixed_does_not_show_are_not_measured_on(monkeypatch):
    """As many of both slices, where fixed ends soon after the plane that they share."""
    seen = []
    monkeypatch.setattr(register_pairwise, "finely", lambda p, found, *few: seen.append(few) or found)
    stores = registered()[2]
    images = open_image(stores[0]), open_image(stores[1])
    deep = images[0].shape[0]
    for shown, times in ((register_pairwise.FINE, 0), (register_pairwise.SLAB, 1)):
        seen.clear()
        reach = register_pairwise.Reach(expected=deep - shown, drift=0, first=0)
        register_pairwise.matched(register_pairwise.Parameters(), *images, reach)
        assert len(seen) == times


def test_a_pair_with_an_interpolated_slice_is_an_error(tmp_path):
    """However alike: it shows what its neighbours show."""
    _, _, stores = registered()
    made_up = tmp_path / "slice_z01_interpolated.ome.zarr"
    shutil.copytree(stores[1], made_up)
    manifest.write(made_up)
    given = {"fixed": stores[0], "moving": made_up, "name": "z00-z01", "registration_slicing_interval_mm": THICK}
    out = {"transform": "t.tfm", "metrics": "m.json", "offsets": "o.txt"}
    assert run_stage("transform.register_pairwise", tmp_path, **given, **out) == 0
    pair = read_metrics(tmp_path / "m.json")
    assert pair.status == "error" and "z01 interpolated" in pair.why and pair.z_correlation > 0.5
    (found,) = decided(Believed(), [pair])
    assert found.use == "skipped" and "z01 interpolated" in found.why


def test_slices_of_different_pixels(tmp_path, capsys):
    _, _, stores = registered()
    other = slice_store(tmp_path, 1, texture((24, 64, 64)), step=0.02)
    out = {"transform": "t.tfm", "metrics": "m.json", "offsets": "o.txt"}
    assert run_stage("transform.register_pairwise", tmp_path, fixed=stores[0], moving=other, name="z00-z01", **out) == 65
    assert "slices 0 and 1" in (said := capsys.readouterr().err) and "expected both on one canvas" in said


def test_slices_side_by_side_have_nothing_in_common(tmp_path):
    """On one canvas, where the one ends the other begins: an error that names no shift, and the pair is not used."""
    values = np.zeros((2, 40, 96, 192), np.float32)
    values[0, :, :, :96], values[1, :, :, 96:] = texture((40, 96, 96)), texture((40, 96, 96), seed=1)
    images = [open_image(slice_store(tmp_path, n, values[n])) for n in (0, 1)]
    p = register_pairwise.Parameters(registration_slicing_interval_mm=THICK)
    pair, matrix = register_pairwise.registered(p, (images[0], images[1]), (0, 1))
    assert pair.status == "error" and pair.translation == 0 and np.array_equal(matrix, np.eye(2, 3))
    (found,) = decided(Believed(), [pair])
    assert found.use == "skipped" and found.why


def test_what_cannot_be_seen_by_both_is_said():
    """Slices thicker than the depth that is seen: no overlap."""
    _, _, stores = registered()
    p = register_pairwise.Parameters(registration_slicing_interval_mm=0.6)
    pair, matrix = register_pairwise.registered(p, (open_image(stores[0]), open_image(stores[1])), (0, 1))
    assert pair.status == "error" and "nothing is seen by both" in pair.why and np.array_equal(matrix, np.eye(2, 3))
