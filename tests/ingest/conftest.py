"""Ingest as its script runs it: a command line in, an exit code, one line and files out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from voxelmill.core import plans
from voxelmill.core.stage import call
from voxelmill.core.volume import Image, open_image

EM = np.random.default_rng(3).integers(0, 256, (24, 60, 80), np.uint8)


def write_precomputed(path: Path, *channels: np.ndarray, offset: tuple[int, int, int] = (0, 0, 0)) -> None:
    """An image at `path` in Neuroglancer's format, of 30 x 4 x 5 nm in (z, y, x); `offset` in voxels, (x, y, z)."""
    import tensorstore as ts

    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": f"{path}/"},
        "multiscale_metadata": {"data_type": "uint8", "num_channels": len(channels), "type": "image"},
        "scale_metadata": {
            "size": list(channels[0].shape[::-1]),
            "resolution": [5, 4, 30],
            "encoding": "raw",
            "chunk_size": [16, 8, 4],
            "voxel_offset": list(offset),
        },
    }
    array = ts.open(spec, create=True).result()
    for n, values in enumerate(channels):
        array[..., n].write(values.T).result()


@pytest.fixture
def em(tmp_path: Path) -> str:
    """`EM` as a file of the current folder."""
    np.save(tmp_path / "em.npy", EM)
    return "em.npy"


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

    def refused(self, code: int, *words: str, stage: str = "ingest") -> None:
        """One line that names stage, file and remedy; and nothing written."""
        lines = [line for line in self.err.splitlines() if line.startswith("ERROR")]
        assert self.code == code, self.err
        assert len(lines) == 1 and lines[0].startswith(f"ERROR [{stage}] ")
        assert [w for w in words if w not in lines[0]] == [], lines[0]
        assert "Traceback" not in self.err
        left = {path.name for path in self.folder.iterdir()}
        made = {
            f"{self.role}.ome.zarr",
            f"{self.role}.ome.zarr.manifest.json",
            f"{self.role}.json",
            "blocks.csv",
            "slabs.csv",
            "plan.json",
            "reads.csv",
        }
        assert not left & made and not [n for n in left if n.endswith(".partial")], left


@pytest.fixture
def ingest(tmp_path, monkeypatch, capfd):
    """`ingest("--input", path, ...)` in an empty folder; `role="truth"` reads the truth."""

    def run(*words: object, role: str = "raw", at: Path = tmp_path) -> Result:
        monkeypatch.chdir(at)
        files = [
            f"--output={role}.ome.zarr",
            f"--facts={role}.json",
            "--block_list=blocks.csv",
            "--slab_list=slabs.csv",
            "--plan=plan.json",
            "--read_list=reads.csv",
            f"--role={role}",
        ]
        code = call("ingest.ingest", [*map(str, words), *files])
        said = capfd.readouterr()
        return Result(code, said.err, said.out, at, role)

    return run


@pytest.fixture
def slabs(ingest, tmp_path, monkeypatch, capfd):
    """`slabs("--input", path, "--blocks=7")` plans, reads each slab in a folder of its own and joins them.

    `meanwhile(n)` is called before the n-th slab is read, and with n = number of slabs before the join."""

    def read(plan: Path, source: str | None, block: str, role: str, folder: Path) -> int:
        folder.mkdir()
        monkeypatch.chdir(folder)
        return call(
            "ingest.read_slab",
            [
                f"--plan={plan}",
                *flag("source", source),
                f"--role={role}",
                f"--block={block}",
                f"--output={role}.ome.zarr",
                "--figures=figures.json",
            ],
        )

    def run(*words: object, role: str = "raw", source: str | None = None, meanwhile=lambda n: None) -> Result:
        at = tmp_path / "slabs"
        at.mkdir()
        planned = ingest(*words, *flag("source", source), role=role, at=at)
        if planned.code or not (at / "plan.json").exists():
            return planned
        assert not (at / f"{role}.ome.zarr").exists() and not (at / f"{role}.json").exists()
        reads = [row["block"] for row in plans.read(at / "reads.csv")]
        for n, block in enumerate(reads):
            meanwhile(n)
            if code := read(at / "plan.json", source, block, role, at / f"slab{n}"):
                (at / "plan.json").unlink()
                (at / "reads.csv").unlink()
                return Result(code, capfd.readouterr().err, "", at / f"slab{n}", role)
        meanwhile(len(reads))
        done = at / "joined"
        done.mkdir()
        monkeypatch.chdir(done)
        parts = [at / f"slab{n}" for n in reversed(range(len(reads)))]  # in any order
        code = call(
            "ingest.join_slabs",
            [
                f"--plan={at / 'plan.json'}",
                *flag("source", source),
                f"--role={role}",
                "--stores",
                *(f"{p}/{role}.ome.zarr" for p in parts),
                "--figures",
                *(f"{p}/figures.json" for p in parts),
                f"--output={role}.ome.zarr",
                f"--facts={role}.json",
                *(str(w) for w in words if str(w).startswith("--strict")),
            ],
        )
        said = capfd.readouterr()
        return Result(code, said.err, said.out, done, role)

    return run


def flag(name: str, value: str | None) -> list[str]:
    return [f"--{name}={value}"] if value else []
