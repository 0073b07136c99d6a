"""The report as a browser shows it: offline, with its plots drawn and its pictures loaded."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from voxelmill.testing.engine import Run

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
# What the page says of itself once its scripts have run.
PROBE = """<script>addEventListener('load', () => { document.title = JSON.stringify({
  bars: document.querySelectorAll('#costs .bars .point').length,
  broken: [...document.images].filter(i => !i.complete || !i.naturalWidth).length,
  images: document.images.length, wide: document.documentElement.scrollWidth <= innerWidth}) })</script>"""


@pytest.mark.xdist_group(name="connectome")
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH (Debian package chromium)")
def test_the_report_is_drawn(connectome: Run, tmp_path: Path):
    import json
    import re

    from voxelmill.testing.stages import run_stage

    # The session's run has no plots, to be quick: make the page again from its records, with them.
    shutil.copytree(connectome.outdir / "provenance", tmp_path / "records/1")
    assert (
        run_stage(
            "serving.report",
            tmp_path,
            records="records",
            figures=connectome.outdir / "figures",
            tables=connectome.outdir / "tables",
            title="test",
            output="report.html",
        )
        == 0
    )
    page = tmp_path / "probed.html"
    page.write_text((tmp_path / "report.html").read_text() + PROBE)
    done = subprocess.run(
        [
            str(CHROMIUM),
            *FLAGS,
            f"--user-data-dir={tmp_path / 'profile'}",
            "--window-size=1200,2000",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    title = re.search(r"<title>(\{.*?\})</title>", done.stdout)
    assert title, done.stdout[:500] + done.stderr[-500:]
    found = json.loads(title[1].replace("&quot;", '"'))
    drawn = len(list((connectome.outdir / "figures").glob("*.png")))
    assert found["bars"] >= 20 and found["broken"] == 0 and found["wide"]
    assert found["images"] == drawn >= 5, (found["images"], drawn)
