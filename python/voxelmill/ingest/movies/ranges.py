"""Numbers in words: `0-3, 7`, read and written."""

from __future__ import annotations

from collections.abc import Sequence

from voxelmill.core.errors import ParameterError


def parse_range(spec: str | int | None, n: int, what: str = "index") -> list[int]:
    """Indices below n that a text names: "0-3", "2", "0-1,4", "all" or -1; sorted, each once.

    Raises:
        ParameterError: not of this form, or an index is not below n.
    """
    text = "all" if spec is None else str(spec).replace(" ", "")
    if text in ("all", "-1", ""):
        return list(range(n))
    chosen: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ParameterError(f'{what}: cannot read {part!r} in {text!r}; expected e.g. "0-3", "2", "0-1,4" or "all"')
        low, high = int(first), int(last or first)
        if low > high:
            raise ParameterError(f"{what}: {part!r} runs backwards; write {high}-{low}")
        if high >= n:
            raise ParameterError(f"{what} {high} is not there; there are {n}, numbered 0-{n - 1}")
        chosen.update(range(low, high + 1))
    return sorted(chosen)


def listed(numbers: Sequence[int]) -> str:
    """`1, 2, 5-9`: runs of numbers for people."""
    runs: list[list[int]] = []
    for n in numbers:
        if runs and n == runs[-1][1] + 1:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    words = [str(a) if a == b else f"{a}, {b}" if b == a + 1 else f"{a}-{b}" for a, b in runs]
    return ", ".join(words[:12]) + (f" and {len(words) - 12} more" if len(words) > 12 else "")
