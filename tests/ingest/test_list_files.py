"""The listing of a large input changes when any file of it does."""

from __future__ import annotations

import os
from pathlib import Path

from voxelmill.testing.stages import run_stage


def test_a_changed_file_is_seen_behind_a_link(tmp_path: Path):
    (tmp_path / "far").mkdir()
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/sections").symlink_to(tmp_path / "far")
    for z in range(40):
        (tmp_path / f"far/{z}\n'ü'.tif").write_text("0")

    def listing() -> str:
        assert run_stage("ingest.list_files", tmp_path, source=tmp_path / "raw", role="raw", listing="files.txt") == 0
        return (tmp_path / "files.txt").read_text()

    first = listing()
    assert listing() == first and len(first.splitlines()) == 40
    changed = tmp_path / "far/7\n'ü'.tif"
    os.utime(changed, ns=(0, 1))
    second = listing()
    assert second != first
    changed.write_text("00")
    os.utime(changed, ns=(0, 1))
    assert listing() != second
