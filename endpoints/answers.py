"""What a response says: an answer, or the fault for which there is none."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from endpoints.errors import EndpointError, FaultName
from endpoints.faults import OVERLOADED, POLICIES, name_answer, name_error, name_status
from endpoints.request import ChatRequest

MOST_TOKENS = 1 << 40
THOUGHT_BEGINS = re.compile(r"\s*<think(?:ing)?>\s*")
THOUGHT_ENDS = re.compile(r"\s*</think(?:ing)?>\s*")


@dataclass(frozen=True)
class Answer:
    """A response that was understood; `fault` where its text cannot be used."""

    text: str
    reasoning: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    fault: FaultName | None
    cached_tokens: int = 0


class AttemptFailed(EndpointError):
    """One attempt brought no answer.

    `reached`: whether the endpoint got the request. `overloaded`: whether it wants less.
    `may_be_billed`: whether it may have worked, and billed that, before it failed.
    """

    def __init__(
        self,
        fault: FaultName,
        detail: str,
        reached: bool = True,
        retry_after_seconds: float | None = None,
        overloaded: bool | None = None,
        may_be_billed: bool | None = None,
    ) -> None:
        super().__init__(f"{fault}: {detail}")
        policy = POLICIES[fault]
        self.fault: FaultName = fault
        self.detail = detail
        self.reached = reached
        self.retry_after_seconds = retry_after_seconds
        self.overloaded = policy.overload if overloaded is None else overloaded
        unknown = policy.bill == "unknown"
        self.may_be_billed = reached and (unknown if may_be_billed is None else may_be_billed)


@dataclass(frozen=True)
class ToldError:
    """An error as the endpoint put it; `status` is the HTTP status that it amounts to."""

    fault: FaultName
    status: int | None
    message: str

    @property
    def overloaded(self) -> bool:
        """Whether the endpoint wants fewer requests at once."""
        return self.status in OVERLOADED or POLICIES[self.fault].overload


def read_refusal(status: int, body: Any) -> ToldError:
    """The error behind a status that is not 200."""
    error = body.get("error", body) if isinstance(body, dict) else body
    told = error if isinstance(error, dict) else {"message": error}
    fault = name_status(status, str(told.get("code") or told.get("type") or ""))
    return ToldError(fault, status, str(told.get("message") or ""))


def read_error_body(body: Any) -> ToldError | None:
    """The error that a response of status 200 holds instead of an answer; None where none.

    Proxies answer so where the provider behind them failed: `{"error": {"code": 429, …}}`, or
    the same inside the choice that it broke off.
    """
    if not isinstance(body, dict):
        return None
    error = body.get("error")
    choices = body.get("choices")
    if not error and isinstance(choices, list) and choices and isinstance(choices[0], dict):
        error = choices[0].get("error")
    if not error:
        return None
    told = error if isinstance(error, dict) else {"message": error}
    fault, status = name_error(told.get("code"), told.get("type"), told.get("status"))
    return ToldError(fault, status, str(told.get("message") or ""))


def read_json(content: bytes | str) -> Any:
    """The value; None where it is no JSON."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def read_answer(body: Any, request: ChatRequest) -> Answer:
    """What a 200 response says. Raises AttemptFailed (`malformed`) where it says nothing.

    Where the endpoint tells no usage, or none that makes sense, the upper bounds of the request
    stand for it: the answer is paid for, and asking again would pay twice.
    """
    chat = request.messages is not None
    try:
        choice = body["choices"][0]
        message = choice["message"] if chat else choice
        text, thought = _parts(message["content" if chat else "text"])
        finish_reason = str(choice.get("finish_reason") or "unknown")
        reasoning = _reasoning(message) or thought
        refusal = message.get("refusal") or ""
        f"{text}{reasoning}{finish_reason}".encode()  # half a surrogate pair cannot be stored
    except (KeyError, IndexError, TypeError, AttributeError, UnicodeEncodeError):
        raise AttemptFailed("malformed", "the response holds no choices[0] with a text") from None
    usage = body.get("usage")
    prompt_tokens = _tokens(usage, "prompt_tokens", request.most_prompt_tokens)
    completion_tokens = _tokens(usage, "completion_tokens", request.sampling.max_tokens)
    if chat and "think" in text:
        inline, text = split_thought(text)
        reasoning = reasoning or inline
    fault = name_answer(text, finish_reason, str(refusal))
    if fault == "empty" and completion_tokens >= request.sampling.max_tokens and reasoning:
        fault = "truncated"  # cut within the thought, under another name of the reason
    cached = cached_prompt_tokens(usage)
    return Answer(text, reasoning, finish_reason, prompt_tokens, completion_tokens, fault, cached)


def cached_prompt_tokens(usage: Any) -> int:
    """The prompt tokens that came from the endpoint's cache; 0 where it does not say."""
    details = usage.get("prompt_tokens_details") if isinstance(usage, dict) else None
    return _tokens(details, "cached_tokens", 0)


def split_thought(text: str) -> tuple[str, str]:
    """The thought that a text begins with, and the answer after it.

    A thought that is never closed was cut off: it has no answer. One that is never opened began
    in the prompt, as some chat templates do.
    """
    begins = THOUGHT_BEGINS.match(text)
    start = begins.end() if begins else 0
    if ends := THOUGHT_ENDS.search(text, start):
        return text[start : ends.start()], text[ends.end() :]
    return (text[start:].rstrip(), "") if begins else ("", text)


def _parts(content: Any) -> tuple[str, str]:
    """Text and thought of a content, which is a text, nothing, or a list of typed parts."""
    if content is None or isinstance(content, str):
        return content or "", ""
    if not isinstance(content, list):
        raise TypeError("the text is no text")
    texts, thoughts = [], []
    for part in content:
        if part.get("type") == "text":
            texts.append(part["text"])
        else:
            told = part.get("thinking") or part.get("reasoning") or part.get("text") or ""
            thoughts.append(told if isinstance(told, str) else _parts(told)[0])
    return "".join(texts), "".join(thoughts)


def _reasoning(message: Mapping[str, Any]) -> str:
    for name in ("reasoning_content", "reasoning"):
        if isinstance(told := message.get(name), str) and told:
            return told
    return ""


def _tokens(usage: Any, name: str, most: int) -> int:
    """A count of tokens from the usage; `most` where it tells none."""
    told = usage.get(name) if isinstance(usage, dict) else None
    if isinstance(told, int | float) and 0 <= told < MOST_TOKENS:
        return int(told)
    return most
