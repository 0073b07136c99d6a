"""The report as a browser shows it: offline, with its plots drawn and its pictures loaded."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--virtual-time-budget=5000",
]


def probed(page: Path, probe: str) -> dict[str, Any]:
    """What a script that puts JSON into the title says of a page."""
    copy = page.with_name(f"probed_{page.name}")
    copy.write_text(page.read_text() + probe)
    profile = f"--user-data-dir={page.parent / 'profile'}"
    done = subprocess.run(
        [str(CHROMIUM), *FLAGS, profile, "--window-size=1200,2000", "--dump-dom", copy.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    title = re.search(r"<title>(\{.*?\})</title>", done.stdout)
    assert title, done.stdout[:500] + done.stderr[-500:]
    return json.loads(title[1].replace("&quot;", '"'))


SLICES_PROBE = """<script>addEventListener('load', () => { document.title = JSON.stringify({
  lines: document.querySelectorAll('#drift .scatterlayer .trace').length,
  marked: document.querySelectorAll('#drift .shapelayer path').length,
  wide: document.documentElement.scrollWidth <= innerWidth}) })</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH (Debian package chromium)")
def test_drift_of_slices_is_drawn(tmp_path: Path):
    from voxelmill.testing.report import slices_report

    found = probed(slices_report(tmp_path), SLICES_PROBE)
    # Two directions by the stage and two added, the turn, two figures of pairs; three slices marked in four plots.
    assert found == {"lines": 7, "marked": 12, "wide": True}
