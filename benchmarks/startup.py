#!/usr/bin/env python3
"""How long the engine takes to answer --help, to refuse a run and to start one, as workflows are added.

    benchmarks/startup.py [--extra 0 4 8] [--repeat 3] [--parsers v1 v2] [--nextflow PATH]

Copies the project, adds made-up workflows with modules and parameters of their own, and prints CPU and wall seconds (the
least of the repeats) beside those of an empty script. On a loaded machine look at CPU seconds and differences.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from voxelmill.testing.engine import NEXTFLOW, PROJECT, QUIET

PARTS = ("bin", "conf", "modules", "python", "workflows", "main.nf", "nextflow.config", "nextflow_schema.json", "assets")
PARAMETERS = 100  # of each made-up workflow


def copied(folder: Path, extra: int) -> Path:
    """The project with so many workflows more: `connectome` under another name, its modules in files of their own."""
    folder.mkdir(parents=True)
    for name in PARTS:
        (shutil.copytree if (PROJECT / name).is_dir() else shutil.copy)(PROJECT / name, folder / name)
    if (PROJECT / ".venv").exists():
        (folder / ".venv").symlink_to((PROJECT / ".venv").resolve())
    schema = json.loads((folder / "nextflow_schema.json").read_text())
    main = (folder / "main.nf").read_text()
    own = {path.stem for path in (folder / "workflows").glob("*.nf")} - {"run", *schema["x-workflows"]}
    for n in range(extra):
        name = f"extra{n}"
        shutil.copytree(PROJECT / "modules", folder / f"modules_{name}")
        for path in (PROJECT / "workflows").glob("*.nf"):
            if path.stem in own | {"connectome"}:
                text = path.read_text().replace("'../modules/", f"'../modules_{name}/")
                text = re.sub(r"from '\./(\w+)'", rf"from './\1_{name}'", text).replace(
                    "workflow CONNECTOME", f"workflow {name.upper()}"
                )
                to = name if path.stem == "connectome" else f"{path.stem}_{name}"
                (folder / f"workflows/{to}.nf").write_text(text)
        main = main.replace("\nworkflow {", f"include {{ {name.upper()} }} from './workflows/{name}'\n\nworkflow {{", 1)
        main = (
            main.rstrip().removesuffix("}")
            + f"    if (options.workflow == '{name}') {{\n        {name.upper()}(options)\n    }}\n}}\n"
        )
        rule = {"type": "integer", "description": "Of no use", "default": 1}
        schema["$defs"][name] = {
            "title": name,
            "description": "",
            "properties": {f"{name}_{i}": rule for i in range(PARAMETERS)},
        }
        schema["x-workflows"][name] = schema["x-workflows"]["connectome"]
        schema["x-own"][name] = list(schema["$defs"][name]["properties"])
        schema["$defs"]["general"]["properties"]["workflow"]["enum"].append(name)
    (folder / "main.nf").write_text(main)
    (folder / "nextflow_schema.json").write_text(json.dumps(schema, indent=2))
    return folder


def empty(folder: Path) -> Path:
    """A script that does nothing."""
    folder.mkdir(parents=True)
    (folder / "main.nf").write_text("workflow { println('nothing') }\n")
    return folder


def measured(words: list[object], folder: Path, parser: str, nextflow: Path = NEXTFLOW) -> tuple[float, float, int]:
    """(CPU seconds, wall seconds, exit code) of one call of the engine, its children included."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        [str(word) for word in (nextflow, *words)],
        cwd=folder,
        env={**os.environ, **QUIET, "NXF_SYNTAX_PARSER": parser},
        capture_output=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, time.monotonic() - start, done.returncode


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--extra", type=int, nargs="+", default=[0, 4])
    ask.add_argument("--repeat", type=int, default=3)
    ask.add_argument("--parsers", nargs="+", default=["v1", "v2"])
    ask.add_argument("--nextflow", type=Path, default=NEXTFLOW)
    args = ask.parse_args()
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        nothing = empty(top / "empty")
        cases: list[tuple[str, list[object]]] = [("empty script", ["run", nothing / "main.nf"])]
        for extra in args.extra:
            script = copied(top / f"with{extra}", extra) / "main.nf"
            cases += [
                (f"{extra} more: --help", ["run", script, "--help"]),
                (f"{extra} more: misspelt", ["run", script, "--cutuot", "1"]),
                (f"{extra} more: started", ["run", script, "-profile", "test", "-preview", "--outdir", top / "out"]),
            ]
        print(f"{'':24} {'parser':6} {'CPU s':>6} {'wall s':>6}  exit")
        for parser in args.parsers:
            for what, words in cases:
                rows = [measured(words, top, parser, args.nextflow) for _ in range(args.repeat)]
                print(
                    f"{what:24} {parser:6} {min(r[0] for r in rows):6.2f} {min(r[1] for r in rows):6.2f}  {rows[0][2]}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
