"""Asking for the next line of a talk, in the style that suits the model which is asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, Field, PositiveInt

from artifacts.digest import digest_json
from datagen.access import AgentRole, Cast
from datagen.agents import DoctorView, PatientView, heard_by_patient, recall
from datagen.planning import UNDIRECTED, Direction
from datagen.prompting import Style, read_prompt, render
from datagen.scripted import Line
from endpoints.errors import FaultyCompletion
from endpoints.pool import Ask
from endpoints.request import ChatRequest, Sampling
from endpoints.settings import EndpointSettings
from endpoints.structured import Structured, ask_structured
from judging.wording import CLOSING_MARKS, SENTENCE_ENDS
from validation.schemas import Frozen, Language, Message, NonBlank

ValueT = TypeVar("ValueT", bound=BaseModel)
SWAPPED: dict[str, Literal["user", "assistant"]] = {"user": "assistant", "assistant": "user"}
LINE_END = "\n"
# Whole talks are spoken by one model a role; other draws (candidates) may each have their own.
SPOKEN = ("patient", "doctor")


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

    @property
    def spread(self) -> str:
        """Under which name a role's endpoint is drawn."""
        talk = f"{self.seed}/{self.case_id}/{self.sample_index}"
        return talk if self.purpose in SPOKEN else f"{talk}/{self.turn}/{self.candidate}"


@dataclass(frozen=True)
class Spoken:
    """A line, and the model that said it."""

    text: str
    model: str


@dataclass(frozen=True)
class Speaker:
    """The cast, and the style in which it is asked (None: each endpoint's own)."""

    cast: Cast
    style: Style | None = None

    def style_of(self, role: AgentRole, draw: Draw) -> Style:
        """The style of the endpoint that is asked first."""
        return self._style(self.cast.pool(role).drawn(draw.spread))

    async def patient_line(
        self,
        view: PatientView,
        talk: tuple[Message, ...],
        example: Sequence[Line],
        line: LineSettings,
        draw: Draw,
        direction: Direction = UNDIRECTED,
        results: str = "",
    ) -> Spoken:
        """The patient's next line; `results` are what the doctor's last orders showed.

        Raises FaultyCompletion and what ends a run.
        """

        def ask(endpoint: EndpointSettings) -> ChatRequest:
            style = self._style(endpoint)
            prompt = read_prompt(view.language, style, "patient")
            if style == "transcript":
                text = render(
                    prompt,
                    view=view,
                    talk=talk,
                    example=example,
                    recalled=recall(view, talk),
                    results=results,
                )
                return _request(endpoint, line, draw, prompt=text, stop=(LINE_END,))
            note = direction.note("patient", view.language)
            text = render(prompt, view=view, plan=direction.plan, note=note)
            system = Message(role="system", content=text)
            # The patient is addressed first: chat templates want a user before an assistant.
            hello = render(read_prompt(view.language, "chat", "greeting"))
            greeting = Message(role="user", content=hello)
            heard = heard_by_patient(talk, view.language)
            if results:
                told = f"{heard[-1].content} {results}"
                heard = (*heard[:-1], Message(role=heard[-1].role, content=told))
            swapped = (Message(role=SWAPPED[m.role], content=m.content) for m in heard)
            return _request(endpoint, line, draw, messages=(system, greeting, *swapped))

        return await self._say("patient", ask, draw)

    async def doctor_line(
        self,
        view: DoctorView,
        example: Sequence[Line],
        closing: bool,
        line: LineSettings,
        draw: Draw,
        direction: Direction = UNDIRECTED,
    ) -> Spoken:
        """The doctor's next line; `closing` asks for the advice that ends the talk.

        Raises FaultyCompletion and what ends a run.
        """

        def ask(endpoint: EndpointSettings) -> ChatRequest:
            style = self._style(endpoint)
            prompt = read_prompt(view.language, style, "doctor")
            if style == "transcript":
                text = render(prompt, view=view, example=example, closing=closing)
                return _request(endpoint, line, draw, prompt=text, stop=(LINE_END,))
            note = direction.note("doctor", view.language, closing)
            agenda = direction.plan.agenda if direction.plan else ()
            text = render(prompt, manner=view.manner, closing=closing, agenda=agenda, note=note)
            system = Message(role="system", content=text)
            return _request(endpoint, line, draw, messages=(system, *view.talk))

        return await self._say("doctor", ask, draw)

    async def fill_in(
        self,
        role: AgentRole,
        text: str,
        shape: type[ValueT],
        language: Language,
        line: LineSettings,
        draw: Draw,
    ) -> Structured[ValueT]:
        """A role's answer of a fixed shape to one message.

        Raises FaultyCompletion and what ends a run.
        """
        message = Message(role="user", content=text)

        def ask(endpoint: EndpointSettings) -> ChatRequest:
            return _request(endpoint, line, draw, messages=(message,))

        return await ask_structured(self.cast.pool(role), ask, shape, draw.spread, language)

    def _style(self, endpoint: EndpointSettings) -> Style:
        return self.style or endpoint.style

    async def _say(self, role: AgentRole, ask: Ask, draw: Draw) -> Spoken:
        try:
            answered = await self.cast.pool(role).complete(ask, draw.spread)
        except FaultyCompletion as faulty:
            if faulty.fault != "truncated" or faulty.completion is None:
                raise
            if not (text := _one_line(faulty.completion.text)):
                raise
            return Spoken(up_to_last_sentence(text), faulty.model)
        return Spoken(_one_line(answered.completion.text), answered.endpoint.model)


def _request(
    endpoint: EndpointSettings,
    line: LineSettings,
    draw: Draw,
    messages: tuple[Message, ...] | None = None,
    prompt: str | None = None,
    stop: tuple[str, ...] = (),
) -> ChatRequest:
    sampling = Sampling(**line.model_dump(), stop=stop, seed=draw.number)
    return ChatRequest(
        model=endpoint.model,
        revision=endpoint.revision,
        messages=messages,
        prompt=prompt,
        sampling=sampling,
        sample_index=draw.candidate,
    )


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
