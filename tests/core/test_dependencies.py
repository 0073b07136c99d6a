"""What is declared is imported, what is imported is declared, and each says what it is for."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest
from voxelmill.core import dependencies, schema

ROOT = schema.project()
PYPROJECT = (ROOT / "pyproject.toml").read_text()
GROUPS = {name: [package for package, *_ in rows] for name, _, rows in dependencies.groups(PYPROJECT)}
IMPORTED_AS = {
    "opencv-python-headless": "cv2",
    "connected-components-3d": "cc3d",
    "google-crc32c": "google_crc32c",
    "pillow": "PIL",
    "pynrrd": "nrrd",
    "PyYAML": "yaml",
    "scikit-image": "skimage",
    "cupy-cuda12x": "cupy",
    "ome-zarr": "ome_zarr",
    "ome-zarr-models": "ome_zarr_models",
    "ngff-zarr": "ngff_zarr",
    "cloud-volume": "cloudvolume",
}
# Commands, plug-ins of pytest, stubs, what another one imports, and a viewer whose files are served.
NOT_IMPORTED = {"imagecodecs", "httpx", "pytest-xdist", "flask", "flask-cors", "ruff", "mypy", "types-PyYAML", "neuroglancer"}
UNDECLARED = {
    "pydantic_core",
    "starlette",
    "waterz",
    "nibabel",
    "ctc_metrics",
    "geff",
    "ashlar",
    "m2stitch",
    "basicpy",
}  # pydantic's and FastAPI's own; peers, and a reader, tried where they are
CARD = {"numpy", "scipy", "scikit-image", "zarr", "ome-zarr", "pandas", "networkx", "matplotlib", "intern", "cupy-cuda12x"}


def imports(*folders: str) -> dict[str, Path]:
    """Top names of what the files below import that is neither ours nor of Python."""
    found: dict[str, Path] = {}
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names = [node.module]
            tops = {name.split(".")[0] for name in names} | set(importorskips(node))
            found |= dict.fromkeys(tops - set(sys.stdlib_module_names) - {"voxelmill", "conftest", "tests"}, path)
    return {
        n: p
        for n, p in found.items()
        if "python" in p.relative_to(ROOT).parts or not any((d / f"{n}.py").exists() for d in (p.parent, ROOT / "benchmarks"))
    }


def importorskips(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.importorskip":
        return [str(ast.literal_eval(node.args[0])).split(".")[0]]
    return []


def module(package: str) -> str:
    return IMPORTED_AS.get(package, package)


def test_what_is_declared_is_imported():
    package, beside = imports("python"), imports("python", "tests", "benchmarks")
    for group, names in GROUPS.items():
        used = package if group not in ("test", "bench") else beside
        unused = [n for n in names if module(n) not in used and n not in NOT_IMPORTED]
        assert unused == [], f"{group}: {unused}"
    assert {name for names in GROUPS.values() for name in names} >= CARD


def test_what_is_imported_is_declared():
    everywhere = {module(n) for names in GROUPS.values() for n in names}
    base = {module(n) for group, names in GROUPS.items() if group not in ("test", "bench") for n in names}
    stray = {n: str(p) for n, p in imports("python", "tests", "benchmarks").items() if n not in everywhere | UNDECLARED}
    assert stray == {}
    needed = {n: str(p) for n, p in imports("python").items() if "testing" not in p.parts and n not in base | UNDECLARED}
    assert needed == {}


def test_every_pin_has_its_package():
    """What setup installs holds all that the package needs, and nothing that was taken out."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    locked = {re.split(r"[=\[;]", line)[0].lower().replace("_", "-") for line in lines}
    assert {name.lower() for name in GROUPS["dependencies"]} <= locked
    assert not {name.lower() for name in GROUPS["bench"]} & locked


def test_a_dependency_without_a_word_is_refused():
    text = '[project]\ndependencies = [\n  "numpy>=2",\n]\n[project.scripts]\n'
    with pytest.raises(ValueError, match="numpy"):
        list(dependencies.groups(text))
