"""List files: names, sizes and times of all files of a large input, so that a changed one is seen by -resume.

The head of a run looks at each file of a small input itself; of a large one (see `workflows/inputs.nf`) a task does,
at each start anew.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..core.files import below, row_of
from ..core.params import Params
from ..core.provenance import Task
from ..core.stage import Out

AT_ONCE = 16  # a file server answers one question in about a millisecond, and many at once


class Parameters(Params):
    """No parameters."""


def run(p: Parameters, task: Task, *, source: Path, role: str = "raw", listing: Out) -> None:
    names = below(source)
    parts = [names[k::AT_ONCE] for k in range(AT_ONCE)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        rows = [row for part in pool.map(lambda part: [row_of(source, name) for name in part], parts) for row in part]
    listing.write_text("\n".join(sorted(rows)) + "\n", encoding="utf-8", errors="surrogateescape")
    task.report(files=len(rows))
