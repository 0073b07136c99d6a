"""Stack: profiles on data where registration is good, and where it is bad; blocks agree."""

from __future__ import annotations

import numpy as np
import pytest
from voxelmill.core.volume import open_image
from voxelmill.testing.oct_score import volume_score
from voxelmill.testing.slices import alignment_error, in_common_space, one_tile, register, registered, stacked, tilted, torn
from voxelmill.transform.pairs import Laid
from voxelmill.transform.plan_stack import Plan
from voxelmill.transform.slice_solution import Believed
from voxelmill.transform.stack import Parameters, weights

NAMES = ("aggressive", "conservative", "minimal")


def flags_of(profile: str) -> dict:
    """What a profile sets of how far pairs are believed."""
    said = {name: (field.json_schema_extra or {}).get("profiles", {}) for name, field in Believed.model_fields.items()}
    return {name: values[profile] for name, values in said.items() if profile in values}


GOOD, BAD = NAMES, NAMES[::-1]


@pytest.mark.parametrize(("data", "best_first", "part"), [(registered, GOOD, 0.2), (torn, BAD, 0.6), (tilted, BAD, 0.95)])
def test_profiles_by_how_good_registration_is(tmp_path, data, best_first, part):
    """Alignment error against the truth: the more is believed, the better where pairs are right, the worse where not."""
    made, source, stores = data()
    off = []
    for name in best_first:
        stacked(tmp_path / name, stores, source, block="0-0", **flags_of(name))
        off.append(alignment_error(made, stores, tmp_path / name / "plan.json"))
    assert off == sorted(off) and off[0] < part * off[-1], dict(zip(best_first, off, strict=True))


def test_pairs_at_one_look_pass_the_gates(tmp_path):
    """Speckle makes planes less alike, but registration finds them as well: without a profile they are used."""
    made = one_tile(slices=3, looks=1.0)
    stores = in_common_space(tmp_path, made)
    register(tmp_path, made, stores)
    stacked(tmp_path, stores, tmp_path, block="0-0")
    assert alignment_error(made, stores, tmp_path / "plan.json") < 0.25


def test_profiles_where_registration_is_good(tmp_path):
    made, source, stores = registered()
    scores = {}
    for name, flags in ((name, flags_of(name)) for name in NAMES):
        scores[name] = volume_score(made, open_image(stacked(tmp_path / name, stores, source, **flags)).read())
    off = {name: score["plane_shift_rms_px"] for name, score in scores.items()}
    alike = {name: score["correlation"] for name, score in scores.items()}
    assert off["aggressive"] < 0.25 and off["minimal"] > 0.5, off  # what the stage did not know of stays
    # Both of the others leave shifts of about a pixel: which of them is more alike is chance, their order is tested above.
    assert alike["aggressive"] > max(alike["conservative"], alike["minimal"]), alike


def test_looks_at_the_same_tissue_count_alike():
    """But for a seam at either end; planes above the first sound one are left to the slice before."""
    here = np.eye(2, 3).tolist()
    both = [Laid(number=0, z=0, planes=42, matrix=here), Laid(number=1, z=20, planes=42, matrix=here)]
    plan = Plan(shape=(62, 8, 8), scale=(0.01,) * 3, origin=(0.0,) * 3, slices=both)
    share = {}
    for z in range(62):
        of = {s.number: weight for s, weight in weights(Parameters(), plan, z)}
        share[z] = of.get(1, 0.0) / sum(of.values())
    assert max(share[z] for z in range(24)) < 1e-3 and min(share[z] for z in range(42, 62)) == 1
    assert [share[z] for z in range(28, 38)] == [0.5] * 10
    assert all(share[z] < share[z + 1] for z in (*range(23, 27), *range(37, 41)))


def test_blocks_agree_with_the_whole(tmp_path):
    _, source, stores = registered()
    whole = open_image(stacked(tmp_path / "w", stores, source)).read()
    part = open_image(stacked(tmp_path / "p", stores, source, block="0-1"))
    assert np.array_equal(part.read(np.s_[:16, :128]), whole[:16, :128])
