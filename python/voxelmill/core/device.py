"""CPU or GPU: `--use_gpu` uses CuPy where a GPU is found, else numpy; the record says which."""

from __future__ import annotations

import functools
from typing import Any


@functools.cache
def gpu_name() -> str | None:
    """Name of the first GPU that CuPy can use; None without CuPy or GPU."""
    try:
        import cupy
    except ImportError:
        return None
    try:
        return cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    except cupy.cuda.runtime.CUDARuntimeError:
        return None


def choose(use_gpu: bool) -> tuple[Any, str]:
    """(array module, device name): cupy and the GPU's name, or numpy and `cpu`."""
    if use_gpu and gpu_name():
        import cupy

        return cupy, str(gpu_name())
    import numpy

    return numpy, "cpu"
