"""Exact duplicates, by digest of what is said once case, width and spaces are evened out."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from pydantic import JsonValue

from artifacts.digest import digest_json
from validation.reading import Loaded
from validation.schemas import Conversation, Fault, Message, Passage, PreferencePair, Problem
from validation.text import normalised

TalkT = TypeVar("TalkT", Conversation, PreferencePair, Problem, Passage)


def content_digest(record: Conversation | PreferencePair | Problem | Passage) -> str:
    """The digest of what is said and by whom; equal for records that read the same.

    Case, language, source and scores are left out: they do not make a copy worth keeping.
    """
    if isinstance(record, Passage):
        return digest_json(normalised(record.text))
    if isinstance(record, Problem):
        return digest_json([_said(record.prompt), normalised(record.answer)])
    if isinstance(record, Conversation):
        parts = [record.messages]
    else:
        parts = [record.prompt, record.chosen, record.rejected]
    return digest_json([[list(record.tools)], *[_said(messages) for messages in parts]])


def split_duplicates(
    rows: Iterable[Loaded[TalkT]],
) -> tuple[list[Loaded[TalkT]], list[tuple[Loaded[TalkT], Fault]]]:
    """The first of each set of copies, and the others with the fault that names the one kept.

    The order of `rows` decides which is first, so it must be a stable one.
    """
    kept: list[Loaded[TalkT]] = []
    copies: list[tuple[Loaded[TalkT], Fault]] = []
    first: dict[str, Loaded[TalkT]] = {}
    for row in rows:
        digest = content_digest(row.record)
        if digest not in first:
            first[digest] = row
            kept.append(row)
            continue
        earlier = first[digest]
        detail = f"copy of record {earlier.record.record_id} ({earlier.origin}), which is kept"
        copies.append((row, Fault(name="duplicate", detail=detail)))
    return kept, copies


def _said(messages: Sequence[Message]) -> list[JsonValue]:
    return [
        [m.role, normalised(m.content), [call.model_dump(mode="json") for call in m.tool_calls]]
        for m in messages
    ]
