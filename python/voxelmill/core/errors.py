"""Errors a user can act on, and the exit codes that tell Nextflow what to do.

| code | meaning            | Nextflow                          |
|------|--------------------|-----------------------------------|
| 64   | bad parameter      | stops at once                     |
| 65   | bad data           | stops at once                     |
| 74   | cannot read, write | stops at once (disk full, no file)|
| 75   | passing fault      | retried (server busy)             |
| 137  | out of memory      | retried with more memory          |
"""

BAD_PARAMETER, BAD_DATA, IO_FAILED, TRY_AGAIN, OUT_OF_MEMORY = 64, 65, 74, 75, 137


class VoxelmillError(Exception):
    """Something a user can mend; the message is one line that says what and how."""

    exit_code = 70


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
