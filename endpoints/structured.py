"""Answers of a fixed shape: by the endpoint's JSON schema, or by words and one repair.

An answer that does not fit is shown to the model once, with what is wrong with it. What then
still does not fit is a FaultyCompletion: `no_json` or `schema_mismatch`.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, JsonValue, ValidationError

from artifacts.digest import canonical_json
from endpoints.errors import FaultName, FaultyCompletion
from endpoints.pool import Answered, Ask, Pool
from endpoints.request import ChatMessage, ChatRequest
from endpoints.settings import EndpointSettings

ValueT = TypeVar("ValueT", bound=BaseModel)
# What strict schemas may hold at the endpoints that have them; the rest is checked here.
KEPT = frozenset(
    {
        *("type", "properties", "required", "additionalProperties", "items", "enum", "const"),
        *("anyOf", "$ref", "$defs", "description", "prefixItems"),
    }
)
MOST_ERRORS_SHOWN = 5


@dataclass(frozen=True)
class Structured(Generic[ValueT]):
    """A value, the answer that held it, and whether it took a repair."""

    value: ValueT
    answered: Answered
    repaired: bool


class _Misfit(ValueError):
    def __init__(self, fault: FaultName, detail: str) -> None:
        super().__init__(detail)
        self.fault: FaultName = fault


async def ask_structured(
    pool: Pool, ask: Ask, shape: type[ValueT], name: str, language: Literal["en", "zh"]
) -> Structured[ValueT]:
    """The answer to a chat request as a value of `shape`.

    `ask` makes the request (messages, no schema); `name` is the pool's draw; `language` that of
    the words about the shape. Raises FaultyCompletion, and whatever ends a run.
    """
    schema = strict_schema(shape)
    words = _Words(schema, language, pool.without_schema)
    answered = await _first(pool, ask, words, name)
    try:
        return Structured(read_value(answered.completion.text, shape), answered, repaired=False)
    except _Misfit as misfit:
        bad, told = answered.completion.text, str(misfit)
    again = await pool.complete(lambda e: words.repair(ask(e), e, bad, told), name)
    try:
        return Structured(read_value(again.completion.text, shape), again, repaired=True)
    except _Misfit as misfit:
        raise FaultyCompletion(
            f"endpoint '{again.endpoint.name}' gave no {shape.__name__}, also after it was shown "
            f"what was wrong: {misfit}",
            misfit.fault,
            again.completion,
        ) from None


async def _first(pool: Pool, ask: Ask, words: "_Words", name: str) -> Answered:
    try:
        return await pool.complete(lambda e: words.put(ask(e), e), name)
    except FaultyCompletion as faulty:
        # An endpoint that knows no schemas says so by a 400, which costs nothing.
        if faulty.fault != "bad_request" or not words.sent_schema:
            raise
    words.by_words |= words.sent_schema
    return await pool.complete(lambda e: words.put(ask(e), e), name)


@dataclass
class _Words:
    """How the shape is told: `by_words` are the endpoints that refused the schema."""

    schema: dict[str, JsonValue]
    language: Literal["en", "zh"]
    by_words: set[str]

    def __post_init__(self) -> None:
        self.sent_schema: set[str] = set()

    def put(self, request: ChatRequest, endpoint: EndpointSettings) -> ChatRequest:
        """The request with the shape asked for."""
        if endpoint.structured_outputs != "prompt" and endpoint.name not in self.by_words:
            if endpoint.structured_outputs == "auto":
                self.sent_schema.add(endpoint.name)
            return request.with_changes(json_schema=self.schema)
        *before, last = request.messages or ()
        text = _text(self.language, "shape").format(schema=canonical_json(self.schema))
        told = ChatMessage(role=last.role, content=f"{last.content}\n\n{text}")
        return request.with_changes(messages=(*before, told))

    def repair(
        self, request: ChatRequest, endpoint: EndpointSettings, bad: str, error: str
    ) -> ChatRequest:
        """The request again, with the answer that did not fit and why."""
        asked = self.put(request, endpoint)
        said = (
            ChatMessage(role="assistant", content=bad),
            ChatMessage(role="user", content=_text(self.language, "repair").format(error=error)),
        )
        return asked.with_changes(messages=(*(asked.messages or ()), *said))


def read_value(text: str, shape: type[ValueT]) -> ValueT:
    """The JSON object of an answer, also where a fence or words stand around it.

    Raises ValueError saying what does not fit.
    """
    value = _find_object(text)
    if value is None:
        raise _Misfit("no_json", f"no JSON object stands in it: {text[:80]!r}")
    try:
        return shape.model_validate_json(json.dumps(value))
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[:MOST_ERRORS_SHOWN]
        faults = (f"{'.'.join(map(str, e['loc'])) or 'the object'}: {e['msg']}" for e in found)
        raise _Misfit("schema_mismatch", "; ".join(faults)) from None


def strict_schema(shape: type[BaseModel]) -> dict[str, JsonValue]:
    """The JSON schema of a model as strict endpoints want it: closed, everything required."""
    strict: dict[str, JsonValue] = _strict(shape.model_json_schema())
    return strict


def _strict(value: Any) -> Any:
    if isinstance(value, list):
        return [_strict(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept: dict[str, Any] = {}
    for key, inner in value.items():
        if key in ("properties", "$defs"):
            kept[key] = {name: _strict(schema) for name, schema in inner.items()}
        elif key in KEPT:
            kept[key] = _strict(inner)
    if "properties" in kept:
        kept |= {"required": list(kept["properties"]), "additionalProperties": False}
    return kept


def _find_object(text: str) -> dict[str, Any] | None:
    """The first JSON object in a text that is whole."""
    decoder = json.JSONDecoder()
    start = text.find("{")
    while start >= 0:
        try:
            value, _ = decoder.raw_decode(text, start)
        except ValueError:
            start = text.find("{", start + 1)
            continue
        if isinstance(value, dict):
            return value
        start = text.find("{", start + 1)
    return None


@cache
def _text(language: str, name: str) -> str:
    return files("endpoints").joinpath(f"prompts/{language}_{name}.txt").read_text("utf-8").strip()
