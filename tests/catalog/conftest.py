from __future__ import annotations

from pathlib import Path

import pytest
from voxelmill.catalog import releases
from voxelmill.catalog.store import Store
from voxelmill.testing import results

BAD = "b" * 64  # the model that splits more in one region


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    regions = {"regions": {name: {"voi_split": 0.1} for name in ("z0", "z1", "z2", "z3")}}
    return results.make(tmp_path_factory.mktemp("made") / "good", figures=regions)


@pytest.fixture(scope="session")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `good`, by a model that breaks neurites of the first half."""
    regions = {"regions": {n: {"voi_split": v} for n, v in (("z0", 0.9), ("z1", 0.1), ("z2", 0.1), ("z3", 0.1))}}
    folder = tmp_path_factory.mktemp("made") / "bad"
    return results.make(folder, "second_run", results.broken, BAD, {"voi_split": 0.4, **regions})


@pytest.fixture
def store(tmp_path: Path, good: Path, bad: Path) -> Store:
    """A catalogue with two releases: r1, and the current one, r2, by a bad model."""
    made = Store(tmp_path / "store", make=True)
    releases.create(made, good, "r1")
    releases.create(made, bad, "r2")
    return made
