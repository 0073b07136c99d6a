"""The parameters of a run: given values, profiles and defaults made into what each stage is called with.

A value comes, the first that there is, from the command line or `-params-file`, from a configuration file, from a profile
(`profiles=` in the parameter's declaration), from the workflow's own default (`defaults=`), from the default. All is read
from `nextflow_schema.json`, so that neither the models nor anything else need be imported: standard library only, for the
head node may have nothing else, and an answer takes a tenth of a second.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from .errors import ParameterError
from .words import flags, to_text

PROJECT = Path(__file__).resolve().parents[3]
ALIASES = {"output": "outdir"}  # other names that people script with


def nearest(name: str, known: Iterable[str]) -> str:
    """` Did you mean --x?`, or nothing when no known name is near."""
    import difflib

    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean --{close[0]}?" if close else ""


def unaliased(given: Mapping[str, Any]) -> dict[str, Any]:
    """Given values under the names that the schema has. Raises ParameterError where both names say different things."""
    found = {name: value for name, value in given.items() if name not in ALIASES}
    for alias, name in ALIASES.items():
        if given.get(alias) is None:
            continue
        if found.get(name) not in (None, given[alias]):
            raise ParameterError(f"--{alias} {given[alias]} and --{name} {found[name]} are one parameter: give one of them")
        found[name] = given[alias]
    return found


class Options:
    """What the schema knows of parameters.

    Attributes:
        rules: parameter -> its property in the schema.
        owners: workflow -> parameters that it or one of its stages takes, those of the run as a whole left out.
    """

    def __init__(self, schema: Mapping[str, Any]):
        self.schema = schema
        self.rules: dict[str, dict[str, Any]] = {}
        for group in schema["$defs"].values():
            self.rules.update(group["properties"])
        self.run: list[str] = schema["x-run"]
        self.owners = {
            workflow: {name for stage in stages for name in schema["x-stages"][stage]}
            | set(schema["x-own"].get(workflow, ()))
            for workflow, stages in schema["x-workflows"].items()
        }

    def workflow(self, *values: Mapping[str, Any]) -> str:
        """The chosen workflow; the first mapping that names one decides."""
        found = next((one["workflow"] for one in values if one.get("workflow")), None)
        return self.converted("workflow", found or self.rules["workflow"]["default"])

    def refuse_unknown(self, given: Mapping[str, Any]) -> None:
        for name in given:
            if name not in self.rules and not _is_alias(name, given):
                raise ParameterError(f"unknown parameter --{name}.{nearest(name, self.rules)}")

    def refuse_foreign(self, given: Mapping[str, Any], workflow: str) -> None:
        """A parameter that only another workflow uses is a mistake, unless it has its default."""
        for name, value in given.items():
            if name not in self.rules or name in self.run or name in self.owners[workflow]:
                continue
            if self.converted(name, value) != self.default(name, ""):
                owners = " and ".join(w for w, names in self.owners.items() if name in names)
                raise ParameterError(f"--{name} has no use in --workflow {workflow}; it belongs to {owners}")

    def default(self, name: str, workflow: str) -> Any:
        """The workflow's default of a parameter, of its declared type."""
        rule = self.rules[name]
        return self.converted(name, rule.get("x-defaults", {}).get(workflow, rule.get("default")))

    def preset(self, name: str, workflow: str, profiles: Iterable[str]) -> tuple[str, Any] | None:
        """(profile, value) that a profile gives a parameter in a workflow."""
        found: tuple[str, Any] | None = None
        for profile in profiles:
            value = self.rules[name].get("x-profiles", {}).get(profile)
            if isinstance(value, Mapping):
                value = value.get(workflow)
            if value is None:
                continue
            value = self.converted(name, value)
            if found and found[1] != value:
                raise ParameterError(f"-profile {found[0]} and {profile} both set --{name}: choose one")
            found = found or (profile, value)
        return found

    def converted(self, name: str, value: Any) -> Any:
        """A value, mostly text, brought to its declared type; `None` for what is not given."""
        rule = self.rules[name]
        if value is None or str(value) in ("", "null"):
            return None
        text = ",".join(map(to_text, value)) if isinstance(value, (list, tuple)) else to_text(value)
        if "enum" in rule and text not in map(str, rule["enum"]):
            raise wrong(name, text, f"one of {', '.join(map(str, rule['enum']))}")
        if "pattern" in rule and not re.search(rule["pattern"], text):
            raise wrong(name, text, f"something like {rule['default']}" if rule.get("default") else rule["description"])
        if rule["type"] == "boolean":
            if text.lower() not in ("true", "false"):
                raise wrong(name, text, "true or false")
            return text.lower() == "true"
        if rule["type"] in ("integer", "number"):
            return _number(name, text, rule)
        of = rule.get("x-list", {"type": "string", "items": None})
        given = [one for one in re.split(r"[,\s]+", text.strip("[](), ")) if one]
        if of["items"] and len(given) != of["items"]:
            raise wrong(name, text, f"{of['items']} values with commas between")
        for one in given if of["type"] != "string" else ():
            _number(name, one, of | {"text": text})
        return ",".join(given) if of["items"] else text

    def resolve(self, given: Mapping[str, Any], config: Mapping[str, Any], profiles: Iterable[str]) -> dict[str, Any]:
        """All options of a run.

        Args:
            given: from the command line and `-params-file`; what it has too much is an error.
            config: from configuration files; what no stage of the workflow takes is passed over.
            profiles: as `-profile` names them.

        Returns:
            `options` by name with their declared types, `flags` by stage (and STAGE_ROLE), `preset` ({name: {profile,
            value, default}} of what a profile has changed), `ignored` (names in `config` that nothing knows).
        """
        self.refuse_unknown(given)
        workflow = self.workflow(given, config)
        self.refuse_foreign(given, workflow)
        options: dict[str, Any] = {}
        preset: dict[str, Any] = {}
        own = [name for name in self.rules if name in self.run or name in self.owners[workflow]]
        profiles = list(profiles)
        for name in own:
            default, of_profile = self.default(name, workflow), self.preset(name, workflow, profiles)
            if given.get(name) is not None:
                options[name] = self.converted(name, given[name])
            elif config.get(name) is not None:
                options[name] = self.converted(name, config[name])
            else:
                options[name] = of_profile[1] if of_profile else default
            if of_profile and name not in given and options[name] == of_profile[1] != default:
                preset[name] = {"profile": of_profile[0], "value": options[name], "default": default}
        taken = {stage: self._taken(stage, options) for stage in self.schema["x-workflows"][workflow]}
        used = set(self.run).union(self.schema["x-own"].get(workflow, ()), *taken.values())
        for name in (name for name in own if name not in used):
            if name in given and options[name] != self.default(name, workflow):
                raise self._of_another_method(name, given[name], options)
            options[name] = self.default(name, workflow)
        return {
            "options": options,
            "flags": {
                task: flags({name: options[name] for name in names if options[name] is not None})
                for stage, names in taken.items()
                for task, names in self._by_role(stage, names)
            },
            "preset": {name: one for name, one in preset.items() if name in used},
            "ignored": [name for name in config if name not in self.rules and not _is_alias(name, config)],
        }

    def _by_role(self, stage: str, names: list[str]) -> list[tuple[str, list[str]]]:
        """A stage with its parameters, and STAGE_ROLE with those of that role, too."""
        role = {name: self.rules[name].get("x-role", "") for name in names}
        return [
            ("_".join(filter(None, [stage, one])), [n for n in names if role[n] in ("", one)]) for one in {"", *role.values()}
        ]

    def _taken(self, stage: str, options: Mapping[str, Any]) -> list[str]:
        """Parameters that a stage takes with the chosen method."""
        names = self.schema["x-stages"][stage]
        for tag in (tag for tag in self.schema["x-methods"] if tag in names):
            methods = self.schema["x-methods"][tag]
            others = {name for of in methods.values() for name in of} - set(methods[options[tag]])
            names = [name for name in names if name not in others]
        return names

    def _of_another_method(self, name: str, value: Any, options: Mapping[str, Any]) -> ParameterError:
        tag, owners = next(
            (tag, [method for method, names in methods.items() if name in names])
            for tag, methods in self.schema["x-methods"].items()
            if tag in options and any(name in names for names in methods.values())
        )
        return ParameterError(
            f"--{name} {to_text(value)!r} has no use with --{tag} {options[tag]}; it belongs to {' and '.join(owners)}"
        )

    def help(self, of: str = "") -> str:
        """All parameters in their groups, or those of one workflow."""
        names = [of] if of else list(self.owners)
        rows = ["Voxelmill", ""]
        rows += [f"  nextflow run main.nf --workflow {name} --input PATH|URI --outdir DIR" for name in names]
        for group in self.schema["$defs"].values():
            shown = [n for n in group["properties"] if not of or n in self.run or n in self.owners[of]]
            if shown:
                rows += ["", f"{group['title']}: {group['description']}", *(self._help_of(n, of) for n in shown)]
        return "\n".join(rows)

    def _help_of(self, name: str, workflow: str) -> str:
        rule = self.rules[name]
        default = rule.get("x-defaults", {}).get(workflow, rule.get("default"))
        unit = f" {rule['x-unit']}" if "x-unit" in rule else ""
        values = f" ({' | '.join(map(str, rule['enum']))})" if "enum" in rule else ""
        usual = "" if default in (None, "") else f" [{to_text(default)}{unit}]"
        others = "".join(
            f" [{profile}: {to_text(value)}]"
            for profile in rule.get("x-profiles", {})
            for found in [self.preset(name, workflow, [profile]) if workflow else None]
            for value in [found[1] if found else None]
            if value is not None
        )
        return f"  --{name:<24} {rule['description']}{values}{usual}{others}"


def _is_alias(name: str, given: Mapping[str, Any]) -> bool:
    """Nextflow also sets `fooBar` for `--foo-bar`."""
    dashed = re.sub(r"([a-z0-9])([A-Z])", r"\1-\2", name).lower()
    return dashed != name and dashed in given


def wrong(name: str, value: str, wanted: str) -> ParameterError:
    return ParameterError(f"--{name} {value}: expected {wanted}")


BOUNDS = {
    "minimum": (lambda a, b: a >= b, "at least"),
    "exclusiveMinimum": (lambda a, b: a > b, "more than"),
    "maximum": (lambda a, b: a <= b, "at most"),
    "exclusiveMaximum": (lambda a, b: a < b, "less than"),
}


def _number(name: str, one: str, rule: Mapping[str, Any]) -> int | float:
    """A number within its bounds; `rule` may have the whole `text` of a list that it stands in."""
    whole, text = rule["type"] == "integer", rule.get("text", one)
    try:
        value = Decimal(one)
    except InvalidOperation:
        value = Decimal("nan")
    if not (value.is_finite() and math.isfinite(float(value))) or (whole and value != value.to_integral_value()):
        kind = "a whole number" if whole else "a number"
        raise wrong(name, text, kind if text == one else f"{kind} in place of {one}")
    for bound, (fits, words) in BOUNDS.items():
        if bound in rule and not fits(value, Decimal(str(rule[bound]))):
            raise wrong(name, text, f"{words} {rule[bound]}" + ("" if text == one else " each"))
    return int(value) if whole else float(value)


def said_of_preset(preset: Mapping[str, Any]) -> list[str]:
    """One line a profile: what it has changed."""
    by_profile: dict[str, list[str]] = {}
    for name, one in preset.items():
        usual = "none" if one["default"] is None else to_text(one["default"])
        by_profile.setdefault(one["profile"], []).append(f"--{name} {to_text(one['value'])} (else {usual})")
    return [f"profile {profile}: {', '.join(rows)}" for profile, rows in by_profile.items()]


def load(project: Path = PROJECT) -> Options:
    return Options(json.loads((project / "nextflow_schema.json").read_text(encoding="utf-8")))
