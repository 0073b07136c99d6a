"""Several processes that serve one catalogue."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from voxelmill.catalog.store import Store
from voxelmill.client import Client
from voxelmill.testing.served import serving

pytest.importorskip("uvicorn")


def test_workers_serve_one_catalogue(served: Store, tmp_path: Path) -> None:
    """Answers come at once, from whichever process; what one has edited the others know."""
    tokens = tmp_path / "tokens.json"
    row = {"name": "ann", "role": "proofreader", "sha256": hashlib.sha256(b"ann").hexdigest()}
    tokens.write_text(json.dumps({"tokens": [row]}))
    tokens.chmod(0o600)
    with serving(served.root, 2, tokens) as server:
        paths = [f"/api/releases/r1/neurites/{n}/partners" for n in range(1, 33)]
        assert server.load(paths, 4, 32).min() < 0.03  # one that waits for an acknowledgement takes 0.04
        client = Client(server.address, "ann")  # a connection a request, to any of the workers
        a, b = (client.supervoxels("r1", root)[0] for root in (25, 26))
        for n in range(6):
            begun = client.version("r1")
            done = client.merge("r1", a, b, "one") if n % 2 == 0 else client.undo("r1", begun, "two")
            assert done["version"] == begun + 1
            assert {len(client.supervoxels("r1", 25)) for _ in range(6)} == {16 if n % 2 == 0 else 8}
