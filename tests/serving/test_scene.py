"""Scene: the displacement field says of every aligned pixel what rendering says, in the frame of the source."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from voxelmill.core import manifest
from voxelmill.core.ngff import multiscales
from voxelmill.core.space import Space
from voxelmill.core.volume import create_image, layout, open_image
from voxelmill.testing.ngff_schema import validate
from voxelmill.testing.stages import run_stage
from voxelmill.transform.transforms import save
from voxelmill.transform.warp import SectionTransform, rigid_matrix

SCALE, ORIGIN = (30.0, 4.0, 5.0), (300.0, 40.0, 50.0)
SHAPE = (3, 70, 90)


def moves(bent: bool) -> list[SectionTransform]:
    rng = np.random.default_rng(0)
    field = rng.normal(0, 2, (2, 6, 7)).astype(np.float32)
    matrices = [rigid_matrix(3.5 * z, -2.25 * z, 4.0 * z, (34.5, 44.5)) for z in range(3)]
    return [SectionTransform(m, field if bent and z == 1 else None, 16) for z, m in enumerate(matrices)]


@pytest.mark.parametrize("bent", [False, True])
def test_the_field_is_what_rendering_samples(tmp_path: Path, bent: bool):
    image = create_image(tmp_path / "aligned.ome.zarr", layout(SHAPE, "uint8", SHAPE, SHAPE), Space.zyx(SCALE, ORIGIN))
    image.write((slice(None),) * 3, np.ones(SHAPE, np.uint8))
    manifest.write(tmp_path / "aligned.ome.zarr")
    save(tmp_path / "transforms.npz", moves(bent))
    files = {"volume": "aligned.ome.zarr", "field": "alignment.ome.zarr", "scene": "zarr.json"}
    assert run_stage("serving.scene", tmp_path, transforms="transforms.npz", **files) == 0

    scene = json.loads((tmp_path / "zarr.json").read_text())["attributes"]
    stored = json.loads((tmp_path / "alignment.ome.zarr/zarr.json").read_text())["attributes"]
    (step,) = scene["ome"]["scene"]["coordinateTransformations"]
    assert step["path"] == "alignment.ome.zarr" and step["input"]["path"] == "aligned.ome.zarr"
    found = multiscales(stored)
    assert (
        found
        and found.axes == ("d", "z", "y", "x")
        and found.types[0] == "displacement"
        and found.scales
        and found.translations
    )
    assert found.scales[0][1] == 30 and found.translations[0] == (0, *ORIGIN)

    field = open_image(tmp_path / "alignment.ome.zarr").read()
    rng = np.random.default_rng(1)
    for z, move in enumerate(moves(bent)):
        y, x = rng.uniform(0, 69, 50), rng.uniform(0, 89, 50)
        at = np.stack([np.full(50, z), y, x]) * np.array(SCALE)[:, None] + np.array(ORIGIN)[:, None]
        node = (at - np.array(found.translations[0][1:])[:, None]) / np.array(found.scales[0][1:])[:, None]
        moved = at + np.stack([map_coordinates(part, node, order=1, mode="nearest") for part in field])
        raw = (moved - np.array(ORIGIN)[:, None]) / np.array(SCALE)[:, None]
        np.testing.assert_allclose(raw[1:], move.positions(y, x), atol=1e-3)
        np.testing.assert_allclose(raw[0], z)
    validate(scene, "scene", "0.6")
    validate(stored, "image", "0.6")


def test_ngff_zarr_reads_the_field(tmp_path: Path):
    ngff_zarr = pytest.importorskip("ngff_zarr", reason="ngff-zarr is not installed")
    test_the_field_is_what_rendering_samples(tmp_path, True)
    read = ngff_zarr.from_ngff_zarr(str(tmp_path / "alignment.ome.zarr"))
    assert list(read.images[0].dims) == ["d", "z", "y", "x"]
    np.testing.assert_array_equal(np.asarray(read.images[0].data), open_image(tmp_path / "alignment.ome.zarr").read())
