"""Rows of other people's files as rows of our records.

Conversion is lenient and says nothing: what it does not recognise stays as it is, and the
record's own validation then names it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from artifacts.digest import digest_json
from validation.schemas import Conversation, Fault, PreferencePair, Record
from validation.text import HAN, LETTER, normalised

ROLES: Mapping[str, str] = {
    "human": "user",
    "user": "user",
    "patient": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "assistant": "assistant",
    "doctor": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "system": "system",
    "observation": "tool",
    "function": "tool",
    "tool": "tool",
    "患者": "user",
    "病人": "user",
    "用户": "user",
    "医生": "assistant",
    "大夫": "assistant",
    "助手": "assistant",
    "系统": "system",
    "工具": "tool",
}
TOOL_CALL_ROLE = "function_call"
MESSAGE_KEYS = {"from": "role", "value": "content"}
DROPPED_MESSAGE_KEYS = frozenset({"tool_call_id", "name", "function_call", "refusal"})
CHINESE_SHARE = 0.2
UNSPECIFIED = "unspecified"
UNSCORED_MARGIN = 1.0


@dataclass(frozen=True)
class Layout:
    """A layout of rows: the columns it is known by, all it may have, and how it becomes ours."""

    name: str
    required: frozenset[str]
    allowed: frozenset[str]
    record_type: type[Record]
    convert: Callable[[Mapping[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Defaults:
    """What rows do not say of themselves; a `language` of None is told from the letters."""

    source: str
    license: str
    language: str | None


def find_layout(row: Mapping[str, Any]) -> Layout | Fault:
    """The layout of a row by its columns, or the fault that says which there are."""
    for layout in LAYOUTS:
        if layout.name in ("conversation", "preference_pair"):
            if row.get("kind") == layout.name:
                return layout
        elif "kind" not in row and layout.required <= row.keys():
            return layout
    if "kind" in row:
        detail = f"kind: got {row['kind']!r}; allowed: 'conversation' or 'preference_pair'"
        return Fault(name="wrong_kind", detail=detail)
    known = "; ".join(f"{la.name} ({', '.join(sorted(la.required))})" for la in LAYOUTS)
    detail = f"columns {', '.join(sorted(row)) or '(none)'} are of no layout; known: {known}"
    return Fault(name="unknown_layout", detail=detail)


def unknown_column(row: Mapping[str, Any], layout: Layout) -> Fault | None:
    """The first column that a layout does not have."""
    unknown = sorted(row.keys() - layout.allowed)
    if not unknown:
        return None
    detail = (
        f"{unknown[0]}: no such column in layout {layout.name}; "
        f"allowed: {', '.join(sorted(layout.allowed))}; name it in ignored_columns to leave it out"
    )
    return Fault(name="unknown_field", detail=detail)


def completed(row: dict[str, Any], defaults: Defaults) -> dict[str, Any]:
    """A converted row with language, source, license and case_id where it lacks them."""
    said = _said(row)
    first = next((words for role, words in said if role == "user"), "")
    filled = {
        "language": defaults.language or _language(" ".join(words for _, words in said)),
        "source": defaults.source,
        "license": defaults.license,
        "case_id": f"import-{digest_json(normalised(first))[:16]}",
    }
    return filled | row


def _as_is(row: Mapping[str, Any]) -> dict[str, Any]:
    return dict(row)


def _from_talk(row: Mapping[str, Any]) -> dict[str, Any]:
    """ShareGPT (`conversations`) and `messages` rows."""
    kept = {k: v for k, v in row.items() if k not in ("conversations", "system", "record_id")}
    messages = row["messages"] if "messages" in row else row["conversations"]
    kept["messages"] = _with_system(row, _messages(messages))
    return _with_tools(kept)


def _from_preference(row: Mapping[str, Any]) -> dict[str, Any]:
    """DPO rows: a prompt (text or messages), a chosen and a rejected completion."""
    own = ("prompt", "conversations", "messages", "system", "record_id")
    kept = {k: v for k, v in row.items() if k not in own}
    prompts = (row[name] for name in ("prompt", "conversations", "messages") if name in row)
    prompt = _with_system(row, _messages(next(prompts), role="user"))
    kept["prompt"] = prompt
    for name in ("chosen", "rejected"):
        completion = _messages(row[name], role="assistant")
        kept[name] = _after(prompt, completion)
    return _with_tools({"fault_type": UNSPECIFIED, "margin": UNSCORED_MARGIN} | kept)


def _after(prompt: Any, completion: Any) -> Any:
    """A completion without the prompt, where it repeats it (with its system message or not)."""
    if not isinstance(prompt, list) or not isinstance(completion, list):
        return completion
    without_system = [m for m in prompt if not isinstance(m, dict) or m.get("role") != "system"]
    for said in (prompt, without_system):
        if completion[: len(said)] == said:
            return completion[len(said) :]
    return completion


def _messages(value: Any, role: str = "user") -> Any:
    """A text, a message or a list of messages as a list of messages; other values as they are.

    Parquet and CSV exports often hold the list of messages as JSON within a text.
    """
    if isinstance(value, str) and _is_messages(inner := _parsed(value)):
        value = inner
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    if isinstance(value, dict):
        return [_message(value)]
    if isinstance(value, list):
        return [_message(item) if isinstance(item, dict) else item for item in value]
    return value


def _is_messages(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, dict) and item.keys() & {"role", "from"} for item in value)
    )


def _message(value: Mapping[str, Any]) -> dict[str, Any]:
    message = {
        MESSAGE_KEYS.get(key, key): item
        for key, item in value.items()
        if item is not None and key not in DROPPED_MESSAGE_KEYS
    }
    said_role = message.get("role")
    if isinstance(said_role, str):
        message["role"] = ROLES.get(said_role.strip().lower(), said_role)
    if said_role == TOOL_CALL_ROLE:
        return {"role": "assistant", "content": "", "tool_calls": _calls(message.get("content"))}
    if calls := message.pop("tool_calls", None):
        message["tool_calls"] = _calls(calls)
        message.setdefault("content", "")
    return message


def _calls(value: Any) -> Any:
    """Tool calls in the shapes of OpenAI, ShareGPT and ours, as ours."""
    value = _parsed(value)
    return [_call(item) for item in value] if isinstance(value, list) else [_call(value)]


def _call(value: Any) -> Any:
    value = _parsed(value)
    if not isinstance(value, dict):
        return value
    inner = value.get("function", value)
    if not isinstance(inner, dict):
        return value
    call = {k: v for k, v in inner.items() if k not in ("id", "type") and v is not None}
    if "arguments" in call:
        call["arguments"] = _parsed(call["arguments"])
    return call


def _with_tools(row: dict[str, Any]) -> dict[str, Any]:
    tools = _parsed(row.pop("tools", None))
    if not tools:
        return row
    if not isinstance(tools, list):
        return row | {"tools": tools}
    every = [_parsed(tool) for tool in tools]
    return row | {
        "tools": [
            {"type": "function", "function": tool}
            if isinstance(tool, dict) and "function" not in tool
            else tool
            for tool in every
        ]
    }


def _with_system(row: Mapping[str, Any], messages: Any) -> Any:
    system = row.get("system")
    if not isinstance(messages, list) or not isinstance(system, str) or not system.strip():
        return messages
    return [{"role": "system", "content": system}, *messages]


def _parsed(value: Any) -> Any:
    """JSON within a string, where it is some; else the value as it is."""
    if not isinstance(value, str):
        return value
    try:
        return from_json(value)
    except ValueError:
        return value


def _said(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Role and words of every message that has both."""
    parts = [row.get(name) for name in ("messages", "prompt", "chosen")]
    messages = [m for part in parts if isinstance(part, list) for m in part if isinstance(m, dict)]
    return [
        (str(m.get("role")), content)
        for m in messages
        if isinstance(content := m.get("content"), str)
    ]


def _language(text: str) -> str:
    letters = len(re.findall(LETTER, text))
    return "zh" if letters and len(HAN.findall(text)) / letters >= CHINESE_SHARE else "en"


TALK_COLUMNS = frozenset(Conversation.model_fields) - {"kind"} | {"system"}
PAIR_COLUMNS = frozenset(PreferencePair.model_fields) - {"kind"} | {"system"}
LAYOUTS = (
    Layout(
        name="conversation",
        required=frozenset({"kind"}),
        allowed=frozenset(Conversation.model_fields),
        record_type=Conversation,
        convert=_as_is,
    ),
    Layout(
        name="preference_pair",
        required=frozenset({"kind"}),
        allowed=frozenset(PreferencePair.model_fields),
        record_type=PreferencePair,
        convert=_as_is,
    ),
    *(
        Layout(
            name=f"preference with {prompt}",
            required=frozenset({prompt, "chosen", "rejected"}),
            allowed=PAIR_COLUMNS - {"prompt"} | {prompt},
            record_type=PreferencePair,
            convert=_from_preference,
        )
        for prompt in ("prompt", "conversations", "messages")
    ),
    *(
        Layout(
            name=column,
            required=frozenset({column}),
            allowed=TALK_COLUMNS - {"messages"} | {column},
            record_type=Conversation,
            convert=_from_talk,
        )
        for column in ("messages", "conversations")
    ),
)
