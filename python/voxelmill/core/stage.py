"""The stage contract: a parameter model and one function make a command.

A stage module holds

    class Parameters(Params): ...                  # or  Parameters = Methods("tag", A, B)
    def run(p: Parameters, task: Task, *, volume: In, output: Out) -> None: ...

and `bin/<stage>.py` calls `main("layer.stage")`. The fields become `--name value`; the keyword-only
arguments of `run` become `--volume PATH --output PATH`. An `Out` is written under a temporary name
and renamed when `run` has returned: it appears whole or not at all. A store gets a manifest beside it,
every task a provenance record, which the words among the arguments (`block: str`) give its name.
"""

from __future__ import annotations

import atexit
import errno
import importlib
import inspect
import os
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NewType, Union, get_args, get_origin, get_type_hints

from . import params as par
from . import pool
from .errors import BUG, IO_FAILED, OUT_OF_MEMORY, DataError, ParameterError, StorageError, VoxelmillError, out_of_memory

In = NewType("In", Path)  # an input file or store; its digest goes into the record
Out = NewType("Out", Path)  # an output file or store; appears whole or not at all
InFiles = NewType("InFiles", Path)  # a folder, of which each file is an input by itself
OutFiles = NewType("OutFiles", Path)  # a folder, of which each file or store is an output by itself
NAMES = ("role", "name", "slice", "block", "batch")  # words of `run` that say what of the volume a task works on
POINTER = ".pointer"  # a file that holds the path of another: workflows/inputs.nf writes it


class Stage:
    """A stage module, read: its name, layer, parameters and files."""

    def __init__(self, dotted: str):
        self.layer, self.name = dotted.split(".")
        module = importlib.import_module(f"voxelmill.{dotted}")
        self.parameters: par.Declared = module.Parameters
        self.run: Callable[..., None] = module.run
        self.doc = inspect.getdoc(module) or ""
        hints = get_type_hints(self.run)
        self.files = {
            name: (hints[name], arg.default)
            for name, arg in inspect.signature(self.run).parameters.items()
            if arg.kind is arg.KEYWORD_ONLY
        }

    def outputs(self) -> list[str]:
        return [name for name, (kind, _) in self.files.items() if _element(kind) in (Out, OutFiles)]

    def inputs(self) -> list[str]:
        return [name for name, (kind, _) in self.files.items() if _element(kind) in (In, InFiles)]

    def block(self, files: dict[str, Any]) -> str:
        """What of the volume a task works on, from its words: `raw.0-3`."""
        given = {name: files.get(name, default) for name, (_, default) in self.files.items()}
        return ".".join(str(given[name]) for name in NAMES if given.get(name))

    def described(self, files: dict[str, Any], names: list[str]) -> list[dict[str, Any]]:
        """For the record: the files among these arguments that are there."""
        from .provenance import describe, describe_files

        found: list[dict[str, Any]] = []
        for name in names:
            for path in filter(Path.exists, _paths(files.get(name))):
                found += describe_files(path) if self.single(name) else describe(path)
        return found

    def single(self, name: str) -> bool:
        """Whether the files of a folder are inputs or outputs one by one."""
        return _element(self.files[name][0]) in (InFiles, OutFiles)


def _element(kind: Any) -> Any:
    """`In` of `In`, `list[In]`, `In | None`."""
    if get_origin(kind) in (list, Union, types.UnionType):
        return next(_element(a) for a in get_args(kind) if a is not type(None))
    return kind


def _is_list(kind: Any) -> bool:
    return get_origin(kind) is list or any(get_origin(a) is list for a in get_args(kind))


def split(stage: Stage, argv: Sequence[str]) -> tuple[dict[str, str], dict[str, Any]]:
    """Command line -> (parameters, files). A list argument takes every word up to the next flag."""
    known = {*par.fields_of(stage.parameters), *stage.files, "code"}
    given: dict[str, list[str]] = {}
    name = ""
    for word in argv:
        if word.startswith("--") and len(word) > 2:
            name, _, value = word[2:].partition("=")
            par.refuse_unknown([name], known)
            given[name] = [value] if "=" in word else []
        elif not name:
            raise ParameterError(f"{stage.name}: {word!r} stands before any --name")
        else:
            given[name].append(word)
    files = {}
    for name, (kind, default) in stage.files.items():
        words = given.pop(name, None)
        if not words and default is inspect.Parameter.empty:
            raise ParameterError(f"{stage.name}: --{name} is missing")
        if words:
            made: list[Any] = [_file(_element(kind), w) for w in words]
            files[name] = made if _is_list(kind) else made[0]
    flags = {k: " ".join(v) if v else "true" for k, v in given.items()}
    return flags, files


def _file(kind: Any, word: str) -> Any:
    """One argument; where the workflow could not link an input for its name, what lies there says where it is."""
    if kind in (Out, OutFiles):
        return Path(word)
    path = Path(word) if kind in (In, InFiles) else kind(word)
    if isinstance(path, Path) and path.suffix == POINTER and path.is_file():
        return Path(path.read_text(encoding="utf-8"))
    return path


def help_text(stage: Stage) -> str:
    rows = [stage.doc, "", "files:"]
    for name, (kind, default) in stage.files.items():
        optional = "" if default is inspect.Parameter.empty else "  (optional)"
        rows.append(f"  --{name} {'PATH ...' if _is_list(kind) else 'PATH'}{optional}")
    rows.append("\nparameters:")
    for name, field in par.fields_of(stage.parameters).items():
        rows.append(f"  --{name:24s} {field.description} [{par.to_text(field.default)}]")
    return "\n".join(rows)


def main(dotted: str, argv: Sequence[str] | None = None) -> None:
    """Run a stage from its command line and exit with the code that Nextflow acts on.

    All is written by then: taking modules and arrays apart one by one would take up to 0.2 s."""
    code = call(dotted, sys.argv[1:] if argv is None else argv)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def call(dotted: str, argv: Sequence[str]) -> int:
    """As `main`, but returns the exit code. Every failure is one line on stderr; a bug has its traceback before it."""
    from . import manifest

    with manifest.checked_reading(), pool.workers():
        return _call(dotted, argv)


def _call(dotted: str, argv: Sequence[str]) -> int:
    name = dotted.split(".")[-1]
    try:
        stage = Stage(dotted)
        if "--help" in argv:
            print(help_text(stage))
            return 0
        flags, files = split(stage, argv)
        code = flags.pop("code", "")  # for the hash of the task, and its record
        execute(stage, par.parse(stage.parameters, flags), files, code)
        return 0
    except Exception as error:
        return _failed(name, error)


def _failed(name: str, error: Exception) -> int:
    if out_of_memory(error):
        return _fail(name, "out of memory; give the task more, or make --shard smaller", OUT_OF_MEMORY)
    if isinstance(error, VoxelmillError):
        return _fail(name, str(error), error.exit_code)
    if isinstance(error, OSError):
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            lies = error.filename or Path.cwd()
            return _fail(
                name, f"no space left on the disk that holds {lies}; free some and run again with -resume", IO_FAILED
            )
        return _fail(name, f"{error.filename or ''}: {error.strerror or error}", IO_FAILED)
    import traceback

    traceback.print_exception(error)
    return _fail(name, f"a bug in Voxelmill ({type(error).__name__}: {error}); please report it with the lines above", BUG)


def _fail(stage: str, message: str, code: int) -> int:
    print(f"ERROR [{stage}] {' '.join(message.split())}", file=sys.stderr, flush=True)
    return code


def execute(stage: Stage, params: par.Params, files: dict[str, Any], code: str = "") -> None:
    """Run with outputs under temporary names; rename, write manifests and the record."""
    from . import manifest
    from .provenance import LeftOut, Task

    for name in stage.inputs():
        for path in _paths(files.get(name)):
            if not path.exists():
                raise StorageError(errno.ENOENT, "no such file or store", str(path))
    task = Task(stage.name, params, stage.block(files), code)
    final = {name: files[name] for name in stage.outputs() if name in files}
    partial = {
        name: [_partial(p) for p in paths] if isinstance(paths, list) else _partial(paths) for name, paths in final.items()
    }
    for path in _all(partial):
        _remove(path)
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        stage.run(params, task, **{**files, **partial})
        pool.close()
        for name, paths in final.items():
            for path in _paths(paths):
                if not _partial(path).exists() and stage.files[name][1] is inspect.Parameter.empty:
                    raise DataError(f"{stage.name} ended without writing {path}")
        made = [path for path in _all(final) if _partial(path).exists()]
        for path in _all({name: paths for name, paths in final.items() if not stage.single(name)}):
            if _partial(path).is_dir():
                manifest.write(path, task.carried(path), _partial(path))
        pool.end()
        for path in made:
            _remove(path)
            _partial(path).rename(path)
    except LeftOut as why:
        for path in _all(final):  # what an earlier try has left
            _remove(path)
            _remove(manifest.path_of(path))
        print(f"WARNING [{stage.name}] {why}", file=sys.stderr, flush=True)
    finally:
        for path in _all(partial):
            _remove(path)
    task.write_record(stage.described(files, stage.inputs()), stage.described(files, stage.outputs()))


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


def _all(files: dict[str, Any]) -> list[Path]:
    return [path for value in files.values() for path in _paths(value)]


def _paths(value: Any) -> list[Path]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _remove(path: Path) -> None:
    import shutil

    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.exists() or path.is_symlink():
        path.unlink()
