"""What code a stage runs: the digest that makes `-resume` run again what an edit touches, and nothing else.

A stage runs its module, the stage contract (`core/stage.py`), and all that these import from within the package, at
whatever place; files that lie beside a module and are named in it, as weights are, belong to it. Read from the text
without importing anything, since the head of a run may have nothing installed: standard library only.
"""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from pathlib import Path

IMPORT = re.compile(r"\bfrom\s+(\.+[\w.]*|voxelmill[\w.]*)\s+import\s+(\([^)]*\)|[^\n;]+)|\bimport\s+(voxelmill[\w.]+)")
COMMENT = re.compile(r"#[^\n]*")


class Code:
    """The package below a folder; its files are read once."""

    def __init__(self, package: Path):
        self.package = package
        self._read: dict[Path, tuple[str, set[Path]]] = {}

    @cached_property
    def beside(self) -> dict[Path, list[Path]]:
        """Of each folder of the package, what lies in it that is no Python: weights, tables."""
        found: dict[Path, list[Path]] = {}
        for path in self.package.rglob("*"):
            plain = path.suffix not in (".py", ".pyc") and not (path / "__init__.py").exists()
            if plain and "__pycache__" not in path.parts:
                found.setdefault(path.parent, []).append(path)
        return found

    def module(self, parts: list[str]) -> list[Path]:
        """The file of a dotted name in the package, with the `__init__` of every package around it; none if none."""
        place = self.package.joinpath(*parts)
        file = place.with_suffix(".py") if parts else place / "__init__.py"
        around = [self.package.joinpath(*parts[:n], "__init__.py") for n in range(len(parts) + 1)]
        found = file if file.is_file() else place / "__init__.py"
        return [found, *(path for path in around if path.is_file())] if found.is_file() else []

    def imports(self, path: Path) -> set[Path]:
        """Files that a module imports, or names and has beside it."""
        return self._look(path)[1]

    def _look(self, path: Path) -> tuple[str, set[Path]]:
        if path not in self._read:
            data, found = path.read_bytes(), set()
            if path.suffix == ".py":
                text, here = data.decode(), list(path.relative_to(self.package).parent.parts)
                for relative, names, absolute in IMPORT.findall(text):
                    name = relative or absolute
                    dots = len(name) - len(name.lstrip("."))
                    base = here[: len(here) - dots + 1] if dots else []
                    parts = base + [part for part in name.lstrip(".").split(".") if part][0 if dots else 1 :]
                    found.update(self.module(parts))
                    for one in COMMENT.sub("", names).strip("()").split(","):
                        if one.split():
                            found.update(self.module([*parts, one.split()[0]]))
                for other in self.beside.get(path.parent, []):
                    if f'"{other.name}"' in text:
                        found.update([other] if other.is_file() else [p for p in other.rglob("*") if p.is_file()])
            self._read[path] = hashlib.sha256(data).hexdigest(), found
        return self._read[path]

    def files(self, dotted: str) -> list[Path]:
        """All files that a stage (`layer.stage`) runs, in order."""
        found: set[Path] = set()
        left = [*self.module(dotted.split(".")), *self.module(["core", "stage"])]
        while left:
            path = left.pop()
            if path not in found:
                found.add(path)
                left += self.imports(path)
        return sorted(found)

    def digest(self, dotted: str) -> str:
        """sha256 over names and bytes of all files that a stage runs."""
        rows = [f"{path.relative_to(self.package).as_posix()} {self._look(path)[0]}" for path in self.files(dotted)]
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def digests(root: Path) -> dict[str, str]:
    """Of every stage that has a Nextflow module in a checkout: name -> digest of its code, 16 digits."""
    code = Code(root / "python/voxelmill")
    return {path.stem: code.digest(f"{path.parent.name}.{path.stem}")[:16] for path in sorted(root.glob("modules/*/*.nf"))}
