"""Small records that pass every check, and a workspace to build in."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from artifacts.progress import silent
from artifacts.step import Workspace
from validation.schemas import Conversation, Message, PreferencePair

ENGLISH = ("My head has been hurting since yesterday.", "Does light make the headache worse?")
CHINESE = ("我从昨天开始一直头痛，还有点恶心。", "请问您怕光吗？以前有没有过这样的头痛？")


def said(*words: str, first: str = "user") -> tuple[Message, ...]:
    """Messages of the two in turn."""
    roles = ("user", "assistant") if first == "user" else ("assistant", "user")
    return tuple(
        Message.model_validate({"role": roles[i % 2], "content": text})
        for i, text in enumerate(words)
    )


def talk(
    *words: str, language: str = "en", case_id: str = "en-migraine", **more: Any
) -> Conversation:
    words = words or (CHINESE if language == "zh" else ENGLISH)
    fields = {
        "language": language,
        "source": "test@1",
        "case_id": case_id,
        "messages": said(*words),
    }
    return Conversation.model_validate(fields | more)


def pair(
    prompt: str | tuple[Message, ...] = ENGLISH[0],
    chosen: str | tuple[Message, ...] = ENGLISH[1],
    rejected: str | tuple[Message, ...] = "It is nothing, go home.",
    **more: Any,
) -> PreferencePair:
    fields = {
        "language": "en",
        "source": "test@1",
        "case_id": "en-migraine",
        "prompt": _messages(prompt, "user"),
        "chosen": _messages(chosen, "assistant"),
        "rejected": _messages(rejected, "assistant"),
        "fault_type": "unsafe_reassurance",
        "margin": 1.0,
    }
    return PreferencePair.model_validate(fields | more)


def _messages(value: str | tuple[Message, ...], role: str) -> tuple[Message, ...]:
    return said(value, first=role) if isinstance(value, str) else value


def write_lines(path: Path, rows: Iterable[BaseModel | str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, str) else row.model_dump_json() for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def workspace(root: Path, **inputs: Path) -> Workspace:
    for name in ("out", "state"):
        (root / name).mkdir(parents=True, exist_ok=True)
    return Workspace(root / "out", root / "state", inputs, silent)


def many_talks(cases: int, each: int = 2) -> list[Conversation]:
    """Different talks of as many English as Chinese cases."""
    return [
        talk(
            f"{question} 第{n}个" if language == "zh" else f"{question} It is the number {n}.",
            answer,
            language=language,
            case_id=f"{language}-case-{case}",
            sample_index=n,
        )
        for language, (question, answer) in (("en", ENGLISH), ("zh", CHINESE))
        for case in range(cases)
        for n in range(case * each, case * each + each)
    ]


def many_pairs(cases: int) -> list[PreferencePair]:
    return [
        pair(prompt=f"{ENGLISH[0]} It is the number {n}.", case_id=f"en-case-{n}")
        for n in range(cases)
    ]
