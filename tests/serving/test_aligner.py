"""`voxelmill align` in a real browser: keys move what is seen, what is saved is what was seen; others are turned away."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from scipy import ndimage
from voxelmill.core.errors import DataError
from voxelmill.serving import aligner
from voxelmill.testing.slices import pair
from voxelmill.transform.pairs import read_itk
from voxelmill.transform.warp import apply, invert, rigid_matrix

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync --disable-background-networking"
SHAPE = (120, 160)
TURNED = (5.0, -3.0, 4.0)  # px, px, deg
# What a person does, in an iframe: look, press keys, look again, save. Colour is what does not lie on its like.
HARNESS = """<!doctype html><title>waiting</title><iframe id=f src=/ width=1100 height=800></iframe><script>
const wait = ms => new Promise(done => setTimeout(done, ms))
const until = async test => { for (let n = 0; n < 200 && !test(); n++) await wait(50) }
addEventListener('load', async () => {
  const page = f.contentWindow, $ = id => page.document.getElementById(id)
  const colour = () => {
    const c = $('canvas'), d = c.getContext('2d').getImageData(20, 20, c.width - 40, c.height - 40).data
    let sum = 0
    for (let i = 0; i < d.length; i += 4) sum += Math.abs(d[i] - d[i + 1])
    return sum / (d.length / 4)
  }
  const press = (code, more) => page.dispatchEvent(new page.KeyboardEvent('keydown', {code, ...more}))
  await until(() => $('state') && $('state').textContent)
  const before = colour()
  STEPS
  await wait(300)
  const after = colour()
  $('save').click()
  await until(() => $('said').textContent)
  document.title = JSON.stringify({before, after, state: $('state').textContent, said: $('said').textContent,
    why: $('why').textContent, doubtful: [...$('list').children].map(b => b.className.includes('doubtful')),
    listed: [...$('list').children].map(b => b.textContent + (b.className.includes('saved') ? ' saved' : ''))})
})</script>"""


class Pressed(aligner.Aligner):
    """With a page that presses keys."""

    steps = ""

    def do_GET(self) -> None:
        if self.path == "/harness":
            return self.answer(200, HARNESS.replace("STEPS", self.steps).encode(), "text/html")
        super().do_GET()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pairs; in the first, moving shows what fixed shows 6 px further down and 4 px further left, and nobody knows; the
    second is turned, and it is known how."""
    scene = ndimage.gaussian_filter(np.random.default_rng(1).random((160, 200)), 2)
    scene = ((scene - scene.min()) / np.ptp(scene)).astype(np.float32)
    window = np.s_[20 : 20 + SHAPE[0], 20 : 20 + SHAPE[1]]
    back = invert(rigid_matrix(*TURNED, [(n - 1) / 2 + 20 for n in SHAPE]))
    turned = ndimage.affine_transform(scene, back[:, :2], back[:, 2], order=1)
    write(tmp_path, 0, 1, (0, 0, 0), scene[window], np.roll(scene, (6, -4), (0, 1))[window])
    write(tmp_path, 1, 3, TURNED, scene[window], turned[window])
    return tmp_path


def write(folder: Path, a: int, b: int, at: tuple[float, float, float], fixed: np.ndarray, moving: np.ndarray) -> None:
    """A pair whose transform is said to be `at`: px, px, deg."""
    place = folder / f"z{a:02d}-z{b:02d}"
    place.mkdir()
    for side, plane in (("fixed", fixed), ("moving", moving)):
        matplotlib.image.imsave(place / f"{side}.png", plane, vmin=0, vmax=1, cmap="gray")
    facts = {"level": 0, "shape": SHAPE, **pair(a, b).model_dump(), **dict(zip(("shift1", "shift2", "turn"), at))}
    (place / "pair.json").write_text(json.dumps(facts))


@pytest.fixture
def served(folder: Path) -> Iterator[str]:
    with aligner.server(folder, 0, Pressed) as made:
        threading.Thread(target=partial(made.serve_forever, 0.05), daemon=True).start()
        yield f"http://127.0.0.1:{made.server_address[1]}"
        made.shutdown()


def press(served: str, folder: Path, steps: str) -> dict[str, Any]:
    Pressed.steps = steps
    words = [str(CHROMIUM), *FLAGS.split(), "--virtual-time-budget=20000", f"--user-data-dir={folder / 'profile'}"]
    done = subprocess.run([*words, "--dump-dom", f"{served}/harness"], capture_output=True, text=True, timeout=120)
    title = re.search(r"<title>(\{.*?\})</title>", done.stdout)
    assert title, done.stdout[:800] + done.stderr[-500:]
    return json.loads(title[1].replace("&quot;", '"'))


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH (Debian package chromium)")
def test_a_pair_is_nudged_and_saved(served: str, folder: Path) -> None:
    """p lies at p + (6, -4): six presses up, four to the right."""
    found = press(
        served, folder, "for (let n = 0; n < 6; n++) press('ArrowUp'); for (let n = 0; n < 4; n++) press('ArrowRight')"
    )
    assert found["after"] < 0.2 * found["before"], found  # grey but for the rims
    assert found["listed"] == ["z00-z01 saved", "z01-z03"] and "saved" in found["said"]
    matrix = read_itk(folder / "z00-z01/manual.tfm")
    assert np.allclose(apply(matrix, np.array([[30.0, 50.0]])), [[36, 46]])
    assert not (folder / "z01-z03/manual.tfm").exists()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH (Debian package chromium)")
def test_pairs_that_are_not_believed_are_marked_until_they_are_saved(served: str, folder: Path) -> None:
    for name in ("z00-z01", "z01-z03"):
        path = folder / name / "pair.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "status": "error", "why": "nothing was found"}))
    found = press(served, folder, "")
    assert found["doubtful"] == [False, True] and found["why"] == "Registration: nothing was found"


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH (Debian package chromium)")
def test_a_transform_is_drawn_as_it_is(served: str, folder: Path) -> None:
    """The next pair, turned and shifted as its package says, is grey from the start; saved, it is the same transform."""
    found = press(served, folder, "press('KeyN')")
    assert found["after"] < 0.2 * found["before"] and found["state"].startswith("z01-z03")
    middle = [(n - 1) / 2 for n in SHAPE]
    assert np.allclose(read_itk(folder / "z01-z03/manual.tfm"), rigid_matrix(*TURNED, middle))


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH (Debian package chromium)")
def test_what_is_seen_turns_and_moves_in_its_own_frame(served: str, folder: Path) -> None:
    """A turn by +2 deg clockwise on the screen, then 10 px to the right: whatever the turn, the middle goes to the right."""
    found = press(served, folder, "press('BracketRight', {shiftKey: true}); press('BracketRight', {shiftKey: true});"
                  "press('ArrowRight', {shiftKey: true})")  # fmt: skip
    assert "turn 2.00 deg" in found["state"]
    matrix = read_itk(folder / "z00-z01/manual.tfm")
    middle = np.array([(SHAPE[0] - 1) / 2, (SHAPE[1] - 1) / 2])
    right = np.array([0.0, 10.0])
    assert np.allclose(apply(matrix, middle + right), middle)  # what was in the middle is seen 10 px to the right
    # What lay 30 px right of the middle has gone down on the screen (dim 1 grows downwards): clockwise.
    t = np.radians(2)
    seen = middle + right + 30 * np.array([np.sin(t), np.cos(t)])
    assert np.allclose(apply(matrix, seen), middle + 3 * right)


def ask(url: str, data: bytes | None = None, **headers: str) -> int:
    try:
        return urllib.request.urlopen(urllib.request.Request(url, data, headers)).status
    except urllib.error.HTTPError as error:
        return error.code


def test_only_this_machine_and_these_files(served: str, folder: Path) -> None:
    (folder / "secret.png").write_bytes(b"no")
    good = json.dumps({"name": "z00-z01", "shift1": 1, "shift2": 2, "turn": 0}).encode()
    assert ask(f"{served}/pairs") == 200 and ask(f"{served}/pairs/z00-z01/fixed.png") == 200
    assert ask(f"{served}/pairs/../secret.png") == ask(f"{served}/pairs/z00-z01/pair.json") == 404
    assert ask(f"{served}/save", good, Origin="http://elsewhere.org") == ask(f"{served}/pairs", Host="elsewhere.org") == 403
    assert not list(folder.glob("*/manual.tfm"))
    for bad in (b"{", b"{}", good.replace(b"z00-z01", b"../z00"), good.replace(b'"turn": 0', b'"turn": 1e99')):
        assert ask(f"{served}/save", bad) == 400
    assert not list(folder.glob("*/manual.tfm"))
    assert ask(f"{served}/save", good, Origin=served) == 200


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="export_manual_align"):
        aligner.server(tmp_path, 0)
