"""Meshes and skeletons of made rods, as a run has them: boxes around cubes of supervoxels, lines through their middle."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from ..postprocess.shapes import as_fragment
from ..postprocess.teasar import Skeleton
from ..serving import meshes
from ..serving.neurites import as_precomputed
from ..serving.neurons import SKELETONS

CORNERS = np.array(list(np.ndindex(2, 2, 2)))  # z, y, x
SIDES = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
GRID = meshes.Grid(np.full(3, -100.0), np.full(3, 1000.0))
FILES = (("meshes/", ""), ("meshes/", ".index"), ("skeletons/precomputed/", ""))
TRIANGLES = np.array([t for a, b, c, d in SIDES for t in ((a, b, c), (a, c, d))])


def write(made: Any, root: np.ndarray, cubes: np.ndarray, size: float) -> list[dict[str, Any]]:
    """Publish a box and a line along x for each root id, around its cubes; returns what was published.

    Args:
        made: the run.
        root: (n,) of each cube.
        cubes: (n, 3) numbers z y x, in sizes of a cube in nm; the first voxel's centre is 0."""
    found = [
        made.text("meshes/info", json.dumps(meshes.info("multilod"))),
        made.text("skeletons/precomputed/info", json.dumps(SKELETONS)),
    ]
    (made.folder / "meshes").mkdir(exist_ok=True)
    for one in np.unique(root).tolist():
        own = cubes[root == one]
        low, high = own.min(axis=0) * size - 4.0, (own.max(axis=0) + 1) * size - 4.0
        y_z = (low + high)[:2] / 2
        line = Skeleton(np.array([[*y_z, low[2]], [*y_z, high[2]]]), np.full(2, size / 2), np.array([-1, 0]))
        box = as_fragment(np.where(CORNERS, high, low), TRIANGLES)
        meshes.write("multilod", made.folder / "meshes", GRID, [(one, "0", box)])
        (made.folder / f"skeletons/precomputed/{one}").write_bytes(as_precomputed(line))
        found += [made.file(f"{name}{one}{end}") for name, end in FILES]
    return found
