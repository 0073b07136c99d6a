"""Runs of the workflow through real Nextflow; most of them as stubs, which need no data and little time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Config = Callable[[str], Path]


def writer(folder: Path) -> Config:
    """Write a configuration file for `-c`."""

    def write(text: str) -> Path:
        path = folder / f"test{len(list(folder.glob('test*.config')))}.config"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return writer(tmp_path)
