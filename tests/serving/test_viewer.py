"""Viewer states: layers lie over each other as Neuroglancer lays them; the server gives what it asks for."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voxelmill import cli
from voxelmill.core import ngff
from voxelmill.core.errors import DataError
from voxelmill.core.metadata import attributes
from voxelmill.core.runs import closing_lines
from voxelmill.core.space import MM, Axis, Space
from voxelmill.core.volume import create_image, layout
from voxelmill.serving import viewer
from voxelmill.testing.stages import make_store, run_stage

SIZE, ORIGIN = (30.0, 8.0, 8.0), (90.0, 160.0, 328.0)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two published volumes, one with labels, whose voxel 0 is (41, 20, 3) of the source."""
    values = np.ones((4, 130, 150), np.uint8)
    raw = make_store(tmp_path / "r.ome.zarr", values, SIZE, origin=ORIGIN)
    ids = make_store(tmp_path / "l.ome.zarr", values.astype(np.uint32), SIZE, origin=ORIGIN, label=True)
    folder = tmp_path / "it's ü/volumes"
    assert run_stage("serving.multiscale", folder, volume=raw, output="raw.ome.zarr") == 0
    assert run_stage("serving.multiscale", folder, volume=raw, labels=ids, output="aligned.ome.zarr") == 0
    return folder.parent


def corner(source: Any, results: Path, voxel_offset: tuple[int, ...] = (41, 20, 3)) -> np.ndarray:
    """Where Neuroglancer puts the lower corner of voxel 0 of an array, x, y, z in nm.

    OME-Zarr: half a voxel before its translation. Precomputed: at voxel_offset, and then where the state moves it."""
    if isinstance(source, str):
        assert source.startswith(f"zarr://{viewer.HERE}/")
        path = results / urllib.parse.unquote(source.removeprefix(f"zarr://{viewer.HERE}/"))
        found = ngff.multiscales(attributes(path))
        assert found and found.scales and found.translations
        return (np.array(found.translations[0]) - np.array(found.scales[0]) / 2)[::-1]
    step = np.array([1e9 * source["transform"]["outputDimensions"][a][0] for a in "xyz"])
    moved = np.array(source["transform"]["matrix"]) @ [*voxel_offset, 1]
    return moved * step


def test_labels_volume_and_source_lie_over_each_other(results: Path):
    state = viewer.of_results(results, source=["precomputed://gs://bucket/em"])
    layers = {layer["name"]: layer for layer in state["layers"]}
    assert {n: layer["type"] for n, layer in layers.items()} == {
        "aligned": "image", "neurites": "segmentation", "raw": "image", "source": "image"
    }  # fmt: skip
    for layer in layers.values():
        np.testing.assert_allclose(corner(layer["source"], results), [324, 156, 75])
    assert state["dimensions"] == {
        "x": [pytest.approx(8e-9), "m"],
        "y": [pytest.approx(8e-9), "m"],
        "z": [pytest.approx(3e-8), "m"],
    }
    assert state["position"] == [41 + 149 / 2, 20 + 129 / 2, 3 + 3 / 2]


def test_neurites_have_their_meshes_and_skeletons(results: Path):
    for name in ("meshes", "skeletons/precomputed"):
        (results / name).mkdir(parents=True)
        (results / name / "info").write_text("{}")
    state = viewer.of_results(results)
    sources = {layer["name"]: layer["source"] for layer in state["layers"]}
    assert sources["neurites"][1:] == [f"precomputed://{viewer.HERE}/{n}" for n in ("meshes", "skeletons/precomputed")]
    assert isinstance(sources["raw"], str)


def test_a_volume_of_serial_sections_is_shown(tmp_path: Path):
    """As `reconstruct` publishes it, in mm; what became of it later is there to be switched on."""
    space = Space.of([Axis(name, "space", MM) for name in "zyx"], (0.01,) * 3, (0.1, 0.2, 0.3))
    for name in ("stack/sub-01", "correct_bias_field/sub-01_corrected", "align_to_ras/sub-01_ras"):
        create_image(tmp_path / f"{name}.ome.zarr", layout((4, 8, 8), "float32", (4, 8, 8), (4, 8, 8)), space)
    state = viewer.of_results(tmp_path)
    assert [layer["name"] for layer in state["layers"]] == ["sub-01", "sub-01_corrected", "sub-01_ras"]
    assert [layer.get("visible", True) for layer in state["layers"]] == [True, False, False]
    assert state["layers"][0]["source"] == f"zarr://{viewer.HERE}/stack/sub-01.ome.zarr"
    assert state["dimensions"]["z"] == [pytest.approx(1e-5), "m"]
    assert any(line.split()[:3] == ["viewer", "voxelmill", "view"] for line in closing_lines(tmp_path, []))


def test_without_a_voxel_size_there_is_no_metre(results: Path):
    unknown = viewer.Layer("a", "zarr://x", Space.zyx(None))
    assert viewer.state([unknown], (4, 8, 8))["dimensions"]["x"] == [1.0, ""]
    with pytest.raises(DataError, match="voxel size known"):
        viewer.state([unknown, viewer.Layer("b", "zarr://y", Space.zyx(SIZE))], (4, 8, 8))


def test_the_closing_lines_say_how_to_look(results: Path):
    assert any(line.split()[:3] == ["viewer", "voxelmill", "view"] for line in closing_lines(results, []))


def test_the_command_prints_the_state(results: Path, capsys):
    assert cli.main(["view", str(results), "--state"]) == 0
    state = json.loads(capsys.readouterr().out)
    assert json.loads(urllib.parse.unquote(viewer.link(state).split("#!")[1])) == state
    (results / "empty").mkdir()
    assert cli.main(["view", str(results / "empty"), "--state"]) == 74


def test_the_server_gives_whole_files_and_ranges(results: Path):
    served = viewer.server(results, 0)
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    base = f"http://127.0.0.1:{served.server_port}/volumes/aligned.ome.zarr"
    whole = (results / "volumes/aligned.ome.zarr/0/c/0/0/0").read_bytes()

    def get(path: str, part: str = "") -> tuple[int, bytes, Any]:
        asked = urllib.request.Request(f"{base}/{path}", headers={"Range": part} if part else {})
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return answer.status, answer.read(), answer.headers

    try:
        status, body, headers = get("0/c/0/0/0")
        assert (status, body) == (200, whole) and headers["Access-Control-Allow-Origin"] == viewer.NEUROGLANCER
        assert get("0/c/0/0/0", "bytes=3-9")[:2] == (206, whole[3:10])
        assert get("0/c/0/0/0", "bytes=5-")[:2] == (206, whole[5:])
        assert get("0/c/0/0/0", "bytes=-20")[:2] == (206, whole[-20:])
        with pytest.raises(urllib.error.HTTPError, match="416"):
            get("0/c/0/0/0", f"bytes={len(whole)}-")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get("../../../r.ome.zarr/zarr.json")
    finally:
        served.shutdown()
        served.server_close()
        thread.join()
