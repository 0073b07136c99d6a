"""The package for manual alignment: pictures of where two slices meet, small; the transform as registration has it."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from voxelmill.core.volume import open_image
from voxelmill.testing.slices import registered
from voxelmill.testing.stages import run_stage
from voxelmill.transform.pairs import read_itk
from voxelmill.transform.warp import centre_of, rigid_matrix


def package(folder: Path, level: int = 1) -> Path:
    _, source, stores = registered()
    files = {"transform": source / "0-1.tfm", "metrics": source / "0-1.json", "output": "manual_align/z00-z01"}
    given = {"fixed": stores[0], "moving": stores[1], "name": "z00-z01", "manual_align_level": level}
    assert run_stage("serving.make_manual_align_package", folder, **given, **files) == 0
    return folder / "manual_align/z00-z01"


@pytest.mark.parametrize("level", [0, 1, 3])
def test_pictures_are_of_the_wanted_level(level: int, tmp_path: Path) -> None:
    made = package(tmp_path, level)
    shape = open_image(registered()[2][0]).shape
    wanted = tuple(-(-n // 2**level) for n in shape[1:])
    assert all(matplotlib.image.imread(made / f"{side}.png").shape[:2] == wanted for side in ("fixed", "moving"))
    with np.load(made / "planes.npz") as arrays:
        assert arrays["fixed_xy"].shape == wanted and arrays["fixed_xz"].shape == (shape[0], shape[1])
        assert arrays["moving_yz"].shape[1] == shape[2]


def test_the_page_gets_what_registration_found(tmp_path: Path) -> None:
    made = package(tmp_path)
    facts = json.loads((made / "pair.json").read_text())
    matrix = rigid_matrix(facts["shift1"], facts["shift2"], facts["turn"], centre_of(facts["shape"]))
    assert np.allclose(matrix, read_itk(made / "transform.tfm"))
    assert (facts["fixed"], facts["moving"], facts["level"]) == (0, 1, 1)
