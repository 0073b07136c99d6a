"""Starts the server: one process, or several that read the same catalogue."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from ..catalog.store import Store
from ..core.errors import ParameterError, StorageError
from .app import LOOPBACK, SECONDS, create
from .guard import Tokens

MOST_WORKERS = 256
GIVEN = "VOXELMILL_SERVE"  # how workers, which are started by name, know what to serve


class Prompt(AutoHTTPProtocol):  # type: ignore[misc,valid-type]
    """Sends an answer at once. Sockets that workers share do not by themselves: an answer in two packets then waits for the
    client's acknowledgement, 40 ms."""

    def connection_made(self, transport: Any) -> None:
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)


def run(
    store: Path,
    host: str,
    port: int,
    tokens: Path | None,
    hosts: Sequence[str] = (),
    workers: int = 1,
    seconds: float = SECONDS,
) -> None:
    """Serve until it is stopped. Raises StorageError where the port is taken or there is no catalogue; ParameterError for
    tokens that are none."""
    Store(store), Tokens(tokens)  # said here, before any process is started
    if not 0 < port < 2**16 or not 0 < workers <= MOST_WORKERS:
        raise ParameterError(f"--port {port} --workers {workers}: expected a port to 65535, and 1 to {MOST_WORKERS} workers")
    if not 0 < seconds <= 3600:
        raise ParameterError(f"--query_seconds {seconds}: expected more than 0, and 3600 at most")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, port))
        except socket.gaierror as error:
            raise ParameterError(f"--host {host}: {error.strerror}; give an address of this machine") from None
        except OSError as error:
            raise StorageError(f"{host}:{port}: {error.strerror}; give another --port") from None
    given = {
        "root": str(store.absolute()),
        "tokens": str(tokens.absolute()) if tokens else "",
        "hosts": [*LOOPBACK, host, *hosts],
        "seconds": seconds,
    }
    os.environ[GIVEN] = json.dumps(given)
    print(f"serving {store} at http://{host}:{port}/ until Ctrl-C; edits {'by token' if tokens else 'off'}", flush=True)
    uvicorn.run(
        f"{__name__}:app",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        http=Prompt,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=3,  # seconds; viewers listen for as long as they are open
    )


def app() -> Any:
    """The application of a worker."""
    given = json.loads(os.environ[GIVEN])
    return create(
        Path(given["root"]), Path(given["tokens"]) if given["tokens"] else None, given["hosts"], seconds=given["seconds"]
    )
