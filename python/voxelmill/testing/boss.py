"""A small server on the loopback that speaks the part of the Boss REST API that `intern` reads with.

GET /v1/collection/C/experiment/E                    experiment: its coordinate frame
GET /v1/collection/C/experiment/E/channel/K          channel: its data type
GET /v1/coord/F                                      coordinate frame: bounds, voxel size
GET /v1/cutout/C/E/K/0/x0:x1/y0:y1/z0:z1/            blosc of the voxels, z y x
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import numpy as np


class BossServer:
    """Serves one channel; `with BossServer(volume) as boss: ... boss.environment ... boss.uri`.

    Args:
        volume: (z, y, x).
        voxel_size: z, y, x in `unit`.
        start: z, y, x of the first voxel in the coordinate frame.
        faults: what happens to the first cutouts, in order: a status, "cut" (half the body),
            "short" (a whole body of too few voxels), "ok". The last one goes on when `forever`.
    """

    uri = "bossdb://lab/mouse/em"

    def __init__(
        self,
        volume: np.ndarray,
        voxel_size: Sequence[float] = (30, 4, 5),
        unit: str = "nanometers",
        start: Sequence[int] = (0, 0, 0),
        faults: Sequence[int | str] = (),
        forever: bool = False,
    ):
        self.volume, self.voxel_size, self.unit, self.start = volume, voxel_size, unit, start
        self.faults, self.forever = list(faults), forever
        self.asked: list[str] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))

    @property
    def cutouts(self) -> list[str]:
        """The cutouts asked for, as `x0:x1/y0:y1/z0:z1`."""
        return [path.split("/em/0/")[1].split("/?")[0] for path in self.asked if "/cutout/" in path]

    @property
    def environment(self) -> dict[str, str]:
        """What points intern to this server."""
        host = f"127.0.0.1:{self._http.server_port}"
        return {"INTERN_PROTOCOL": "http", "INTERN_HOST": host, "INTERN_TOKEN": "public", "NO_PROXY": "127.0.0.1"}

    def __enter__(self) -> BossServer:
        threading.Thread(target=self._http.serve_forever, args=[0.01], daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._http.shutdown()
        self._http.server_close()

    def answer(self, path: str) -> tuple[int, bytes, int]:
        """Status, body and the length that the header states."""
        self.asked.append(path)
        match path.split("?")[0].strip("/").split("/")[1:]:
            case ["collection", "lab", "experiment", "mouse"]:
                return _json(
                    {
                        "name": "mouse",
                        "description": "",
                        "creator": "",
                        "coord_frame": "frame",
                        "num_hierarchy_levels": 1,
                        "hierarchy_method": "anisotropic",
                        "num_time_samples": 1,
                    }
                )
            case ["collection", "lab", "experiment", "mouse", "channel", "em"]:
                kind = "image" if self.volume.dtype.itemsize <= 2 else "annotation"
                return _json(
                    {
                        "name": "em",
                        "description": "",
                        "creator": "",
                        "type": kind,
                        "sources": [],
                        "datatype": self.volume.dtype.name,
                        "downsample_status": "NOT_DOWNSAMPLED",
                    }
                )
            case ["coord", "frame"]:
                frame: dict[str, Any] = {"name": "frame", "description": "", "voxel_unit": self.unit}
                for a, s, n, size in zip("zyx", self.start, self.volume.shape, self.voxel_size):
                    frame |= {f"{a}_start": s, f"{a}_stop": s + n, f"{a}_voxel_size": size}
                return _json(frame)
            case ["cutout", "lab", "mouse", "em", "0", *ranges]:
                return self._cutout(ranges[::-1])
        return _json({"status": 404, "message": "no such resource"}, 404)

    def _cutout(self, ranges: list[str]) -> tuple[int, bytes, int]:
        import blosc

        fault = self.faults[0] if self.faults else "ok"
        del self.faults[: 0 if self.forever and len(self.faults) == 1 else 1]
        if isinstance(fault, int):
            return _json({"status": fault, "message": "fault on purpose"}, fault)
        bounds = [tuple(int(v) for v in r.split(":")) for r in ranges]
        if any(a < s or b > s + n or a >= b for (a, b), s, n in zip(bounds, self.start, self.volume.shape)):
            return _json({"status": 400, "message": "incorrect cutout arguments"}, 400)
        part = self.volume[tuple(slice(a - s, b - s) for (a, b), s in zip(bounds, self.start))]
        part = part[:, :, :-1] if fault == "short" else part
        body = blosc.compress(part.tobytes(), typesize=part.dtype.itemsize)
        return 200, body[: len(body) // 2] if fault == "cut" else body, len(body)


def _json(content: Any, status: int = 200) -> tuple[int, bytes, int]:
    body = json.dumps(content).encode()
    return status, body, len(body)


def _handler(server: BossServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body, length = server.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Silent."""

    return Handler
