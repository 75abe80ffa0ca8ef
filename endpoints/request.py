"""What is asked of an endpoint, and what comes back."""

import hashlib
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, JsonValue, NonNegativeFloat, PositiveInt, model_validator

from artifacts.digest import canonical_json
from endpoints.values import Frozen, NonBlank

# Tokens that a chat template may add: to every message, and once (its default system prompt).
TEMPLATE_TOKENS_PER_MESSAGE = 16
TEMPLATE_TOKENS = 64


class Sampling(Frozen):
    """How the answer is drawn. `None` leaves the choice to the endpoint.

    `max_tokens` bounds the answer, and so the worst case that the budget reserves.
    """

    temperature: Annotated[float, Field(ge=0.0, le=2.0)] = 0.7
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    max_tokens: PositiveInt = 512
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


class ChatMessage(Frozen):
    """One message of a chat; made from any object with these attributes, records' too.

    Tool calls cannot be sent, so a message that carries some is refused.
    """

    model_config = ConfigDict(from_attributes=True)

    role: Literal["system", "user", "assistant"]
    content: NonBlank
    tool_calls: tuple[object, ...] = Field((), max_length=0, exclude=True, repr=False)


class ChatRequest(Frozen):
    """One question to one model: `messages` (chat style) or `prompt` (transcript style).

    `sample_index` asks for another answer to the same question. `json_schema` asks for an
    answer that is a JSON text of that schema. Raises ValueError (pydantic's) where both or
    neither of `messages` and `prompt` are given, and for a schema without `messages`.
    """

    model: NonBlank
    revision: str = ""
    messages: tuple[ChatMessage, ...] | None = None
    prompt: NonBlank | None = None
    sampling: Sampling = Sampling()
    sample_index: Annotated[int, Field(ge=0)] = 0
    json_schema: dict[str, JsonValue] | None = None

    @model_validator(mode="after")
    def _one_question(self) -> Self:
        if bool(self.messages) == (self.prompt is not None):
            raise ValueError(
                "a ChatRequest needs exactly one of `messages` (chat style, at least one) and "
                "`prompt` (transcript style)"
            )
        if self.json_schema is not None and self.prompt is not None:
            raise ValueError("a json_schema needs `messages`; a transcript has no such field")
        return self

    def with_changes(self, **fields: Any) -> Self:
        """A request that differs in these fields, checked anew."""
        kept = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**(kept | fields))

    @cached_property
    def canonical(self) -> str:
        """The canonical JSON text of everything that can change the answer.

        Fields that are None are left out, so that a field added later changes no digest.
        """
        return canonical_json(self.model_dump(mode="json", exclude_none=True))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of `canonical`; says nothing of URLs, keys or endpoint names."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()

    @cached_property
    def most_prompt_tokens(self) -> int:
        """An upper bound of the prompt's tokens: every tokenizer in use makes at most one per byte.

        Counted on UTF-8 bytes, plus what a chat template may add.
        """
        if self.messages is None:
            return len((self.prompt or "").encode()) + TEMPLATE_TOKENS_PER_MESSAGE
        texts = sum(len(m.content.encode()) + TEMPLATE_TOKENS_PER_MESSAGE for m in self.messages)
        schema = len(canonical_json(self.json_schema).encode()) if self.json_schema else 0
        return texts + schema + TEMPLATE_TOKENS

    @property
    def most_tokens(self) -> int:
        """An upper bound of the tokens of prompt and answer."""
        return self.most_prompt_tokens + self.sampling.max_tokens


class Completion(Frozen):
    """An answer. `cost_usd` is what buying it cost, over all `attempts`.

    `from_journal`: this call bought nothing (answered earlier, or by an identical request
    that was in flight). `reasoning` is what a reasoning model thought, kept apart.
    """

    text: str
    finish_reason: str
    prompt_tokens: Annotated[int, Field(ge=0)]
    completion_tokens: Annotated[int, Field(ge=0)]
    cost_usd: NonNegativeFloat = 0.0
    latency_seconds: NonNegativeFloat = 0.0
    attempts: PositiveInt = 1
    endpoint: NonBlank
    from_journal: bool = False
    reasoning: str = ""
