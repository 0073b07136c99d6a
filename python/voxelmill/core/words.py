"""Values as words of a command line: what a user or a file says gets into a script in this way and no other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


def to_text(value: Any) -> str:
    """The form in which a value stands on a command line."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def flags(values: Mapping[str, Any]) -> str:
    """`--name 'value' ...`, a part of a command line."""
    return " ".join(flag(name, to_text(value)) for name, value in values.items())


def flag(name: str, value: str) -> str:
    """With = where the value would be taken for a flag."""
    return f"--{name}{'=' if value.startswith('--') else ' '}{quoted(value)}"


def quoted(text: str) -> str:
    """The one way by which what a user or a file says gets into a script: a single word of bash, on a single line."""
    if re.fullmatch(r"[A-Za-z0-9_.,:/+-]+", text):
        return text
    if not re.search(r"[\x00-\x1f\x7f]", text):
        return "'" + text.replace("'", "'\\''") + "'"
    plain = text.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + re.sub(r"[\x00-\x1f\x7f]", lambda found: f"\\x{ord(found[0]):02x}", plain) + "'"
