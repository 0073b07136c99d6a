"""Errors a user can act on, and the exit codes that tell Nextflow what to do.

| code | meaning            | Nextflow                          |
|------|--------------------|-----------------------------------|
| 64   | bad parameter      | stops at once                     |
| 65   | bad data           | stops at once                     |
| 70   | a bug              | stops at once (with a traceback)  |
| 74   | cannot read, write | stops at once (disk full, no file)|
| 75   | passing fault      | retried (server busy)             |
| 137  | out of memory      | retried with more memory          |

1 is none of ours: the shell, or a Python that could not even start the stage.
"""

import errno
import re

BAD_PARAMETER, BAD_DATA, BUG, IO_FAILED, TRY_AGAIN, OUT_OF_MEMORY = 64, 65, 70, 74, 75, 137
# How libraries say it that have no MemoryError: OpenCV, DuckDB, ITK, ONNX Runtime, PyTorch, HDF5, CUDA.
NO_MEMORY = re.compile(
    r"insufficient memory|out of ?memory|bad_?alloc|(failed|unable|not able) to allocate|(cannot|can't) allocate memory"
    r"|memory allocation failed|RESOURCE_EXHAUSTED|ALLOC_FAILED|can't start new thread",
    re.I,
)


class VoxelmillError(Exception):
    """Something a user can mend; the message is one line that says what and how."""

    exit_code = BUG


class ParameterError(VoxelmillError, ValueError):
    """A parameter that is unknown, malformed or out of bounds."""

    exit_code = BAD_PARAMETER


class DataError(VoxelmillError, ValueError):
    """Input that is damaged, of the wrong kind, or does not hold what was asked for."""

    exit_code = BAD_DATA


class StorageError(VoxelmillError, OSError):
    """A file that cannot be read or written, or a full disk."""

    exit_code = IO_FAILED


class TransientError(VoxelmillError, OSError):
    """A fault that may pass, such as a server that answers 503."""

    exit_code = TRY_AGAIN


def out_of_memory(error: BaseException | None) -> bool:
    """Whether memory ran out, in whatever words; also where that was taken for something else, such as damaged data."""
    while error is not None:
        if isinstance(error, TransientError) or (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)):
            return False  # a full disk and a busy server are RESOURCE_EXHAUSTED to TensorStore, too
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            return True
        if not isinstance(error, VoxelmillError) and NO_MEMORY.search(f"{type(error).__name__} {error}"):
            return True
        error = error.__cause__ or error.__context__
    return False
