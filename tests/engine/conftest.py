"""Runs of the workflow through real Nextflow; most of them as stubs, which need no data and little time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Config = Callable[[str], Path]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Write a configuration file for `-c`."""

    def write(text: str) -> Path:
        path = tmp_path / f"test{len(list(tmp_path.glob('test*.config')))}.config"
        path.write_text(text)
        return path

    return write
