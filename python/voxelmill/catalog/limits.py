"""How long a query may take. A server sets it for each request; a command on a machine of one's own takes what it takes.

Threads cannot be stopped from outside: what may take long asks `check()` at each step, and SQLite asks by itself."""

from __future__ import annotations

import math
import time
from contextvars import ContextVar

from ..core.errors import VoxelmillError

ENDS: ContextVar[float] = ContextVar("ends", default=math.inf)  # of `time.monotonic()`


class TooLong(VoxelmillError):
    """A query that took longer than it may."""

    def __init__(self) -> None:
        super().__init__("took longer than a query may; ask for less, or of the command on a machine of your own")


def left() -> float:
    """Seconds that the query may still take; below 0 for one that is too late."""
    return ENDS.get() - time.monotonic()


def check() -> None:
    """Raises TooLong."""
    if left() < 0:
        raise TooLong
