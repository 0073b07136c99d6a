"""A client of `voxelmill serve`, of the standard library alone. Ids are integers here, positions (z, y, x) in nm.

    client = Client("http://127.0.0.1:8000")
    root = client.segments("current", [(120.0, 800.0, 800.0)])[0]
    for partner in client.partners("current", root):
        print(partner["root_id"], partner["weight"])

Lists are iterators, which ask for the next page when they come to it.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

PAGE = 1000  # rows asked for at once
BATCH = 10_000  # points asked for at once, the most that a server answers
IDS = ("root_id", "id", "pre_root_id", "post_root_id", "supervoxel_id", "from", "to")


class Refused(Exception):
    """What a server does not do: `code` is the HTTP status (404 not there, 409 made on another version, 401 no token)."""

    def __init__(self, code: int, why: str):
        super().__init__(f"{code}: {why}")
        self.code = code


class Client:
    """Queries and edits of the releases at an address; `current` stands for the current release's tag.

    Every method raises Refused for what the server refuses, and OSError where there is no server."""

    def __init__(self, address: str, token: str = "", timeout: float = 60):
        self.address, self.token, self.timeout = address.rstrip("/"), token, timeout

    def releases(self) -> list[dict[str, Any]]:
        """A row a release, oldest first."""
        return self._ask("releases")["releases"]

    def release(self, tag: str = "current") -> dict[str, Any]:
        """Figures, gates, what is published, history."""
        return self._ask(f"releases/{_quoted(tag)}")

    def segments(self, tag: str, points: Sequence[Sequence[float]]) -> list[int | None]:
        """Root ids at points (z, y, x) in nm; None where there is no neurite."""
        found: list[int | None] = []
        for start in range(0, len(points), BATCH):
            asked = {"points": [list(map(float, p)) for p in points[start : start + BATCH]]}
            rows = self._ask(f"releases/{_quoted(tag)}/segments", body=asked)["segments"]
            found += [_numbers(row)["root_id"] for row in rows]
        return found

    def neurites(self, tag: str, order: str = "out") -> Iterator[dict[str, Any]]:
        """All neurites, the greatest first, by `out`, `in` (synapses), `voxels`, `cable_um`, `pagerank` or `root_id`."""
        return self._pages(f"releases/{_quoted(tag)}/neurites", "neurites", order=order)

    def neurite(self, tag: str, root: int) -> dict[str, Any]:
        """Measures, numbers of synapses and partners, addresses of files."""
        return _numbers(self._ask(f"releases/{_quoted(tag)}/neurites/{root}"))

    def partners(self, tag: str, root: int, direction: str = "out") -> Iterator[dict[str, Any]]:
        """Whom a neurite speaks to (`out`) or who to it (`in`), the strongest first: `root_id`, `weight`."""
        return self._pages(f"releases/{_quoted(tag)}/neurites/{root}/partners", "partners", direction=direction)

    def synapses(self, tag: str, root: int, direction: str = "out", partner: int | None = None) -> Iterator[dict[str, Any]]:
        """Synapses of a neurite, or of a pair: ids, `position_nm` (z, y, x), `score`."""
        with_one = "" if partner is None else partner
        return self._pages(
            f"releases/{_quoted(tag)}/neurites/{root}/synapses", "synapses", direction=direction, partner=with_one
        )

    def table(self, tag: str, name: str, rows: int = 100_000) -> Iterator[Any]:
        """A whole table (`synapses`, `edges`, `nodes`, `neurons`, `merge`), so many rows at a time, as `pyarrow.Table`."""
        import pyarrow as pa

        cursor: str | None = ""
        while cursor is not None:
            asked = {"limit": rows, "cursor": cursor}
            data, headers = self._get(f"releases/{_quoted(tag)}/tables/{_quoted(name)}", asked)
            yield pa.ipc.open_stream(data).read_all()
            cursor = headers.get("X-Next")

    def fovs(self, tag: str) -> list[str]:
        """Fields of view of a time-lapse release that have traces."""
        return self._ask(f"releases/{_quoted(tag)}/fovs")["fovs"]

    def cells(self, tag: str, fov: str) -> Iterator[dict[str, Any]]:
        """Cells of a field of view: `cell`, in how many `frames` it is seen, the `first` and the `last` of them."""
        return self._pages(f"releases/{_quoted(tag)}/fovs/{_quoted(fov)}/cells", "cells")

    def traces(self, tag: str, fov: str, cell: int) -> Iterator[dict[str, Any]]:
        """Features of a cell, a row a frame."""
        return self._pages(f"releases/{_quoted(tag)}/fovs/{_quoted(fov)}/cells/{cell}/traces", "traces")

    def path(self, tag: str, start: int, end: int) -> list[int] | None:
        """Neurites on a way of fewest synapses; None where there is no way."""
        found = self._ask(f"releases/{_quoted(tag)}/paths", {"from": start, "to": end})["path"]
        return None if found is None else [int(root) for root in found]

    def mapping(self, tag: str, to: str, roots: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
        """What neurites are in another release: `root_id` and `share` of each, the largest first."""
        found: dict[int, list[dict[str, Any]]] = {}
        for start in range(0, len(roots), PAGE):
            ids = ",".join(str(int(root)) for root in roots[start : start + PAGE])
            part = self._ask(f"releases/{_quoted(tag)}/mapping", {"to": to, "ids": ids})["mapping"]
            found |= {int(root): [_numbers(row) for row in rows] for root, rows in part.items()}
        return found

    def trace(self, tag: str, artifact: str | int, forward: bool = False) -> dict[str, Any]:
        """Where a path or a neurite comes from, or what has come of it."""
        return self._ask(f"releases/{_quoted(tag)}/trace", {"artifact": artifact, "forward": str(forward).lower()})

    def view(self, tag: str, root: int | None = None) -> str:
        """A link that opens a release, or one of its neurites, in Neuroglancer."""
        return self._ask(f"releases/{_quoted(tag)}/view", {"neurite": "" if root is None else root})["link"]

    def version(self, tag: str) -> int:
        """How many operations have been done: what the next edit is made on."""
        return self._ask(f"releases/{_quoted(tag)}/edits", {"limit": 1})["version"]

    def edits(self, tag: str) -> Iterator[dict[str, Any]]:
        """Operations, newest first."""
        return self._pages(f"releases/{_quoted(tag)}/edits", "edits")

    def supervoxels(self, tag: str, root: int) -> list[int]:
        """Supervoxels of a neurite as edited, 10,000 at most."""
        return [int(s) for s in self._ask(f"releases/{_quoted(tag)}/edits/neurites/{root}")["supervoxels"]]

    def preview(self, tag: str, keep: Sequence[int], take: Sequence[int]) -> list[int]:
        """Supervoxels that the smallest cut between some that stay and some that go would take off."""
        asked = {"keep": [str(s) for s in keep], "take": [str(s) for s in take]}
        return [int(s) for s in self._ask(f"releases/{_quoted(tag)}/edits/preview", body=asked)["take"]]

    def merge(self, tag: str, a: int, b: int, reason: str, base_version: int | None = None) -> dict[str, Any]:
        """Make the neurites of two supervoxels one."""
        return self._edit(tag, "merge", reason, base_version, supervoxels=[str(a), str(b)])

    def split(self, tag: str, take: Sequence[int], reason: str, base_version: int | None = None) -> dict[str, Any]:
        """Make supervoxels of a neurite one of their own."""
        return self._edit(tag, "split", reason, base_version, supervoxels=[str(s) for s in take])

    def undo(self, tag: str, of: int, reason: str, base_version: int | None = None) -> dict[str, Any]:
        """Take an operation back."""
        return self._edit(tag, "undo", reason, base_version, of=of)

    def redo(self, tag: str, of: int, reason: str, base_version: int | None = None) -> dict[str, Any]:
        """Do an operation again that was taken back."""
        return self._edit(tag, "redo", reason, base_version, of=of)

    def _edit(self, tag: str, kind: str, reason: str, base: int | None, **asked: Any) -> dict[str, Any]:
        """Made on the version there is, unless one is named; sent again where the answer was lost, it is done once."""
        base_version = self.version(tag) if base is None else base
        body = {**asked, "reason": reason, "base_version": base_version, "key": uuid.uuid4().hex}
        address = f"releases/{_quoted(tag)}/edits/{kind}"
        try:
            return _numbers(self._ask(address, body=body))
        except (TimeoutError, ConnectionError, urllib.error.URLError):
            return _numbers(self._ask(address, body=body))

    def _pages(self, path: str, key: str, **asked: Any) -> Iterator[dict[str, Any]]:
        cursor: str | None = ""
        while cursor is not None:
            found = self._ask(path, {**asked, "limit": PAGE, "cursor": cursor})
            yield from map(_numbers, found[key])
            cursor = found["next"]

    def _ask(self, path: str, asked: dict[str, Any] | None = None, body: Any = None) -> dict[str, Any]:
        return json.loads(self._get(path, asked, body)[0])

    def _get(self, path: str, asked: dict[str, Any] | None = None, body: Any = None) -> tuple[bytes, Any]:
        """What is answered, and the headers of it."""
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if self.token and body is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        address = f"{self.address}/api/{path}" + (f"?{urllib.parse.urlencode(asked)}" if asked else "")
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(address, data, headers), timeout=self.timeout) as answer:
                return answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            raise Refused(error.code, _why(error.read())) from None


def _quoted(tag: str) -> str:
    return urllib.parse.quote(tag, safe="")


def _numbers(row: dict[str, Any]) -> dict[str, Any]:
    """With ids as integers."""
    return {k: int(v) if k in IDS and isinstance(v, str) else v for k, v in row.items()}


def _why(text: bytes) -> str:
    """What a server says of a refusal."""
    try:
        found = json.loads(text)
        return str(found.get("error") or found.get("detail"))
    except (ValueError, AttributeError):
        return text[:200].decode(errors="replace")
