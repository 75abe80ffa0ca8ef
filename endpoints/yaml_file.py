"""A YAML file of endpoints as plain mappings, with errors that name the file and the place."""

import difflib
from collections.abc import Hashable, Iterable
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


def parse_entries(text: str, origin: str) -> dict[str, dict[str, Any]]:
    """The mappings below `endpoints`, by name. Raises ConfigurationError naming `origin`."""
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
        raise ConfigurationError(
            f"{origin} is not YAML{where}; see endpoints/default.yaml"
        ) from None
    except yaml.YAMLError:
        raise ConfigurationError(f"{origin} is not YAML; see endpoints/default.yaml") from None
    if not isinstance(loaded, dict):
        raise ConfigurationError(f"{origin}: expected a mapping with the key 'endpoints'")
    for key in loaded:
        if key != "endpoints":
            raise unknown_key(origin, str(key), ("endpoints",))
    entries = loaded.get("endpoints") or {}
    if not isinstance(entries, dict) or not all(isinstance(e, dict) for e in entries.values()):
        raise ConfigurationError(f"{origin}: 'endpoints' must map each name to its settings")
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
