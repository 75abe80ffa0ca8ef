"""Judge models: who they are, what they see, and how one request to one of them is made."""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, Field, PositiveInt

from artifacts.digest import digest_json
from endpoints.pool import Member, Pool
from endpoints.request import ChatMessage, ChatRequest, Sampling
from endpoints.settings import EndpointSettings
from endpoints.structured import ask_structured
from judging.errors import JudgeError
from validation.schemas import Frozen, Language, Message, NonBlank

ShapeT = TypeVar("ShapeT", bound=BaseModel)
ResultT = TypeVar("ResultT")


class JudgeSettings(Frozen):
    """How judges are asked.

    `judges`: so many of the role's endpoints, drawn by weight for each item (None: every one,
    once). More than there are endpoints: some are asked again, with another seed, which needs
    a temperature above 0.
    """

    judges: PositiveInt | None = None
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] = 0.0
    max_tokens: PositiveInt = 1500
    seed: int = 0


class PermittedDose(Frozen):
    """A medicine, and what of it one dose and one day may hold, in `unit`."""

    drug: NonBlank
    least_dose: float
    most_dose: float
    most_a_day: float
    unit: NonBlank


class Reference(Frozen):
    """What is known of the case and hidden from whoever is judged; every part may be empty."""

    diagnosis: str = ""
    urgency: Literal["", "emergency", "urgent", "soon", "routine", "self_care"] = ""
    red_flags: tuple[NonBlank, ...] = ()
    contraindications: tuple[NonBlank, ...] = ()
    treatments: tuple[PermittedDose, ...] = ()
    advice: str = ""


class Context(Frozen):
    """What was said before the answer (it may be empty), and what the judge knows beside it."""

    language: Language
    talk: tuple[Message, ...] = ()
    reference: Reference = Reference()


@dataclass(frozen=True)
class Judge:
    """One judge: an endpoint, and which of its draws it is."""

    pool: Pool
    draw: int
    settings: JudgeSettings

    @property
    def name(self) -> str:
        """The endpoint's name, with a number from its second draw on."""
        name = self.pool.members[0].completer.settings.name
        return f"{name}#{self.draw + 1}" if self.draw else name

    async def ask(self, text: str, shape: type[ShapeT], language: Language) -> ShapeT:
        """The judge's answer of a fixed shape. Raises FaultyCompletion and what ends a run."""
        settings = self.settings
        sampling = Sampling(
            temperature=settings.temperature,
            max_tokens=settings.max_tokens,
            seed=int(digest_json(["judge", settings.seed, self.draw])[:8], 16) >> 1,
        )

        def request(endpoint: EndpointSettings) -> ChatRequest:
            return ChatRequest(
                model=endpoint.model,
                revision=endpoint.revision,
                messages=(ChatMessage(role="user", content=text),),
                sampling=sampling,
                sample_index=self.draw,
            )

        return (await ask_structured(self.pool, request, shape, self.name, language)).value


async def all_of(asked: Iterable[Awaitable[ResultT]]) -> tuple[ResultT, ...]:
    """All results in order; where some failed, the first failure once all have ended.

    What is under way is paid for, so it is not cut off because another one failed.
    """
    results = await asyncio.gather(*asked, return_exceptions=True)
    done = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        done.append(result)
    return tuple(done)


def panel_of(pool: Pool, settings: JudgeSettings, item: str) -> tuple[Judge, ...]:
    """The judges of one item, out of a role's endpoints.

    Without fallbacks: one that stood in for a judge would be asked twice. Raises JudgeError
    where judges would have to repeat themselves.
    """
    check_panel(len(pool.members), settings)
    wanted = settings.judges or len(pool.members)
    order = _drawn_by_weight(pool.members, item) if settings.judges else pool.members
    alone = [Pool([member], on_answer=pool.on_answer) for member in order]
    for one in alone:
        one.without_schema = pool.without_schema
    places = (divmod(number, len(alone)) for number in range(wanted))
    return tuple(Judge(alone[place], draw, settings) for draw, place in places)


def check_panel(endpoints: int, settings: JudgeSettings) -> None:
    """Raises JudgeError where so many endpoints would have to repeat themselves."""
    if (settings.judges or 0) > endpoints and settings.temperature == 0.0:
        raise JudgeError(
            f"{settings.judges} judges are asked for and the role 'judge' has {endpoints} "
            "endpoint(s): at temperature 0 the same endpoint gives the same verdict again. Name "
            "more endpoints for the role, or set the judges' temperature above 0."
        )


def _drawn_by_weight(members: Sequence[Member], item: str) -> list[Member]:
    """All members; the first ones are a weighted draw without replacement."""
    left, drawn = list(members), []
    while left:
        name = Pool(left).drawn(f"judge/{item}").name
        drawn += [member for member in left if member.completer.settings.name == name]
        left = [member for member in left if member.completer.settings.name != name]
    return drawn
