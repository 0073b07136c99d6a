"""Libraries that everyone reaches for first, beside those that the package uses in their place: CPU seconds of one call.

    python benchmarks/libraries.py

The figures stand in the comments of pyproject.toml, and so in docs/dependencies.md. Start-up is that of a fresh Python.
"""

from __future__ import annotations

import subprocess
import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from typing import Any

import numpy as np

IMPORTS = (("zarr", "tensorstore"), ("ome_zarr.io", "tensorstore"), ("pandas", "pyarrow.parquet"), ("networkx", "numpy"))


def start_up(module: str) -> float:
    """CPU seconds that a fresh Python takes to import it; infinity where it is not installed."""
    code = f"import resource, {module}; r = resource.getrusage(resource.RUSAGE_SELF); print(r.ru_utime + r.ru_stime)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return float(done.stdout) if done.returncode == 0 else float("inf")


def cpu(call: Callable[[], Any]) -> float:
    """Least CPU seconds of three calls; the first one, which may import, is not counted."""
    call()
    taken = []
    for _ in range(3):
        begun = time.process_time()
        call()
        taken.append(time.process_time() - begun)
    return min(taken)


def cases() -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    """What is done -> (the usual call, ours)."""
    import cc3d
    import cv2
    import networkx as nx
    from scipy import ndimage as ndi
    from skimage import exposure, measure, segmentation
    from voxelmill.core.graphs import components

    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 256, (1024, 1024)).astype(np.float32), (0, 0), 3)
    gray = cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    mask = gray > 128
    labels = np.kron(rng.integers(0, 30, (64, 64)), np.ones((32, 32), int)).astype(np.int32)
    markers = np.zeros((1024, 1024), np.int32)
    markers[16::32, 16::32] = np.arange(1, 1025).reshape(32, 32)
    colour = cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR)
    edges = rng.integers(0, 100_000, (2, 300_000))
    pairs = edges.T.tolist()
    clahe = cv2.createCLAHE(2.0, (16, 16))
    return {
        "Gaussian, sigma 2, 1024 x 1024 (SciPy, OpenCV)": (
            lambda: ndi.gaussian_filter(image, 2),
            lambda: cv2.GaussianBlur(image, (0, 0), 2),
        ),
        "distance transform (SciPy, OpenCV)": (
            lambda: ndi.distance_transform_edt(mask),
            lambda: cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE),
        ),
        "CLAHE (scikit-image, OpenCV)": (lambda: exposure.equalize_adapthist(gray), lambda: clahe.apply(gray)),
        "seeded watershed (scikit-image, OpenCV)": (
            lambda: segmentation.watershed(gray, markers),
            lambda: cv2.watershed(colour, markers.copy()),
        ),
        "pieces of 30 labels, 2048 x 2048 (scikit-image, cc3d)": (
            lambda: measure.label(labels, background=0, connectivity=2),
            lambda: cc3d.connected_components(labels, connectivity=8),
        ),
        "components of 100,000 nodes, 300,000 edges (networkx, SciPy)": (
            lambda: list(nx.connected_components(nx.Graph(pairs))),
            lambda: components(100_000, *edges),
        ),
    }


def main() -> None:
    ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter).parse_args()
    import cv2

    cv2.setNumThreads(1)
    for theirs, ours in IMPORTS:
        print(f"import {theirs:22s} {start_up(theirs):6.2f} s   {ours:16s} {start_up(ours):6.2f} s")
    for what, (theirs_call, ours_call) in cases().items():
        a, b = cpu(theirs_call), cpu(ours_call)
        print(f"{what:60s} {1e3 * a:8.1f} ms {1e3 * b:8.1f} ms   {a / b:5.1f} x")


if __name__ == "__main__":
    main()
