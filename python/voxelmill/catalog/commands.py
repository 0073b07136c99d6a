"""`voxelmill archive|release|trace|params|catalogue`: the catalogue from the command line."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..core.errors import BAD_DATA, ParameterError

Command = Callable[..., argparse.ArgumentParser]


def add(command: Command) -> None:
    """Declare the commands; `command(name, action, help)` makes one."""
    one = command("archive", archive, "put raw files into the archive, or read it all again and name what is damaged")
    todo = one.add_subparsers(dest="todo", required=True, metavar="add|verify")
    some = _of(todo, "add", "put files, or folders file by file, into the archive")
    some.add_argument("files", type=Path, nargs="+", metavar="FILE")
    some.add_argument("--second", type=Path, metavar="DIR", help="hold a second copy there, best on another disk")
    some = _of(todo, "verify", "read every object; name what is damaged, and the sources, releases and outputs it touches")
    some.add_argument("--repair", action="store_true", help="heal what the second copy, or a release, has whole")
    some.add_argument("--second", type=Path, metavar="DIR", help="where the second copy is now, if it was moved")

    one = command("release", release, "make, list, check, compare, withdraw releases, or roll back to one")
    todo = one.add_subparsers(dest="todo", required=True, metavar="create|list|show|verify|diff|export|rollback|withdraw")
    some = _of(todo, "create", "make a release of results, or of edits, and make it the current one")
    of = some.add_mutually_exclusive_group(required=True)
    of.add_argument("--results", type=Path, metavar="DIR", help="--outdir of a run that has ended well")
    of.add_argument("--from", dest="parent", metavar="TAG", help="of this release as it was proofread")
    some.add_argument("--tag", required=True)
    some.add_argument("--policy", type=Path, metavar="FILE", help="gates that must pass, JSON")
    box = "Z0,Y0,X0,Z1,Y1,X1"
    some.add_argument("--mask", nargs="+", default=[], metavar=box, help="with --from: without these regions, voxels from 0")
    some.add_argument("--reason", default="", help="with --mask: why")
    _of(todo, "list", "list all releases")
    _of(todo, "show", "show one").add_argument("tag")
    _of(todo, "verify", "read all of a release, or of all").add_argument("tag", nargs="?")
    some = _of(todo, "diff", "what changed: neurites, edges, figures, files")
    some.add_argument("tag1")
    some.add_argument("tag2")
    some = _of(todo, "export", "write one as a Workflow Run RO-Crate, or its tasks as OpenLineage events")
    some.add_argument("tag")
    some.add_argument("--out", type=Path, required=True, metavar="PATH", help="folder of the crate, file of the events")
    some.add_argument("--format", choices=("ro-crate", "openlineage"), default="ro-crate")
    for name, help in (
        ("rollback", "make an earlier release the current one; withdraw the one that is"),
        ("withdraw", "mark a release as bad; it stays readable"),
    ):
        some = _of(todo, name, help)
        some.add_argument("tag")
        some.add_argument("--reason", required=True)

    one = command("trace", trace, "where an artifact comes from, or what has come of it")
    one.add_argument("store", type=Path)
    one.add_argument("artifact", help="digest, path in a release ([TAG:]PATH), name of a source, file, or root id")
    one.add_argument("--forward", action="store_true", help="what it has gone into")
    one.add_argument("--bbox", default="", metavar="Z0,Y0,X0,Z1,Y1,X1", help="only what touches this region, voxels from 0")
    one.add_argument("--json", action="store_true")

    one = command("params", params, "compare two sets of parameters")
    todo = one.add_subparsers(dest="todo", required=True, metavar="diff")
    some = todo.add_parser("diff", help="what differs: of two JSON files, two records, or two hashes of a catalogue")
    some.add_argument("a")
    some.add_argument("b")
    some.add_argument("--store", type=Path, help="catalogue in which hashes are looked up")
    some.add_argument("--json", action="store_true")

    one = command("incident", incident, "trace a bad artifact, propose what to do, write memo and checklist")
    some = _of(one.add_subparsers(dest="todo", required=True, metavar="open"), "open", "open an incident")
    some.add_argument("--bad", required=True, metavar="ARTIFACT", help="as of `voxelmill trace`")
    some.add_argument("--out", type=Path, required=True, metavar="DIR")

    one = command("slo", slo, "service levels: throughput, latency, integrity, cadence, quality, cost, beside targets")
    one.add_argument("store", type=Path)
    one.add_argument("--out", type=Path, metavar="DIR", help="write slo.json and slo.html there")
    one.add_argument("--targets", type=Path, metavar="FILE", help='JSON: {"score.voi_split": {"max": 1.0}, ...}')
    one.add_argument("--prices", type=Path, metavar="FILE", help='JSON: {"core_hour": 0.04, "gpu_hour": 1.2, ...}')
    one.add_argument("--json", action="store_true")

    one = command("serve", serve, "serve a catalogue: pages, queries, files; on this machine only unless told otherwise")
    one.add_argument("store", type=Path)
    one.add_argument("--host", default="127.0.0.1")
    one.add_argument("--port", type=int, default=8000)
    one.add_argument("--edit_tokens", type=Path, metavar="FILE", help="who may proofread; without it nobody may")
    one.add_argument("--allow_host", nargs="*", default=[], metavar="NAME", help="further names this server is asked by")
    one.add_argument("--workers", type=int, default=1, help="processes [1]")
    one.add_argument("--query_seconds", type=float, default=30.0, metavar="S", help="within which an answer begins [30]")

    one = command("catalogue", catalogue, "make the catalogue's tables again from what is archived and released")
    _of(one.add_subparsers(dest="todo", required=True, metavar="rebuild"), "rebuild", "from nothing")


def _of(todo: Any, name: str, help: str) -> argparse.ArgumentParser:
    one = todo.add_parser(name, help=help, description=help)
    one.add_argument("store", type=Path)
    one.add_argument("--json", action="store_true", help="print JSON")
    return one


def show(args: argparse.Namespace, found: Any, lines: Callable[[Any], list[str]]) -> None:
    print(json.dumps(found, indent=1) if args.json else "\n".join(lines(found)))


def archive(args: argparse.Namespace) -> int:
    from . import archive as kept
    from .store import Store

    if args.todo == "add":
        rows = kept.add(Store(args.store, make=True), args.files, args.second)
        show(args, rows, lambda rows: [f"{r['sha256']}  {r['name']}{'' if r['new'] else '  (was there)'}" for r in rows])
        return 0
    found = kept.verify(Store(args.store), args.repair, args.second)
    show(
        args,
        found,
        lambda f: [
            f"{f['objects']} objects, {f['bytes'] / 1e9:.3f} GB read; {len(f['damaged'])} damaged, {f['orphans']} that "
            f"nothing names; {f['copies']} second copies",
            *(f"REPAIRED {name}" for name in f.get("repaired", ())),
            *(
                f"DAMAGED {d['object']}: {d['why']}; touches "
                + (
                    ", ".join([f"source {s}" for s in d["sources"]] + [f"{x['tag']}:{x['path']}" for x in d["files"]])
                    or "nothing"
                )
                for d in f["damaged"]
            ),
        ],
    )
    return BAD_DATA if found["damaged"] else 0


def release(args: argparse.Namespace) -> int:
    from . import differences, releases
    from .store import Store

    if args.todo == "create":
        if args.mask and not args.parent:
            raise ParameterError("--mask: of which release? give --from TAG")
        if args.parent:
            from ..proofreading import released

            found = released.create(Store(args.store), args.parent, args.tag, args.policy, args.mask, args.reason)
        else:
            found = releases.create(Store(args.store, make=True), args.results, args.tag, args.policy)
        show(args, found, lambda f: [f"release {f['tag']}: {f['files']} files, {f['bytes'] / 1e6:.1f} MB, id {f['id']}"])
        return 0
    store = Store(args.store)
    if args.todo == "list":
        show(args, releases.list_all(store), _listed)
    elif args.todo == "show":
        show(args, releases.show(store, args.tag), _shown)
    elif args.todo == "verify":
        rows = [releases.verify(store, tag) for tag in ([args.tag] if args.tag else store.tags())]
        releases.note(store, rows)
        show(
            args,
            rows,
            lambda rows: [
                line
                for r in rows
                for line in (
                    f"{r['tag']}: {r['files']} files, {len(r['damaged'])} damaged",
                    *(f"DAMAGED {r['tag']}:{d['path']}: {d['why']}" for d in r["damaged"]),
                )
            ],
        )
        return BAD_DATA if any(row["damaged"] for row in rows) else 0
    elif args.todo == "export":
        from . import exports

        {"ro-crate": exports.ro_crate, "openlineage": exports.open_lineage}[args.format](store, args.tag, args.out)
        show(args, {"out": str(args.out)}, lambda f: [f["out"]])
    elif args.todo == "diff":
        show(args, differences.diff(store, args.tag1, args.tag2), _differs)
    else:
        done = {"rollback": releases.rollback, "withdraw": releases.withdraw}[args.todo](store, args.tag, args.reason)
        show(args, done, lambda f: [f"{f['tag']}: {f['status']}; current is {store.current() or 'none'}"])
    return 0


def _listed(rows: list[dict[str, Any]]) -> list[str]:
    return [
        f"{'*' if r['current'] else ' '} {r['tag']:16} {r['status']:10} {r['workflow']:12} {r['created']}  {r['id'][:12]}  "
        f"{r['by']}"
        for r in rows
    ]


def _shown(f: dict[str, Any]) -> list[str]:
    lines = [
        f"{f['tag']} ({f['status']}{', current' if f['current'] else ''}), id {f['id']}",
        f"{f['workflow']}, run {f['run_id']}, {f['files']} files, {f['bytes'] / 1e6:.1f} MB",
    ]
    lines += [
        f"  {e['time']}  {e['action']} by {e['who']}{': ' + e['reason'] if 'reason' in e else ''}" for e in f["history"]
    ]
    if e := f.get("edits"):
        lines.append(
            f"edited from {e['parent']}: {e['merges']} merges, {e['splits']} splits by {', '.join(e['by']) or 'nobody'}; "
            f"{e['neurites_touched']} neurites made again"
        )
        lines += [f"made without {' and '.join(e['masks'])}: {e['reason']}"] if "masks" in e else []
    lines += [f"  gate {g['figure']}: {'passed' if g['passed'] else g['why']}" for g in f["gates"]]
    return lines + [f"  {name} = {value:g}" for name, value in f["figures"].items()]


def _differs(f: dict[str, Any]) -> list[str]:
    lines = [f"{f['from']} -> {f['to']}: " + ", ".join(f"{len(v)} files {k}" for k, v in f["files"].items())]
    if n := f.get("neurites"):
        lines.append(
            f"neurites: {n['split']} split, {n['merged']} merged, {n['renamed']} of another id, {n['unchanged']} as they were"
        )
        lines += [f"  {r['root_id']} split into {', '.join(r['into'][:8])}" for r in n["split_neurites"][:20]]
        lines += [f"  {r['root_id']} merged from {', '.join(r['from'][:8])}" for r in n["merged_neurites"][:20]]
    if e := f.get("edges"):
        lines.append(f"edges: {e['gained']} gained, {e['lost']} lost, {e['reweighted']} of another weight")
    return lines + [f"  {name}: {v['from']} -> {v['to']}" for name, v in f["figures"].items()]


def trace(args: argparse.Namespace) -> int:
    from . import queries
    from .store import Store

    found = queries.trace(Store(args.store), args.artifact, args.forward, args.bbox)
    show(args, found, queries.lines)
    return 0


def params(args: argparse.Namespace) -> int:
    from . import parameters

    found = parameters.diff(args.a, args.b, args.store)
    show(args, found, lambda rows: [f"{r['name']}: {r['a']} -> {r['b']}" for r in rows] or ["no difference"])
    return 0


def incident(args: argparse.Namespace) -> int:
    from . import incidents
    from .store import Store

    found = incidents.open_incident(Store(args.store), args.bad, args.out)
    show(
        args,
        found,
        lambda f: [
            f"incident {f['number']}: {len(f['files'])} files in {len(f['releases'])} releases; proposed: "
            f"{f['proposal']['action']} {f['proposal']['to'] or ''}: {f['proposal']['why']}",
            f"memo: {args.out / 'memo.md'}",
        ],
    )
    return 0


def slo(args: argparse.Namespace) -> int:
    from . import slo as levels
    from .store import Store

    found = levels.measure(Store(args.store), args.targets, args.prices)
    if args.out:
        levels.write(found, args.out)
    show(args, found, levels.lines)
    return 0


def serve(args: argparse.Namespace) -> int:
    try:
        from ..server import run
    except ImportError as error:
        raise ParameterError(f"serve: {error.name} is not installed; pip install 'voxelmill[serve]'") from None
    run.run(args.store, args.host, args.port, args.edit_tokens, args.allow_host, args.workers, args.query_seconds)
    return 0


def catalogue(args: argparse.Namespace) -> int:
    from . import lineage
    from .store import Store

    found = lineage.rebuild(Store(args.store))
    show(args, found, lambda f: [", ".join(f"{n} {what}" for what, n in f.items())])
    return 0
