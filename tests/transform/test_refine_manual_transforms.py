"""Pairs that a person has laid: read as other tools write them, refined within bounds, and believed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from voxelmill.core.errors import DataError
from voxelmill.core.volume import open_image
from voxelmill.testing.slices import STEP, THICK, pair, registered, slanting, slice_store
from voxelmill.testing.stages import record_of, run_stage
from voxelmill.transform.auto_exclude_slices import Parameters as Excluding
from voxelmill.transform.auto_exclude_slices import excluded
from voxelmill.transform.pairs import Pair, read_itk, read_metrics, write_itk, write_metrics
from voxelmill.transform.refine_manual_transforms import Parameters, aligned
from voxelmill.transform.slice_solution import Believed, decided, solve
from voxelmill.transform.warp import apply, centre_of, compose, rigid_matrix


def refine(folder: Path, off: tuple[float, float, float], **flags: object) -> tuple[Pair, np.ndarray, np.ndarray]:
    """Of a pair whose transform a person has set `off` (px, px, deg) beside the right one: what is made of it, what
    registration alone finds, and what it was given."""
    _, source, stores = registered()
    right = read_itk(source / "0-1.tfm")
    shape = open_image(stores[0]).shape[1:]
    folder.mkdir(exist_ok=True)
    write_itk(folder / "given.tfm", compose(right, rigid_matrix(*off, centre_of(shape))), shape)  # type: ignore[arg-type]
    files = {"transform": "out.tfm", "metrics": "out.json", "offsets": "out.txt", "manual": "given.tfm"}
    given = {"fixed": stores[0], "moving": stores[1], "name": "z00-z01", "registration_slicing_interval_mm": THICK}
    assert run_stage("transform.refine_manual_transforms", folder, **given, **files, **flags) == 0
    return read_metrics(folder / "out.json"), read_itk(folder / "out.tfm"), right


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """Px, at most, over a slice."""
    points = np.array([(20.0, 20.0), (20.0, 150.0), (150.0, 20.0), (150.0, 150.0)])
    return float(np.linalg.norm(apply(one, points) - apply(other, points), axis=1).max())


def test_unrefined_it_stays_as_it_was_laid(tmp_path: Path) -> None:
    made, matrix, right = refine(tmp_path, (4.0, -3.0, 1.0))
    assert made.source == "manual" and made.status == "ok" and made.confidence == 1
    assert apart(matrix, read_itk(tmp_path / "given.tfm")) < 1e-6 < 3 < apart(matrix, right)


@pytest.mark.parametrize("off, said", [((0.5, -0.5, 0.0), 0), ((25.0, -20.0, 3.0), 1)])
def test_what_does_not_fit_as_it_was_laid_is_said(off: tuple[float, float, float], said: int, tmp_path: Path) -> None:
    """It may be of another run, whose pairs have the same names."""
    refine(tmp_path, off)
    notes = record_of(tmp_path, "refine_manual_transforms")["quality"].get("notes", [])
    assert len(notes) == said and all("is it a transform of this run?" in note for note in notes)


def test_refined_it_comes_to_what_both_show(tmp_path: Path) -> None:
    made, matrix, right = refine(tmp_path, (4.0, -3.0, 1.0), refine_manual_transforms=True)
    assert made.source == "manual_refined" and apart(matrix, right) < 0.3 and made.correlation > 0.3


def test_refined_on_as_many_planes_of_both_where_fixed_ends(tmp_path: Path) -> None:
    """Fixed has 3 planes from the shared one on: the mean of 8 of moving would be refined 0.39 px beside."""
    tissue = slanting(29)
    images = tuple(open_image(slice_store(tmp_path, n, planes)) for n, planes in enumerate((tissue[:15], tissue[8:])))
    p = Parameters(registration_slicing_interval_mm=8 * STEP, refine_manual_transforms=True)
    made, matrix = aligned(p, (images[0], images[1]), (0, 1), np.eye(2, 3))
    assert made.source == "manual_refined" and apart(matrix, np.eye(2, 3)) < 0.05


@pytest.mark.parametrize("bound", [{"refine_max_translation_px": 2.0}, {"refine_max_rotation_deg": 0.5}])
def test_beyond_the_bounds_the_person_is_right(bound: dict[str, float], tmp_path: Path) -> None:
    made, matrix, _ = refine(tmp_path, (4.0, -3.0, 1.0), refine_manual_transforms=True, **bound)
    assert made.source == "manual" and "not refined" in made.why
    assert apart(matrix, read_itk(tmp_path / "given.tfm")) < 1e-6
    assert record_of(tmp_path, "refine_manual_transforms")["quality"]["notes"]


EULER = "Transform: Euler3DTransform_double_3_3\nParameters: {}\nFixedParameters: 0 0 0 0\n"


def test_transforms_of_other_tools(tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    for made in (
        sitk.Euler2DTransform((30.0, 40.0), 0.1, (3.0, -2.0)),
        sitk.Euler3DTransform((30.0, 40.0, 0.0), 0, 0, 0.1, (3, -2, 0)),
    ):
        sitk.WriteTransform(made, str(tmp_path / "a.tfm"))
        point = (50.0, 70.0) if made.GetDimension() == 2 else (50.0, 70.0, 0.0)  # (dim 2, dim 1)
        x, y, *_ = made.TransformPoint(point)
        assert np.allclose(apply(read_itk(tmp_path / "a.tfm"), np.array([70.0, 50.0])), (y, x))


@pytest.mark.parametrize(
    "text, what",
    [
        ("", "no ITK transform"),
        ("Transform: AffineTransform_double_2_2\nParameters: 1 0 0 1 0 0\nFixedParameters: 0 0\n", "AffineTransform"),
        ("Transform: Euler3DTransform_double_3_3\nParameters: 0.1 0 0 1 2 0\nFixedParameters: 0 0 0 0\n", "leaves the plane"),
        (EULER.format("0 0 0.1 1 2 30"), "leaves the plane"),
        (EULER.format("0 0 nan 1 2 0"), "is no number"),
        (EULER.format("0 0 0 inf 2 0"), "is no number"),
        (2 * EULER.format("0 0 0.1 1 2 0"), "several transforms"),
    ],
)
def test_what_is_no_turn_in_the_plane_is_refused(text: str, what: str, tmp_path: Path) -> None:
    (tmp_path / "a.tfm").write_text(text)
    with pytest.raises(DataError, match=what):
        read_itk(tmp_path / "a.tfm")


@pytest.mark.parametrize("text", ["[]", "{}", '{"info": []}', '{"info": {"fixed": 0}}', "no JSON"])
def test_what_is_no_pair_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match="no metrics of a pair"):
        read_metrics(tmp_path / "a.json")


def test_a_pair_without_numbers_is_refused(tmp_path: Path) -> None:
    """The joint solution would never end."""
    write_metrics(tmp_path / "a.json", pair(0, 1, dim1_px=float("nan")))
    with pytest.raises(DataError, match="NaN is no number"):
        read_metrics(tmp_path / "a.json")


def test_a_person_overrules_gates_and_pairs_across() -> None:
    """Unlike planes, and registration of slices two apart that says otherwise: the slice lies where it was laid."""
    by_hand = pair(1, 2, source="manual", confidence=1.0, z_correlation=0.05, correlation=0.0, dim1_px=20.0)
    pairs = [pair(0, 1), by_hand, pair(2, 3), pair(0, 2), pair(1, 3)]
    made = decided(Believed(), pairs)
    uses = {(d.pair.fixed, d.pair.moving): (d.use, d.why) for d in made}
    assert uses[1, 2] == ("full", "aligned by hand") and uses[0, 1][0] == uses[2, 3][0] == "full"
    assert uses[0, 2][0] == uses[1, 3][0] == "skipped" and "by hand" in uses[0, 2][1]
    shift = solve(Believed(), made, range(4), 200).shift[:, 0]
    assert shift[2] - shift[1] == pytest.approx(-20, abs=1e-3) and abs(shift[3] - shift[2]) < 1e-3
    assert decided(Believed(apply_rotation_only=True), pairs)[2].use == "rotation only"
    assert decided(Believed(apply_pairwise_transforms=False), pairs)[2].use == "skipped"


def test_it_is_no_bad_pair() -> None:
    pairs = [pair(n, n + 1, z_correlation=0.0, source="manual" if n == 1 else "images") for n in range(4)]
    assert excluded(Excluding(), pairs) == {}
    assert excluded(Excluding(), [p.model_copy(update={"source": "images"}) for p in pairs])


@pytest.mark.parametrize("name, code", [("z00-z01", 0), ("z07-z08", 65)])
def test_transforms_of_another_run_are_refused(name: str, code: int, tmp_path: Path, capsys) -> None:
    _, source, stores = registered()
    made = read_metrics(source / "0-1.json").model_copy(update={"source": "manual"})
    write_metrics(tmp_path / "0-1.json", made)
    out = {"plan": "plan.json", "matches": "z.csv", "decisions": "d.csv", "block_list": "blocks.csv"}
    given = {"volumes": list(stores.values()), "metrics": "0-1.json", "config": source / "config.csv", "manual": name}
    assert run_stage("transform.plan_stack", tmp_path, **given, **out, registration_slicing_interval_mm=THICK) == code
    assert ("no pair z07-z08 in this run; expected transforms of its own pairs" in capsys.readouterr().err) == (code == 65)
