"""Parameter models: each parameter is written down once, here begins everything made from it.

A stage subclasses `Params` and declares fields with `param`. From the fields come the script's
command line, `nextflow_schema.json`, `conf/params.config` and the tables in `docs/parameters.md`.

A choice among methods is a tagged union: one model per method, joined by `Methods`. A parameter of
a method that was not chosen is an error unless it still has its default.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticUndefined

from .errors import ParameterError
from .options import nearest


def param(
    default: Any,
    help: str,
    *,
    unit: str = "",
    more: str = "",
    defaults: Mapping[str, Any] | None = None,
    profiles: Mapping[str, Any] | None = None,
    path: bool = False,
    role: str = "",
    **bounds: Any,
) -> Any:
    """A field with its one line of help, unit and bounds (`ge`, `gt`, `le`, `lt`, `pattern`).

    Args:
        defaults: workflow -> the default that it has there.
        profiles: profile -> its value with `-profile NAME`, in every workflow or, as {workflow: value}, in these.
        role: only tasks of this role (`flags.STAGE_ROLE` in a workflow) get it; others do not depend on it.
        path: a local file or folder, or a URI; one that is not there is refused before anything starts.
    """
    extra: Any = {
        "unit": unit,
        "help_text": more,
        "defaults": dict(defaults or {}),
        "profiles": dict(profiles or {}),
        "path": path,
        "role": role,
    }
    return Field(default, description=help, json_schema_extra={k: v for k, v in extra.items() if v}, **bounds)


class Params(BaseModel):
    """Base of all parameter models. Unknown names are errors; instances do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Methods:
    """A tagged union: `Methods("segmentation", Classic, Learned)`; the first is the default."""

    def __init__(self, tag: str, *models: type[Params]):
        self.tag, self.models = tag, {literal(m, tag): m for m in models}

    @property
    def default(self) -> str:
        return next(iter(self.models))


Declared = type[Params] | Methods


def literal(model: type[Params], tag: str) -> str:
    """The value that names this model in the union (`segmentation: Literal["classic"]`)."""
    (value,) = get_args(model.model_fields[tag].annotation)
    return value


def fields_of(declared: Declared) -> dict[str, Any]:
    """All fields of a model or union by name; of the union's tag, the first model's."""
    models = declared.models.values() if isinstance(declared, Methods) else [declared]
    found: dict[str, Any] = {}
    for model in models:
        for name, field in model.model_fields.items():
            found.setdefault(name, field)
    return found


def refuse_unknown(names: Iterable[str], known: Iterable[str]) -> None:
    """Raise `ParameterError` for the first name that is not known."""
    known = set(known)
    for name in names:
        if name not in known:
            raise ParameterError(f"unknown parameter --{name}.{nearest(name, known)}")


def parse(declared: Declared, given: Mapping[str, Any]) -> Params:
    """Validate names and values (strings as they come from a command line) into a model."""
    refuse_unknown(given, fields_of(declared))
    model, given = _choose(declared, dict(given)) if isinstance(declared, Methods) else (declared, given)
    try:
        return model.model_validate({k: _from_text(model, k, v) for k, v in given.items()})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(p) for p in first["loc"]) or model.__name__
        raise ParameterError(f"--{name} {first.get('input')!r}: {first['msg']}") from None


def _choose(union: Methods, given: dict[str, Any]) -> tuple[type[Params], dict[str, Any]]:
    method = given.get(union.tag, union.default)
    if method not in union.models:
        raise ParameterError(f"--{union.tag} {method!r}: expected one of {', '.join(union.models)}")
    model = union.models[method]
    for name in [n for n in given if n not in model.model_fields]:
        value = given.pop(name)
        if not _is_default(union, name, value):
            owners = [m for m, k in union.models.items() if name in k.model_fields]
            raise ParameterError(
                f"--{name} {value!r} has no use with --{union.tag} {method}; it belongs to {' and '.join(owners)}"
            )
    return model, given


def _is_default(union: Methods, name: str, value: Any) -> bool:
    """Whether a value, or its text, is the default of a field: `0` and `0.0` are one number."""
    owner = next(model for model in union.models.values() if name in model.model_fields)
    default = owner.model_fields[name].get_default(call_default_factory=True)
    if str(value).lower() == to_text(default).lower():
        return True
    try:
        given: Any = TypeAdapter(owner.model_fields[name].annotation).validate_python(_from_text(owner, name, value))
    except ValidationError:
        return False
    return bool(given == default)


def _from_text(model: type[Params], name: str, value: Any) -> Any:
    """`''` and `'null'` mean not given; `'1,2'` or `'1 2'` is a list where the field is one."""
    if not isinstance(value, str):
        return value
    field = model.model_fields[name]
    if value in ("", "null") and (field.default is None or _is_sequence(field.annotation)):
        return field.get_default(call_default_factory=True)
    if get_origin(field.annotation) is Literal:
        return {str(choice): choice for choice in get_args(field.annotation)}.get(value, value)
    if _is_sequence(field.annotation):
        return re.split(r"[,\s]+", value.strip("[](), "))
    return value


def _is_sequence(annotation: Any) -> bool:
    return any(getattr(t, "__origin__", t) in (list, tuple) for t in (annotation, *get_args(annotation)))


def to_text(value: Any) -> str:
    """The form in which a value stands on a command line or in a config."""
    if value is None or value is PydanticUndefined:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(to_text(v) for v in value)
    return str(value)


def canonical(params: BaseModel) -> str:
    """Canonical JSON of a parameter set: what its hash is taken of."""
    return json.dumps(params.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
