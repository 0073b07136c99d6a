"""What a run of any size will cost, and what breaks first: from the measured costs of small runs.

Each stage is a straight line through the provenance records of calibration runs: CPU seconds, bytes and
peak memory are `fixed + slope x extent`, where the extent is the megavoxels of a task, but for the few stages
that go with the number of sections or of records. `benchmarks/scaling.py` measures the lines
(scaling.json beside this file) and checks the prediction at other sizes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from .core import wiring
from .core.blocks import size as block_size
from .core.pipeline import Cluster, Limits
from .core.plans import PYRAMID_BLOCKS, READ_BLOCKS, TABLE_VOXELS
from .core.schema import project
from .core.shared import Storage, Tasks
from .inference.pending import MOST_NODES
from .serving.neurites import AT_ONCE

MEASURED = Path(__file__).with_suffix(".json")
WIRING = wiring.read("connectome", project())
# Of stages that are one task while the volume is small, those that take over when it is not, and how many times
# --block_voxels a task takes where that is not once.
TAKEN_OVER = {"ingest": ("read_slab", "join_slabs"), "multiscale": ("pyramid",), "agglomerate": ("join_segments",)}
TIMES = {"ingest": READ_BLOCKS, "multiscale": PYRAMID_BLOCKS}
ORDER = tuple(s for s in WIRING.order if s not in {"join", *(name for names in TAKEN_OVER.values() for name in names)})
# Stages that divide a volume among tasks; all others are one task that sees the whole volume.
DIVIDED = tuple(s for s in ORDER if WIRING.divided & {s, *TAKEN_OVER.get(s, ())})
# What stands around the tasks side by side: a plan and a join; the top; the borders. Of others it is `join`.
AROUND = {s: [n for n in (s, *names) if n not in WIRING.divided] for s, names in TAKEN_OVER.items()}
JOINED = WIRING.joined | {"ingest", "multiscale"}  # blocks become one store
BY_SECTIONS = ("ingest", "align_pairs", "segment", "agglomerate", "export_labels")  # no finer than SHARD_DEPTH sections
BY_SHARD = set(DIVIDED) - {"agglomerate"}  # hold a shard at a time, not their block

SHARD_DEPTH = Storage.model_fields["shard"].default[0]  # sections in a shard

# What cannot be read from records; on the cautious side, each with the reason.
HEAD_BYTES_PER_TASK = 50e3  # Nextflow keeps a trace record and the handler of every task
HEAD_MEMORY = 8e9  # a head job's usual share
LINKS_PER_SECOND = 5e3  # hard links made by JOIN, on a local disk
MANIFEST_BYTES_PER_FILE = 110.0
ARGUMENT_BYTES = 2**21  # Linux's limit on a command line; JOIN names every block store
BYTES_PER_STORE_NAME = 40.0
FILES_IN_STORE = 1e6  # beyond this, listing and archiving a store takes hours
SUBMITS_PER_SECOND = 20.0  # conf/slurm.config
QUEUE_SIZE = 1000  # conf/slurm.config
SHAPES_A_BATCH = 32  # blocks whose neurites one task makes (batchesOf, workflows/inputs.nf)
# In no row: only where asked for (no cost by default), or no more than a look at each file.
NOT_COUNTED = {"list_files", "simulate_misalignment", "evaluate", "scene"}
LONGEST = float(Limits.model_fields["max_time"].default.removesuffix(".h")) * 3600
BLOCK_GB, SINGLE_GB = 16.0, 64.0  # of memory: what many tasks, what one may have
DISK_GB = 10_000.0  # of a work folder
# Of memory, per row of each table, and CPU seconds; benchmarks/tables.py.
EDGE_BYTES, LINK_BYTES, TABLE_BYTES, BORDER_BYTES, NODE_BYTES = 55.0, 310.0, 60.0, 110.0, 150.0
GRAPH_BYTES = 1.4e9  # of a region graph what is held: measured at 1e8 edges; the rest is on disk
EDGE_SECONDS, LINK_SECONDS, BORDER_SECONDS = 4e-6, 2e-6, 1e-6


@dataclass(frozen=True)
class Density:
    """Rows of tables per megavoxel, as benchmarks/scaling.py prints them."""

    supervoxels: float
    neurites: float  # that have synapses
    edges: float = 0.0  # of the region graph


DENSITY = {"learned": Density(1280.0, 30.0, 10700.0), "classic": Density(320.0, 42.0)}


@dataclass
class Line:
    """fixed + slope x extent."""

    fixed: float
    slope: float

    def at(self, extent: float) -> float:
        return self.fixed + self.slope * extent


# Bytes of a task of `segment --segmentation learned` by megavoxels of a shard: a patch of the network with its halo, from
# sections of 512 px on, which the lines through smaller runs do not know.
PATCH_MEMORY = Line(1.0e9, 12.5e6)
# Bytes at most of what looks at a shard tile by tile, its tables aside: measured on shards of the default size in the middle
# of FIB-25 at 10 nm (0.86e9 of synapses, three networks, with 32 sections), with meshes of single voxels.
TILE_MEMORY = {"synapses": 0.9e9, "shapes": 0.72e9, "export_labels": 0.39e9}
# Of the largest neurites, in a million triangles: 0.45e9 with a million rows, which are sorted on disk.
PICTURE_MEMORY = 0.6e9


@dataclass
class Stage:
    """The measured cost of one task of a stage."""

    cpu_s: Line
    bytes_out: Line
    memory: Line


@dataclass
class Setting:
    """Machine, division and method: what a user chooses."""

    segmentation: str = "learned"
    nodes: int = 1
    cores: int = 32  # of a node
    latency_s: float = 10.0  # from submission to start, and from end to noticing
    block_voxels: float = Tasks.model_fields["block_voxels"].default
    shard_voxels: float = float(math.prod(Storage.model_fields["shard"].default))
    array_size: int = Cluster.model_fields["array_size"].default


@dataclass
class Cost:
    """One stage at one size."""

    stage: str
    tasks: int
    cpu_h: float
    wall_h: float
    task_gb: float
    written_gb: float
    longest_h: float  # of one task: one of the blocks, or the one that joins them
    single_gb: float = 0.0  # of a task that is the only one of its kind


def fit(points: Iterable[tuple[float, float]]) -> Line:
    """Least squares with neither part negative; through the mean where there is one size only."""
    x, y = zip(*points)
    n, mx, my = len(x), sum(x) / len(x), sum(y) / len(y)
    spread = sum((a - mx) ** 2 for a in x)
    slope = max(0.0, sum((a - mx) * (b - my) for a, b in zip(x, y)) / spread) if spread and n > 1 else 0.0
    fixed = my - slope * mx
    return Line(fixed, slope) if fixed >= 0 else Line(0.0, sum(a * b for a, b in zip(x, y)) / sum(a * a for a in x))


def records_of(outdir: Path) -> list[dict]:
    return [json.loads(p.read_text()) for p in sorted((outdir / "provenance").glob("*.provenance.json"))]


def megavoxels_of(records: list[dict]) -> float:
    """Size of the run, from what ingest says of its volume."""
    shape = next(r["quality"]["shape"] for r in records if r["stage"] == "ingest")
    return math.prod(shape) / 1e6


def extent(stage: str, megavoxels: float, sections: float, records: int) -> float:
    """What the cost of one task of a stage goes with. Figures draw a fixed number of pixels and neurites, the largest of
    which (`neurons`) are as long as the volume."""
    return {"align": sections, "neurons": sections, "report": records, "figures": 0, "estimate": 0}.get(stage, megavoxels)


def shard_of(records: list[dict]) -> float:
    """Megavoxels of a shard: no larger than the volume."""
    ingest = next(r for r in records if r["stage"] == "ingest")
    return math.prod(map(min, ingest["params"]["shard"], ingest["quality"]["shape"])) / 1e6


def calibrate(outdirs: Iterable[Path]) -> dict[str, Stage]:
    """Lines of all stages from the records of some runs.

    Time and bytes go with the extent of a task; memory with that of a shard, where a task goes shard by shard."""
    seen: dict[str, list[tuple[float, float, dict]]] = {}
    for outdir in outdirs:
        records = records_of(outdir)
        whole, shard = megavoxels_of(records), shard_of(records)
        names = [r["stage"] for r in records]
        sections = next(r["quality"]["shape"][0] for r in records if r["stage"] == "ingest")
        for record in records:
            stage = record["stage"]
            if stage not in ORDER or set(TAKEN_OVER.get(stage, ())) & set(names):
                continue  # how a stage goes with size is seen where it did it alone
            count = names.count(stage) if stage in DIVIDED and stage not in AROUND else 1
            size = extent(stage, whole / count, sections, len(records))
            seen.setdefault(stage, []).append((size, shard if stage in BY_SHARD else size, record))
    return {
        stage: Stage(
            fit((size, r["cpu_s"] + r["startup_cpu_s"]) for size, _, r in found),
            fit((size, float(r["bytes_out"])) for size, _, r in found),
            fit((held, float(r["peak_memory_bytes"])) for _, held, r in found),
        )
        for stage, found in seen.items()
    }


def save(stages: dict[str, Stage], segmentation: str = "learned", path: Path = MEASURED) -> None:
    """Keep the lines of a run with one --segmentation, beside those of the other."""
    known = json.loads(path.read_text()) if path.exists() else {}
    known[segmentation] = {name: asdict(s) for name, s in sorted(stages.items())}
    path.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


def load(segmentation: str = "learned", path: Path = MEASURED) -> dict[str, Stage]:
    found = json.loads(path.read_text())[segmentation]
    return {name: Stage(**{k: Line(**v) for k, v in stage.items()}) for name, stage in found.items()}


def is_divided(stage: str, setting: Setting) -> bool:
    """Whether tasks share a stage's work; by affinities, what is joined first depends on the whole volume."""
    return stage in DIVIDED and not (stage == "agglomerate" and setting.segmentation == "learned")


def tasks_of(stage: str, voxels: float, setting: Setting) -> int:
    """Tasks that go side by side. A block is at least one shard, one layer of shards where whole sections are wanted,
    one superblock for multiscale; volumes are cubes."""
    if stage == "neurites":
        return max(1, tasks_of("shapes", voxels, setting) // SHAPES_A_BATCH)
    if not is_divided(stage, setting):
        return 1
    piece = block_size(voxels, setting.block_voxels * TIMES.get(stage, 1))
    wanted = math.ceil(voxels / max(piece, TABLE_VOXELS if stage == "agglomerate" else 0))
    layers = math.ceil(round(voxels ** (1 / 3), 3) / SHARD_DEPTH)
    if stage in BY_SECTIONS:
        return max(1, min(wanted, layers))
    least = superblock(voxels, setting)[0] if stage == "multiscale" else setting.shard_voxels
    return max(1, min(wanted, math.ceil(voxels / least)))


def superblock(voxels: float, setting: Setting) -> tuple[float, float]:
    """(voxels of a superblock, voxels of level k), as core.levels chooses k, each level halved along all axes."""
    return min(((setting.shard_voxels * 8**k, voxels / 8**k) for k in range(12)), key=sum)


def serial(stage: str, voxels: float, tasks: int, setting: Setting, cost: Stage) -> tuple[float, float]:
    """(seconds, bytes of memory) of the one task that brings the others' work together."""
    if tasks == 1:
        return 0.0, 0.0
    seconds, memory = 0.0, 0.0
    if stage in JOINED:
        files = voxels / setting.shard_voxels
        seconds, memory = files / LINKS_PER_SECOND, 5e7 + 10 * MANIFEST_BYTES_PER_FILE * files
    if stage == "multiscale":
        seconds += cost.cpu_s.at(superblock(voxels, setting)[1] / 1e6)
    if stage == "agglomerate":
        border = (tasks - 1) * DENSITY[setting.segmentation].supervoxels * voxels ** (2 / 3) / 1e6
        seconds, memory = border * BORDER_SECONDS, 7e7 + border * BORDER_BYTES
    return seconds, memory


def held(stage: str, voxels: float, tasks: int, size: float, setting: Setting, cost: Stage) -> float:
    """Bytes of memory of one of the tasks side by side: of a shard, or of its tables. `size` is its extent."""
    megavoxels, rows = voxels / tasks / 1e6, DENSITY[setting.segmentation]
    memory = cost.memory.at(min(size, setting.shard_voxels / 1e6) if stage in BY_SHARD else size)
    if stage == "segment" and setting.segmentation == "learned":
        memory = min(memory, PATCH_MEMORY.at(setting.shard_voxels / 1e6))
    if stage in TILE_MEMORY:
        memory = min(memory, TILE_MEMORY[stage])
    if stage == "neurons":
        memory = min(memory, PICTURE_MEMORY)
    if stage == "neurites":
        memory = cost.memory.at(min(size, AT_ONCE / 1e6))
    if stage == "agglomerate":
        graph = min(EDGE_BYTES * rows.edges * megavoxels, GRAPH_BYTES)
        memory = cost.memory.fixed + (graph or LINK_BYTES * rows.supervoxels * megavoxels)
    if stage == "export_labels":
        memory += TABLE_BYTES * rows.supervoxels * megavoxels
    if stage == "graph":  # the database sorts within a fixed share of memory
        memory = cost.memory.fixed + NODE_BYTES * rows.neurites * megavoxels
    return memory


def predict(voxels: float, setting: Setting, stages: dict[str, Stage]) -> list[Cost]:
    """Costs of every stage. A task has one core; a divided stage runs in waves over all slots.

    Memory of a task grows with its shards, not with its block: it goes through them one by one."""
    rows = DENSITY[setting.segmentation]
    slots = min(setting.nodes * setting.cores, QUEUE_SIZE)
    counts = {name: tasks_of(name, voxels, setting) for name in ORDER if name in stages}
    around = {name: len(AROUND.get(name, ())) if tasks > 1 else 0 for name, tasks in counts.items()}
    joins = sum(1 for name in JOINED if counts.get(name, 1) > 1 and name not in AROUND)
    records = sum(counts.values()) + sum(around.values()) + joins + 1
    found = []
    for name, tasks in counts.items():
        cost = stages[name]
        size = extent(name, voxels / tasks / 1e6, voxels ** (1 / 3), records)
        task_s = cost.cpu_s.at(size)
        if name == "agglomerate":
            task_s = cost.cpu_s.fixed + (EDGE_SECONDS * rows.edges or LINK_SECONDS * rows.supervoxels) * voxels / tasks / 1e6
        join_s, join_bytes = serial(name, voxels, tasks, setting, cost)
        total = tasks * task_s + join_s + around[name] * cost.cpu_s.fixed
        submit_s = tasks / max(1, setting.array_size) / SUBMITS_PER_SECOND
        wall = max(math.ceil(tasks / slots) * task_s, submit_s) + join_s + setting.latency_s * (1 + around[name])
        memory = held(name, voxels, tasks, size, setting, cost)
        found.append(
            Cost(
                name,
                tasks + around[name],
                total / 3600,
                wall / 3600,
                memory / 1e9,
                tasks * cost.bytes_out.at(size) / 1e9,
                max(task_s, join_s) / 3600,
                (memory if tasks == 1 else join_bytes) / 1e9,
            )
        )
    return found


def wall_hours(costs: list[Cost]) -> float:
    """Stages follow each other; nothing waits for the published volume."""
    return sum(c.wall_h for c in costs if c.stage not in WIRING.aside)


def tuned(voxels: float, setting: Setting) -> Setting:
    """At most 200,000 files per store, in shards of at most 64 x 4096 x 4096; a block holds whole shards."""
    shard = setting.shard_voxels
    while voxels / shard > 2e5 and shard < 64 * 4096 * 4096:
        shard *= 2
    more = {"shard_voxels": shard, "block_voxels": max(setting.block_voxels, shard)}
    return Setting(**{**asdict(setting), **more})


def limits(voxels: float, setting: Setting, stages: dict[str, Stage]) -> Iterator[tuple[str, float, float, str]]:
    """(what, value, limit, what to do); broken where the value is over the limit."""
    costs = predict(voxels, setting, stages)
    files = voxels / setting.shard_voxels
    divided = [c for c in costs if is_divided(c.stage, setting)]
    if DENSITY[setting.segmentation].edges:
        supervoxels = DENSITY[setting.segmentation].supervoxels * voxels / 1e6
        yield "supervoxels of the one AGGLOMERATE", supervoxels, MOST_NODES, "a smaller --cutout, or --segmentation classic"
    most = max((c.tasks for c in divided), default=1)
    yield "stores in one JOIN command", most * BYTES_PER_STORE_NAME, ARGUMENT_BYTES, "--block_voxels"
    yield "head memory for all tasks", sum(c.tasks for c in costs) * HEAD_BYTES_PER_TASK, HEAD_MEMORY, "--block_voxels"
    yield "files in a store", files, FILES_IN_STORE, "--shard"
    yield "manifest that every task reads (MB)", files * MANIFEST_BYTES_PER_FILE / 1e6, 100.0, "--shard"
    yield "disk of work folder and results (GB)", disk_gb(costs), DISK_GB, "a larger disk, --save_minimal"
    for cost in costs:
        if is_divided(cost.stage, setting):
            remedy = "give it more by a config" if cost.stage == "agglomerate" else "a smaller --shard"
            yield f"memory of a {cost.stage.upper()} task (GB)", cost.task_gb, BLOCK_GB, remedy
        single = cost.stage if cost.tasks == 1 else AROUND.get(cost.stage, ["join"])[-1]
        yield f"memory of the one {single.upper()} task (GB)", cost.single_gb, SINGLE_GB, "give it more by a config"
        yield f"longest task of {cost.stage.upper()} (h)", cost.longest_h, LONGEST / 3600, "give it longer by a config"


def disk_gb(costs: Iterable[Cost]) -> float:
    """At most: what tasks write, once more where it is published."""
    return 2 * sum(c.written_gb for c in costs)


def breaking_points(setting: Setting, stages: dict[str, Stage], tune: bool) -> list[tuple[float, str, str]]:
    """Smallest size, in voxels, at which each limit breaks; those that hold up to 1e18 are left out."""
    first: dict[str, tuple[float, str, str]] = {}
    for step in range(9 * 8, 18 * 8 + 1):
        voxels = 10 ** (step / 8)
        use = tuned(voxels, setting) if tune else setting
        for what, value, limit, remedy in limits(voxels, use, stages):
            if value > limit:
                first.setdefault(what, (voxels, what, remedy))
    return sorted(first.values())


def report(voxels: float, setting: Setting, stages: dict[str, Stage]) -> str:
    """The prediction as text."""
    costs = predict(voxels, setting, stages)
    rows = [f"{'stage':14} {'tasks':>9} {'CPU h':>12} {'wall h':>10} {'GB/task':>8} {'GB written':>12}"]
    rows += [
        f"{c.stage:14} {c.tasks:9,} {c.cpu_h:12,.2f} {c.wall_h:10,.2f} {c.task_gb:8.2f} {c.written_gb:12,.1f}" for c in costs
    ]
    rows += [
        f"{'in all':14} {sum(c.tasks for c in costs):9,} {sum(c.cpu_h for c in costs):12,.2f} "
        f"{wall_hours(costs):10,.2f} {'':8} {sum(c.written_gb for c in costs):12,.1f}"
    ]
    rows.append(f"disk of work folder and results: up to {disk_gb(costs):,.0f} GB")
    broken = [
        f"  BREAKS  {what}: {value:,.3g}, limit {limit:,.3g}; {remedy}"
        for what, value, limit, remedy in limits(voxels, setting, stages)
        if value > limit
    ]
    return "\n".join([*rows, "", *(broken or ["  nothing breaks at this size"])])
