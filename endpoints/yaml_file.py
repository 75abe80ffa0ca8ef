"""A YAML file of endpoints or prices as plain mappings, with errors that name the place."""

import difflib
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from endpoints.errors import ConfigurationError


class EachKeyOnce(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would drop the first in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Called for each mapping of the file."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    problem = f"the key '{key.value}' stands there twice"
                    raise KeyTwice(None, None, problem, key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


class KeyTwice(yaml.constructor.ConstructorError):
    """A mapping gives one key twice."""


@dataclass(frozen=True)
class PersonsFile:
    """A file of the person's own, read."""

    path: Path
    text: str


def read_persons_file(
    what: str,
    name: str,
    variable: str,
    environment: Mapping[str, str],
    path: Path | None = None,
) -> PersonsFile | None:
    """The file at `path`, else the one that $`variable` names, else `name` here; None: no such.

    `what`: whose it is, for the message. Raises ConfigurationError where it cannot be read.
    """
    if path is None:
        named = environment.get(variable)
        path = Path(named) if named else Path(name)
        if not named and not path.is_file():
            return None
    try:
        return PersonsFile(path, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"the {what} file {path} cannot be read: {error}. Correct ${variable} or the path, or "
            f"remove it to use the packaged {what.rstrip(chr(39))}."
        ) from error


def parse_entries(
    text: str, origin: str, top: str = "endpoints", example: str = "endpoints/default.yaml"
) -> dict[str, dict[str, Any]]:
    """The mappings below the key `top`, by name. Raises ConfigurationError naming `origin`."""
    try:
        # A safe loader, that makes nothing but plain values.
        loaded = yaml.load(text, EachKeyOnce)
    except yaml.MarkedYAMLError as error:
        where = f" at line {error.problem_mark.line + 1}" if error.problem_mark else ""
        if isinstance(error, KeyTwice):
            raise ConfigurationError(
                f"{origin}{where}: {error.problem}. Only one of the two can be meant: remove the "
                "other."
            ) from None
        raise ConfigurationError(f"{origin} is not YAML{where}; see {example}") from None
    except yaml.YAMLError:
        raise ConfigurationError(f"{origin} is not YAML; see {example}") from None
    if not isinstance(loaded, dict):
        raise ConfigurationError(f"{origin}: expected a mapping with the key '{top}'")
    for key in loaded:
        if key != top:
            raise unknown_key(origin, str(key), (top,))
    entries = loaded.get(top) or {}
    if not isinstance(entries, dict) or not all(isinstance(e, dict) for e in entries.values()):
        raise ConfigurationError(f"{origin}: '{top}' must map each name to its settings")
    return {str(name): entry for name, entry in entries.items()}


def unknown_key(origin: str, place: str, allowed: tuple[str, ...]) -> ConfigurationError:
    """The error for a key that does not exist, with the nearest that does."""
    key = place.rpartition(".")[2]
    secret = (
        " A key is never written into a file: put it into an environment variable and name that "
        "variable in key_variable."
        if "key" in key.lower() and "key_variable" in allowed
        else ""
    )
    return ConfigurationError(
        f"{origin}: unknown key '{place}'{nearest(key, allowed)}. Allowed here: "
        f"{', '.join(allowed)}.{secret}"
    )


def nearest(word: str, among: Iterable[str]) -> str:
    """A hint at the most similar of some words; empty where none is."""
    close = difflib.get_close_matches(word, list(among), n=1, cutoff=0.5)
    return f" (did you mean '{close[0]}'?)" if close else ""
