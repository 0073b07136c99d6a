"""Evaluate: the truth goes where the image went, before it is compared."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from voxelmill.core.errors import DataError
from voxelmill.inference import supervoxels
from voxelmill.inference.region_graph import Edges, Nodes
from voxelmill.postprocess import evaluate, rescore, run_length, score_regions
from voxelmill.postprocess.score import Contingency, score_volumes
from voxelmill.testing.em import neurites
from voxelmill.testing.stages import make_store, run_stage
from voxelmill.transform import warp
from voxelmill.transform.transforms import save


def score(folder: Path, labels: np.ndarray, truth: np.ndarray, moves: list, **params) -> dict:
    folder.mkdir(exist_ok=True)
    save(folder / "t.npz", moves)
    assert (
        run_stage(
            "postprocess.evaluate",
            folder,
            labels=make_store(folder / "l.ome.zarr", labels, label=True),
            truth=make_store(folder / "truth.ome.zarr", truth, label=True),
            transforms=folder / "t.npz",
            output="score.json",
            evaluation="evaluation.json",
            **params,
        )
        == 0
    )
    return json.loads((folder / "score.json").read_text())


def test_the_truth_moves_with_the_image(tmp_path: Path):
    _, truth = neurites((4, 96, 96))
    moves = [warp.shift_transform(6, -4)] * 4
    moved = np.stack([warp.render(s, m, interpolation="nearest") for s, m in zip(truth, moves)])
    assert score(tmp_path / "a", moved, truth, moves)["arand"] == pytest.approx(0, abs=1e-9)
    assert score(tmp_path / "b", truth, truth, moves)["arand"] > 0.1


def test_jitter_and_correction_that_cancel_leave_it_in_place(tmp_path: Path):
    _, truth = neurites((4, 96, 96))
    moves = [warp.shift_transform(-dy, -dx) for dy, dx in warp.simulate_jitter(4, 1.0, 7)]
    found = score(tmp_path, truth, truth, moves, simulate_misalignment=True)
    assert found["voi_split"] == found["voi_merge"] == 0


def test_a_section_is_scored_part_by_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Memory follows the shard, not the section."""
    _, truth = neurites((4, 96, 96))
    moved, held = evaluate.render_region, []
    monkeypatch.setattr(evaluate, "render_region", lambda *of: held.append(moved(*of)) or held[-1])
    score(tmp_path, truth, truth, [warp.shift_transform(0, 0)] * 4)
    assert len(held) == 4 and max(part.size for part in held) == 4 * (64 + 2) ** 2  # 2: the widest border


def test_unlike_shapes_are_refused(tmp_path: Path, capsys):
    _, truth = neurites((4, 64, 64))
    save(tmp_path / "t.npz", [warp.shift_transform(0, 0)] * 4)
    assert (
        run_stage(
            "postprocess.evaluate",
            tmp_path,
            labels=make_store(tmp_path / "l.ome.zarr", truth[:, :32]),
            truth=make_store(tmp_path / "t.ome.zarr", truth),
            transforms=tmp_path / "t.npz",
            output="s.json",
            evaluation="e.json",
        )
        == 65
    )
    assert "--truth has shape (4, 64, 64) and the volume (4, 32, 64)" in capsys.readouterr().err


def test_shards_do_not_matter(tmp_path: Path):
    """A border reaches over the edges of what is read at a time."""
    labels, truth = (neurites((6, 150, 130), seed=seed)[1].astype(np.uint32) for seed in (0, 1))
    save(tmp_path / "t.npz", [warp.shift_transform(3, 0.5 * z) for z in range(6)])
    found = []
    for shard in ((6, 160, 160), (4, 64, 32)):
        files = {
            name: make_store(tmp_path / f"{name}{shard[1]}.ome.zarr", values, shard=shard, label=True)
            for name, values in (("labels", labels), ("truth", truth))
        }
        arguments = {"transforms": tmp_path / "t.npz", "output": "s.json", "evaluation": "e.json", "score_border": 5, **files}
        assert run_stage("postprocess.evaluate", tmp_path, **arguments) == 0
        found.append({**json.loads((tmp_path / "s.json").read_text()), **json.loads((tmp_path / "e.json").read_text())})
    assert found[0] == found[1] and "border_5" in found[0]


def test_each_threshold_has_the_scores_of_its_labels(tmp_path: Path):
    """From one table of supervoxels, as scoring the labels of that threshold themselves."""
    _, truth = neurites((4, 96, 96))
    pieces = (truth.astype(np.uint64) * 4 + np.arange(96, dtype=np.uint64) // 32) * (truth > 0)
    names = np.unique(pieces[pieces > 0])
    # Pieces of one neurite hang together by 0.45, and nothing else does.
    pairs = np.array([(one, other) for one, other in itertools.pairwise(names.tolist()) if one // 4 == other // 4], np.uint64)
    faces = np.full(len(pairs), 20)
    edges = Edges(pairs, (0.45 * 255 * faces).astype(np.int64) + 1, faces)
    nodes = Nodes(names, np.bincount(pieces.ravel())[names], np.zeros(len(names), np.int32), np.ones(len(names), bool))
    graph = supervoxels.Graph(slice(0, 4), [], [nodes], [edges], {}, {})
    supervoxels.save(tmp_path / "o.npz", graph)
    words = {"overlaps": [tmp_path / "o.npz"], "block": "all", "components": "c.parquet", "border": "b.npz", "min_segment": 0}
    assert run_stage("inference.agglomerate", tmp_path, **words, forest="forest.npz") == 0
    save(tmp_path / "t.npz", [warp.shift_transform(0, 0)] * 4)
    files = {"labels": truth, "truth": truth, "supervoxels": pieces}
    stores = {name: make_store(tmp_path / f"{name}.ome.zarr", values, label=True) for name, values in files.items()}
    outputs = {"output": "s.json", "evaluation": "e.json", "figure": "c.png", "truth_overlap": "o.parquet"}
    outputs["truth_skeletons"] = "k.parquet"
    given = {"overlaps": [tmp_path / "o.npz"], "forest": tmp_path / "forest.npz"}
    more = {"transforms": tmp_path / "t.npz", **given, **outputs}
    assert run_stage("postprocess.evaluate", tmp_path, **stores, **more) == 0
    told = json.loads((tmp_path / "e.json").read_text())
    rows = {row["threshold"]: row for row in told["thresholds"]}
    first, second = rows[0.2], rows[0.6]
    assert first["splits"] == first["merges"] == second["merges"] == told["default"]["splits"] == 0 < second["splits"]
    assert first["expected_run_length"] == round(told["default"]["expected_run_length_of_truth"], 1)
    assert 0 < second["expected_run_length"] <= first["expected_run_length"]
    assert first["threshold"] == 0.2 and first["voi"] == 0 and first["arand"] == pytest.approx(0, abs=1e-9)
    wanted = score_volumes(truth, pieces.astype(np.int64))
    assert second["voi_split"] == pytest.approx(wanted["voi_split"], abs=1e-4) and second["voi_merge"] == 0
    assert (tmp_path / "c.png").stat().st_size > 10_000
    shares, parts = rescore.read(tmp_path / "o.parquet")
    boxes = score_regions.boxes(truth.shape, (2, 2, 2))
    assert parts.keys() == boxes.keys() and shares.keys() == {0, 2}
    tables, least = (tmp_path / "o.parquet", names, names // 4, boxes), run_length.REACH  # as one neurite is one again
    scores, evaluation = rescore.rescored(*tables, tmp_path / "k.parquet", least)
    stated = json.loads((tmp_path / "s.json").read_text())
    assert scores.keys() == stated.keys() - {"run_length_unit"}
    assert all(stated[name] == pytest.approx(value) for name, value in scores.items())
    assert (evaluation["regions"], evaluation["segments"]) == (told["regions"], told["segments"])
    assert "segments" not in rescore.rescored(*tables)[1]
    apart, _ = rescore.rescored(*tables[:2], names, boxes, tmp_path / "k.parquet", least)
    assert apart["expected_run_length"] == pytest.approx(second["expected_run_length"], abs=0.1)


def test_a_prediction_without_a_new_name_is_refused():
    table = Contingency()
    table.add(np.ones((2, 2), int), np.array([[5, 6], [0, 6]]))
    assert table.renamed(np.array([5, 6]), np.array([9, 9])).pred.tolist() == [0, 9]
    with pytest.raises(DataError, match="prediction 6 has no new name"):
        table.renamed(np.array([5]), np.array([9]))


def test_faults_of_regions_count_where_they_lie(tmp_path: Path):
    """Neurites along x, one of them in two pieces in the first quarter of x: only there it is split, not where it is cut."""
    truth = np.repeat(np.arange(1, 9, dtype=np.uint32), 8)[None, :, None] * np.ones((4, 1, 64), np.uint32)
    found = truth.copy()
    found[:, :8, :16] = 100  # x 0..15 of the first; the rest of it, 16..63, is another piece
    scores = score(tmp_path, found, truth, [warp.shift_transform(0, 0)] * 4, score_regions="1,2,2")
    told = json.loads((tmp_path / "evaluation.json").read_text())
    regions = told["regions"]
    assert set(regions) == {f"z0_y{y}_x{x}" for y in (0, 1) for x in (0, 1)}
    assert {name: row["splits"] for name, row in regions.items() if row["splits"]} == {"z0_y0_x0": 1}
    assert regions["z0_y0_x0"]["split_rate"] == 0.25 and regions["z0_y0_x0"]["box"] == "0,0,0,4,32,32"
    assert regions["z0_y0_x0"]["voi_split"] == pytest.approx(0.25) and regions["z0_y1_x1"]["voi_split"] == 0
    whole = Contingency()
    whole.add(truth, found)
    assert scores["voi_split"] == pytest.approx(whole.result()["voi_split"])  # as if there were no parts
    assert sum(row["voxels"] for row in regions.values()) == truth.size
