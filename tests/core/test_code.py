"""The digest of a stage's code: it follows every import, wherever it stands, and nothing else."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from voxelmill.core.code import Code, digests
from voxelmill.testing.engine import PROJECT

PACKAGE = PROJECT / "python/voxelmill"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A checkout of its own, of what counts."""
    for name in ("python", "modules"):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def changed(root: Path, name: str) -> set[str]:
    """Stages whose code is another once a line is added to this file."""
    before = digests(root)
    with open(root / "python/voxelmill" / name, "ab") as file:
        file.write(b"\n# edited\n")
    after = digests(root)
    return {stage for stage in before if before[stage] != after[stage]}


def test_an_edit_touches_the_stages_that_import_it(copy: Path):
    everything = set(digests(copy))
    assert changed(copy, "transform/align.py") == {"align"}
    assert changed(copy, "postprocess/wiring.py") == {"graph", "neurons"}
    assert changed(copy, "inference/cell_flows.py") == {"segment_cells"}  # through inference/cells.py
    assert changed(copy, "ingest/volumes/nrrd.py") >= {"ingest", "read_slab"}  # imported late, in a function
    assert changed(copy, "ingest/volumes/nrrd.py").isdisjoint({"segment", "graph", "report"})
    assert changed(copy, "core/manifest.py") == everything  # the stage contract imports it
    assert changed(copy, "core/schema.py") == changed(copy, "cli.py") == set()


def test_the_digest_is_in_the_flags_of_every_task():
    """So that it is in the hash of the task: what Nextflow has of it is the script."""
    facts = json.dumps({"given": {"input": str(PROJECT)}, "config": {}, "profiles": []})
    words = [sys.executable, "-IS", PROJECT / "bin/options.py", "resolve", PROJECT]
    found = json.loads(subprocess.run(words, input=facts, check=True, capture_output=True, text=True).stdout)
    of = digests(PROJECT)
    assert {"ingest", "ingest_truth", "report"} <= set(found["flags"])
    for task, flags in found["flags"].items():
        assert f"--code {of.get(task) or of[task.rpartition('_')[0]]}" in flags


def test_weights_beside_a_module_belong_to_it(copy: Path):
    assert changed(copy, "inference/cells_model/weights.npz") == {"segment_cells"}


def test_every_import_that_python_knows_is_seen():
    """Read by pattern, which takes 20 ms; the whole syntax tree takes twenty times as long, and says the same."""
    code = Code(PACKAGE)
    for path in sorted(PACKAGE.rglob("*.py")):
        here = list(path.relative_to(PACKAGE).parent.parts)
        for node in ast.walk(ast.parse(path.read_bytes())):
            wanted: list[Path] = []
            if isinstance(node, ast.ImportFrom):
                name = (node.module or "").split(".") if node.module else []
                if not node.level and name[:1] != ["voxelmill"]:
                    continue
                base = [*here[: len(here) - node.level + 1], *name] if node.level else name[1:]
                wanted = code.module(base) + [p for alias in node.names for p in code.module([*base, alias.name])]
            elif isinstance(node, ast.Import):
                names = [alias.name.split(".") for alias in node.names if alias.name.startswith("voxelmill.")]
                wanted = [p for parts in names for p in code.module(parts[1:])]
            assert set(wanted) <= code.imports(path), f"{path}: line {getattr(node, 'lineno', 0)}"


def test_what_a_stage_imports_is_among_its_files(tmp_path: Path):
    """As Python itself finds it: no module of the package that is loaded is missing."""
    code = Code(PACKAGE)
    for dotted in ("ingest.ingest", "inference.segment_cells", "serving.report"):
        said = subprocess.run(
            [sys.executable, "-c", f"import sys, voxelmill.core.stage as s; s.Stage('{dotted}'); print(*sys.modules)"],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(PROJECT / "python")},
        ).stdout
        loaded = [name.split(".")[1:] for name in said.split() if name.split(".")[0] == "voxelmill"]
        assert {p for parts in loaded for p in code.module(parts)} <= set(code.files(dotted))
