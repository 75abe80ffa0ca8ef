"""Profiles and changes to them: YAML values, dotted overrides, and clear errors for both."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, JsonValue, ValidationError

from endpoints.yaml_file import EachKeyOnce

PROFILES = Path(__file__).resolve().parents[1] / "deployments" / "profiles"


class SettingsError(ValueError):
    """A profile or an override cannot be used; the message names it and what is allowed."""


def read_profile(profile: str) -> dict[str, Any]:
    """The values of a profile: a name under `deployments/profiles`, or a path of a YAML file."""
    path = Path(profile)
    if path.suffix not in (".yaml", ".yml"):
        path = PROFILES / f"{profile}.yaml"
    if not path.is_file():
        names = sorted(p.stem for p in PROFILES.glob("*.yaml"))
        raise SettingsError(
            f"no profile {profile!r}: {path} does not exist. Give one of {names}, or the path of "
            "a YAML file."
        )
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), EachKeyOnce)
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(values, dict):
        raise SettingsError(f"{path} holds {type(values).__name__}, not settings by name")
    return values


def apply_overrides(
    values: dict[str, Any], overrides: Mapping[str, JsonValue], shorthands: Mapping[str, str]
) -> dict[str, Any]:
    """Values with dotted names replaced: `{"dpo.beta": 0.2}`.

    `shorthands` maps a first name to its full prefix ("dpo" → "stages.dpo").
    Raises SettingsError where a name leads through something that holds no names.
    """
    changed: dict[str, Any] = _copy(values)
    for name, value in overrides.items():
        first, dot, rest = name.partition(".")
        parts = (shorthands.get(first, first) + dot + rest).split(".")
        place = changed
        for part in parts[:-1]:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise SettingsError(f"override {name!r}: {part!r} is a value, it holds no settings")
        place[parts[-1]] = value
    return changed


def parse_assignments(assignments: list[str]) -> dict[str, JsonValue]:
    """Overrides from `name=value` words of a command line; values are read as YAML."""
    overrides: dict[str, JsonValue] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name:
            raise SettingsError(f"--set {assignment!r}: write name=value, such as dpo.beta=0.2")
        try:
            overrides[name] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise SettingsError(f"--set {assignment!r}: the value is not YAML: {error}") from error
    return overrides


def explain(error: ValidationError, model: type[BaseModel], where: str) -> SettingsError:
    """Say which settings are wrong, what was given, and what was perhaps meant."""
    lines = []
    for fault in error.errors():
        name = ".".join(str(part) for part in fault["loc"] if part != "[key]")
        if fault["type"] == "extra_forbidden":
            known = _fields_at(model, fault["loc"][:-1])
            near = difflib.get_close_matches(str(fault["loc"][-1]), known, n=1)
            meant = f"did you mean {near[0]!r}? " if near else ""
            lines.append(f"{name}: no such setting; {meant}allowed: {', '.join(sorted(known))}")
        elif not name:  # what is wrong with all together; its message names what was given
            lines.append(fault["msg"].removeprefix("Value error, "))
        else:
            lines.append(f"{name}: {fault['msg']} (got {fault['input']!r})")
    return SettingsError(f"{where}:\n  " + "\n  ".join(lines))


def _fields_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The names allowed at a place, followed through nested models, mappings and unions."""
    found: list[Any] = [model]
    for part in location:
        inner: list[Any] = []
        for candidate in found:
            for kind in _models(candidate):
                if str(part) in kind.model_fields:
                    inner.append(kind.model_fields[str(part)].annotation)
        found = inner or found
    models = [kind for candidate in found for kind in _models(candidate)]
    return [name for kind in models for name in kind.model_fields]


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    inner = getattr(annotation, "__args__", ())
    return [kind for argument in inner for kind in _models(argument)]


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copy(inner) for name, inner in value.items()}
    return value
