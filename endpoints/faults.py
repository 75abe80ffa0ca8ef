"""Faults by name: what each one means for the request, the endpoint and the bill."""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

from endpoints.errors import FaultName

BACKOFF_BASE_SECONDS = 0.5
BACKOFF_MOST_SECONDS = 30.0
# Where the endpoint wants less, the number in flight is what goes down.
BACKOFF_OVERLOADED_MOST_SECONDS = 4.0
RETRY_AFTER_MOST_SECONDS = 600.0


@dataclass(frozen=True)
class Policy:
    """What to do after a fault.

    `attempts`: how often a request may meet it (None: the endpoint's `max_attempts`).
    `overload`: the endpoint wants fewer requests at once. `stops_run`: no request can succeed.
    `bill`: nothing was billed; or what `usage` says; or `unknown`, where the endpoint may
    have worked and billed without our seeing it: the budget then counts the worst case.
    """

    attempts: int | None
    overload: bool = False
    stops_run: bool = False
    bill: Literal["nothing", "usage", "unknown"] = "nothing"


POLICIES: Mapping[FaultName, Policy] = {
    # No request's fault, however often it meets it: the breaker says when it lasts too long.
    "rate_limit": Policy(None, overload=True),
    "timeout": Policy(None, overload=True, bill="unknown"),
    "connection": Policy(None, bill="unknown"),
    "server": Policy(None),
    "malformed": Policy(None, bill="unknown"),
    "empty": Policy(3, bill="usage"),
    # A second try would cost the full max_tokens again and be cut at the same place.
    "truncated": Policy(1, bill="usage"),
    "refused": Policy(1, bill="usage"),
    "content_filter": Policy(1, bill="usage"),
    "bad_request": Policy(1),
    # Of answers that shall be JSON of a schema: shown to the model once (see structured.py).
    "no_json": Policy(1, bill="usage"),
    "schema_mismatch": Policy(1, bill="usage"),
    "authentication": Policy(1, stops_run=True),
    "quota": Policy(1, stops_run=True),
    "model_unknown": Policy(1, stops_run=True),
}

OVERLOADED = (429, 503, 529)  # "wants fewer requests at once"
STATUS_FAULTS: Mapping[int, FaultName] = {
    401: "authentication",
    402: "quota",
    403: "authentication",
    404: "model_unknown",
    408: "timeout",
    409: "server",
    425: "server",
    429: "rate_limit",
}
CODE_FAULTS: Mapping[str, FaultName] = {
    "insufficient_quota": "quota",
    "content_filter": "content_filter",
    "content_policy_violation": "content_filter",
    "model_not_found": "model_unknown",
}
# The status behind the `code` or `type` of an error that came without one of its own.
CODE_STATUSES: Mapping[str, int] = {
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "timeout": 408,
    "invalid_request_error": 400,
    "context_length_exceeded": 400,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "resource_exhausted": 429,
    "server_error": 500,
    "api_error": 500,
    "unavailable": 503,
    "overloaded_error": 529,
}
FINISH_FAULTS: Mapping[str, FaultName] = {
    "length": "truncated",
    "max_tokens": "truncated",
    "content_filter": "content_filter",
    "abort": "malformed",
    "error": "malformed",
}


def name_status(status: int, code: str) -> FaultName:
    """The fault behind an HTTP status (not 200) and the error's `code`, if it gave one."""
    if code in CODE_FAULTS:
        return CODE_FAULTS[code]
    if status in STATUS_FAULTS:
        return STATUS_FAULTS[status]
    return "server" if status >= 500 else "bad_request"


def name_error(*codes: object) -> tuple[FaultName, int | None]:
    """The fault behind an error that came with status 200, and the status that it amounts to.

    `codes`: what its `code`, `type` and `status` say, the first that says something counts: a
    status as a number or text, or a name. `server` where none is known.
    """
    for code in codes:
        named = str(code).lower()
        if named in CODE_FAULTS:
            return CODE_FAULTS[named], None
        status = int(named) if re.fullmatch(r"[45]\d\d", named) else CODE_STATUSES.get(named)
        if status is not None:
            return name_status(status, ""), status
    return "server", None


def name_answer(text: str, finish_reason: str, refusal: str) -> FaultName | None:
    """What is wrong with an answer that came back whole; None where nothing is."""
    if refusal:
        return "refused"
    if fault := FINISH_FAULTS.get(finish_reason):
        return fault
    return None if text.strip() else "empty"


def backoff_seconds(failures: int, dice: random.Random, overloaded: bool = False) -> float:
    """Wait before the next attempt: full jitter, doubling from 0.5 s.

    At most 30 s; 4 s where the endpoint is `overloaded`.

    Source: Brooker, "Exponential backoff and jitter", AWS Architecture Blog, 2015.
    """
    bound = BACKOFF_OVERLOADED_MOST_SECONDS if overloaded else BACKOFF_MOST_SECONDS
    most = min(bound, BACKOFF_BASE_SECONDS * 2 ** min(failures - 1, 16))
    return dice.uniform(0.0, most)


def retry_after_seconds(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """How long the endpoint asks us to wait (at most 600 s); None where it does not say.

    Reads `retry-after-ms`, and `retry-after` as seconds or as an HTTP date.
    """
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return _bounded(float(milliseconds) / 1000)
        value = headers.get("retry-after")
        if not value:
            return None
        if value.replace(".", "", 1).isdigit():
            return _bounded(float(value))
        date = parsedate_to_datetime(value)
        aware = date if date.tzinfo else date.replace(tzinfo=UTC)
        return _bounded((aware - (now or datetime.now(UTC))).total_seconds())
    except (ValueError, OverflowError):
        return None


def _bounded(seconds: float) -> float:
    return min(max(0.0, seconds), RETRY_AFTER_MOST_SECONDS)
