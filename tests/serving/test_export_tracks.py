"""Export tracks: every format holds the tracks; physical units where they are known."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
import zarr
from voxelmill.testing.stages import run_stage
from voxelmill.timelapse.store import open_channel


def test_ctc(stages: Path):
    tracked = open_channel(stages / "tracked", 0, "seg_tracked_ch_0").read()
    folder = stages / "tracks/ctc/fov_000"
    masks = np.stack([tifffile.imread(p) for p in sorted(folder.glob("mask*.tif"))])
    rows = np.loadtxt(folder / "res_track.txt", int, ndmin=2)
    assert np.array_equal(masks > 0, tracked > 0)
    for label, begin, end, _ in rows:
        frames = np.flatnonzero((masks == label).any((1, 2)))
        assert (frames[0], frames[-1], len(frames)) == (begin, end, end - begin + 1)


def test_other_formats(stages: Path):
    tracked = open_channel(stages / "tracked", 0, "seg_tracked_ch_0").read()
    regions = sum(len(np.unique(frame)) - 1 for frame in tracked)
    geff = zarr.open_group(str(stages / "tracks/fov_000.geff"), mode="r")
    assert geff["nodes/ids"].shape == (regions,)
    scales = [a.get("scale") for a in geff.attrs["geff"]["axes"]]
    assert scales == [7.5, 0.65, 0.65]
    assert len((stages / "tracks/fov_000_napari.csv").read_text().splitlines()) == regions + 1
    json.loads((stages / "tracks/fov_000_napari.json").read_text())
    model = ElementTree.parse(stages / "tracks/fov_000_trackmate.xml").getroot().find("Model")
    assert model is not None and model.attrib == {"spatialunits": "micrometer", "timeunits": "minute"}


@pytest.mark.parametrize(
    "formats, names", [("napari", {"fov_000_napari.csv", "fov_000_napari.json"}), ("ctc,geff", {"ctc", "fov_000.geff"})]
)
def test_only_the_formats_asked_for(tmp_path: Path, stages: Path, formats: str, names: set):
    assert (
        run_stage(
            "serving.export_tracks",
            tmp_path,
            labels=stages / "labels",
            tracked=stages / "tracked",
            facts=stages / "movie.json",
            batch="0-1",
            output="tracks",
            track_formats=formats,
        )
        == 0
    )
    assert {p.name for p in (tmp_path / "tracks").iterdir() if "001" not in p.name} == names
