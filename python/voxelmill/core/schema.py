"""Everything that is generated from the parameter models, so that nothing is written twice.

    nextflow_schema.json   JSON Schema 2020-12 in groups; `x-stages` says which stage takes what
    conf/params.config     the defaults of what configuration files read (the others stand in the schema)
    conf/presets.config    the profiles that parameters declare
    docs/parameters.md     the tables
    docs/dependencies.md   what each dependency is for, from pyproject.toml

`voxelmill schema --write` makes them; a test fails when one is stale.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from . import dependencies, wiring
from . import params as par
from .errors import ParameterError
from .options import ALIASES, BOUNDS
from .pipeline import Cluster, Forks, General, Limits
from .stage import Stage

LAYERS = ("ingest", "transform", "inference", "postprocess", "serving", "catalog")
RUN = (General, Limits, Forks, Cluster)


def project() -> Path:
    """The root of the checkout."""
    return Path(__file__).resolve().parents[3]


def stages(root: Path | None = None) -> dict[str, Stage]:
    """Every stage that has a Nextflow module, by name: one name, four rooms."""
    found = sorted((root or project()).glob("modules/*/*.nf"), key=lambda p: (LAYERS.index(p.parent.name), p.stem))
    return {p.stem: Stage(f"{p.parent.name}.{p.stem}") for p in found}


def workflows(root: Path | None = None) -> list[str]:
    """The workflows there are: those that `main.nf` includes under the name of their file."""
    text = ((root or project()) / "main.nf").read_text()
    return [file for name, file in re.findall(r"include \{ (\w+) \} from '\./workflows/(\w+)'", text) if name == file.upper()]


def workflow_stages(root: Path | None = None) -> dict[str, list[str]]:
    """Stages of each workflow, those of the parts that it calls included."""
    root = root or project()
    return {name: sorted(wiring.read(name, root).order) for name in workflows(root)}


def own_models(root: Path | None = None) -> dict[str, type[par.Params]]:
    """Parameters that a workflow's wiring reads and no stage: `Parameters` in `voxelmill/workflows/<workflow>.py`."""
    here = (root or project()) / "python/voxelmill/workflows"
    return {
        name: importlib.import_module(f"voxelmill.workflows.{name}").Parameters
        for name in workflows(root)
        if (here / f"{name}.py").exists()
    }


def groups(root: Path | None = None) -> dict[str, tuple[str, dict[str, Any]]]:
    """Group name -> (description, fields). A field stands in the group of the class that declares it.

    Raises:
        ParameterError: two classes declare a parameter of one name; the tag of a union is declared by each of its methods.
    """
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    owner: dict[str, type] = {}
    unions = tags(root)
    for model in _models(root):
        for cls in reversed(model.__mro__):
            declared = [n for n in inspect.get_annotations(cls) if n in model.model_fields]
            for name in declared:
                first = owner.get(name, cls)
                if first is not cls and name not in unions:
                    raise ParameterError(
                        f"--{name} is declared by {_named(first)} and by {_named(cls)}: "
                        f"give one another name, or let both take it from one class"
                    )
            own = [n for n in declared if n not in owner]
            if own:
                owner.update(dict.fromkeys(own, cls))
                name = cls.__name__ if cls.__name__ != "Parameters" else model.__module__.rsplit(".", 1)[-1]
                doc = (cls.__doc__ or "").strip().split("\n")[0]
                found.setdefault(name.lower(), (doc, {}))[1].update({n: model.model_fields[n] for n in own})
    return found


def _named(cls: type) -> str:
    return f"{cls.__module__.removeprefix('voxelmill.')}.{cls.__name__}"


def _models(root: Path | None) -> Iterator[type[par.Params]]:
    yield from RUN
    for stage in stages(root).values():
        declared = stage.parameters
        yield from declared.models.values() if isinstance(declared, par.Methods) else [declared]
    yield from own_models(root).values()


def tags(root: Path | None = None) -> dict[str, par.Methods]:
    """Parameters that choose a method: name -> the union."""
    return {s.parameters.tag: s.parameters for s in stages(root).values() if isinstance(s.parameters, par.Methods)}


def methods(union: par.Methods) -> dict[str, list[str]]:
    """Method -> the parameters that not all methods of the union take."""
    everywhere = set.intersection(*(set(model.model_fields) for model in union.models.values()))
    return {method: sorted(set(model.model_fields) - everywhere) for method, model in union.models.items()}


def property_of(prop_name: str, field: Any, unions: dict[str, par.Methods]) -> dict[str, Any]:
    """One field as a property of the schema; sequences are comma-separated strings."""
    from pydantic import TypeAdapter

    kind = TypeAdapter(field.annotation).json_schema()
    options = [o for o in kind.get("anyOf", [kind]) if o.get("type") != "null"]
    kind = options[0] if len(options) == 1 else {"type": "string"}
    plain = {"array": "string"}.get(kind.get("type", "string"), kind.get("type", "string"))
    prop: dict[str, Any] = {"type": plain, "description": field.description}
    if prop_name in unions:
        prop["enum"] = list(unions[prop_name].models)
    elif "enum" in kind:
        prop["enum"] = kind["enum"]
    if kind.get("type") == "array":
        item = next(one for one in (kind.get("items"), *kind.get("prefixItems", ()), {}) if isinstance(one, dict))
        bounds = {name: item[name] for name in BOUNDS if name in item}
        prop["x-list"] = {"items": kind.get("maxItems"), "type": item.get("type", "string"), **bounds}
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
    if extra.get("path"):
        prop["x-path"] = True
    if extra.get("role"):
        prop["x-role"] = extra["role"]
    if extra.get("help_text"):
        prop["help_text"] = extra["help_text"]
    for key, of in (("defaults", "x-defaults"), ("profiles", "x-profiles")):
        if extra.get(key):
            prop[of] = {name: _checked(field, value, f"--{prop_name} in {key} {name}") for name, value in extra[key].items()}
    return prop


def _checked(field: Any, value: Any, where: str) -> Any:
    """The value of a profile or workflow, which must fit the field as its default does; a map's values one by one."""
    from pydantic import TypeAdapter, ValidationError

    if isinstance(value, Mapping):
        return {workflow: _checked(field, one, f"{where}, {workflow}") for workflow, one in value.items()}
    try:
        made: Any = TypeAdapter(Annotated[(field.annotation, "", *field.metadata)]).validate_python(value)
    except ValidationError as error:
        raise ParameterError(f"{where}: {value!r}: {error.errors()[0]['msg']}") from None
    if made == field.get_default(call_default_factory=True) and "defaults" not in field.json_schema_extra:
        raise ParameterError(f"{where}: {value!r} is the default: it changes nothing")
    return value if isinstance(value, bool | int | float) else par.to_text(value)


def schema(root: Path | None = None) -> dict[str, Any]:
    """The whole of `nextflow_schema.json`.

    `x-run`: parameters of every run; `x-stages`, `x-own`: those of each stage, and of a workflow itself; `x-methods`: tag of
    a union -> method -> parameters that are not every method's. In a property, `x-defaults` and `x-profiles` are what
    `param` was given as `defaults` and `profiles`.
    """
    unions = tags(root)
    defs: dict[str, dict[str, Any]] = {
        name: {
            "title": name.replace("_", " ").capitalize(),
            "type": "object",
            "description": doc,
            "properties": {n: property_of(n, f, unions) for n, f in fields.items()},
        }
        for name, (doc, fields) in groups(root).items()
    }
    defs["general"]["properties"]["workflow"]["enum"] = workflows(root)
    made: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Voxelmill parameters",
        "description": "Generated by `voxelmill schema --write`; do not edit.",
        "type": "object",
        "$defs": defs,
        "allOf": [{"$ref": f"#/$defs/{name}"} for name in defs],
        "x-run": [name for model in RUN for name in model.model_fields],
        "x-stages": {name: sorted(par.fields_of(s.parameters)) for name, s in stages(root).items()},
        "x-own": {name: sorted(model.model_fields) for name, model in own_models(root).items()},
        "x-workflows": workflow_stages(root),
        "x-methods": {tag: methods(union) for tag, union in unions.items()},
    }
    _refuse_misplaced(made)
    return made


def _refuse_misplaced(made: dict[str, Any]) -> None:
    """A value for a workflow that there is not or that does not take the parameter, and one of a parameter of the run as a
    whole, which configuration files read before the workflow is known."""
    from .options import Options

    options = Options(made)
    for name, rule in options.rules.items():
        of_profiles = [w for value in rule.get("x-profiles", {}).values() if isinstance(value, Mapping) for w in value]
        for workflow in [*rule.get("x-defaults", {}), *of_profiles]:
            if name in options.run:
                raise ParameterError(f"--{name} is of the run as a whole: it cannot have a value of its own in {workflow}")
            if name not in options.owners.get(workflow, ()):
                raise ParameterError(f"--{name} has a value for {workflow}, which is no workflow that takes it")


def config(root: Path | None = None) -> str:
    """The whole of `conf/params.config`: what configuration files read. All else is filled in from the schema."""
    rows = [
        "// Generated by `voxelmill schema --write`; do not edit.",
        "// What configuration files read. Parameters of stages get their defaults from nextflow_schema.json.",
        "// Only what is not set yet: the strict parser lets an assignment here win over a profile.",
    ]
    whole = schema(root)
    for group in whole["$defs"].values():
        names = [name for name in group["properties"] if name in whole["x-run"]]
        rows += [f"\n// {group['title']}"] if names else []
        rows += [_unless_set(name, group["properties"][name].get("default")) for name in names]
    return "\n".join([*rows, ""])


def presets(root: Path | None = None) -> str:
    """The whole of `conf/presets.config`: a profile for each that a parameter declares."""
    whole = schema(root)
    rules = {name: rule for group in whole["$defs"].values() for name, rule in group["properties"].items()}
    rows = [
        "// Generated by `voxelmill schema --write`; do not edit.",
        "// Profiles that parameters declare. Here stands what configuration files read; the rest, which depends on the",
        "// workflow, is applied from nextflow_schema.json (x-profiles) once that is known.",
        "profiles {",
    ]
    for profile in dict.fromkeys(name for rule in rules.values() for name in rule.get("x-profiles", {})):
        values = {
            n: r["x-profiles"][profile]
            for n, r in rules.items()
            if n in whole["x-run"] and profile in r.get("x-profiles", {})
        }
        rows += [f"    {profile} {{"]
        rows += [f"        {_unless_set(name, value)}" for name, value in values.items()]
        # Under the older parser what a profile sets is seen within it only.
        rows += ["        includeConfig 'cpus.config'", "    }"]
    return "\n".join([*rows, "}", ""])


def _unless_set(name: str, value: Any) -> str:
    names = [*(alias for alias, of in ALIASES.items() if of == name), name]
    given = "".join(f"params.containsKey('{one}') ? params.{one} : " for one in names)
    return f"params.{name} = {given}{_groovy(value)}"


def _groovy(value: Any) -> str:
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
            "| parameter | type | default | profiles | bounds | unit | meaning |",
            "|---|---|---|---|---|---|---|",
        ]
        for name, p in group["properties"].items():
            more = f" {p['help_text']}" if "help_text" in p else ""
            shown = "" if p.get("default") in (None, "") else f"`{par.to_text(p['default'])}`"
            shown += "".join(f"; {workflow}: `{par.to_text(value)}`" for workflow, value in p.get("x-defaults", {}).items())
            rows.append(
                f"| `--{name}` | {_kind(p)} | {shown} | {_profiles(p)} | {_bounds(p)} | {p.get('x-unit', '')} "
                f"| {p['description']}.{more} |"
            )
        rows.append("")
    return "\n".join(rows)


def _profiles(p: dict[str, Any]) -> str:
    """`conservative: 4`, or `conservative (connectome): 4`."""
    rows = []
    for profile, value in p.get("x-profiles", {}).items():
        each = value.items() if isinstance(value, Mapping) else [("", value)]
        rows += [f"{profile}{f' ({workflow})' * bool(workflow)}: `{par.to_text(one)}`" for workflow, one in each]
    return "<br>".join(rows)


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
        "conf/presets.config": presets(root),
        "docs/parameters.md": table(root),
        "docs/dependencies.md": dependencies.page(root or project()),
    }
