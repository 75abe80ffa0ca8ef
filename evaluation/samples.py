"""Sample replies: what each model says after the same prompts, for people to read."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from artifacts.store import write_atomically
from engines.chat import ChatMessage
from evaluation.errors import MissingInput
from validation.schemas import Frozen, Language

SAMPLES_NAME = "samples.jsonl"


class Line(Frozen):
    """One line of a talk."""

    role: str
    content: str


class SampleReply(Frozen):
    """A prompt, what the doctor of the data set says next, and what the model says."""

    record_id: str
    case_id: str
    language: Language
    prompt: tuple[Line, ...]
    reference: str
    reply: str = ""

    def messages(self) -> list[ChatMessage]:
        """The prompt as plain data."""
        return [line.model_dump() for line in self.prompt]


def choose_prompts(rows: Sequence[Mapping[str, Any]], per_language: int) -> list[SampleReply]:
    """The openings of held-out talks, one a case, the first cases of each language by name.

    Languages take part alike; a talk's opening ends before the doctor's first words.
    """
    chosen: dict[tuple[str, str], SampleReply] = {}
    for row in sorted(rows, key=lambda r: (r["language"], r["case_id"], r["record_id"])):
        place = (row["language"], row["case_id"])
        of_language = sum(language == place[0] for language, _ in chosen)
        if place not in chosen and of_language < per_language:
            chosen[place] = _opening(row)
    return list(chosen.values())


def write_replies(path: Path, replies: Sequence[SampleReply]) -> None:
    """Write one reply a line."""
    write_atomically(path, "".join(reply.model_dump_json() + "\n" for reply in replies))


def read_replies(folder: Path) -> list[SampleReply]:
    """The sample replies of an evaluation artifact. Raises MissingInput where there are none."""
    path = folder / SAMPLES_NAME
    if not path.is_file():
        raise MissingInput(f"{folder} is no evaluation: it holds no {SAMPLES_NAME}")
    lines = path.read_text(encoding="utf-8").splitlines()
    return [SampleReply.model_validate_json(line) for line in lines]


def _opening(row: Mapping[str, Any]) -> SampleReply:
    messages = row["messages"]
    first = next(i for i, m in enumerate(messages) if m["role"] == "assistant")
    return SampleReply(
        record_id=row["record_id"],
        case_id=row["case_id"],
        language=row["language"],
        prompt=tuple(Line(role=m["role"], content=m["content"]) for m in messages[:first]),
        reference=messages[first]["content"],
    )
