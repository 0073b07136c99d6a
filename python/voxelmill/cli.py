"""The `voxelmill` command; `voxelmill --help` lists what it does."""

from __future__ import annotations

import argparse
import errno
import json
import os
import sys
from pathlib import Path
from typing import NoReturn

from .core.errors import BAD_PARAMETER, IO_FAILED, VoxelmillError

READER_GONE = 141  # as a shell has it of what SIGPIPE ends


def main(argv: list[str] | None = None) -> int:
    words = sys.argv[1:] if argv is None else argv
    # What follows `check` is in the engine's manner, not in argparse's.
    checked = words[1:] if words[:1] == ["check"] and words[1:2] not in (["-h"], ["--help"]) else []
    args = parser().parse_args(words[: len(words) - len(checked)])
    if checked:
        args.arguments = checked
    try:
        code = args.action(args) or 0
        sys.stdout.flush()
        return code
    except VoxelmillError as error:
        return said(args.command, str(error), error.exit_code)
    except BrokenPipeError:  # whoever read it, as `head`, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    except OSError as error:
        where = error.filename or next((str(v) for v in (getattr(args, n, None) for n in ("store", "out")) if v), "writing")
        what = "; free some, and run it again" if error.errno == errno.ENOSPC else ""
        return said(args.command, f"{where}: {error.strerror or error}{what}", IO_FAILED)


def said(command: str, message: str, code: int) -> int:
    """What went wrong, in one line."""
    print(f"ERROR [{command}] {' '.join(message.split())}", file=sys.stderr)
    return code


class Parser(argparse.ArgumentParser):
    """Words that it does not understand are a bad parameter, as anywhere: one line, exit code 64."""

    def error(self, message: str) -> NoReturn:
        command = self.prog.partition(" ")[2] or self.prog
        sys.exit(said(command, f"{message}; `{self.prog} --help` lists what there is", BAD_PARAMETER))


def parser() -> argparse.ArgumentParser:
    from . import __version__

    top = Parser(prog="voxelmill", description="Voxelmill beside the engine")
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, action, help: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=help, description=help)
        made.set_defaults(action=action)
        return made

    one = command("help", help_of, "list the parameters of all workflows, or of one")
    one.add_argument("workflow", nargs="?", default="")
    one = command("check", check, "check the arguments of a run without starting one, and say what it would run with")
    one.add_argument("arguments", nargs="*", metavar="ARGS...", help="as after `nextflow run main.nf`")
    one = command("score", score, "compare two label volumes; prints JSON")
    one.add_argument("truth")
    one.add_argument("pred")
    one.add_argument("--border", type=int, default=0, help="leave out voxels this near to a true boundary, px in-plane")
    one.add_argument("--per-slice", action="store_true", help="score each section by itself and average")
    one.add_argument("--truth-key", default="", help="dataset inside the truth (HDF5, NPZ)")
    one.add_argument("--pred-key", default="", help="dataset inside the prediction")
    one = command(
        "make-oct", make_oct, "make raw tiles of serial sections by OCT and their atlas, whose truth is known, for a demo"
    )
    one.add_argument("folder", type=Path, help="folder to make")
    one = command("score-oct", score_oct, "compare what reconstruct made of them with the truth")
    one.add_argument("folder", type=Path, help="as of make-oct")
    one.add_argument("results", type=Path, nargs="+", help="--outdir of reconstruct")
    one = command("runs", runs, "list the runs of a results folder")
    one.add_argument("outdir", nargs="?", default="results")
    one.add_argument("--json", action="store_true", help="all columns, as JSON")
    one = command("schema", schema, "check, or with --write make, what is generated from the parameter models")
    one.add_argument("--write", action="store_true")
    one = command("verify", verify, "check a store, or each of a results folder, against its manifest")
    one.add_argument("store", type=Path)
    one = command("view", view, "serve the results to this machine and print a Neuroglancer link to all its volumes")
    one.add_argument("results", type=Path, nargs="?", default=Path("results"))
    one.add_argument("--port", type=int, default=8000)
    one.add_argument(
        "--source", nargs="*", default=[], metavar="ADDRESS", help="lay these under it, as precomputed://gs://..."
    )
    one.add_argument("--state", action="store_true", help="print the viewer state as JSON and serve nothing")
    one = command("align", align, "lay pairs of slices on each other by hand, in a browser on this machine")
    one.add_argument("folder", type=Path, help="manual_align/ of a run with --export_manual_align true")
    one.add_argument("--port", type=int, default=8001)
    one = command("export-precomputed", export_precomputed, "write a published volume as Neuroglancer precomputed")
    one.add_argument("store", type=Path, help="NAME.ome.zarr")
    one.add_argument("target", type=Path, help="folder to make")
    one.add_argument("--labels", default="", metavar="NAME", help="of the volume's label images this one, as segmentation")
    one.add_argument("--sharded", action="store_true", help="many chunks a file")
    one = command("remake", remake, "give supervoxels other root ids, and make again what hangs on those that changed")
    one.add_argument("results", type=Path, help="--outdir of a connectome that has ended well")
    one.add_argument(
        "--merge", type=Path, required=True, metavar="TABLE", help="CSV or Parquet of supervoxel, root_id; or as tables/merge"
    )
    one = command("plugins", plugins, "list what a folder of plug-ins holds, each tried on an example")
    one.add_argument("folder", type=Path)
    command("doctor", doctor, "say what this machine has and what is missing")
    one = command("scale", scale, "predict cost and limits of a run of any size")
    one.add_argument("--workflow", choices=("connectome", "reconstruct", "mosaic", "timelapse"), default="connectome")
    one.add_argument("--slices", type=int, default=100, help="reconstruct: slices of the block [100]")
    one.add_argument("--plane_mm", type=float, default=10.0, help="reconstruct: side of a slice [10]")
    one.add_argument("--tile_mm", type=float, default=1.2, help="reconstruct: side of a raw tile [1.2]")
    one.add_argument(
        "--resolution_um", type=float, nargs=2, default=(10.0, 10.0), metavar=("Z", "XY"), help="reconstruct: voxel [10 10]"
    )
    one.add_argument("--voxels", type=float, default=1e12, help="connectome: voxels of the volume [1e12]")
    one.add_argument("--nodes", type=int, default=1)
    one.add_argument("--cores", type=int, default=32, help="of a node [32]")
    one.add_argument("--segmentation", choices=("learned", "classic"), help="as of the run [learned]")
    one.add_argument("--block_voxels", type=float, help="as of the run [its default]")
    one.add_argument("--shard_voxels", type=float, help="product of --shard [its default]")
    one.add_argument("--tuned", action="store_true", help="choose --block_voxels and --shard for the size")
    one.add_argument("--limits", action="store_true", help="list the size at which each limit breaks")
    one.add_argument("--measured", type=Path, help="lines measured by benchmarks/scaling.py on another machine")
    one = command("train", train, "train a network, or fine-tune one, on images and labels; goes on where it was killed")
    one.add_argument("--kind", choices=("neurites", "cells", "forest", "synapses"), required=True)
    one.add_argument(
        "--out", type=Path, required=True, metavar="MODEL_DIR", help="checkpoint, learning curve, model and card"
    )
    one.add_argument("--image", nargs="+", default=[], help="volumes (neurites); frames or movies (cells)")
    one.add_argument("--labels", nargs="+", default=[], help="as many, in the same order; 0 = none (synapses: or tables)")
    one.add_argument("--recipe", type=Path, help="JSON that names sets and their parts, in place of --image and --labels")
    one.add_argument("--root", type=Path, default=Path(), help="folder that the recipe's paths start at")
    one.add_argument("--start", type=Path, metavar="MODEL_DIR", help="fine-tune this model")
    one.add_argument("--voxel_size", type=float, nargs=3, default=(), metavar="NM", help="z y x, of the volumes")
    one.add_argument("--cell_diameter", type=float, default=0.0, help="px, of a typical cell [0: from the labels]")
    one.add_argument("--licence", default="not stated", help="of the data, for the card")
    one.add_argument("--steps", type=int, default=4000, help="in all, those before a kill included [4000]")
    one.add_argument(
        "--rate", dest="highest", type=float, default=0.0, help="highest learning rate [0.002, with --start 0.0005]"
    )
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--every_s", type=float, default=180, help="seconds between checkpoints [180]")
    one.add_argument("--threads", type=int, default=0, help="CPU threads [all]")
    from .catalog import commands as catalogue

    catalogue.add(command)
    return top


def help_of(args: argparse.Namespace) -> None:
    from .core.options import load

    options = load()
    print(options.help(options.workflow({"workflow": args.workflow}) if args.workflow else ""))


def check(args: argparse.Namespace) -> None:
    from .core.check import report

    print(report(args.arguments))


def score(args: argparse.Namespace) -> None:
    """Stream both volumes slab by slab, laid over each other; label stores may be named with `STORE/labels/NAME`."""
    from .ingest.volumes.formats import open_source
    from .ingest.volumes.reading import moved
    from .ingest.volumes.source import overlap
    from .postprocess.score import Contingency, averaged

    truth, pred = (
        open_source(path, key, labels=True) for path, key in ((args.truth, args.truth_key), (args.pred, args.pred_key))
    )
    shared, (depth, height, width) = overlap(truth, pred)
    thick = 1 if args.per_slice else max(1, int(32e6 // (height * width)))
    whole, rows = Contingency(border=args.border), []
    for z in range(0, depth, thick):
        region = (slice(z, min(z + thick, depth)), slice(0, height), slice(0, width))
        t, p = (one.read(moved(region, corner)) for one, corner in zip((truth, pred), shared, strict=True))
        if not args.per_slice:
            whole.add(t, p)
        else:
            section = Contingency(border=args.border)
            section.add(t, p)
            if section.count.sum():  # a section may be empty, or all border
                rows.append(section.result())
    result = averaged(rows) if args.per_slice else whole.result()
    print(json.dumps(result, indent=1, sort_keys=True))


def make_oct(args: argparse.Namespace) -> None:
    from .testing import oct_demo

    oct_demo.make(args.folder)


def score_oct(args: argparse.Namespace) -> None:
    from .testing import oct_demo

    made = oct_demo.read(args.folder)
    for results in args.results:
        print(f"{results}\n  " + "\n  ".join(oct_demo.scores(made, results)))


def runs(args: argparse.Namespace) -> None:
    from .core.errors import StorageError
    from .core.runs import table

    outdir = Path(args.outdir)
    if not (outdir / "runs.sqlite").exists():
        raise StorageError(f"{outdir}: no runs.sqlite here; give the --outdir of a run")
    rows = table(outdir)
    if args.json:
        print(json.dumps(rows, indent=1))
        return
    shown = ("run_id", "workflow", "status", "created_at", "finished_at", "tasks_done", "tasks_cached", "dataset_uri")
    cells = [shown, *(tuple("" if r[c] is None else str(r[c]) for c in shown) for r in rows)]
    width = [max(len(row[i]) for row in cells) for i in range(len(shown))]
    print("\n".join("  ".join(v.ljust(w) for v, w in zip(row, width)).rstrip() for row in cells))


def schema(args: argparse.Namespace) -> int:
    from .core.schema import generated, project

    stale = [
        name
        for name, text in generated().items()
        if not (project() / name).exists() or (project() / name).read_text() != text
    ]
    if args.write:
        for name in stale:
            (project() / name).write_text(generated()[name])
            print(f"wrote {name}")
        return 0
    for name in stale:
        print(f"{name} is stale; run: voxelmill schema --write", file=sys.stderr)
    return 1 if stale else 0


def plugins(args: argparse.Namespace) -> int:
    """A line per plug-in, and one per broken file; exit code 64 where there is one."""
    from .core.plugins import list_plugins

    rows = list_plugins(args.folder)
    for path, found, fault in rows:
        for one in found:
            print(f"{one.kind:13s} {one.name:20s} {path} {', '.join(one.feature_types)}".rstrip())
        if fault:
            print(f"broken        {fault}", file=sys.stderr)
    return BAD_PARAMETER if any(fault for *_, fault in rows) else 0


def verify(args: argparse.Namespace) -> None:
    from .core.manifest import stores_in, verify

    for store in stores_in(args.store):
        print(f"{store}: {len(verify(store, deep=True)['files'])} files as listed")


def view(args: argparse.Namespace) -> None:
    from .serving import viewer

    here = f"http://127.0.0.1:{args.port}"
    found = viewer.of_results(args.results, here, args.source)
    if args.state:
        print(json.dumps(found, indent=1))
        return
    with viewer.server(args.results, args.port) as served:
        print(f"{viewer.link(found)}\n\nserving {args.results} at {here} until Ctrl-C")
        try:
            served.serve_forever()
        except KeyboardInterrupt:
            print()


def align(args: argparse.Namespace) -> None:
    from .serving import aligner

    with aligner.server(args.folder, args.port) as served:
        print(f"open http://127.0.0.1:{args.port} in a browser; Ctrl-C ends\n\nthen run again with --manual_transforms_dir "
              f"{args.folder} -resume", flush=True)  # fmt: skip
        try:
            served.serve_forever()
        except KeyboardInterrupt:
            print()


def export_precomputed(args: argparse.Namespace) -> None:
    from .serving.precomputed import export

    for remark in export(args.store, args.target, args.labels, args.sharded):
        print(f"WARNING [export-precomputed] {args.target}: {remark}", file=sys.stderr)


def remake(args: argparse.Namespace) -> None:
    from .serving.remake_results import of_table

    touched, scores = of_table(args.results, args.merge)
    print(f"{len(touched)} root ids changed: {', '.join(map(str, touched[:20]))}{', ...' if len(touched) > 20 else ''}"
          if len(touched) else "no root id changed; nothing was made again")  # fmt: skip
    if scores:
        print(f"taken away, as they were of the neurites before: {', '.join(scores)}")


def doctor(args: argparse.Namespace) -> int:
    from .doctor import main

    return main()


def train(args: argparse.Namespace) -> None:
    from .training.train import run

    how = {k: v for k, v in vars(args).items() if k not in ("command", "action", "image")}
    out = run(images=args.image, **{**how, "voxel_size": tuple(args.voxel_size)})
    print(f"{out}: model.onnx, card.json")


def scale(args: argparse.Namespace) -> None:
    from . import scaling, scaling_rest, scaling_slices

    if args.workflow in ("mosaic", "timelapse"):
        print(f"{args.workflow} has no model: its time is linear, its tasks see what is theirs alone")
    elif args.workflow == "reconstruct":
        brain = scaling_slices.Brain(
            args.slices, args.plane_mm, resolution_um=tuple(args.resolution_um), tile_mm=args.tile_mm
        )
        measured = scaling_slices.load(args.measured or scaling_slices.MEASURED)
        print(scaling_slices.report(brain, args.nodes, args.cores, measured))
    if args.workflow in scaling_rest.NOT_COUNTED:
        print("\nnot counted:", *scaling_rest.told(args.workflow), sep="\n")
        return
    given = {name: getattr(args, name) for name in ("segmentation", "nodes", "cores", "block_voxels", "shard_voxels")}
    setting = scaling.Setting(**{name: value for name, value in given.items() if value is not None})
    stages = scaling.load(setting.segmentation, args.measured or scaling.MEASURED)
    if args.limits:
        for voxels, what, remedy in scaling.breaking_points(setting, stages, args.tuned):
            print(f"{voxels:9.2g} voxels  {what}: {remedy}")
        return
    if args.tuned:
        setting = scaling.tuned(args.voxels, setting)
        print(f"--block_voxels {setting.block_voxels:.3g}, --shard of {setting.shard_voxels:.3g} voxels\n")
    print(scaling.report(args.voxels, setting, stages))


if __name__ == "__main__":
    sys.exit(main())
