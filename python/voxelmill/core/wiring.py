"""The graph of a workflow, read from its own files: what is called in which order, what is divided, what is joined."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

INCLUDE = re.compile(r"include \{ (\w+)(?: as (\w+))? \} from '(\.\S*/\w+)'")
CALL = re.compile(r"^ +([A-Z][A-Z0-9_]*)\(", re.M)


@dataclass(frozen=True)
class Wiring:
    """Of one workflow, by names of stages."""

    order: tuple[str, ...]  # each stage where it is called first; those of a part where the part is called
    divided: frozenset[str]  # one task a block
    joined: frozenset[str]  # their blocks become one store by JOIN
    aside: frozenset[str]  # nothing waits for them


def read(workflow: str, root: Path) -> Wiring:
    """From `workflows/<workflow>.nf` and what that includes."""
    folder = root / "workflows"
    text, parts = _part(folder / f"{workflow}.nf", workflow.upper())
    calls = [name for name in CALL.findall(text) if name in parts]
    order = [stage for name in calls for stage in _stages(*parts[name])]
    used = re.sub(r".*\.view \{.*", "", text)  # what is only shown is not waited for
    leaves = [name for name in calls[:-1] if f"{name}.out" not in used]
    joins = [name for name, (file, _) in parts.items() if "join" in _stages(file, parts[name][1])]
    joined = re.findall(rf"(?:{'|'.join(joins)})\((?:\w+\()?(\w+)\.out\.volume[,)]", text)
    of_blocks = {path.stem for path in root.glob("modules/*/*.nf") if "label 'per_block'" in path.read_text()}
    return Wiring(
        tuple(dict.fromkeys(order)),
        frozenset(of_blocks & set(order)),
        frozenset(stage for name in joined for stage in _stages(*parts[name])),
        frozenset(stage for name in leaves for stage in _stages(*parts[name])),
    )


def _part(file: Path, name: str) -> tuple[str, dict[str, tuple[Path, str]]]:
    """The text of one workflow of a file; name -> (file, its name there) of all that the file includes."""
    text = file.read_text()
    body = text[text.index(f"workflow {name} {{") :]
    body = body[: body.index("\n}\n")]
    included = {}
    for own, other, place in INCLUDE.findall(text):
        if own.isupper():
            included[other or own] = ((file.parent / f"{place}.nf").resolve(), own)
    return body, included


def _stages(file: Path, name: str) -> list[str]:
    """A process's stage, or all stages that a part calls."""
    if file.parent.parent.name == "modules":
        return [file.stem]
    text, parts = _part(file, name)
    return [stage for call in CALL.findall(text) if call in parts for stage in _stages(*parts[call])]
