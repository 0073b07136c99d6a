"""`voxelmill align`: a page on this machine, to lay pairs of slices on each other by hand and save how they lie."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ..core.errors import DataError, StorageError
from ..transform.pairs import write_itk
from ..transform.warp import centre_of, rigid_matrix

PAGE = Path(__file__).with_name("align.html")
FILE = re.compile(r"/pairs/([\w-]+)/(fixed\.png|moving\.png)")
MOST = 4096  # bytes of what is saved


def pairs_in(folder: Path) -> list[dict[str, Any]]:
    """What the package says of each pair, in order, and whether it was saved. Raises DataError for another folder."""
    found = []
    for path in sorted(folder.glob("*/pair.json")):
        facts = json.loads(path.read_text())
        found.append({**facts, "name": path.parent.name, "saved": (path.parent / "manual.tfm").exists()})
    if not found:
        raise DataError(f"{folder}: no NAME/pair.json in it; expected manual_align/ of a run with --export_manual_align true")
    return sorted(found, key=lambda pair: (pair["fixed"], pair["moving"]))


def save(folder: Path, given: dict[str, Any]) -> Path:
    """Write `manual.tfm` of a pair: shift1, shift2 px (dim 1, dim 2), turn deg. Raises DataError for what is no number."""
    known = {pair["name"]: pair for pair in pairs_in(folder)}
    pair = known.get(str(given.get("name")))
    try:
        shift1, shift2, turn = (float(given[key]) for key in ("shift1", "shift2", "turn"))
    except (KeyError, TypeError, ValueError):
        raise DataError("a pair is saved by name, shift1, shift2, turn") from None
    if pair is None or not all(abs(v) < 1e6 for v in (shift1, shift2, turn)):
        raise DataError(f"no such pair or transform: {str(given)[:200]}")
    path = folder / pair["name"] / "manual.tfm"
    partial_ = path.with_name("manual.tfm.new")
    write_itk(partial_, rigid_matrix(shift1, shift2, turn, centre_of(pair["shape"])), tuple(pair["shape"]))
    partial_.rename(path)
    return path


def server(folder: Path, port: int, handler: Callable[..., BaseHTTPRequestHandler] | None = None) -> ThreadingHTTPServer:
    """On this machine only. Raises DataError for a folder without pairs, StorageError where the port is taken."""
    pairs_in(folder)
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), partial(handler or Aligner, folder=folder))
    except OSError as error:
        raise StorageError(f"port {port}: {error.strerror}; give another with --port") from None


class Aligner(BaseHTTPRequestHandler):
    """The page, the pictures of pairs, and what is saved. Other sites' pages are turned away: a browser sends their name."""

    def __init__(self, *args: Any, folder: Path):
        self.folder = folder
        super().__init__(*args)

    def do_GET(self) -> None:
        picture = FILE.fullmatch(self.path)
        if not self.local():
            self.answer(403, b"", "text/plain")
        elif self.path == "/":
            self.answer(200, PAGE.read_bytes(), "text/html; charset=utf-8")
        elif self.path == "/pairs":
            self.answer(200, json.dumps(pairs_in(self.folder)).encode(), "application/json")
        elif picture and (path := self.folder / picture[1] / picture[2]).is_file():
            self.answer(200, path.read_bytes(), "image/png")
        else:
            self.answer(404, b"", "text/plain")

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        if not self.local() or self.path != "/save" or not 0 < size < MOST:
            return self.answer(403, b"", "text/plain")
        try:
            path = save(self.folder, json.loads(self.rfile.read(size)))
        except (DataError, ValueError) as error:
            return self.answer(400, str(error).encode(), "text/plain; charset=utf-8")
        self.answer(200, str(path).encode(), "text/plain; charset=utf-8")

    def local(self) -> bool:
        """Asked by this name, and by a page of this server if by a page."""
        port = self.server.server_address[1]  # type: ignore[index]
        names = {f"{host}:{port}" for host in ("127.0.0.1", "localhost")}
        origin = self.headers.get("Origin")
        return self.headers.get("Host") in names and (origin is None or origin.removeprefix("http://") in names)

    def answer(self, code: int, body: bytes, kind: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""
