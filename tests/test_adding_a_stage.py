"""Follow docs/adding_a_stage.md to the letter, in a copy of the project."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from voxelmill.testing.engine import NEXTFLOW, PARTS, QUIET, copied

BLOCK = re.compile(r"<!-- (file|insert): (\S+)(?: before: (.*?))? -->\n```\w+\n(.*?)```", re.S)


@pytest.mark.slow
def test_the_page_works(tmp_path: Path):
    copy = copied(tmp_path / "project", (*PARTS, "pyproject.toml", "docs", "tests"))
    page = (copy / "docs/adding_a_stage.md").read_text()
    steps = BLOCK.findall(page)
    assert len(steps) == 6
    for kind, name, before, text in steps:
        path = copy / name
        if kind == "file":
            path.write_text(text)
            continue
        whole = path.read_text()
        assert whole.count(before) == 1, f"{name}: {before!r}"
        path.write_text(whole.replace(before, text + before))
    env = {**os.environ, **QUIET, "PYTHONPATH": str(copy / "python"), "NXF_SYNTAX_PARSER": "v2"}
    (copy / "bin/invert.py").chmod(0o755)

    def do(*command: str) -> str:
        done = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "--invert_top" in do(sys.executable, "bin/invert.py", "--help")
    do(sys.executable, "-m", "voxelmill.cli", "schema", "--write")
    assert "--invert_top" in do(sys.executable, "-m", "voxelmill.cli", "help", "connectome")
    assert "1 passed" in do(
        sys.executable,
        "-m",
        "pytest",
        "-c",
        "/dev/null",
        "--rootdir",
        str(copy),
        "-q",
        "-p",
        "no:cacheprovider",
        "--noconftest",
        "tests/transform/test_invert.py",
    )
    said = do(str(NEXTFLOW), "run", "main.nf", "-profile", "test", "-stub-run", "--outdir", str(tmp_path / "out"))
    assert "CONNECTOME:INVERT" in said
