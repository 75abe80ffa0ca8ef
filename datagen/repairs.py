"""Where a talk that falls short is taken up again, and what its speakers are told then."""

from collections.abc import Sequence

from datagen.planning import Direction
from validation.schemas import Conversation, Fault, Message

# Nothing that a speaker could say better.
BEYOND_REPAIR = frozenset({"not_criticised"})


def first_faulty_turn(talk: Conversation, missed: int, doctor_turns: int) -> int | None:
    """How many messages stay as they are; None where there is nothing to repair.

    A fault of the talk as a whole is the doctor's. `missed`: how much was not asked that must be;
    that needs turns for asking, and where none is left of `doctor_turns`, as many of the
    doctor's last ones are given back.
    """
    faults = [fault for fault in talk.faults if fault.name not in BEYOND_REPAIR]
    places = [_place(talk.messages, fault) for fault in faults]
    if any(fault.name == "must_ask_missed" for fault in faults):
        places.append(_place_for_questions(talk.messages, missed, doctor_turns))
    return min(places, default=None)


def directed(direction: Direction, talk: Conversation) -> Direction:
    """What the speakers are told for the new turns: each the names of its own faults."""
    named: dict[str, dict[str, None]] = {"user": {}, "assistant": {}}
    for fault in talk.faults:
        if fault.name not in BEYOND_REPAIR:
            named[_speaker(talk.messages, fault)][fault.name] = None
    return direction.model_copy(
        update={
            "doctor_faults": tuple(named["assistant"]),
            "patient_faults": tuple(named["user"]),
        }
    )


def _speaker(talk: Sequence[Message], fault: Fault) -> str:
    if fault.message_index is None or fault.name == "ends_with_patient":
        return "assistant"
    return talk[fault.message_index].role


def _place(talk: Sequence[Message], fault: Fault) -> int:
    if fault.name == "ends_with_patient":
        return len(talk)
    if fault.message_index is not None:
        return fault.message_index
    return _doctor_turns(talk)[-1]


def _place_for_questions(talk: Sequence[Message], missed: int, doctor_turns: int) -> int:
    turns = _doctor_turns(talk)
    room = max(0, doctor_turns - len(turns))
    back = max(0, missed - room)
    return turns[max(0, len(turns) - 1 - back)]


def _doctor_turns(talk: Sequence[Message]) -> list[int]:
    return [i for i, message in enumerate(talk) if message.role == "assistant"] or [len(talk)]
