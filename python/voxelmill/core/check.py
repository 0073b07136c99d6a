"""`voxelmill check`: what a run with these arguments would run with, without starting the engine."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import ParameterError
from .head import for_run, refuse_profiles
from .options import PROJECT, load, said_of_preset, unaliased
from .words import to_text

WITH_VALUE = (
    "-profile",
    "-params-file",
    "-c",
    "-C",
    "-config",
    "-w",
    "-work-dir",
    "-name",
    "-r",
    "-with-apptainer",
    "-entry",
)
FLAGS = ("-preview", "-stub", "-stub-run", "-latest", "-offline", "-d", "-deep", "-disable-jobs-cancellation", "-bg", "-q")
SESSION = re.compile(r"last|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[a-z]+_[a-z]+")  # what -resume may name


def report(words: Sequence[str], project: Path = PROJECT) -> str:
    """What differs from the defaults; raises `ParameterError` as the run would.

    Configuration files of the user's own are not read: only the engine can."""
    given, profiles, files = arguments(words)
    refuse_profiles(project, profiles)
    found = for_run(project, {"given": given, "config": of_profiles(project, profiles), "profiles": profiles})
    options, workflow = load(project), found["options"]["workflow"]
    rows = [f"workflow {workflow}"]
    for name, value in found["options"].items():
        if value != options.default(name, workflow) or name in given:
            origin = found["preset"][name]["profile"] if name in found["preset"] else "given" if name in given else "profile"
            rows.append(f"  --{name:<24} {'' if value is None else to_text(value)}  [{origin}]")
    rows += said_of_preset(found["preset"])
    rows += [f"not looked at: {' '.join(files)}"] if files else []
    return "\n".join(rows)


def arguments(words: Sequence[str]) -> tuple[dict[str, Any], list[str], list[str]]:
    """(parameters, profiles, configuration files) of a command line as the engine reads it.

    Raises ParameterError for a word that belongs to none, as `workflows/run.nf` does."""
    given: dict[str, Any] = {}
    of_file: dict[str, Any] = {}
    profiles: list[str] = []
    files: list[str] = []
    stray: list[str] = []
    rest = list(words[3:] if list(words[:2]) == ["nextflow", "run"] else words)
    while rest:
        word = rest.pop(0)
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            takes = not equals and bool(rest) and (not rest[0].startswith("-") or _is_number(rest[0]))
            given[name] = value if equals else rest.pop(0) if takes else "true"
        elif word in WITH_VALUE and rest:
            value = rest.pop(0)
            if word == "-profile":
                if profiles:
                    raise ParameterError("-profile: given twice; expected one, with commas between several names")
                profiles = value.split(",")
            elif word == "-params-file":
                of_file = read_params(Path(value))
            elif word in ("-c", "-C", "-config"):
                files.append(value)
        elif not word.startswith("-"):
            stray.append(word)
        elif (
            rest and not rest[0].startswith("-") and (SESSION.fullmatch(rest[0]) if word == "-resume" else word not in FLAGS)
        ):
            rest.pop(0)  # the value of one of the engine's options that say nothing here
    if stray:
        told = "belongs to no parameter; lists have commas and no spaces, and what has spaces stands in quotes"
        raise ParameterError(f"{' '.join(stray)}: {told}")
    return unaliased({**of_file, **given}), profiles, files


def _is_number(word: str) -> bool:
    return bool(re.fullmatch(r"-?\d+(\.\d*)?(e-?\d+)?", word))


def read_params(path: Path) -> dict[str, Any]:
    """A file of parameters: JSON or YAML."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ParameterError(f"-params-file {path}: {error.strerror}") from None
    try:
        if path.suffix == ".json":
            found = json.loads(text)
        else:
            import yaml

            found = yaml.safe_load(text)
    except Exception as error:
        raise ParameterError(f"-params-file {path}: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict):
        raise ParameterError(f"-params-file {path}: expected a map of parameters")
    return found


def of_profiles(project: Path, profiles: Sequence[str]) -> dict[str, Any]:
    """Parameters that the files of profiles in `conf/` set by a plain value."""
    found: dict[str, Any] = {}
    for profile in profiles:
        path = project / f"conf/{profile}.config"
        text = path.read_text() if path.exists() else ""
        for name, value in re.findall(r"^params\.(\w+) = .* : ['\"](.*)['\"]$", text, re.MULTILINE):
            found.setdefault(name, value.replace("${projectDir}", str(project)))
    return found
