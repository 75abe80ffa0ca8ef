"""Generated consultations against the control group: those that scripts render from the cases."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from evaluation.statistics import mean
from validation.schemas import Conversation, Frozen

QUESTION_MARKS = ("?", "？")


class Group(Frozen):
    """What can be counted in a group of talks without judging them.

    `doctor_turns`: per talk. `doctor_characters`: per turn of the doctor. `asking`: share of
    the doctor's turns that ask. `faults`: fault → talks with it, found by the same checks when
    they were made. `sound`: talks without any.
    """

    talks: int
    sound: int
    doctor_turns: float
    doctor_characters: float
    asking: float
    faults: dict[str, int]


def read_talks(path: Path) -> list[Conversation]:
    """The conversations of a file, none where there is no file."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [Conversation.model_validate_json(line) for line in lines]


def control_groups(
    generated: Sequence[Conversation], scripted: Sequence[Conversation], kept: Collection[str]
) -> dict[str, Group]:
    """The groups that have talks, by name: `generated`, those of them `kept`, and `scripted`.

    kept: record_ids of the data set.
    """
    groups: Mapping[str, Sequence[Conversation]] = {
        "generated": generated,
        "kept": [talk for talk in generated if talk.record_id in kept],
        "scripted": scripted,
    }
    return {name: group_of(talks) for name, talks in groups.items() if talks}


def group_of(talks: Sequence[Conversation]) -> Group:
    """The figures of some talks. Raises NotEnoughData where no doctor speaks."""
    said = [[m.content for m in talk.messages if m.role == "assistant"] for talk in talks]
    turns = [text for texts in said for text in texts]
    faults = Counter(name for talk in talks for name in {fault.name for fault in talk.faults})
    return Group(
        talks=len(talks),
        sound=sum(not talk.faults for talk in talks),
        doctor_turns=mean([len(texts) for texts in said]),
        doctor_characters=mean([len(text) for text in turns]),
        asking=mean([float(any(mark in text for mark in QUESTION_MARKS)) for text in turns]),
        faults=dict(sorted(faults.items(), key=lambda entry: (-entry[1], entry[0]))),
    )
