"""Asking for one item: every request follows from the settings, the item and the purpose."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel

from artifacts.digest import digest_json
from datagen.access import AgentRole, Cast
from datagen.prompting import read_prompt, render
from datagen.speaking import LineSettings
from endpoints.pool import Ask
from endpoints.request import ChatMessage, ChatRequest, Sampling
from endpoints.settings import EndpointSettings
from endpoints.structured import ask_structured
from validation.schemas import Language, Message

ValueT = TypeVar("ValueT", bound=BaseModel)


class Unfit(Exception):
    """What was made for an item has a fault; `said` is the text at fault, for the quarantine."""

    def __init__(self, fault: str, detail: str, said: str = "") -> None:
        super().__init__(f"{fault}: {detail}")
        self.fault = fault
        self.detail = detail
        self.said = said


@dataclass(frozen=True)
class Asker:
    """The cast, asked on behalf of one item. `models` are those that answered, in order."""

    cast: Cast
    line: LineSettings
    language: Language
    names: tuple[object, ...]
    models: dict[str, None] = field(default_factory=dict)

    def prompt(self, name: str, **values: Any) -> str:
        """A prompt of the item's language, filled in. Raises PromptError."""
        return render(read_prompt(self.language, "chat", name), **values)

    async def text(self, role: AgentRole, purpose: str, messages: Sequence[Message | str]) -> str:
        """An answer, all its lines. A bare string is a user's message.

        `purpose` tells this request apart from the item's others. Raises FaultyCompletion, and
        what ends a run.
        """
        _, answer = await self.reasoned(role, purpose, messages)
        return answer

    async def reasoned(
        self, role: AgentRole, purpose: str, messages: Sequence[Message | str]
    ) -> tuple[str, str]:
        """What a reasoning model thought ("" for any other), and its answer.

        Raises as `text` does.
        """
        ask, name = self._ask(purpose, messages), self._spread(purpose)
        answered = await self.cast.pool(role).complete(ask, name)
        self.models[answered.endpoint.model] = None
        return answered.completion.reasoning.strip(), answered.completion.text.strip()

    async def value(
        self, role: AgentRole, purpose: str, messages: Sequence[Message | str], shape: type[ValueT]
    ) -> ValueT:
        """An answer of a fixed shape. Raises FaultyCompletion, and what ends a run."""
        ask, name = self._ask(purpose, messages), self._spread(purpose)
        made = await ask_structured(self.cast.pool(role), ask, shape, name, self.language)
        self.models[made.answered.endpoint.model] = None
        return made.value

    def source(self, kind: str, version: int) -> str:
        """The `source` of a record: generator, version, and the models that wrote it."""
        return f"{kind}/{version} {' '.join(self.models)}".strip()

    def _spread(self, purpose: str) -> str:
        return "/".join(map(str, (*self.names, purpose)))

    def _ask(self, purpose: str, messages: Sequence[Message | str]) -> Ask:
        seed = int(digest_json([*map(str, self.names), purpose])[:8], 16) >> 1
        sampling = Sampling(**self.line.model_dump(), seed=seed)
        asked = tuple(
            ChatMessage(role="user", content=m)
            if isinstance(m, str)
            else ChatMessage.model_validate(m)
            for m in messages
        )

        def request(endpoint: EndpointSettings) -> ChatRequest:
            return ChatRequest(
                model=endpoint.model,
                revision=endpoint.revision,
                messages=asked,
                sampling=sampling,
            )

        return request
