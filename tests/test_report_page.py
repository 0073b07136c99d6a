"""The report as a browser shows it: offline, with its plots drawn and its pictures loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from voxelmill.testing.browser import CHROMIUM, Browser
from voxelmill.testing.report import slices_report


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH (Debian package chromium)")
def test_drift_of_slices_is_drawn(tmp_path: Path) -> None:
    with Browser(tmp_path / "profile", (1200, 2000)) as page:
        page.open(slices_report(tmp_path).as_uri())
        # Two directions by the stage and two added, the turn, two figures of pairs; three slices marked in four plots.
        page.until("document.querySelectorAll('#drift .scatterlayer .trace').length === 7")
        assert page.run("document.querySelectorAll('#drift .shapelayer path').length") == 12
        assert page.run("document.documentElement.scrollWidth <= innerWidth") and not page.faults
