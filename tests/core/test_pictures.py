"""Figures are written in one place, which closes them."""

from __future__ import annotations

from pathlib import Path

import voxelmill
from voxelmill.core import pictures


def test_no_figure_stays_open_and_the_same_picture_has_the_same_bytes(tmp_path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    before = plt.get_fignums()  # of other tests
    for name in ("a", "b"):
        figure, ax = plt.subplots()
        ax.plot([1, 2])
        pictures.save_both(figure, tmp_path / name, 50)
        figure, _ = plt.subplots()
        pictures.save_png(figure, tmp_path / f"{name}.partial", 50)
    assert plt.get_fignums() == before
    for suffix in ("png", "pdf", "partial"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_no_other_module_writes_figures() -> None:
    package = Path(voxelmill.__file__).parent
    writers = {path.relative_to(package).as_posix() for path in package.rglob("*.py") if ".savefig(" in path.read_text()}
    assert writers == {"core/pictures.py"}
