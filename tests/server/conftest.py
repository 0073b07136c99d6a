from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from voxelmill.catalog import releases
from voxelmill.catalog.store import Store
from voxelmill.testing import results


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A catalogue with a movie, m1, a volume of slices, v1, and, current, neurites, r1."""
    folder: Path = tmp_path_factory.mktemp("paged")
    store = Store(folder / "store", make=True)
    releases.create(store, results.moving(folder / "movie"), "m1")
    releases.create(store, results.stacked(folder / "slices"), "v1")
    releases.create(store, results.make(folder / "one", forms=True), "r1")
    return store


@pytest.fixture(scope="module")
def address(served: Store) -> Iterator[str]:
    """A server of it on this machine, with a token, `ann`."""
    uvicorn = pytest.importorskip("uvicorn")
    from voxelmill.server.app import create

    tokens = served.root / "tokens.json"
    row = {"name": "ann", "role": "proofreader", "sha256": hashlib.sha256(b"ann").hexdigest()}
    tokens.write_text(json.dumps({"tokens": [row]}))
    tokens.chmod(0o600)
    config = uvicorn.Config(create(served.root, tokens), port=0, log_level="error", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
