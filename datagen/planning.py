"""Plan and polish around the role-play, and what the players are told to mind.

Source of plan, role-play, polish: Wang et al. 2023, NoteChat. There the plan holds a note's
keywords and both players see it; here the plan is made from what the patient knows, the doctor
gets headings of a fixed list and the patient an order of its own facts, so nothing hidden leaks.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from datagen.cues import split_results
from datagen.prompting import read_prompt, render
from validation.schemas import Frozen, Language, Message, NonBlank

Area = Literal[
    "onset_and_course",
    "alarm_signs",
    "accompanying_symptoms",
    "what_helps_or_worsens",
    "medicines_and_allergies",
    "past_illness",
    "family",
    "pregnancy_and_cycle",
    "habits",
    "work_home_travel",
    "mood_and_sleep",
    "worries_and_wishes",
    "examination",
]
MENDED_BY_ASKING = frozenset({"must_ask_missed", "too_short"})
NUMBER = re.compile(r"\d+(?:[.:/]\d+)*")


class Plan(Frozen):
    """How a talk shall go: the doctor's headings in order, the patient's facts in order, a mood.

    `order`: numbers of facts as the plan's prompt counts them, from 1.
    """

    agenda: Annotated[tuple[Area, ...], Field(min_length=1)]
    order: tuple[int, ...]
    mood: NonBlank


class Polished(Frozen):
    """The polished turns, one text each, in order."""

    lines: tuple[NonBlank, ...]


class Direction(Frozen):
    """What the players are told besides what they know: the plan, and faults not to repeat.

    Faults are told by fixed words for each name, never by what a check or a critic wrote, so
    that a note holds nothing of the case.
    """

    plan: Plan | None = None
    doctor_faults: tuple[NonBlank, ...] = ()
    patient_faults: tuple[NonBlank, ...] = ()

    def note(
        self, role: Literal["doctor", "patient"], language: Language, closing: bool = False
    ) -> str:
        """The words about a player's faults; empty where there are none.

        A doctor who closes is not told to ask.
        """
        every = self.doctor_faults if role == "doctor" else self.patient_faults
        faults = [name for name in every if not (closing and name in MENDED_BY_ASKING)]
        if not faults:
            return ""
        return render(read_prompt(language, "chat", "repair"), role=role, faults=faults).strip()


UNDIRECTED = Direction()


def with_polish(
    talk: Sequence[Message], start: int, polished: Polished, language: Language
) -> tuple[Message, ...] | None:
    """The talk with its turns from `start` on in their polished words; None where they won't do.

    They must be as many, and keep every number that was said: doses, dates and measurements.
    Results stay as they are.
    """
    tail = talk[start:]
    if len(polished.lines) != len(tail):
        return None
    new = list(talk[:start])
    for message, line in zip(tail, polished.lines, strict=True):
        results, words = split_results(message, language)
        said = " ".join(line.split())
        if not set(NUMBER.findall(words)) <= set(NUMBER.findall(said)):
            return None
        content = f"{results} {said}" if results else said
        new.append(Message(role=message.role, content=content))
    return tuple(new)
