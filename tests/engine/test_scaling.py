"""The scale model: lines through measured costs, and what they say of large runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from voxelmill import scaling
from voxelmill.cli import main
from voxelmill.core.blocks import MOST_TASKS, plan
from voxelmill.core.volume import Layout

STAGES = scaling.load()
CLASSIC = scaling.Setting("classic", nodes=100)


@pytest.mark.parametrize("fixed, slope", [(2.0, 0.5), (0.0, 3.0), (1.0, 0.0)])
def test_lines_are_found(fixed: float, slope: float) -> None:
    line = scaling.fit((x, fixed + slope * x) for x in (1.0, 4.0, 10.0))
    assert (line.fixed, line.slope) == (pytest.approx(fixed), pytest.approx(slope))


def test_lines_are_never_negative() -> None:
    assert scaling.fit([(1, 3.0), (2, 1.0)]) == scaling.Line(2.0, 0.0)
    assert scaling.fit([(2, 1.0), (4, 3.0)]).fixed == 0.0
    assert scaling.fit([(2, 5.0)]) == scaling.Line(5.0, 0.0)


def test_calibration_reads_back_what_records_say(tmp_path: Path) -> None:
    """Two made runs: ingest costs 1 s and 2 s per megavoxel."""
    for edge in (100, 200):
        folder = tmp_path / str(edge) / "provenance"
        folder.mkdir(parents=True)
        size = edge**3 / 1e6
        folder.joinpath("ingest.provenance.json").write_text(
            json.dumps(
                {
                    "stage": "ingest",
                    "cpu_s": 0.5 + 2 * size,
                    "startup_cpu_s": 0.5,
                    "bytes_out": 1e6 * size,
                    "peak_memory_bytes": 1e8,
                    "params": {"shard": [32, 1024, 1024]},
                    "quality": {"shape": [edge] * 3},
                }
            )
        )
    found = scaling.calibrate([tmp_path / "100", tmp_path / "200"])["ingest"]
    assert found.cpu_s == scaling.Line(pytest.approx(1.0), pytest.approx(2.0))
    scaling.save({"ingest": found}, "learned", tmp_path / "lines.json")
    scaling.save({}, "classic", tmp_path / "lines.json")
    assert scaling.load("learned", tmp_path / "lines.json") == {"ingest": found}


def test_tasks_are_bounded_as_the_plan_is() -> None:
    setting = scaling.Setting(shard_voxels=32 * 128 * 128.0)
    assert scaling.tasks_of("render", 1e15, setting) == MOST_TASKS
    assert len(plan(Layout((32000, 128, 128 * 100), "uint8", (32, 128, 128), (32, 128, 128)), voxels=1.0)) == MOST_TASKS
    assert scaling.tasks_of("graph", 1e15, setting) == 1


def test_what_joins_a_divided_stage_is_counted() -> None:
    """At 1e12 voxels no stage is one task for the whole volume any more, but for tables and the page."""
    costs = {c.stage: c for c in scaling.predict(1e12, CLASSIC, scaling.load("classic"))}
    assert {name for name, c in costs.items() if c.tasks == 1} == {"align", "graph", "neurons", "figures", "report"}
    assert costs["agglomerate"].single_gb > 1  # the one task that sees all borders
    small = {c.stage: c.tasks for c in scaling.predict(1e8, scaling.Setting(), STAGES)}
    assert small["agglomerate"] == small["ingest"] == small["multiscale"] == 1


@pytest.mark.parametrize("voxels", [1e11, 1e13])
def test_superblocks_are_chosen_as_the_stage_does(voxels: float) -> None:
    from voxelmill.core import levels

    edge = 512 * round((voxels ** (1 / 3)) / 512)
    lay = Layout((edge,) * 3, "uint8", (64, 64, 64), (512, 512, 512))
    k, grid = levels.superblocks(lay, (8.0, 8.0, 8.0))
    block, above = scaling.superblock(edge**3, scaling.Setting(shard_voxels=512.0**3))
    assert above == edge**3 / 8**k
    if min(grid.shard) < edge:
        assert block == float(np.prod(grid.shard))


def test_affinities_are_joined_in_one_task() -> None:
    """Its time goes with the edges of the whole region graph, its memory does not."""
    rows = scaling.DENSITY["learned"]
    small, large = (
        next(c for c in scaling.predict(voxels, scaling.Setting(nodes=100), STAGES) if c.stage == "agglomerate")
        for voxels in (1e10, 1e11)
    )
    assert small.tasks == large.tasks == 1
    assert large.single_gb == small.single_gb < 1.5
    assert (large.longest_h - small.longest_h) * 3600 == pytest.approx(9e4 * rows.edges * scaling.EDGE_SECONDS)
    points = scaling.breaking_points(scaling.Setting(nodes=100), STAGES, tune=True)
    found = {what: voxels for voxels, what, _ in points if "AGGLOMERATE" in what}
    assert found.keys() == {"longest task of AGGLOMERATE (h)", "supervoxels of the one AGGLOMERATE"}
    assert min(found.values()) > 1e12


def test_memory_of_the_network_goes_with_its_patch() -> None:
    def held(edge: int) -> float:
        setting = scaling.Setting(shard_voxels=32.0 * edge**2)
        return next(c for c in scaling.predict(1e12, setting, STAGES) if c.stage == "segment").task_gb

    assert (
        held(128) < 0.7 and held(512) < 1.2 and 1.3 < held(1024) < 1.5
    )  # 1.32 measured, and six sections more in the middle


def test_a_task_of_blocks_fits_into_a_gigabyte_and_a_half() -> None:
    """With shards of the default size; what is one task is not meant."""
    for voxels in (1e9, 1e10, 1e11):
        found = [c for c in scaling.predict(voxels, scaling.Setting(nodes=100), STAGES) if c.tasks > 1]
        assert len(found) > 5 and not {c.stage: c.task_gb for c in found if c.task_gb > 1.5}


def test_more_nodes_never_take_longer() -> None:
    hours = [scaling.wall_hours(scaling.predict(1e12, scaling.Setting(nodes=n), STAGES)) for n in (1, 4, 16)]
    assert hours == sorted(hours, reverse=True)


def test_small_runs_break_nothing_and_large_ones_do() -> None:
    def broken(voxels: float) -> list[str]:
        return [w for w, value, limit, _ in scaling.limits(voxels, scaling.Setting(), STAGES) if value > limit]

    assert broken(1e9) == []
    assert broken(1e15)
    points = scaling.breaking_points(scaling.Setting(), STAGES, tune=False)
    assert [p[0] for p in points] == sorted(p[0] for p in points)


def test_tuning_takes_fewer_files() -> None:
    plain = scaling.Setting()
    assert scaling.tuned(1e15, plain).shard_voxels > plain.shard_voxels
    assert scaling.tuned(1e9, plain) == replace(plain, block_voxels=plain.shard_voxels)


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scale", "--voxels", "1e12", "--nodes", "100", "--tuned"]) == 0
    assert "in all" in capsys.readouterr().out
    assert main(["scale", "--limits"]) == 0
    assert "GRAPH" in capsys.readouterr().out


def test_the_graph_is_the_workflow_s_own() -> None:
    """Every stage of `connectome` is counted: as itself, as one that takes over, or as one that joins."""
    taken = {name for names in scaling.TAKEN_OVER.values() for name in names}
    assert {*scaling.ORDER, *taken, "join"} == set(scaling.WIRING.order)
    for stages in (STAGES, scaling.load("classic")):  # whatever else comes into the workflow has to be measured
        assert set(scaling.ORDER) - set(stages) - {"estimate"} == scaling.NOT_COUNTED
    assert set(STAGES) <= set(scaling.ORDER) and set(scaling.TIMES) <= set(scaling.DIVIDED)
    assert set(scaling.BY_SECTIONS) <= set(scaling.DIVIDED)
    assert scaling.AROUND == {
        "ingest": ["ingest", "join_slabs"],
        "multiscale": ["multiscale"],
        "agglomerate": ["join_segments"],
    }
    assert scaling.WIRING.joined >= {"preprocess", "render", "segment", "export_labels"}
    assert scaling.WIRING.aside & set(STAGES) == {"estimate", "multiscale"}
