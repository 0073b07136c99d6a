"""Estimate: what a run takes is told before it is made, and refused where it cannot fit."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from voxelmill.core.volume import layout
from voxelmill.ingest.estimate import Parameters, estimate
from voxelmill.testing.stages import record_of, run_stage

Usage = namedtuple("Usage", "total used free")


def test_what_is_kept_counts():
    lay = layout((10, 100, 100), "uint16", (10, 100, 100), (10, 100, 100))
    whole = estimate(lay, Parameters())
    assert whole["raw"] == 2e5 and whole["labels"] == 4e5 and whole["pyramids"] > 0
    small = estimate(lay, Parameters(save_minimal=True, aligned_dtype="float16"))
    assert small["pyramids"] == 0 and small["aligned"] < whole["aligned"]


def test_a_disk_that_is_too_small_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture):
    np.save(tmp_path / "raw.npy", np.arange(4 * 32 * 32, dtype=np.uint16).reshape(4, 32, 32))
    given = {"input": str(tmp_path / "raw.npy"), "cutout": "16,16,4", "sizes": "sizes.txt"}
    assert run_stage("ingest.estimate", tmp_path, **given) == 0
    said = (tmp_path / "sizes.txt").read_text()
    assert (
        said.startswith("Disk: up to 0.000 GB, uncompressed (raw 0.000, preprocessed 0.000, aligned 0.000, ")
        and "free here" in said
    )
    assert record_of(tmp_path, "estimate")["quality"]["most_gb_on_disk"] >= 0
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1000, 1000, 1000))
    assert run_stage("ingest.estimate", tmp_path, **given) == 74
    assert "take a smaller --cutout, or put -work-dir elsewhere" in capfd.readouterr().err
