"""The server as a user starts it, and clients that ask it side by side: for benchmarks, and tests of several workers."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CLIENT = """
import json, socket, sys, time
paths, took = json.load(sys.stdin), []
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 30) as server, server.makefile("rb") as answer:
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for n in range(int(sys.argv[2])):
        begun = time.perf_counter()
        server.sendall(f"GET {paths[n % len(paths)]} HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\n\\r\\n".encode())
        status, size = answer.readline(), 0
        while (line := answer.readline()) != b"\\r\\n":
            if line.lower().startswith(b"content-length:"):
                size = int(line.split(b":")[1])
        answer.read(size)
        took.append(time.perf_counter() - begun)
        if b" 200 " not in status:
            sys.exit(f"{paths[n % len(paths)]}: {status!r}")
print(json.dumps(took))
"""


@dataclass(frozen=True)
class Server:
    """A running `voxelmill serve`."""

    process: subprocess.Popen
    port: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def processes(self) -> list[int]:
        """Its ids, and those of its workers."""
        found = [self.process.pid]
        for one in found:
            found += map(int, Path(f"/proc/{one}/task/{one}/children").read_text().split())
        return found

    def cpu(self) -> float:
        """CPU seconds of all of them so far."""
        fields = [Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split() for one in self.processes()]
        return sum(int(f[11]) + int(f[12]) for f in fields) / os.sysconf("SC_CLK_TCK")

    def load(self, paths: Sequence[str], clients: int, requests: int) -> np.ndarray:
        """Seconds (clients, requests) that each answer took; each client has a connection that stays open.

        Raises RuntimeError for an answer that is none."""
        command = [sys.executable, "-c", CLIENT, str(self.port), str(requests)]
        runs = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(clients)]
        for run in runs:
            assert run.stdin
            run.stdin.write(json.dumps(list(paths)))
            run.stdin.close()
            run.stdin = None
        said = [run.communicate()[0] for run in runs]
        if not all(said):
            raise RuntimeError("a client was not answered; what it said stands above")
        return np.array([json.loads(one) for one in said])


@contextlib.contextmanager
def serving(store: Path, workers: int = 1, tokens: Path | None = None, patience: float = 60) -> Iterator[Server]:
    """`voxelmill serve` on a free port of this machine, until the end. Raises TimeoutError where it does not answer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "voxelmill.cli", "serve", str(store), "--port", str(port), "--workers", str(workers)]
    process = subprocess.Popen(command + (["--edit_tokens", str(tokens)] if tokens else []), stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + patience
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    raise TimeoutError(f"no server at port {port}") from None
                time.sleep(0.05)
        yield Server(process, port)
    finally:
        process.terminate()
        process.wait()
