"""Join levels: a store of all levels that readers open; a block that is missing is a fault."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from ome_zarr_models import open_ome_zarr
from voxelmill.core import manifest
from voxelmill.core.volume import open_image
from voxelmill.testing.stages import run_stage
from voxelmill.testing.subject import corrected, lit_sections, published, stack


@pytest.mark.parametrize("version", ["0.5", "0.4", "0.6"])
def test_readers_open_it(tmp_path: Path, version: str):
    _, plan, *_ = lit_sections(tmp_path)
    path = published(tmp_path / version, tmp_path / "stack.ome.zarr", ome_zarr_version=version)
    made = corrected(tmp_path / version, path, plan)
    if version != "0.6":
        open_ome_zarr(zarr.open_group(str(made), mode="r"))
    assert open_image(made).spaces == open_image(path).spaces and manifest.verify(made, deep=True)


def test_a_missing_block(tmp_path: Path, capfd):
    path = published(tmp_path, stack(tmp_path, np.ones((20, 70, 70))))
    (tmp_path / "bias.json").write_text('{"begins": [0], "sections": [null], "volume": null}')
    given = {"volume": path, "bias": "bias.json", "block": "0.0-1", "output": "one/volume.levels"}
    assert run_stage("transform.correct_bias_field", tmp_path, **given) == 0
    arguments = {"parts": [tmp_path / "one/volume.levels"], "like": path, "output": "out.ome.zarr"}
    assert run_stage("serving.join_levels", tmp_path, **arguments) == 65
    assert "shard missing" in capfd.readouterr().err
