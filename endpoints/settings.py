"""Which endpoints there are: the packaged YAML, the person's YAML, the environment."""

import os
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    Field,
    JsonValue,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
    model_validator,
)

from endpoints.errors import ConfigurationError, KeyMissing
from endpoints.prices import ModelPrices, Prices, find_prices, read_prices
from endpoints.values import Frozen, NonBlank
from endpoints.yaml_file import nearest, parse_entries, read_persons_file, unknown_key

FILE_VARIABLE = "MEDFACTORY_ENDPOINTS"
FILE_NAME = "endpoints.yaml"
OVERRIDE = re.compile(r"MEDFACTORY_ENDPOINT_(?P<name>\w+?)_(?P<field>BASE_URL|MODEL)")
OVERRIDE_PREFIX = "MEDFACTORY_ENDPOINT_"
LOOPBACK = ("localhost", "127.0.0.1", "::1")

# In capitals: a key pasted by mistake (hf_AbC…) would be shown in errors and manifests.
VARIABLE_PATTERN = r"^[A-Z_][A-Z0-9_]*$"

NEUTRAL: dict[str, JsonValue] = {"result_neutral": True}


class BatchSettings(Frozen):
    """How requests are gathered for the Batch API, and how often it is asked for the answers.

    A batch is sent when it is full, or when nothing more was asked for `quiet_seconds`.
    """

    poll_seconds: PositiveFloat = 60.0
    quiet_seconds: PositiveFloat = 2.0
    max_requests: Annotated[int, Field(ge=1, le=50_000)] = 10_000
    max_bytes: Annotated[int, Field(ge=1_000, le=200_000_000)] = 100_000_000
    window: Literal["24h"] = "24h"


class EmbeddedSettings(Frozen):
    """The model that runs inside this process.

    `context_tokens` is for one request; `slots` requests run at once. `model_file` is a GGUF
    file (name its content in the endpoint's `model` and `revision`: they are what answers are
    kept under); absent, the one that ships with the project's dependencies.
    """

    slots: PositiveInt = Field(8, json_schema_extra=NEUTRAL)
    context_tokens: PositiveInt = 2048
    threads: PositiveInt = Field(2, json_schema_extra=NEUTRAL)
    model_file: Path | None = Field(None, json_schema_extra=NEUTRAL)


class EndpointSettings(Frozen):
    """One endpoint. What cannot change an answer (address, limits, prices) is result-neutral.

    `key_variable` names the environment variable that holds the key (None: no key is sent).
    `style` says how prompts are best written for the model: `chat` messages, or a
    `transcript` that it continues. `languages` are those in which it can talk. `stream` takes
    answers in pieces, for endpoints that give no others or cut connections that are silent.
    `requests_per_minute` and `tokens_per_minute` bound one process (None: no such limit).
    `structured_outputs`: answers of a fixed shape by the endpoint's own JSON schema, by words in
    the prompt, or (auto) by words where it refuses the schema.
    """

    name: NonBlank
    base_url: str | None = Field(None, json_schema_extra=NEUTRAL)
    model: NonBlank
    revision: str = ""
    key_variable: str | None = Field(None, pattern=VARIABLE_PATTERN, json_schema_extra=NEUTRAL)
    style: Literal["chat", "transcript"] = "chat"
    languages: tuple[Literal["en", "zh"], ...] = Field(("en", "zh"), min_length=1)
    structured_outputs: Literal["auto", "json_schema", "prompt"] = "auto"
    prices: Prices | None = Field(None, json_schema_extra=NEUTRAL)
    free: bool = Field(False, json_schema_extra=NEUTRAL)
    token_limit_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens", json_schema_extra=NEUTRAL
    )
    stream: bool = Field(False, json_schema_extra=NEUTRAL)
    max_in_flight: PositiveInt = Field(32, json_schema_extra=NEUTRAL)
    requests_per_minute: PositiveInt | None = Field(None, json_schema_extra=NEUTRAL)
    tokens_per_minute: PositiveInt | None = Field(None, json_schema_extra=NEUTRAL)
    timeout_seconds: PositiveFloat = Field(120.0, json_schema_extra=NEUTRAL)
    max_attempts: PositiveInt = Field(6, json_schema_extra=NEUTRAL)
    embedded: EmbeddedSettings | None = None
    batch: BatchSettings = Field(BatchSettings(), json_schema_extra=NEUTRAL)

    @model_validator(mode="after")
    def _reachable_in_one_way(self) -> Self:
        if (self.base_url is None) == (self.embedded is None):
            raise ValueError("give exactly one of base_url and embedded")
        if self.base_url is not None:
            _check_url(self.base_url)
        if self.free and self.prices is not None:
            raise ValueError("give prices or `free: true`, not both")
        return self

    @property
    def on_loopback(self) -> bool:
        """Whether the endpoint stands on this machine, so that no proxy may be asked."""
        return self.base_url is None or urlsplit(self.base_url).hostname in LOOPBACK


def _check_url(base_url: str) -> None:
    """Raises ValueError where nothing can be asked there, or where a secret may stand in it."""
    url = urlsplit(base_url)
    if url.scheme not in ("http", "https") or not url.hostname or re.search(r"\s", base_url):
        raise ValueError("base_url must look like https://host/v1")
    try:
        url.port  # noqa: B018  # reading it checks it
    except ValueError:
        raise ValueError("the port in base_url must be a number up to 65535") from None
    if url.username or url.password or url.query or url.fragment:
        raise ValueError(
            "base_url must not hold a user, a password or anything after '?' or '#'; name the "
            "variable that holds the key in key_variable"
        )


def variable_name(name: str) -> str:
    """An endpoint's name as it stands in environment variables."""
    return re.sub(r"\W", "_", name).upper()


def cost_usd(
    settings: EndpointSettings,
    prompt_tokens: int,
    completion_tokens: int,
    cached_tokens: int = 0,
    batch: bool = False,
) -> float:
    """What the tokens cost, in US dollars; 0.0 where the endpoint is free.

    `cached_tokens` are those of the prompt that the endpoint had in its cache. `batch`: at the
    price of the Batch API. Raises ConfigurationError where there is neither a price nor `free`.
    """
    if settings.free:
        return 0.0
    if settings.prices is None:
        raise ConfigurationError(
            f"endpoint '{settings.name}' (model {settings.model}) has no price, so no budget can "
            "be kept. Nothing was sent. Write into its entry in endpoints.yaml `prices: "
            "{input_usd_per_million_tokens: …, output_usd_per_million_tokens: …, as_of: "
            "YYYY-MM-DD}`, or the same under its model in prices.yaml, or `free: true` if it "
            "costs nothing."
        )
    return settings.prices.cost_usd(prompt_tokens, completion_tokens, cached_tokens, batch)


def read_key(settings: EndpointSettings, environment: Mapping[str, str]) -> SecretStr | None:
    """The endpoint's key, from the environment, now; None where it needs none.

    Raises KeyMissing where the variable is absent or empty, ConfigurationError where what it
    holds cannot be a key.
    """
    if settings.key_variable is None:
        return None
    key = environment.get(settings.key_variable, "").strip()
    if not key:
        raise KeyMissing(
            f"endpoint '{settings.name}' at {settings.base_url} needs a key, and the environment "
            f"variable {settings.key_variable} is not set. Nothing was sent. Set it (export "
            f"{settings.key_variable}=…), or run with the endpoint 'embedded', which needs none."
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigurationError(
            f"the environment variable {settings.key_variable} of endpoint '{settings.name}' holds "
            "something that cannot be a key: a space, a line break or a character outside ASCII "
            "stands in it. Nothing was sent. Set it to the bare key, without 'Bearer' and quotes."
        )
    return SecretStr(key)


def read_endpoints(
    path: Path | None = None, environment: Mapping[str, str] | None = None
) -> dict[str, EndpointSettings]:
    """All endpoints by name: the packaged ones, under those of the person's file.

    The file is `path`, else the one that $MEDFACTORY_ENDPOINTS names, else `endpoints.yaml`
    in the working directory where it exists. Where an endpoint gives no prices, those of its
    model are looked up (see `prices.read_prices`). MEDFACTORY_ENDPOINT_<NAME>_BASE_URL and
    …_MODEL override one endpoint. `environment`: os.environ where None.
    Raises ConfigurationError naming the file, the key and the nearest allowed one.
    """
    variables = os.environ if environment is None else environment
    default = files("endpoints").joinpath("default.yaml").read_text(encoding="utf-8")
    packaged = parse_entries(default, "endpoints/default.yaml")
    entries = dict(packaged)
    origin = dict.fromkeys(entries, "endpoints/default.yaml")
    person = read_persons_file("endpoints'", FILE_NAME, FILE_VARIABLE, variables, path)
    if person is not None:
        for name, entry in parse_entries(person.text, str(person.path)).items():
            entries[name] = _merge(entries.get(name, {}), entry)
            origin[name] = str(person.path)
    _override(entries, origin, variables)
    built = {name: _build(name, entry, origin[name]) for name, entry in entries.items()}
    for name in packaged:
        _check_own_model(built[name], packaged[name], origin[name])
    prices = read_prices(variables)
    return {name: _priced(settings, prices) for name, settings in built.items()}


def find_endpoint(endpoints: Mapping[str, EndpointSettings], name: str) -> EndpointSettings:
    """The endpoint of that name. Raises ConfigurationError listing those that exist."""
    if name in endpoints:
        return endpoints[name]
    raise ConfigurationError(
        f"no endpoint is called '{name}'{nearest(name, endpoints)}. There are: "
        f"{', '.join(sorted(endpoints))}. Declare it in {FILE_NAME}, or choose one of these."
    )


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = _merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def _override(
    entries: dict[str, dict[str, Any]], origin: dict[str, str], variables: Mapping[str, str]
) -> None:
    by_variable = {variable_name(name): name for name in entries}
    twins = {variable_name(name) for name in entries if by_variable[variable_name(name)] != name}
    for variable in sorted(v for v in variables if v.startswith(OVERRIDE_PREFIX)):
        match = OVERRIDE.fullmatch(variable)
        name = by_variable.get(match["name"]) if match else None
        if match is None or name is None:
            known = [
                f"{OVERRIDE_PREFIX}{n}_{f}" for n in by_variable for f in ("BASE_URL", "MODEL")
            ]
            raise ConfigurationError(
                f"the environment variable {variable} overrides no endpoint"
                f"{nearest(variable, known)}. Endpoints: {', '.join(sorted(entries))}; fields: "
                "BASE_URL, MODEL. Correct or unset it."
            )
        if match["name"] in twins:
            both = [n for n in entries if variable_name(n) == match["name"]]
            raise ConfigurationError(
                f"the environment variable {variable} fits several endpoints: {', '.join(both)}. "
                "Rename one of them, or unset it."
            )
        entries[name] = entries[name] | {match["field"].lower(): variables[variable]}
        origin[name] += f" with ${variable}"


def _build(name: str, entry: dict[str, Any], origin: str) -> EndpointSettings:
    if "name" in entry:
        raise unknown_key(origin, f"endpoints.{name}.name", _allowed([]))
    try:
        return EndpointSettings.model_validate({"name": name} | entry)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        # A misspelt key first: it explains why another one is missing.
        first = min(found, key=lambda fault: fault["type"] != "extra_forbidden")
        where = [str(part) for part in first["loc"]]
        if first["type"] == "extra_forbidden":
            raise unknown_key(
                origin, ".".join(["endpoints", name, *where]), _allowed(where[:-1])
            ) from None
        place = ".".join(["endpoints", name, *where])
        variable = " with the name of an environment variable, in capitals"
        how = variable if where[-1:] == ["key_variable"] else ""
        raise ConfigurationError(
            f"{origin}: {place}: {first['msg']}. Correct it{how}; endpoints/default.yaml is an "
            "example."
        ) from None


def _priced(settings: EndpointSettings, prices: Mapping[str, ModelPrices]) -> EndpointSettings:
    if settings.free or settings.prices is not None:
        return settings
    found = find_prices(prices, settings.model, settings.base_url)
    return settings if found is None else settings.model_copy(update={"prices": found})


def _check_own_model(settings: EndpointSettings, packaged: dict[str, Any], origin: str) -> None:
    """A model file of the person's own needs a name of its own: answers are kept under it."""
    own = settings.embedded is not None and settings.embedded.model_file is not None
    named = {"model": settings.model, "revision": settings.revision}
    if own and named.items() <= packaged.items():
        raise ConfigurationError(
            f"{origin}: endpoints.{settings.name} has a model_file of its own, but the model and "
            "revision of the one that ships, whose answers would be taken for its. Name what the "
            "file holds in `model` (and `revision`)."
        )


def _allowed(parents: list[str]) -> tuple[str, ...]:
    models: dict[str, type[Frozen]] = {
        "prices": Prices,
        "embedded": EmbeddedSettings,
        "batch": BatchSettings,
    }
    model = models[parents[-1]] if parents else EndpointSettings
    return tuple(field for field in model.model_fields if field != "name")
