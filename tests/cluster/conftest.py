"""A private SLURM cluster and a container image, made on the spot; skipped where that cannot be."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from voxelmill.testing.engine import PROJECT, Run, run

# Four shards, so four tasks per block process; polls are short because everything is near.
BLOCKS = ("-profile", "test", "--chunk", "4,48,96", "--shard", "4,96,96", "--blocks", 4, "--segmentation", "classic")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.cluster)


def tool(name: str, *args: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PROJECT / "tools" / name), *map(str, args)], capture_output=True, text=True, env={**os.environ, **(env or {})}
    )


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    return ((done.stderr.strip() or done.stdout.strip()).splitlines() or ["no reason given"])[-1]


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory):
    """Environment of a two-node cluster on loopback."""
    state = tmp_path_factory.mktemp("slurm")
    env = {"SLURM_STATE": str(state), "SLURM_CONF": str(state / "etc/slurm.conf")}
    started = tool("slurm_start.sh", env=env)
    if started.returncode:
        tool("slurm_stop.sh", env=env)
        pytest.skip(f"no SLURM here: {last_line(started)}")
    yield env
    tool("slurm_stop.sh", env=env)


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same run on this machine alone, to compare with."""
    done = run(*BLOCKS, folder=tmp_path_factory.mktemp("local"))
    assert done.code == 0, done.said
    return done


@pytest.fixture(scope="session")
def image(pytestconfig: pytest.Config) -> Path:
    """The container image; built when it is not there or what it is made of is newer."""
    installed = tool("apptainer_install.sh")
    if installed.returncode:
        pytest.skip(f"no Apptainer here: {last_line(installed)}")
    made = PROJECT / "containers/voxelmill.sif"
    parts = [PROJECT / name for name in ("containers/voxelmill.def", "containers/wanted.py", "requirements.lock")]
    if not made.exists() or made.stat().st_mtime < max(part.stat().st_mtime for part in parts):
        built = tool("container_build.sh", made)
        if built.returncode:
            pytest.skip(f"no image could be built: {last_line(built)}")
        pytestconfig.get_terminal_writer().line(f"\n{last_line(built)}")
    return made
