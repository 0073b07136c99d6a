"""Whatever is asked, the answer is one that the server's own description names: never a fault of the server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from voxelmill.catalog import releases
from voxelmill.catalog.store import Store
from voxelmill.server.guard import Tokens
from voxelmill.testing import results

pytest.importorskip("fastapi")
from fastapi.testclient import TestClient
from voxelmill.server.app import create

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "error::UserWarning")
KNOWN: dict[str, list[Any]] = {  # what is there, so that questions get beyond the first refusal
    "tag": ["r1", "r2", "current", "m1"],
    "to": ["r1", "r2", "5"],
    "root_id": ["1", "2", "32", "1001"],
    "from": ["1", "7"],
    "partner": ["2", ""],
    "neurite": ["5", ""],
    "ids": ["1,2,99"],
    "artifact": ["3", "tables/edges.parquet", "r1:5"],
    "bbox": ["0,0,0,8,8,8", "9,9,9,1,1,1", ""],
    "name": ["report.html", "tables/edges.parquet", "meshes", "edges", "merge"],
    "fov": ["fov_000"],
    "cell": [1, 9],
    "limit": [1, 7],
    "cursor": ["5", "999999999999"],
    "base_version": [0, 1, 2],
    "of": [1, 2],
}
WORDS = st.one_of(
    st.text(max_size=12), st.sampled_from(["\0", "..", "%00", "' OR 1=1 --", "18446744073709551616", "-1", "nan", "1e999"])
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder: Path = tmp_path_factory.mktemp("described")
    store = Store(folder / "store", make=True)
    releases.create(store, results.make(folder / "one"), "r1")
    releases.create(store, results.moving(folder / "movie"), "m1")
    releases.create(store, results.make(folder / "two", "second", results.broken, "b" * 64), "r2")
    app = create(store.root)
    app.state.tokens.rows = [{"name": "any", "role": "proofreader", "sha256": Tokens.digest("any")}]
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as made:
        yield made


def value(name: str, schema: dict[str, Any], described: dict[str, Any], sound: bool) -> st.SearchStrategy:
    """What is there or what the schema allows; or, where it need not be sound, anything."""
    if "$ref" in schema:
        return value(name, described["components"]["schemas"][schema["$ref"].rpartition("/")[2]], described, sound)
    kind = schema.get("type")
    if kind == "object":
        return st.fixed_dictionaries({n: value(n, s, described, sound) for n, s in schema["properties"].items()})
    if kind == "array":
        items = schema.get("items") or schema.get("prefixItems", [{"type": "string"}])[0]
        least, most = schema.get("minItems", 0), min(schema.get("maxItems", 4), 4)
        return st.lists(value(name, items, described, sound), min_size=least if sound else 0, max_size=most if sound else 9)
    if sound and name in KNOWN:
        return st.sampled_from(KNOWN[name])
    allowed = {
        "string": st.from_regex(schema["pattern"], fullmatch=True)
        if "pattern" in schema
        else st.text(min_size=1, max_size=20),
        "integer": st.integers(schema.get("minimum", 0), schema.get("maximum", 9)),
        "number": st.floats(0, 100),
        "boolean": st.booleans(),
    }[kind or "string"]
    return allowed if sound else st.one_of(allowed, WORDS, st.integers(-2, 2**70), st.floats())


def test_all_answers_are_described(client: Any) -> None:
    described = client.get("/openapi.json").json()
    answers = [
        o["responses"]["200"].get("content", {}).get("application/json")
        for r in described["paths"].values()
        for o in r.values()
    ]
    assert all("$ref" in a["schema"] or "properties" in a["schema"] for a in answers if a)  # no free objects
    operations = [(path, method, o) for path, row in described["paths"].items() for method, o in row.items()]
    names = [o["operationId"] for *_, o in operations]
    assert len(names) == len(set(names)) > 20
    seen: dict[str, set[int]] = {name: set() for name in names}
    own = client.get("/api/releases/r1/edits/neurites/1").json()["supervoxels"][:3]
    KNOWN.update(dict.fromkeys(("supervoxel", "supervoxels", "keep", "take"), own))

    @settings(max_examples=500, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
    @given(st.data())
    def ask(data: Any) -> None:
        path, method, operation = data.draw(st.sampled_from(operations))
        sound, query = data.draw(st.integers(0, 3)) > 0, {}
        for one in operation.get("parameters", ()):
            drawn = data.draw(value(one["name"], one["schema"], described, sound))
            if one["in"] == "path":
                path = path.replace("{" + one["name"] + "}", quoted(drawn) or "x")
            elif one["required"] or data.draw(st.booleans()):
                query[one["name"]] = drawn
        body = None
        if "requestBody" in operation:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            body = json.dumps(data.draw(value("", schema, described, sound)))
        headers = {"Content-Type": "application/json", "Authorization": "Bearer any"}
        got = client.request(method.upper(), path, params=query, content=body, headers=headers)
        assert got.status_code < 500 and str(got.status_code) in operation["responses"], (path, query, body, got.text)
        seen[operation["operationId"]].add(got.status_code)
        content = operation["responses"][str(got.status_code)].get("content", {})
        if found := content.get("application/json"):
            whole = {**found["schema"], "components": described["components"]}
            jsonschema.validate(got.json(), whole)

    ask()
    refused = [name for name, codes in seen.items() if 200 not in codes]
    assert len(refused) <= 8, refused  # not refusals alone; which are asked depends on what else was imported


def quoted(word: Any) -> str:
    from urllib.parse import quote

    return quote(str(word).encode("utf-8", "replace"), safe="/")
