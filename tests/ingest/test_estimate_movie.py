"""Estimate movie: every product counts, what is switched off does not, and a small disk ends the run."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from voxelmill.ingest.estimate_movie import Parameters, estimate
from voxelmill.testing.stages import run_stage
from voxelmill.timelapse.store import Facts, View

Usage = namedtuple("Usage", "total used free")


def test_what_is_made_counts() -> None:
    views = [View("a", 10, 20, 5, 1, [0.0] * 5), View("b", 10, 20, 3, 1, [0.0] * 3)]
    known = Facts("x", views, [0], 0, [1, 2], {"dtype": "uint16"})
    assert estimate(Parameters(), known) == {
        "images": 6000.0,  # three channels of 1,000 pixels
        "cells": 2000.0,
        "tracks": 2000.0,
        "background": 8000.0,
        "crops": 8000.0,
        "views": 750.0,
    }
    less = estimate(Parameters(copy_only=True), known)
    assert {name for name, size in less.items() if size} == {"images"}
    assert estimate(Parameters(crops=False), known)["crops"] == 0


def test_a_small_disk_ends_the_run(
    stages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    given = {"facts": stages / "movie.json", "sizes": "sizes.txt"}
    assert run_stage("ingest.estimate_movie", tmp_path, **given) == 0
    assert "Disk: up to 0.0" in (tmp_path / "sizes.txt").read_text()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1000, 1000, 1000))
    assert run_stage("ingest.estimate_movie", tmp_path, **given) == 74
    assert "choose fewer --fovs, or put -work-dir elsewhere" in capfd.readouterr().err
