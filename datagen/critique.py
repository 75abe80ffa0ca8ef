"""The critic: reads a finished talk against the whole case, and says what is wrong where."""

from typing import Annotated, Literal

from pydantic import Field

from datagen.agents import age_words
from datagen.cases import Case
from datagen.prompting import read_prompt, render
from datagen.speaking import Draw, LineSettings, Speaker
from endpoints.errors import FaultyCompletion
from validation.schemas import Conversation, Fault, Frozen, Message, NonBlank, Remark, Verdict

# The names that rules use too mean the same here.
CriticFault = Literal[
    "contradiction",
    "diagnosis_leaked",
    "red_flag_not_acted_on",
    "must_ask_missed",
    "unsafe_advice",
    "contraindication_ignored",
    "wrong_dose",
    "invented_finding",
    "role_swap",
    "unnatural",
]


class CriticRemark(Frozen):
    """One thing that is wrong, in a sentence, at a message (None: in the talk as a whole)."""

    fault: CriticFault
    message_index: int | None
    sentence: NonBlank
    serious: bool


class Critique(Frozen):
    """A critic's answer."""

    remarks: tuple[CriticRemark, ...]
    score: Annotated[int, Field(ge=0, le=5)]


async def ask_critic(
    talk: tuple[Message, ...], case: Case, speaker: Speaker, line: LineSettings, draw: Draw
) -> Verdict | Fault:
    """The critic's verdict; the fault `not_criticised` where it gave none that can be used.

    Raises the endpoint errors that end a run.
    """
    age = age_words(case.patient.age_years, case.language)
    text = render(read_prompt(case.language, "chat", "critic"), case=case, age=age, talk=talk)
    try:
        filled = await speaker.fill_in("critic", text, Critique, case.language, line, draw)
    except FaultyCompletion as faulty:
        return Fault(name="not_criticised", detail=f"{faulty.fault}: {faulty}")
    remarks = (
        Remark(
            fault=remark.fault,
            message_index=_within(remark.message_index, talk),
            sentence=remark.sentence,
            serious=remark.serious,
        )
        for remark in filled.value.remarks
    )
    model = filled.answered.endpoint.model
    return Verdict(score=filled.value.score, remarks=tuple(remarks), model=model)


def verdict_faults(talk: Conversation) -> tuple[Fault, ...]:
    """The serious remarks of a talk's verdict as faults, those that no rule has found there."""
    if talk.verdict is None:
        return ()
    known = {(fault.name, fault.message_index) for fault in talk.faults}
    return tuple(
        Fault(name=one.fault, detail=f"critic: {one.sentence}", message_index=one.message_index)
        for one in talk.verdict.remarks
        if one.serious and (one.fault, one.message_index) not in known
    )


def _within(index: int | None, talk: tuple[Message, ...]) -> int | None:
    return index if index is not None and 0 <= index < len(talk) else None
