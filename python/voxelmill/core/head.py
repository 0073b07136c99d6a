"""What the head of a run asks of its parameters: before anything is compiled, and when it starts.

`conf/check.config` and `workflows/run.nf` call it through `bin/options.py`. Standard library only, as `options.py`.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .cards import card_of
from .errors import ParameterError, StorageError, VoxelmillError
from .options import ALIASES, load, said_of_preset, unaliased
from .words import flag, to_text

GO_ON, ANSWERED = 0, 3  # exit codes of `bin/options.py early`; any other refuses the run
READS_URIS = {"connectome": ("input", "truth")}  # what may lie behind http, s3, gs; all else is a file or folder
MODELS = ("model", "synapse_model")  # folders with a card
NEEDS_TABLES = {"reconstruct": ("shifts_xy",)}  # by their parameters, or under these names in --input


def for_run(project: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What `workflows/run.nf` asks for: facts hold `given`, `config`, `profiles` as `Options.resolve` takes them."""
    options = load(project)
    given, config = unaliased(facts["given"]), {k: v for k, v in facts["config"].items() if k not in ALIASES}
    found = options.resolve(given, config, facts["profiles"])
    if not found["options"]["input"]:
        raise ParameterError("--input is missing: give a path or a URI")
    for name, value in found["options"].items():
        if not (options.rules[name].get("x-path") and value):
            continue
        workflow = found["options"]["workflow"]
        if name not in READS_URIS.get(workflow, ()) and re.match(r"(?!file://)[a-z0-9+.-]+://", value, re.IGNORECASE):
            raise ParameterError(
                f"--{name} {value}: {workflow} reads it from a file or folder, not a URI; download it first (of a store its "
                "whole folder), and give the path"
            )
        if not _is_there(value):
            pattern = "; patterns are not taken, give the folder" if re.search(r"[*?\[]", value) else ""
            raise ParameterError(f"--{name} {value}: no such file or folder{pattern}")
        if name in MODELS:
            card_of(_there(value))
    _refuse_unwritable(found["options"]["outdir"])
    for name in NEEDS_TABLES.get(found["options"]["workflow"], ()):
        if not found["options"][name] and not _is_there(f"{found['options']['input']}/{name}.csv"):
            raise ParameterError(
                f"--input {found['options']['input']}: no {name}.csv in it; make it by --workflow mosaic, or say by --{name} "
                "where it is"
            )
    if found["options"]["workflow"] == "release":
        if not found["options"]["store"]:
            raise ParameterError("--store is missing: give a folder")
        _refuse_within(found["options"]["outdir"], found["options"]["input"])
    said = said_of_preset(found["preset"])
    if "report" in found["flags"]:
        title = f"{found['options']['workflow']} {found['options']['input']}"
        more = [flag("title", title), *(flag("presets", "; ".join(said)) for _ in said[:1])]
        found["flags"]["report"] = " ".join(filter(None, [found["flags"]["report"], *more]))
    said += [f"a configuration file sets params.{name}, which no workflow knows: ignored" for name in found["ignored"]]
    return {**found, "said": said}


def _refuse_unwritable(outdir: str | None) -> None:
    """Raises StorageError where no folder of that name can be made or written into; makes none."""
    if not outdir or "://" in outdir:
        raise ParameterError(f"--outdir {outdir or ''}: expected a folder of this machine")
    place = os.path.abspath(outdir)
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    if not (os.path.isdir(place) and os.access(place, os.W_OK | os.X_OK)):
        why = "it" if place == os.path.abspath(outdir) else place
        raise StorageError(f"cannot write into --outdir {outdir}: {why} is no folder, or may not be written; give another")


def _refuse_within(outdir: str, results: str) -> None:
    """The account of a release does not belong into the results that it takes: they would no longer be those of their run."""
    inner, outer = (os.path.realpath(path.removeprefix("file://")) for path in (outdir, results))
    if os.path.commonpath([inner, outer]) == outer:
        raise ParameterError(f"--outdir {outdir} lies in --input {results}, which is not written into; give another --outdir")


def with_code(flags: Mapping[str, str], project: Path) -> dict[str, str]:
    """The flags of each stage with the digest of its code: where that has changed, `-resume` runs its tasks again."""
    from .code import digests

    of = digests(project)
    return {
        task: f"{words} {flag('code', of.get(task) or of[task.rpartition('_')[0]])}".strip() for task, words in flags.items()
    }


def _is_there(location: str) -> bool:
    """A URI is opened by the stage itself."""
    return "://" in location.removeprefix("file://") or _there(location).exists()


def _there(location: str) -> Path:
    """The path that is meant: `%20` stands for a space in a `file://` URI only, and only where no file has it in its name."""
    from urllib.parse import unquote

    plain = location.removeprefix("file://")
    return Path(plain if plain == location or os.path.exists(plain) else unquote(plain))


def early(project: Path, given: Mapping[str, Any], seen: Mapping[str, Any]) -> int:
    """Before anything is compiled: answer `--help`, refuse what is certainly wrong.

    Args:
        given: parameters from the command line and `-params-file`.
        seen: those that `nextflow.config` and its profiles set, too.
    """
    options, given = load(project), unaliased(given)
    if to_text(given.get("help", False)).lower() != "false":
        one = str(given["help"]) if str(given["help"]) in options.owners else given.get("workflow")
        print(options.help(options.workflow({"workflow": one}) if one else ""))
        return ANSWERED
    options.refuse_unknown(given)
    words = _engine_words()
    if "run" in words and not _others_may_speak(project, words):
        config = {name: value for name, value in seen.items() if name not in given}
        refuse_profiles(project, _profiles(words))
        for_run(project, {"given": given, "config": config, "profiles": _profiles(words)})
    else:
        for name, value in given.items():
            if name in options.rules:
                options.converted(name, value)
        if given.get("workflow"):
            options.refuse_foreign(given, options.workflow(given))
    return GO_ON


def refuse_profiles(project: Path, given: Iterable[str]) -> None:
    """A profile that stands in no file of the project: before what it would have set is missed."""
    texts = [(project / file).read_text() for file in ("nextflow.config", "conf/presets.config")]
    known = [name for text in texts for name in re.findall(r"^ {4}(\w+) \{", text, re.MULTILINE)]
    for name in given:
        if name not in known:
            raise ParameterError(f"-profile {name}: expected one of {', '.join(known)}")


def _engine_words() -> list[str]:
    """The command line of the engine that called us; empty where it cannot be read."""
    try:
        return Path(f"/proc/{os.getppid()}/cmdline").read_text(errors="replace").split("\0")
    except OSError:
        return []


def _profiles(words: list[str]) -> list[str]:
    return words[words.index("-profile") + 1].split(",") if "-profile" in words[:-1] else []


def _others_may_speak(project: Path, words: list[str]) -> bool:
    """Whether there are configuration files but those of the project: what they set is not to be seen yet."""
    home = Path(os.environ.get("NXF_HOME") or Path.home() / ".nextflow")
    here = Path("nextflow.config")
    return (
        any(word in ("-c", "-C", "-config") for word in words)
        or bool(os.environ.get("NXF_CONFIG_FILE"))
        or (home / "config").exists()
        or (here.exists() and here.resolve() != (project / "nextflow.config").resolve())
    )


def main(argv: list[str]) -> int:
    """`early PROJECT GIVEN SEEN` (JSON), or `resolve PROJECT` with JSON on standard input; a refusal is one line."""
    try:
        if argv[0] == "early":
            return early(Path(argv[1]), json.loads(argv[2]), json.loads(argv[3]))
        found = for_run(Path(argv[1]), json.load(sys.stdin))
        found["flags"] = with_code(found["flags"], Path(argv[1]))
        json.dump(found, sys.stdout)
        return GO_ON
    except VoxelmillError as error:
        print(f"ERROR {error}" if argv[0] == "early" else error, file=sys.stderr)
        return error.exit_code
