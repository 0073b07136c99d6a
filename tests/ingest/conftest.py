"""Ingest as its script runs it: a command line in, an exit code, one line and files out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from voxelmill.core import manifest
from voxelmill.core.stage import call
from voxelmill.core.volume import Image, open_image


@dataclass
class Result:
    code: int
    err: str
    out: str
    folder: Path
    role: str

    @property
    def volume(self) -> Image:
        assert self.code == 0, self.err
        return open_image(self.folder / f"{self.role}.ome.zarr")

    @property
    def facts(self) -> dict:
        assert self.code == 0, self.err
        return json.loads((self.folder / f"{self.role}.json").read_text())

    def refused(self, code: int, *words: str) -> None:
        """One line that names stage, file and remedy; and nothing written."""
        lines = [line for line in self.err.splitlines() if line.startswith("ERROR")]
        assert self.code == code, self.err
        assert len(lines) == 1 and lines[0].startswith("ERROR [ingest] ")
        assert [w for w in words if w not in lines[0]] == [], lines[0]
        assert "Traceback" not in self.err
        left = {path.name for path in self.folder.iterdir()}
        made = {f"{self.role}.ome.zarr", f"{self.role}.ome.zarr.manifest.json", f"{self.role}.json",
                "blocks.txt", "slabs.txt"}
        assert not left & made and not [n for n in left if n.endswith(".partial")], left


@pytest.fixture
def ingest(tmp_path, monkeypatch, capfd):
    """`ingest("--input", path, ...)` in an empty folder; `role="truth"` reads the truth."""

    def run(*words: object, role: str = "raw", at: Path = tmp_path) -> Result:
        monkeypatch.chdir(at)
        manifest.digest_of.cache_clear()
        files = [f"--output={role}.ome.zarr", f"--facts={role}.json", "--block_list=blocks.txt",
                 "--slab_list=slabs.txt", f"--role={role}"]
        code = call("ingest.ingest", [*map(str, words), *files])
        said = capfd.readouterr()
        return Result(code, said.err, said.out, at, role)

    return run
