"""Everything that is generated from the parameter models, so that nothing is written twice.

    nextflow_schema.json   JSON Schema 2020-12 in groups; `x-stages` says which stage takes what
    conf/params.config     the defaults
    docs/parameters.md     the tables

`voxelmill schema --write` makes them; a test fails when one is stale.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import params as par
from .pipeline import Cluster, General, Limits
from .stage import Stage

LAYERS = ("ingest", "transform", "inference", "postprocess", "serving")
RUN = (General, Limits, Cluster)


def project() -> Path:
    """The root of the checkout."""
    return Path(__file__).resolve().parents[3]


def stages(root: Path | None = None) -> dict[str, Stage]:
    """Every stage that has a Nextflow module, by name: one name, four rooms."""
    found = sorted((root or project()).glob("modules/*/*.nf"), key=lambda p: (LAYERS.index(p.parent.name), p.stem))
    return {p.stem: Stage(f"{p.parent.name}.{p.stem}") for p in found}


def workflow_stages(root: Path | None = None) -> dict[str, list[str]]:
    """Stages of each workflow, read from the modules that it (or a file beside it) includes."""

    def modules(path: Path) -> list[str]:
        text = path.read_text()
        inner = [modules(path.parent / f"{name}.nf") for name in re.findall(r"from '\./(\w+)(?:\.nf)?'", text)]
        return re.findall(r"from '\.\./modules/\w+/(\w+)(?:\.nf)?'", text) + [s for names in inner for s in names]

    root = root or project()
    return {
        w: sorted(set(modules(root / f"workflows/{w}.nf")))
        for w in ("connectome", "timelapse")
        if (root / f"workflows/{w}.nf").exists()
    }


def groups(root: Path | None = None) -> dict[str, tuple[str, dict[str, Any]]]:
    """Group name -> (description, fields). A field stands in the group of the class that declares it."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    seen: set[str] = set()
    for model in _models(root):
        for cls in reversed(model.__mro__):
            own = [n for n in inspect.get_annotations(cls) if n in model.model_fields and n not in seen]
            if own:
                seen.update(own)
                name = cls.__name__ if cls.__name__ != "Parameters" else model.__module__.rsplit(".", 1)[-1]
                doc = (cls.__doc__ or "").strip().split("\n")[0]
                found.setdefault(name.lower(), (doc, {}))[1].update({n: model.model_fields[n] for n in own})
    return found


def _models(root: Path | None) -> Iterator[type[par.Params]]:
    yield from RUN
    for stage in stages(root).values():
        declared = stage.parameters
        yield from declared.models.values() if isinstance(declared, par.Methods) else [declared]


def tags(root: Path | None = None) -> dict[str, par.Methods]:
    """Parameters that choose a method: name -> the union."""
    return {s.parameters.tag: s.parameters for s in stages(root).values() if isinstance(s.parameters, par.Methods)}


def property_of(name: str, field: Any, unions: dict[str, par.Methods]) -> dict[str, Any]:
    """One field as a property of the schema; sequences are comma-separated strings."""
    from pydantic import TypeAdapter

    kind = TypeAdapter(field.annotation).json_schema()
    options = [o for o in kind.get("anyOf", [kind]) if o.get("type") != "null"]
    kind = options[0] if len(options) == 1 else {"type": "string"}
    plain = {"array": "string"}.get(kind.get("type", "string"), kind.get("type", "string"))
    prop: dict[str, Any] = {"type": plain, "description": field.description}
    if name in unions:
        prop["enum"] = list(unions[name].models)
    elif "enum" in kind:
        prop["enum"] = kind["enum"]
    if kind.get("type") == "array":
        prop["x-list"] = {
            "items": kind.get("maxItems"),
            "type": kind.get("items", kind.get("prefixItems", [{}])[0]).get("type", "string")
            if not isinstance(kind.get("items"), bool)
            else "string",
        }
    for bound in field.metadata:
        for ours, theirs in (
            ("ge", "minimum"),
            ("gt", "exclusiveMinimum"),
            ("le", "maximum"),
            ("lt", "exclusiveMaximum"),
            ("pattern", "pattern"),
        ):
            if getattr(bound, ours, None) is not None:
                prop[theirs] = getattr(bound, ours)
    default = field.get_default(call_default_factory=True)
    if default is not None:
        prop["default"] = par.to_text(default) if plain == "string" else default
    extra = field.json_schema_extra or {}
    if extra.get("unit"):
        prop["x-unit"] = extra["unit"]
    if extra.get("help_text"):
        prop["help_text"] = extra["help_text"]
    return prop


def schema(root: Path | None = None) -> dict[str, Any]:
    """The whole of `nextflow_schema.json`."""
    unions = tags(root)
    defs = {
        name: {
            "title": name.replace("_", " ").capitalize(),
            "type": "object",
            "description": doc,
            "properties": {n: property_of(n, f, unions) for n, f in fields.items()},
        }
        for name, (doc, fields) in groups(root).items()
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Voxelmill parameters",
        "description": "Generated by `voxelmill schema --write`; do not edit.",
        "type": "object",
        "$defs": defs,
        "allOf": [{"$ref": f"#/$defs/{name}"} for name in defs],
        "x-stages": {name: sorted(par.fields_of(s.parameters)) for name, s in stages(root).items()},
        "x-workflows": workflow_stages(root),
    }


def config(root: Path | None = None) -> str:
    """The whole of `conf/params.config`."""
    rows = [
        "// Generated by `voxelmill schema --write`; do not edit.",
        "// Only what is not set yet: the strict parser lets an assignment here win over a profile.",
    ]
    for group in schema(root)["$defs"].values():
        rows.append(f"\n// {group['title']}")
        for name, prop in group["properties"].items():
            rows.append(f"params.{name} = params.containsKey('{name}') ? params.{name} : {_groovy(prop)}")
    return "\n".join([*rows, ""])


def _groovy(prop: dict[str, Any]) -> str:
    value = prop.get("default")
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, int | float) else "'" + str(value).replace("'", "\\'") + "'"


def table(root: Path | None = None) -> str:
    """The whole of `docs/parameters.md`."""
    whole = schema(root)
    rows = [
        "# Parameters",
        "",
        "Generated by `voxelmill schema --write`; do not edit.",
        "Lists are written with commas: `--cutout 256,256,64`.",
        "",
    ]
    for group in whole["$defs"].values():
        rows += [
            f"## {group['title']}",
            "",
            group["description"],
            "",
            "| parameter | type | default | bounds | unit | meaning |",
            "|---|---|---|---|---|---|",
        ]
        for name, p in group["properties"].items():
            more = f" {p['help_text']}" if "help_text" in p else ""
            shown = "" if p.get("default") in (None, "") else f"`{_groovy(p).strip(chr(39))}`"
            rows.append(
                f"| `--{name}` | {_kind(p)} | {shown} | {_bounds(p)} | {p.get('x-unit', '')} | {p['description']}.{more} |"
            )
        rows.append("")
    return "\n".join(rows)


def _kind(p: dict[str, Any]) -> str:
    return "list" if "x-list" in p else "choice" if "enum" in p else p["type"]


def _bounds(p: dict[str, Any]) -> str:
    if "enum" in p:
        return ", ".join(f"`{v}`" for v in p["enum"])
    low = f">= {p['minimum']}" if "minimum" in p else f"> {p['exclusiveMinimum']}" if "exclusiveMinimum" in p else ""
    high = f"<= {p['maximum']}" if "maximum" in p else f"< {p['exclusiveMaximum']}" if "exclusiveMaximum" in p else ""
    return ", ".join(filter(None, [low, high]))


def generated(root: Path | None = None) -> dict[str, str]:
    """Path in the checkout -> what it must hold."""
    return {
        "nextflow_schema.json": json.dumps(schema(root), indent=2) + "\n",
        "conf/params.config": config(root),
        "docs/parameters.md": table(root),
    }
