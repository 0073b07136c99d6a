"""CPU or GPU: `--use_gpu` uses a GPU where CuPy or ONNX Runtime finds one, else the CPU; the record says which."""

from __future__ import annotations

import functools
import sys
from typing import Any

from .errors import ParameterError

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


@functools.cache
def gpu_name() -> str | None:
    """Name of the first GPU that CuPy can work on; None without CuPy or GPU.

    What CuPy needs besides (NVRTC, cuBLAS, cuFFT) is loaded when first used: where it does not work, stderr says why."""
    try:
        import cupy
    except ImportError:
        return None
    try:
        name = str(cupy.cuda.runtime.getDeviceProperties(0)["name"].decode())
    except cupy.cuda.runtime.CUDARuntimeError:
        return None
    try:
        some = cupy.asarray([[1.0, 2.0], [3.0, 4.0]])
        float(abs(cupy.fft.rfft2(cupy.tensordot(some, some, 1))).sum())
    except Exception as error:  # each library has its own
        print(f"CuPy cannot work on {name}: {type(error).__name__}: {error}".splitlines()[0], file=sys.stderr)
        return None
    return name


def choose(use_gpu: bool) -> tuple[Any, str]:
    """(array module, device name): cupy and the GPU's name, or numpy and `cpu`."""
    if use_gpu and gpu_name():
        import cupy

        return cupy, str(gpu_name())
    import numpy

    return numpy, "cpu"


def on_host(values: Any, xp: Any) -> Any:
    """An array of the module `xp` as one of NumPy's."""
    return xp.asnumpy(values) if hasattr(xp, "asnumpy") else values


def providers(use_gpu: bool) -> list[str]:
    """Execution providers that ONNX Runtime is to try, in order: CUDA where it has it and `use_gpu`, then the CPU.

    Raises ParameterError where ONNX Runtime is not installed."""
    try:
        import onnxruntime
    except ImportError:
        raise ParameterError(
            "this model needs ONNX Runtime: pip install onnxruntime (onnxruntime-gpu for an NVIDIA GPU)"
        ) from None
    return [CUDA, CPU] if use_gpu and CUDA in onnxruntime.get_available_providers() else [CPU]
