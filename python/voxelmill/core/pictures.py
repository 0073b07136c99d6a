"""Figures to files: the same picture has the same bytes, and no figure stays open."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def save_png(figure: Any, path: Path, dpi: int = 150) -> None:
    """A matplotlib figure as PNG, whatever the file is called."""
    _written(figure, path, dpi)
    _closed(figure)


def save_both(figure: Any, stem: Path, dpi: int) -> None:
    """As PNG and PDF, laid out alike."""
    _written(figure, stem.with_suffix(".png"), dpi)
    figure.set_layout_engine("none")  # it has been laid out: a second time takes as long as drawing it
    figure.savefig(stem.with_suffix(".pdf"), dpi=dpi, metadata={"CreationDate": None, "Producer": None, "Creator": None})
    _closed(figure)


def _written(figure: Any, path: Path, dpi: int) -> None:
    figure.savefig(path, format="png", dpi=dpi, metadata={"Software": None})


def _closed(figure: Any) -> None:
    import matplotlib.pyplot as plt

    plt.close(figure)
