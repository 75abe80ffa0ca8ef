"""One conversation: a coroutine in which a patient and a doctor take turns.

Every request is determined by the case, the sample index, the settings and the talk so far,
so a killed run that starts again is answered out of the journal up to where it was.
"""

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from artifacts.digest import canonical_json
from datagen.agents import doctor_view, patient_view
from datagen.cases import Case
from datagen.personas import Persona
from datagen.scripted import Line
from datagen.speaking import Draw, LineSettings, Speaker
from endpoints.errors import FaultName, FaultyCompletion
from judging.wording import count_questions
from validation.schemas import Conversation, Frozen, Message, Quarantined

VERSION = 2


class TalkSettings(Frozen):
    """How a talk goes.

    `doctor_turns`: at most; the last one closes with advice. From `min_doctor_turns` on a
    doctor of the chat style who asks nothing has ended the talk, and is asked for the advice in
    place of that turn (a transcript model leaves questions out by mistake). `opening`: the
    patient's first line is the case's wording, or made by the model; by default the case's for
    transcript style, made for chat.
    """

    doctor_turns: Annotated[int, Field(ge=1, le=40)] = 8
    min_doctor_turns: Annotated[int, Field(ge=1)] = 3
    opening: Literal["by_style", "case", "generated"] = "by_style"
    line: LineSettings = LineSettings()
    seed: int = 0


class Ask(Frozen):
    """Which talk to make: the case, its persona, the number of the sample, a worked example."""

    case: Case
    persona: Persona
    sample_index: int
    example: tuple[Line, ...] = ()


async def simulate(
    ask: Ask, settings: TalkSettings, speaker: Speaker
) -> Conversation | Quarantined:
    """Make one talk; Quarantined where the endpoint finally failed one of its requests.

    Raises the endpoint errors that end a run (EndpointDown, BudgetExceeded, KeyMissing, …).
    """
    talk: tuple[Message, ...] = ()
    models: dict[str, None] = {}
    try:
        talk = (await _opening(ask, settings, speaker, models),)
        for turn in range(settings.doctor_turns):
            closing = turn == settings.doctor_turns - 1
            said = await _doctor(ask, talk, closing, settings, speaker, models)
            if not closing and _ended(said, ask, talk, turn, settings, speaker):
                closing = True
                said = await _doctor(ask, talk, closing, settings, speaker, models)
            talk += (said,)
            if closing:
                break
            talk += (await _patient(ask, talk, settings, speaker, models),)
    except FaultyCompletion as faulty:
        return quarantined_talk(ask, talk, faulty.fault, str(faulty))
    return Conversation(
        language=ask.case.language,
        source=f"simulated/{VERSION} {' '.join(models)}",
        case_id=ask.case.case_id,
        license=ask.case.license,
        messages=talk,
        persona=ask.persona.persona_id,
        sample_index=ask.sample_index,
    )


def quarantined_talk(
    ask: Ask, talk: tuple[Message, ...], fault: FaultName, detail: str
) -> Quarantined:
    """The talk as far as it came, under the fault of the endpoint that ended it."""
    raw: dict[str, JsonValue] = {
        "case_id": ask.case.case_id,
        "language": ask.case.language,
        "sample_index": ask.sample_index,
        "messages": [{"role": m.role, "content": m.content} for m in talk],
    }
    return Quarantined(
        raw=canonical_json(raw),
        fault=f"endpoint_{fault}",
        detail=detail,
        origin=f"{ask.case.case_id}/{ask.sample_index}",
    )


async def _opening(
    ask: Ask, settings: TalkSettings, speaker: Speaker, models: dict[str, None]
) -> Message:
    style = speaker.style_of("patient", _draw(ask, (), settings, "patient"))
    by_case = settings.opening == "case" or (
        settings.opening == "by_style" and style == "transcript"
    )
    if by_case:
        return Message(role="user", content=ask.case.opening)
    return await _patient(ask, (), settings, speaker, models)


async def _patient(
    ask: Ask,
    talk: tuple[Message, ...],
    settings: TalkSettings,
    speaker: Speaker,
    models: dict[str, None],
) -> Message:
    view = patient_view(ask.case, ask.persona)
    draw = _draw(ask, talk, settings, "patient")
    spoken = await speaker.patient_line(view, talk, ask.example, settings.line, draw)
    models[spoken.model] = None
    return _said("user", spoken.text)


async def _doctor(
    ask: Ask,
    talk: tuple[Message, ...],
    closing: bool,
    settings: TalkSettings,
    speaker: Speaker,
    models: dict[str, None],
) -> Message:
    view = doctor_view(ask.case.language, talk)
    draw = _draw(ask, talk, settings, "doctor")
    spoken = await speaker.doctor_line(view, ask.example, closing, settings.line, draw)
    models[spoken.model] = None
    return _said("assistant", spoken.text)


def _said(role: Literal["user", "assistant"], text: str) -> Message:
    if not text.strip():
        raise FaultyCompletion("the endpoint answered with blanks", "empty")
    return Message(role=role, content=text)


def _draw(ask: Ask, talk: tuple[Message, ...], settings: TalkSettings, purpose: str) -> Draw:
    return Draw(
        seed=settings.seed,
        case_id=ask.case.case_id,
        sample_index=ask.sample_index,
        turn=len(talk),
        purpose=purpose,
    )


def _ended(
    message: Message,
    ask: Ask,
    talk: tuple[Message, ...],
    turn: int,
    settings: TalkSettings,
    speaker: Speaker,
) -> bool:
    return (
        speaker.style_of("doctor", _draw(ask, talk, settings, "doctor")) == "chat"
        and turn + 1 >= settings.min_doctor_turns
        and count_questions(message.content) == 0
    )
