"""What a `reconstruct` run of any size will cost, and what breaks first: from the measured costs of small runs.

Slices are independent until the stack, pairs until its plan, and the stack is made by blocks: each task's CPU time and bytes
are lines over the voxels of slices that it works on, its memory one over the pixels of a plane, since it goes through depth
piece by piece. `prepare_slice` reads the raw grid besides, at its own resolution, and holds a tile of it.
`benchmarks/scale_slices.py` measures the lines (scaling_slices.json beside this file).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from .core.errors import DataError
from .core.plans import PYRAMID_BLOCKS
from .scaling import BLOCK_GB, DISK_GB, LONGEST, SINGLE_GB, SUBMITS_PER_SECOND, Cost, Line, fit, records_of

MEASURED = Path(__file__).with_suffix(".json")
# A task a slice, a pair, a block; all others see little more than tables.
BY_SLICE, BY_PAIR, BY_BLOCK = ("prepare_slice", "bring_to_common_space"), ("register_pairwise",), ("stack",)
BY_LEVEL = ("make_levels",)  # beyond a few blocks; before that, levels are made as the volume is published
WHOLE = ("publish_volume", "zip_volume")
ASKED = ("correct_bias_field",)  # with --correct_bias_field: in no sum
AFTER = (*BY_LEVEL, "zip_volume", *ASKED)  # measured on made stacks (benchmarks/scale_slices.py --subject)
ORDER = (*BY_SLICE, *BY_PAIR, *BY_BLOCK, *BY_LEVEL, *WHOLE, *ASKED)
PUBLISHED = {"prepare_slice", "stack", "make_levels", "publish_volume", "zip_volume"}
LEVELS_UM = (10.0, 25.0, 50.0, 100.0)  # --pyramid_resolutions
BLOCK = 32e6  # voxels of a block, up to 16 times as many beyond 256 blocks (core/shared.py)
READ = PYRAMID_BLOCKS * BLOCK  # voxels of the stack that a task makes a level of
MOST_SLICES = 100_000  # no block has more
SHARD = 1024 * 1024 / 1e6  # Mpx of a plane that the stack holds at a time
OVERVIEW = 2048 * 2048 / 1e6  # Mpx of a plane that prepare_slice pictures at most (transform/agarose.py)
PX = 2.0  # a pixel of that takes as much memory as so many raw voxels of a tile


@dataclass
class Measured:
    """One task: CPU s and bytes written over Mvoxel made, bytes of memory over what it holds (`held`); CPU s per raw Mvoxel
    read."""

    cpu_s: Line
    bytes_out: Line
    memory: Line
    raw_s: float = 0.0


@dataclass
class Brain:
    """What is acquired: slices of a plane of plane_mm x plane_mm, depth_um kept of each, one every thickness_um."""

    slices: int = 100
    plane_mm: float = 10.0
    depth_um: float = 600.0
    thickness_um: float = 200.0
    resolution_um: tuple[float, float] = (10.0, 10.0)  # of the volume: along z, in the plane
    raw_um: tuple[float, float] = (1.36, 3.0)
    overlap: float = 0.2
    tile_mm: float = 1.2  # side of a raw tile

    @property
    def tile(self) -> float:
        """Mvoxel of a raw tile."""
        return (self.tile_mm * 1e3 / self.raw_um[1]) ** 2 / 1e6 * self.depth_um / self.raw_um[0]

    @property
    def plane(self) -> float:
        """Mpx."""
        return (self.plane_mm * 1e3 / self.resolution_um[1]) ** 2 / 1e6

    @property
    def slice(self) -> float:
        """Mvoxel of a clean slice."""
        return self.plane * self.depth_um / self.resolution_um[0]

    @property
    def raw(self) -> float:
        """Mvoxel of a mosaic grid, overlaps included."""
        plane = (self.plane_mm * 1e3 / self.raw_um[1]) ** 2 / 1e6
        return plane * self.depth_um / self.raw_um[0] / (1 - self.overlap) ** 2

    @property
    def volume(self) -> float:
        """Mvoxel of the stack."""
        return self.plane * (self.slices * self.thickness_um) / self.resolution_um[0]


def held(stage: str, plane: float, tile: float) -> float:
    """What memory of a task goes with: Mpx of a plane, or Mvoxel of a raw tile."""
    if stage == "prepare_slice":
        return tile + PX * min(plane, OVERVIEW)
    return min(plane, SHARD) if stage in BY_BLOCK else plane


def calibrate(outdirs: Sequence[Path]) -> dict[str, Measured]:
    """Lines from the records of runs of different sizes, raw voxels as large as those of the volume."""
    seen: dict[str, list[tuple[float, float, dict]]] = {}
    for made, holds, r in (task for outdir in outdirs for task in tasks_in(outdir)):
        seen.setdefault(r["stage"], []).append((made, holds, r))
    return {
        stage: Measured(
            fit((made, r["cpu_s"] + r["startup_cpu_s"]) for made, _, r in found),
            fit((made, float(r["bytes_out"])) for made, _, r in found),
            fit((holds, float(r["peak_memory_bytes"])) for _, holds, r in found),
        )
        for stage, found in seen.items()
    }


def tasks_in(outdir: Path) -> Iterator[tuple[float, float, dict]]:
    """(Mvoxel that a task worked on, what it `held`, its record) of the tasks of a run at 10 um that the model knows.

    Raises DataError where OUTDIR holds no such run."""
    records = records_of(outdir)
    of = {r["stage"]: r["quality"] for r in records if "depth_um" in r["quality"] or r["stage"] == "plan_stack"}
    if not {"plan_stack", "prepare_slice"} <= set(of):
        raise DataError(
            f"{outdir}: no records of plan_stack and prepare_slice; expected results of a reconstruct run of grids"
        )
    if (tile := of["prepare_slice"].get("tile_mvoxel")) is None:
        raise DataError(
            f"{outdir}: records of prepare_slice lack tile_mvoxel; expected results of this version: run it again"
        )
    (nz, n1, n2), stacked = of["plan_stack"]["shape"], of["plan_stack"]["slices"]
    depth = of["prepare_slice"]["depth_um"] / 10
    blocks = {stage: sum(r["stage"] == stage for r in records) for stage in ORDER}
    for r in records:
        if (stage := r["stage"]) in ORDER:
            planes = nz if stage in WHOLE else depth * (stacked / blocks[stage] if stage in BY_BLOCK else 1)
            yield n1 * n2 * planes / 1e6, held(stage, n1 * n2 / 1e6, tile), r


def save(stages: dict[str, Measured], path: Path = MEASURED) -> None:
    path.write_text(json.dumps({name: asdict(s) for name, s in sorted(stages.items())}, indent=1) + "\n")


def load(path: Path = MEASURED) -> dict[str, Measured]:
    def one(stage: dict) -> Measured:
        lines = {k: Line(**v) for k, v in stage.items() if k != "raw_s"}
        return Measured(**lines, raw_s=stage["raw_s"])

    return {name: one(stage) for name, stage in json.loads(path.read_text()).items()}


def levels_made(brain: Brain) -> int:
    """Levels coarser than the stack, each made of all of it."""
    return sum(size > max(brain.resolution_um) for size in LEVELS_UM)


def divided(voxels: float, most: float) -> int:
    """Blocks of so many voxels, up to 16 times as many beyond 256 blocks."""
    blocks = voxels / most
    return max(1, math.ceil(blocks / min(16, max(1, blocks / 256))))


def tasks_of(stage: str, brain: Brain) -> int:
    voxels = brain.volume * 1e6
    if stage in BY_LEVEL:
        return levels_made(brain) * divided(voxels, READ) if voxels > READ else 0
    if stage == "correct_bias_field":
        return sum(divided(voxels / k**3, BLOCK) for k in steps(brain))
    if stage in BY_SLICE:
        return brain.slices
    if stage in BY_PAIR:
        return max(1, 2 * brain.slices - 3)
    return divided(voxels, BLOCK) if stage in BY_BLOCK else 1


def steps(brain: Brain) -> list[float]:
    """How much coarser each level of the volume is than the stack, along an axis."""
    return [1.0, *(size / max(brain.resolution_um) for size in LEVELS_UM if size > max(brain.resolution_um))]


def made_by(stage: str, brain: Brain, tasks: int) -> float:
    """Mvoxel that one task works on."""
    if stage in BY_LEVEL:
        return levels_made(brain) * brain.volume / max(1, tasks)
    if stage == "publish_volume":  # of levels that others have made it links the files
        return brain.volume if not tasks_of("make_levels", brain) else 0.0
    if stage == "correct_bias_field":
        return sum(brain.volume / k**3 for k in steps(brain)) / tasks
    if stage in WHOLE:
        return brain.volume
    return brain.slice * (brain.slices / tasks if stage in BY_BLOCK else 1)


def predict(brain: Brain, nodes: int, cores: int, stages: dict[str, Measured], latency_s: float = 10.0) -> list[Cost]:
    """Costs of every stage; a task has one core, stages follow each other in waves over all cores."""
    found = []
    for stage in (s for s in ORDER if s in stages and tasks_of(s, brain)):
        cost, tasks = stages[stage], tasks_of(stage, brain)
        made = made_by(stage, brain, tasks)
        # A raw voxel as large as one of the volume is in the line already.
        more = max(0.0, brain.raw - made) * cost.raw_s
        task_s = cost.cpu_s.at(made) + more
        holds = held(stage, brain.plane, brain.tile) if made else 0.0
        wall = max(math.ceil(tasks / (nodes * cores)) * task_s, tasks / SUBMITS_PER_SECOND) + latency_s
        found.append(
            Cost(
                stage, tasks, tasks * task_s / 3600, wall / 3600, cost.memory.at(holds) / 1e9,
                tasks * cost.bytes_out.at(made) / 1e9, task_s / 3600,
            )
        )  # fmt: skip
    return found


def limits(brain: Brain, costs: Sequence[Cost]) -> Iterator[tuple[str, float, float, str]]:
    """(what, value, limit, what to do); broken where the value is over the limit."""
    for c in costs:
        most = SINGLE_GB if c.tasks == 1 else BLOCK_GB
        yield f"memory of a {c.stage.upper()} task (GB)", c.task_gb, most, "--max_memory, or a coarser --resolution"
        yield f"longest task of {c.stage.upper()} (h)", c.longest_h, LONGEST / 3600, "--max_time, or a coarser --resolution"
    yield "disk of work folder and results (GB)", disk_gb(costs), DISK_GB, "a larger disk"


def disk_gb(costs: Sequence[Cost]) -> float:
    """At most: what tasks write, and once more what is published of it."""
    return sum(c.written_gb for c in counted(costs)) + sum(c.written_gb for c in costs if c.stage in PUBLISHED)


def counted(costs: Sequence[Cost]) -> list[Cost]:
    """Without what runs only when asked for."""
    return [c for c in costs if c.stage not in ASKED]


def report(brain: Brain, nodes: int, cores: int, stages: dict[str, Measured]) -> str:
    """The prediction as text: costs, what breaks, and else what comes nearest to breaking."""
    costs = predict(brain, nodes, cores, stages)
    z, xy = brain.resolution_um
    rows = [
        f"{brain.slices} slices of {brain.slice:,.0f} Mvoxel at {z:g} x {xy:g} um, of raw grids of {brain.raw:,.0f}; "
        f"volume {brain.volume / 1e3:,.1f} Gvoxel; {nodes} x {cores} cores",
        "",
        f"{'stage':22} {'tasks':>6} {'CPU h':>9} {'wall h':>8} {'GB/task':>8} {'h/task':>7} {'GB written':>11}",
    ]
    for c in costs:
        figures = f"{c.cpu_h:9,.2f} {c.wall_h:8,.2f} {c.task_gb:8.2f} {c.longest_h:7.2f} {c.written_gb:11,.1f}"
        rows.append(f"{c.stage:22} {c.tasks:6,} {figures}")
    usual = counted(costs)
    cpu, wall, written = (sum(getattr(c, name) for c in usual) for name in ("cpu_h", "wall_h", "written_gb"))
    rows += [
        f"{'in all, by default':22} {sum(c.tasks for c in usual):6,} {cpu:9,.2f} {wall:8,.2f} {'':8} {'':7} {written:11,.1f}"
    ]
    rows += [f"disk of work folder and results: up to {disk_gb(costs):,.0f} GB", ""]
    near = sorted(limits(brain, costs), key=lambda row: -row[1] / row[2])
    broken = [f"  BREAKS  {what}: {said(v)}, limit {said(most)}; {remedy}" for what, v, most, remedy in near if v > most]
    what, v, most, _ = near[0]
    rest = f"  nothing breaks; nearest to its limit is {what}: {said(v)} of {said(most)}"
    return "\n".join([*rows, *(broken or [rest, first_break(brain, nodes, cores, stages)])])


def said(value: float) -> str:
    """Three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def first_break(brain: Brain, nodes: int, cores: int, stages: dict[str, Measured]) -> str:
    """What breaks first as slices are added, and about how many there may be."""

    def broken(slices: int) -> list[tuple[str, float, float, str]]:
        more = replace(brain, slices=slices)
        return [row for row in limits(more, predict(more, nodes, cores, stages)) if row[1] > row[2]]

    good, bad = brain.slices, 2 * brain.slices
    while not broken(bad) and bad < MOST_SLICES:
        good, bad = bad, 2 * bad
    if not broken(bad):
        return f"  nor would it with {bad:,} slices"
    while bad - good > max(1, good // 50):
        middle = (good + bad) // 2
        good, bad = (good, middle) if broken(middle) else (middle, bad)
    what, _, most, remedy = max(broken(bad), key=lambda row: row[1] / row[2])
    return (
        f"  with more slices like these, first to break is {what}, limit {said(most)}, beyond about {good:,} slices; {remedy}"
    )
