from __future__ import annotations

from pathlib import Path

import pytest
from voxelmill.catalog import releases
from voxelmill.catalog.store import Store
from voxelmill.testing import results

BAD = "b" * 64  # the model that splits more in one region


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return results.make(tmp_path_factory.mktemp("made") / "good")


@pytest.fixture(scope="session")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `good`, by a model that breaks neurites of the first half along z."""
    return results.make(tmp_path_factory.mktemp("made") / "bad", "second_run", results.broken, BAD)


@pytest.fixture
def store(tmp_path: Path, good: Path, bad: Path) -> Store:
    """A catalogue with two releases: r1, and the current one, r2, by a bad model."""
    made = Store(tmp_path / "store", make=True)
    releases.create(made, good, "r1")
    releases.create(made, bad, "r2")
    return made
