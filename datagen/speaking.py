"""Asking an endpoint for the next line of a talk, in the style that suits its model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from artifacts.digest import digest_json
from datagen.agents import DoctorView, PatientView, recall
from datagen.prompting import Style, read_prompt, render
from datagen.scripted import Line
from endpoints.client import Client
from endpoints.errors import FaultyCompletion
from endpoints.request import ChatRequest, Completion, Sampling
from judging.wording import CLOSING_MARKS, SENTENCE_ENDS
from validation.schemas import Frozen, Message, NonBlank

Role = Literal["patient", "doctor"]
SWAPPED: dict[str, Literal["user", "assistant"]] = {"user": "assistant", "assistant": "user"}
LINE_END = "\n"


class LineSettings(Frozen):
    """How lines are drawn; tokens bound one line.

    The penalties weigh against words that stand in the prompt already; absent, the endpoint's
    own default counts (some endpoints refuse them).
    """

    temperature: Annotated[float, Field(ge=0.0, le=2.0)] = 0.7
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 0.95
    max_tokens: PositiveInt = 400
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


class Draw(Frozen):
    """Which draw of a line this is: everything the seed depends on."""

    seed: int
    case_id: NonBlank
    sample_index: int
    turn: int
    purpose: NonBlank
    candidate: int = 0

    @property
    def number(self) -> int:
        """The seed sent to the endpoint: 31 bits of a digest."""
        return int(digest_json(self.model_dump(mode="json"))[:8], 16) >> 1


@dataclass
class Meter:
    """What a step's answers were and cost; `on_call` is told after each.

    `cost_usd` counts every answer used, `spent_usd` those that this attempt bought.
    """

    calls: int = 0
    from_journal: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    spent_usd: float = 0.0
    on_call: Callable[[], None] = field(default=lambda: None)

    def count(self, completion: Completion) -> None:
        """Add one answer."""
        self.calls += 1
        self.from_journal += completion.from_journal
        self.prompt_tokens += completion.prompt_tokens
        self.completion_tokens += completion.completion_tokens
        self.cost_usd += completion.cost_usd
        self.spent_usd += 0.0 if completion.from_journal else completion.cost_usd
        self.on_call()


@dataclass(frozen=True)
class Speaker:
    """An endpoint with the style in which it is asked, and the meter that counts its answers."""

    client: Client
    style: Style
    meter: Meter

    async def patient_line(
        self,
        view: PatientView,
        talk: tuple[Message, ...],
        example: Sequence[Line],
        line: LineSettings,
        draw: Draw,
    ) -> str:
        """The patient's next line. Raises FaultyCompletion and what ends a run."""
        prompt = read_prompt(view.language, self.style, "patient")
        if self.style == "transcript":
            text = render(
                prompt, view=view, talk=talk, example=example, recalled=recall(view, talk)
            )
            return await self._continue(text, line, draw)
        system = Message(role="system", content=render(prompt, view=view))
        # The patient is addressed first: chat templates want a user before an assistant.
        hello = render(read_prompt(view.language, "chat", "greeting"))
        greeting = Message(role="user", content=hello)
        swapped = (Message(role=SWAPPED[m.role], content=m.content) for m in talk)
        return await self._reply((system, greeting, *swapped), line, draw)

    async def doctor_line(
        self,
        view: DoctorView,
        example: Sequence[Line],
        closing: bool,
        line: LineSettings,
        draw: Draw,
    ) -> str:
        """The doctor's next line; `closing` asks for the advice that ends the talk.

        Raises FaultyCompletion and what ends a run.
        """
        prompt = read_prompt(view.language, self.style, "doctor")
        if self.style == "transcript":
            text = render(prompt, view=view, example=example, closing=closing)
            return await self._continue(text, line, draw)
        system = Message(role="system", content=render(prompt, closing=closing))
        return await self._reply((system, *view.talk), line, draw)

    async def flawed_line(
        self, view: DoctorView, good: str, error: str, line: LineSettings, draw: Draw
    ) -> str:
        """A doctor's good line rewritten so that it carries an error. Chat style only."""
        prompt = read_prompt(view.language, "chat", "error")
        text = render(prompt, talk=view.talk, good=good, error=error)
        return await self._reply((Message(role="user", content=text),), line, draw)

    async def _reply(self, messages: tuple[Message, ...], line: LineSettings, draw: Draw) -> str:
        return await self._ask(self._request(line, draw, messages=messages))

    async def _continue(self, text: str, line: LineSettings, draw: Draw) -> str:
        return await self._ask(self._request(line, draw, prompt=text, stop=(LINE_END,)))

    def _request(
        self,
        line: LineSettings,
        draw: Draw,
        messages: tuple[Message, ...] | None = None,
        prompt: str | None = None,
        stop: tuple[str, ...] = (),
    ) -> ChatRequest:
        sampling = Sampling(**line.model_dump(), stop=stop, seed=draw.number)
        return ChatRequest(
            model=self.client.settings.model,
            revision=self.client.settings.revision,
            messages=messages,
            prompt=prompt,
            sampling=sampling,
            sample_index=draw.candidate,
        )

    async def _ask(self, request: ChatRequest) -> str:
        try:
            completion = await self.client.complete(request)
        except FaultyCompletion as faulty:
            if faulty.completion is not None:
                self.meter.count(faulty.completion)
            if faulty.fault != "truncated" or faulty.completion is None:
                raise
            if not (text := _one_line(faulty.completion.text)):
                raise
            return up_to_last_sentence(text)
        self.meter.count(completion)
        return _one_line(completion.text)


def up_to_last_sentence(text: str) -> str:
    """A line that was cut at its token limit, without its unfinished sentence.

    The line as it is where no sentence of it is finished: a check then finds it truncated.
    """
    end = max((i for i, mark in enumerate(text) if _ends_sentence(text, i, mark)), default=-1)
    return text[: end + 1] if end >= 0 else text


def _ends_sentence(text: str, index: int, mark: str) -> bool:
    if mark not in SENTENCE_ENDS:
        return False
    following = text[index + 1 : index + 2]
    return not mark.isascii() or not following or following in " " + CLOSING_MARKS


def _one_line(text: str) -> str:
    return " ".join(text.split())
