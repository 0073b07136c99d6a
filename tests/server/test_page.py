"""The page and the viewer in a real browser, by clicks and by pixels; nothing but this machine is reached."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from voxelmill.catalog.store import Store
from voxelmill.testing import browser

pytest.importorskip("fastapi")
from fastapi.testclient import TestClient
from voxelmill.server import pages, view
from voxelmill.server.app import create

needs_browser = pytest.mark.skipif(browser.CHROMIUM is None, reason="no Chromium on PATH (Debian package chromium)")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Browser]:
    with browser.Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@needs_browser
def test_search_partner_edit_undo(page: browser.Browser, address: str) -> None:
    """From the first page to an edit and back, by clicks."""
    page.open(address)
    page.until("document.querySelectorAll('#neurites a').length == 20")
    page.click("#neurites button", "More")
    page.until("document.querySelectorAll('#neurites a').length == 32")
    page.type("#asked", "5")
    page.click("#search button")
    page.until("document.querySelector('h1').textContent == 'Neurite 5'")
    page.click("#partners_out a", "6")
    page.until("document.querySelector('h1').textContent == 'Neurite 6'")
    page.click("#provenance summary")
    page.until("document.querySelector('#provenance').textContent.includes('ingest')")
    page.until("document.querySelector('#state').textContent.includes('8 supervoxels')")
    page.type("#reason", "one neurite in two")
    page.type("#other", "7")
    page.click("#merge")
    page.until("document.querySelector('#said').textContent.includes('edits need a token')")
    page.type("#token", "ann")
    page.click("#merge")
    page.until("document.querySelector('#said').textContent == 'Merged into neurite 6: version 1'")
    page.until("document.querySelector('#state').textContent.includes('16 supervoxels')")
    own = page.run("document.querySelector('#state code').textContent").split()
    page.type("#keep", own[1])
    page.type("#take", own[8])  # a corner: no cut is smaller
    page.click("#preview")
    page.until("document.querySelector('#said').textContent.includes('The smallest cut takes 1 supervoxels off 6')")
    page.click("#split")
    page.until("document.querySelector('#state').textContent.includes('15 supervoxels')")
    page.click("#history button", "Undo")
    page.until("document.querySelector('#state').textContent.includes('16 supervoxels')")
    page.until("document.querySelector('#history td:nth-child(2)').textContent == 'undo of 2'")
    page.click("#history tr:nth-child(3) button", "Undo")
    page.until("document.querySelector('#state').textContent.includes('8 supervoxels')")
    refused = [fault for fault in page.faults if "401" in fault]
    assert refused and page.faults == refused  # what was sent without a token, and no other fault


@needs_browser
@pytest.mark.parametrize(
    "path, word",
    [("/dashboard", "days since release"), ("/dashboard", "cost / Gvoxel"), ("/docs", "GET /api/releases/{tag}/paths")],
)
def test_other_pages(page: browser.Browser, address: str, path: str, word: str) -> None:
    page.faults.clear()
    page.open(address + path)
    page.until(f"document.body.innerText.includes({json.dumps(word)})")
    page.until("document.documentElement.scrollWidth <= innerWidth")
    assert page.faults == []


def viewed(page: browser.Browser, link: str, layers: int) -> None:
    """Open the viewer. On a machine that has much else to do it may lose a layer as it starts, with an error of its own
    ("Cannot read properties of undefined"): opened again it has it."""
    ready = f"typeof viewer !== 'undefined' && viewer.layerManager.managedLayers.length == {layers} && viewer.isReady()"
    for _ in range(3):
        page.open("about:blank")
        page.open(link)
        if (
            page.until(f"({ready}) ? 'ready' : document.body.innerText.includes('Cannot read properties') && 'again'")
            == "ready"
        ):
            return
    page.until(ready)


@needs_browser
@pytest.mark.skipif(view.client() is None, reason="no neuroglancer (pip install 'voxelmill[serve]')")
def test_layers_by_pixels(page: browser.Browser, address: str, tmp_path: Path) -> None:
    """Each layer alone puts something on the screen that is not there without it."""
    from PIL import Image

    def shown(name: str) -> np.ndarray:
        page.run(f"viewer.layerManager.managedLayers.forEach(l => l.setVisible(l.name === '{name}'))")
        page.until("viewer.isReady()")
        time.sleep(0.5)  # a frame or two
        data = page.picture(tmp_path / f"{name}.png").read_bytes()
        return np.asarray(Image.open(BytesIO(data)).convert("RGB"), np.int16)[60:]

    page.open(f"{address}/#/r1/5")
    page.until("!!document.querySelector('#shown')")
    viewed(page, page.run("document.querySelector('#shown').href"), 5)
    empty = shown("none")
    layers = {"raw": 0.05, "supervoxels": 0.005, "meshes": 0.005, "skeletons": 0.0005, "synapses": 0.0005}
    for name, least in layers.items():
        changed = (np.abs(shown(name) - empty).max(axis=2) > 40).mean()
        assert changed > least, f"{name}: {changed:.5f} of the picture"
    assert "Disconnected" not in page.run("document.body.innerText")


@needs_browser
@pytest.mark.skipif(view.client() is None, reason="no neuroglancer (pip install 'voxelmill[serve]')")
def test_a_volume_of_slices_in_the_viewer(page: browser.Browser, address: str, tmp_path: Path) -> None:
    """Of a release that is not one of neurites: its page has the link, and the volume fills much of each section."""
    from PIL import Image

    page.open(f"{address}/#/v1")
    page.until("document.querySelector('#view').hidden === false && document.querySelector('#view').href.includes('v1')")
    page.until("document.querySelector('h1')?.textContent == 'Release v1'")
    assert "eurite" not in page.run("main.innerText")
    viewed(page, page.run("document.querySelector('#view').href"), 1)

    def shown(visible: str) -> np.ndarray:
        page.run(f"viewer.layerManager.managedLayers[0].setVisible({visible})")
        page.until("viewer.isReady()")
        time.sleep(0.5)
        data = page.picture(tmp_path / f"{visible}.png").read_bytes()
        return np.asarray(Image.open(BytesIO(data)).convert("RGB"), np.int16)[60:]

    empty = shown("false")
    assert (np.abs(shown("true") - empty).max(axis=2) > 40).mean() > 0.05


@needs_browser
def test_cells_on_the_page(page: browser.Browser, address: str) -> None:
    page.open(f"{address}/#/m1")
    page.until("document.querySelector('h1')?.textContent == 'Release m1'")
    assert "eurite" not in page.run("main.innerText")
    page.click("#main details summary", "fov_000")
    page.until("[...document.querySelectorAll('#main details a')].some(a => a.href.endsWith('/fov_000/cells/3/traces'))")


def test_the_page_loads_nothing_from_elsewhere(served: Store) -> None:
    with TestClient(create(served.root), base_url="http://127.0.0.1") as client:
        found = client.get("/")
        said = found.headers["content-security-policy"]
        assert "default-src 'self'" in said and "unsafe" not in said and len(found.content) < 40_000
        assert not re.search(r"(src|href)=.?https?:|url\(|@import", found.text)
        assert pages.policy("<script>a</script>") != pages.policy("<script>b</script>")


def test_view(served: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """One link has image, segmentation, synapses; without the wheel it is that of the public viewer."""
    with TestClient(create(served.root), base_url="http://127.0.0.1") as client:
        state = client.get("/api/releases/r1/view?neurite=5").json()["state"]
        kinds = {layer["name"]: layer["type"] for layer in state["layers"]}
        shapes = dict.fromkeys(("supervoxels", "meshes", "skeletons"), "segmentation")
        assert kinds == {"raw": "image", **shapes, "synapses": "annotation"}
        image, segments, meshes, skeletons, synapses = state["layers"]
        assert meshes["segments"] == skeletons["segments"] == ["5"]
        assert image["source"] == "zarr://http://127.0.0.1/data/r1/volumes/raw.ome.zarr" and len(segments["segments"]) == 8
        # Neurite 5 is the row y = 16..19 of the first layer: synapses at its edges, between 15 and 16, between 19 and 20.
        assert {p["point"][1] for p in synapses["annotations"]} == {15.5, 19.5} and len(synapses["annotations"]) == 8
        assert client.get("/api/releases/r1/view?neurite=99").status_code == 404
        monkeypatch.setattr(view, "client", lambda: None)
        assert client.get("/api/releases/r1/view").json()["link"].startswith("https://neuroglancer-demo.appspot.com/#!")


def test_what_the_viewer_posts(served: Store) -> None:
    """Taken from its own page whatever its type, and from no other; the rest must be JSON."""
    with TestClient(create(served.root), base_url="http://127.0.0.1") as client:
        for path, headers, code in (
            ("/state/view", {}, 200),
            ("/action/view", {"Origin": "http://127.0.0.1"}, 200),
            ("/state/view", {"Origin": "https://evil.org"}, 403),
            ("/api/releases/r1/segments", {}, 415),
        ):
            assert client.post(path, content="{}", headers={"Content-Type": "text/plain", **headers}).status_code == code


def test_costs(served: Store) -> None:
    with TestClient(create(served.root), base_url="http://127.0.0.1") as client:
        found = client.get("/api/releases/r1/costs").json()
    assert found["tasks"] == 12 and found["core_hours"] == pytest.approx(12 * 0.4 / 3600)
    assert found["core_hours_per_gvoxel"] == pytest.approx(12 * 0.4 / 3600 / (16 * 32 * 32 / 1e9))
    assert (found["stages"][0]["stage"], found["stages"][0]["tasks"]) == ("segment", 4)
