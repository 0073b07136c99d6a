"""Lineage for others: a release as a Workflow Run RO-Crate (Provenance Run Crate 0.5), and its tasks as OpenLineage events.

RO-Crate: https://w3id.org/ro/crate/1.1, https://w3id.org/ro/wfrun/provenance/0.5. OpenLineage: RunEvent of spec 2-0-2.
"""

from __future__ import annotations

import json
import shutil
import urllib.parse
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import __version__
from ..core.errors import DataError
from ..core.schema import project
from . import lineage, regions, releases
from .store import Store, write_whole

CRATE = "https://w3id.org/ro/crate"
PROFILES = {
    "process": "https://w3id.org/ro/wfrun/process/0.5",
    "workflow": "https://w3id.org/ro/wfrun/workflow/0.5",
    "provenance": "https://w3id.org/ro/wfrun/provenance/0.5",
    "workflow ro-crate": "https://w3id.org/workflowhub/workflow-ro-crate/1.0",
}
TERMS = "https://w3id.org/ro/terms/workflow-run/context"
NEXTFLOW = {
    "@id": "https://w3id.org/workflowhub/workflow-ro-crate#nextflow",
    "@type": "ComputerLanguage",
    "name": "Nextflow",
    "identifier": {"@id": "https://www.nextflow.io/"},
    "url": {"@id": "https://www.nextflow.io/"},
}
LICENCE = "https://spdx.org/licenses/BSD-3-Clause"
NAMESPACE = uuid.UUID("5f7c2e0e-7a0b-5a0c-9c2e-0d6d1f3b8a10")  # of ids made from names: the same release, the same file


def ro_crate(store: Store, tag: str, out: Path) -> Path:
    """Write a release as a crate: `ro-crate-metadata.json` beside its files (hard links where the disk allows, else copies)
    and the workflow's own file.

    Raises DataError where the folder is not empty."""
    if out.exists() and any(out.iterdir()):
        raise DataError(f"{out}: not empty; give a folder of its own")
    held, facts = releases.manifest_of(store, tag), releases.show(store, tag)
    for name in held["files"]:
        target = out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.hardlink_to(regions.files_of(store, tag) / name)
        except OSError:  # another disk
            shutil.copyfile(regions.files_of(store, tag) / name, target)
    shutil.copyfile(project() / "main.nf", out / "main.nf")
    with lineage.current(store) as con:
        graph = _graph(con, tag, held, facts)
    metadata = {"@context": [f"{CRATE}/1.1/context", TERMS], "@graph": graph}
    write_whole(out / "ro-crate-metadata.json", json.dumps(metadata, indent=1))
    return out


def _id(name: str) -> str:
    return urllib.parse.quote(name)


def _graph(con: Any, tag: str, held: dict[str, Any], facts: dict[str, Any]) -> list[dict[str, Any]]:
    """All entities: the crate, the workflow and its steps, what ran, what it read and wrote."""
    tasks, whole = list(_tasks(con, tag)), _Names(held)
    stages = sorted({t["stage"] for t in tasks})
    ran = [_action(task, whole) for task in tasks]
    run = {
        "@id": "#run",
        "@type": "CreateAction",
        "name": f"run {held['run_id']}",
        "instrument": {"@id": "main.nf"},
        "startTime": min((t["started"] for t in tasks), default=facts["created"]),
        "endTime": max((t["ended"] for t in tasks), default=facts["created"]),
        "object": [{"@id": whole.of(digest)} for digest in _sources(tasks)],
        "result": [{"@id": whole.of(row["digest"])} for row in held["published"]],
    }
    steps = _steps(stages, tasks, ran)
    things = [*whole.files(), *whole.folders()]
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"Voxelmill release {tag}",
        "description": f"Results of {held['workflow']}, run {held['run_id']}; release id {facts['id']}",
        "datePublished": facts["created"],
        "license": {"@id": LICENCE},
        "conformsTo": [{"@id": url} for url in PROFILES.values()],
        "hasPart": [{"@id": "main.nf"}, *({"@id": thing["@id"]} for thing in things)],
        "mainEntity": {"@id": "main.nf"},
        "mentions": [{"@id": "#run"}, *({"@id": action["@id"]} for action in ran), {"@id": "#organize"}],
    }
    return [*_about(), root, _workflow(held["workflow"], stages), run, *steps, *ran, *things, *whole.inner(tasks)]


class _Names:
    """What artifacts are called in a crate: by their path where they are published, else by their digest."""

    def __init__(self, held: dict[str, Any]):
        self.listed: dict[str, list] = held["files"]
        self.known = {row["digest"]: row["path"] for row in held["published"]}

    def of(self, digest: str) -> str:
        path = self.known.get(digest)
        if path is None:
            return f"#{digest}"
        return _id(path) if path in self.listed else _id(path) + "/"

    def files(self) -> Iterator[dict[str, Any]]:
        for name, (size, sha256, _) in self.listed.items():
            yield {"@id": _id(name), "@type": "File", "name": name, "contentSize": str(size), "sha256": sha256}

    def folders(self) -> Iterator[dict[str, Any]]:
        """Stores, each with its files as parts."""
        for path in sorted(set(self.known.values()) - self.listed.keys()):
            own = [{"@id": _id(name)} for name in self.listed if name.startswith(f"{path}/")]
            yield {"@id": _id(path) + "/", "@type": "Dataset", "name": path, "hasPart": own}

    def inner(self, tasks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """What tasks handed on and is not part of the release."""
        used = {digest: name for task in tasks for side in ("inputs", "outputs") for digest, name in task[side]}
        for digest in sorted(used.keys() - self.known.keys()):
            yield {
                "@id": f"#{digest}",
                "@type": "CreativeWork",
                "name": used[digest],
                "identifier": f"sha256:{digest}",
                "description": "known by its digest; not part of the release",
            }


def _action(task: dict[str, Any], names: _Names) -> dict[str, Any]:
    """A task that ran."""
    return {
        "@id": f"#task-{task['id'][:32]}",
        "@type": "CreateAction",
        "name": f"{task['stage']} {task['block']}".strip(),
        "instrument": {"@id": f"#tool-{task['stage']}"},
        "startTime": task["started"],
        "endTime": task["ended"],
        "object": [{"@id": names.of(digest)} for digest, _ in task["inputs"]],
        "result": [{"@id": names.of(digest)} for digest, _ in task["outputs"]],
        "actionStatus": {"@id": "http://schema.org/CompletedActionStatus"},
    }


def _steps(stages: list[str], tasks: list[dict[str, Any]], ran: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Of each stage its step, its tool and what of it was run; and the engine that organised all that."""
    for n, stage in enumerate(stages):
        own = [{"@id": action["@id"]} for action, task in zip(ran, tasks, strict=True) if task["stage"] == stage]
        tool = {"@id": f"#tool-{stage}"}
        yield {"@id": f"#step-{stage}", "@type": "HowToStep", "position": str(n), "name": stage, "workExample": tool}
        yield {
            **tool,
            "@type": "SoftwareApplication",
            "name": stage,
            "version": __version__,
            "url": "https://www.nextflow.io/",
        }
        yield {
            "@id": f"#control-{stage}",
            "@type": "ControlAction",
            "name": f"orchestrate {stage}",
            "instrument": {"@id": f"#step-{stage}"},
            "object": own,
        }
    yield {
        "@id": "#organize",
        "@type": "OrganizeAction",
        "name": "run of Nextflow",
        "instrument": {"@id": "#nextflow"},
        "object": [{"@id": f"#control-{stage}"} for stage in stages],
        "result": {"@id": "#run"},
    }


def _workflow(name: str, stages: list[str]) -> dict[str, Any]:
    return {
        "@id": "main.nf",
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
        "name": f"Voxelmill {name}",
        "programmingLanguage": {"@id": NEXTFLOW["@id"]},
        "version": __version__,
        "hasPart": [{"@id": f"#tool-{stage}"} for stage in stages],
        "step": [{"@id": f"#step-{stage}"} for stage in stages],
    }


def _about() -> list[dict[str, Any]]:
    """What holds of every crate."""
    profiles = [
        {"@id": url, "@type": "CreativeWork", "name": name, "version": url.rsplit("/", 1)[1]}
        for name, url in PROFILES.items()
    ]
    return [
        {
            "@id": "ro-crate-metadata.json",
            "@type": "CreativeWork",
            "about": {"@id": "./"},
            "conformsTo": [{"@id": f"{CRATE}/1.1"}, {"@id": PROFILES["workflow ro-crate"]}],
        },
        NEXTFLOW,
        {
            "@id": "#nextflow",
            "@type": "SoftwareApplication",
            "name": "Nextflow",
            "version": "25.04",
            "url": "https://www.nextflow.io/",
        },
        {
            "@id": LICENCE,
            "@type": "CreativeWork",
            "name": "BSD 3-Clause",
            "description": "of the software; data have their own",
        },
        *profiles,
    ]


def _tasks(con: Any, tag: str) -> Iterator[dict[str, Any]]:
    rows = con.execute(
        "SELECT t.id, t.stage, t.block, t.run, t.started, t.ended, t.cpu_s, t.memory FROM held h JOIN tasks t "
        "ON t.id = h.task WHERE h.tag = ? ORDER BY t.started, t.id",
        (tag,),
    ).fetchall()
    for row in rows:
        found = dict(zip(("id", "stage", "block", "run", "started", "ended", "cpu_s", "memory"), row, strict=True))
        for side, table in (("inputs", "used"), ("outputs", "generated")):
            found[side] = con.execute(
                f"SELECT a.digest, a.name FROM {table} s JOIN artifacts a ON a.digest = s.artifact "
                "WHERE s.task = ? AND a.kind != 'record' ORDER BY a.digest",
                (row[0],),
            ).fetchall()
        yield found


def _sources(tasks: list[dict[str, Any]]) -> list[str]:
    """Digests of what tasks used and none made."""
    made = {d for t in tasks for d, _ in t["outputs"]}
    return sorted({d for t in tasks for d, _ in t["inputs"]} - made)


def open_lineage(store: Store, tag: str, out: Path) -> int:
    """Write the tasks of a release as OpenLineage events, a JSON object a line, START and COMPLETE of each; how many."""
    lines = []
    producer = f"https://voxelmill.invalid/{__version__}"
    with lineage.current(store) as con:
        for task in _tasks(con, tag):
            run = str(uuid.uuid5(NAMESPACE, task["id"]))
            base = {
                "producer": producer,
                "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
                "run": {"runId": run},
                "job": {"namespace": "voxelmill", "name": f"{task['stage']} {task['block']}".strip()},
            }
            sides = {
                side: [{"namespace": "sha256", "name": d, "facets": {}} for d, _ in task[side]]
                for side in ("inputs", "outputs")
            }
            lines.append({**base, "eventType": "START", "eventTime": task["started"], **sides})
            lines.append({**base, "eventType": "COMPLETE", "eventTime": task["ended"], **sides})
    write_whole(out, "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines))
    return len(lines)
