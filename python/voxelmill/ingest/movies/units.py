"""Units of movies, minutes and micrometres, by the table of `core.space`."""

from __future__ import annotations

from voxelmill.core.space import nm_per, seconds_per


def minutes(unit: str) -> float | None:
    """Minutes in one `unit`; None when it is no known unit of time."""
    seconds = seconds_per(unit)
    return None if seconds is None else seconds / 60


def micrometres(unit: str) -> float | None:
    """Micrometres in one `unit`; None when it is no known unit of length."""
    nm = nm_per(unit)
    return None if nm is None else nm / 1000
