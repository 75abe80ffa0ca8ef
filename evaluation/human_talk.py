"""Talks that people had, to lay beside simulated ones: CSV or JSONL, one talk a row.

A CSV has a column `dialogue` of lines that begin with the speaker (as MTS-Dialog has); JSONL
rows hold `messages` (role, content) or `conversations` (from, value).
"""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from artifacts.digest import digest_file
from evaluation.errors import MissingInput
from evaluation.talk_figures import Talk
from validation.schemas import Frozen, Language, Message
from validation.text import han_share

COLUMN = "dialogue"
SPEAKER = re.compile(r"^\s*(?P<name>[\w .'-]{1,30}?)\s*[:：]\s*", re.UNICODE)
DOCTORS = ("doctor", "clinician", "physician", "dr", "gpt", "assistant", "医生", "大夫")
PATIENTS = ("patient", "human", "user", "患者", "病人")


class HumanTalk(Frozen):
    """A file of talks; its content counts, not where it lies."""

    name: str
    digest: str


class Reading(Frozen):
    """What was read: talks, and rows in which not both sides speak, by their number."""

    talks: tuple[Talk, ...]
    unusable: tuple[int, ...]


def human_talk(path: Path) -> HumanTalk:
    """The file as it is now. Raises MissingInput where it is not there."""
    if not path.is_file():
        raise MissingInput(f"{path} is not there: name a CSV or JSONL file of talks")
    return HumanTalk(name=path.name, digest=digest_file(path))


def read_human_talk(path: Path) -> Reading:
    """The talks of a file. Raises MissingInput where it holds none in a layout known here."""
    talks, unusable = [], []
    rows = _csv_rows(path) if path.suffix == ".csv" else _json_rows(path)
    for number, messages in enumerate(rows, start=1):
        roles = {message.role for message in messages}
        if roles < {"user", "assistant"}:
            unusable.append(number)
            continue
        words = "".join(message.content for message in messages)
        language: Language = "zh" if han_share(words) > 0.5 else "en"
        talks.append(Talk(language=language, group=f"row {number}", messages=messages))
    if not talks:
        raise MissingInput(
            f"{path} holds no talk of two sides: a CSV needs a column '{COLUMN}' of lines "
            "'Doctor: …' and 'Patient: …', JSONL rows need `messages` or `conversations`"
        )
    return Reading(talks=tuple(talks), unusable=tuple(unusable))


def _csv_rows(path: Path) -> Iterator[tuple[Message, ...]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        for row in csv.DictReader(stream):
            yield _said(_lines(row.get(COLUMN) or ""))


def _json_rows(path: Path) -> Iterator[tuple[Message, ...]]:
    with path.open(encoding="utf-8-sig") as stream:
        for line in stream:
            row: Any = json.loads(line)
            turns = row.get("messages") or row.get("conversations") or []
            yield _said(
                [
                    (str(t.get("role") or t.get("from")), str(t.get("content") or t.get("value")))
                    for t in turns
                ]
            )


def _lines(text: str) -> list[tuple[str, str]]:
    """Speaker and words; a line without a speaker goes on with the one before."""
    found: list[tuple[str, str]] = []
    for line in text.splitlines():
        if match := SPEAKER.match(line):
            found.append((match["name"], line[match.end() :].strip()))
        elif found and line.strip():
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}")
    return found


def _said(lines: list[tuple[str, str]]) -> tuple[Message, ...]:
    """Messages of the two sides, turns of one side joined; others (guests) are left out."""
    messages: list[Message] = []
    for name, words in lines:
        role = _role(name)
        if role is None or not words.strip():
            continue
        if messages and messages[-1].role == role:
            joined = f"{messages[-1].content} {words}"
            messages[-1] = messages[-1].model_copy(update={"content": joined})
        else:
            messages.append(Message(role=role, content=words))
    return tuple(messages)


def _role(name: str) -> Any:
    plain = name.strip().lower().rstrip(".")
    if plain.startswith(DOCTORS):
        return "assistant"
    return "user" if plain.startswith(PATIENTS) else None
