"""Units of length and time as files of movies name them: one table for all readers."""

from __future__ import annotations

_MINUTES = {
    "min": ("min", "mins", "minute", "minutes"),
    "s": ("s", "sec", "secs", "second", "seconds"),
    "ms": ("ms", "msec", "msecs", "millisec", "millisecond", "milliseconds"),
    "us": ("us", "usec", "microsec", "microsecond", "microseconds"),
    "ns": ("ns", "nsec", "nanosecond", "nanoseconds"),
    "h": ("h", "hr", "hrs", "hour", "hours"),
    "d": ("d", "day", "days"),
}
_PER = {"min": 1.0, "s": 1 / 60, "ms": 1 / 60e3, "us": 1 / 60e6, "ns": 1 / 60e9, "h": 60.0, "d": 1440.0}
MINUTES = {name: _PER[unit] for unit, names in _MINUTES.items() for name in names}
_LENGTHS = {
    1.0: ("um", "micron", "microns", "micrometer", "micrometers", "micrometre", "micrometres"),
    1e-4: ("a", "å", "angstrom", "angstroms", "ångström"),
    1e-6: ("pm", "picometer", "picometre"),
    1e-3: ("nm", "nanometer", "nanometers", "nanometre", "nanometres"),
    1e3: ("mm", "millimeter", "millimeters", "millimetre", "millimetres"),
    1e4: ("cm", "centimeter", "centimeters", "centimetre", "centimetres"),
    1e6: ("m", "meter", "meters", "metre", "metres"),
    25_400.0: ("in", "inch", "inches"),
}
MICROMETRES = {name: factor for factor, names in _LENGTHS.items() for name in names}


def _plain(unit: str) -> str:
    """Without the ways in which people and ImageJ write a mu."""
    text = unit.strip().replace("\\u00B5", "u").replace("µ", "u").replace("μ", "u")
    return text.lower()


def minutes(unit: str) -> float | None:
    """Minutes in one `unit`; None when it is no known unit of time."""
    return MINUTES.get(_plain(unit))


def micrometres(unit: str) -> float | None:
    """Micrometres in one `unit`; None when it is no known unit of length."""
    return MICROMETRES.get(_plain(unit))
