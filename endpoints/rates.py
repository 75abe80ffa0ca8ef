"""Limits per minute: those that the settings name, and those that an endpoint's headers tell."""

import asyncio
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from endpoints.concurrency import Clock

Kind = Literal["requests", "tokens"]
KINDS: tuple[Kind, ...] = ("requests", "tokens")
MINUTE_SECONDS = 60.0
# Requests that were late by less go out at once, so that a busy process keeps up its rate.
BURST_SECONDS = 1.0
# A wait is looked at anew so often: answers may have corrected it.
LOOK_AGAIN_SECONDS = 1.0
RESET_MOST_SECONDS = 600.0
# How much one answer moves the estimate of what requests use of their worst case.
LEARNING_SHARE = 0.1
UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


@dataclass(frozen=True)
class Told:
    """What a response's headers say of one limit."""

    remaining: float
    reset_seconds: float


def read_limits(headers: Mapping[str, str], now: datetime | None = None) -> dict[Kind, Told]:
    """The limits that stand in the headers of a response (their names in any case).

    In OpenAI's spelling (`x-ratelimit-remaining-requests`, `x-ratelimit-reset-requests: 6m0s`)
    or Anthropic's (`anthropic-ratelimit-requests-remaining`, `…-reset` as a date). A limit of
    which one half is absent or makes no sense is left out.
    """
    found: dict[Kind, Told] = {}
    for kind in KINDS:
        for remaining, reset in (
            (f"x-ratelimit-remaining-{kind}", f"x-ratelimit-reset-{kind}"),
            (f"anthropic-ratelimit-{kind}-remaining", f"anthropic-ratelimit-{kind}-reset"),
        ):
            if (left := _number(headers.get(remaining, ""))) is None:
                continue
            if (seconds := read_duration(headers.get(reset, ""), now)) is not None:
                found[kind] = Told(left, seconds)
    return found


def read_duration(text: str, now: datetime | None = None) -> float | None:
    """Seconds from now, at most 600: from `6m0s`, `20ms`, bare seconds, or an ISO date.

    None where it is none of these. A bare number of more than a year is a moment since 1970.
    """
    moment = now or datetime.now(UTC)
    plain = text.strip().lower()
    if (seconds := _number(plain)) is not None:
        since_1970 = seconds > 366 * UNIT_SECONDS["d"]
        return _bounded(seconds - moment.timestamp() if since_1970 else seconds)
    if DURATION.fullmatch(plain):
        parts = DURATION_PART.findall(plain)
        return _bounded(sum(float(number) * UNIT_SECONDS[unit] for number, unit in parts))
    try:
        date = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    aware = date if date.tzinfo else date.replace(tzinfo=UTC)
    return _bounded((aware - moment).total_seconds())


class Pace:
    """So many units a minute, evenly: a token bucket that holds one second's worth."""

    def __init__(self, per_minute: float, clock: Clock) -> None:
        # A second's worth less, so that no minute, its burst included, holds more.
        self._seconds_a_unit = (MINUTE_SECONDS + BURST_SECONDS) / per_minute
        self._clock = clock
        self._next_at = -math.inf

    def wait_seconds(self) -> float:
        """How long the next one must wait; not positive where it may go."""
        return self._next_at - self._clock.now()

    def take(self, units: float) -> None:
        """So many units go now; a negative number of units gives back."""
        seconds = units * self._seconds_a_unit
        if units > 0:
            saved = max(0.0, BURST_SECONDS - seconds)
            self._next_at = max(self._next_at, self._clock.now() - saved)
        self._next_at += seconds


class Allowance:
    """What an endpoint says is left of one limit until it is reset."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left = math.inf
        self._reset_at = -math.inf
        self._taken = 0.0
        self._newest = -1.0

    def wait_seconds(self, units: float) -> float:
        """How long units must wait for the reset; not positive where they may go."""
        pause = self._reset_at - self._clock.now()
        if pause <= 0:
            self._left = math.inf  # until the next response tells
        return 0.0 if self._left >= units else pause

    def take(self, units: float) -> float:
        """So many units go now; returns the mark for `learn`."""
        self._left -= units
        self._taken += units
        return self._taken

    def learn(self, mark: float, told: Told) -> None:
        """What the response to the request of that mark says is left.

        What was sent after that request is not in it yet, so it is taken off.
        """
        if mark < self._newest:
            return
        self._newest = mark
        self._left = told.remaining - (self._taken - mark)
        self._reset_at = self._clock.now() + told.reset_seconds


@dataclass
class Ticket:
    """One request that was let go: what it was counted at, and its marks."""

    tokens: float
    worst_tokens: int
    marks: dict[Kind, float]


class Rates:
    """Lets requests go as the limits per minute allow, first come first served.

    Tokens are counted at what answers so far have used of their worst case, and corrected by
    each one's usage. The settings' limits hold for this client alone.
    """

    def __init__(
        self, requests_per_minute: int | None, tokens_per_minute: int | None, clock: Clock
    ) -> None:
        self._clock = clock
        per_minute = {"requests": requests_per_minute, "tokens": tokens_per_minute}
        self._paces = {kind: Pace(n, clock) for kind in KINDS if (n := per_minute[kind])}
        self._allowances: dict[Kind, Allowance] = {kind: Allowance(clock) for kind in KINDS}
        self._used_share = 1.0
        self._turn = asyncio.Lock()

    async def admit(self, worst_tokens: int) -> Ticket:
        """Wait until a request may go, and count it."""
        if self._turn.locked() or self._wait_seconds(worst_tokens) > 0:
            async with self._turn:
                while (pause := self._wait_seconds(worst_tokens)) > 0:
                    await self._clock.sleep(min(pause, LOOK_AGAIN_SECONDS))
                return self._count(worst_tokens)
        return self._count(worst_tokens)

    def learn(self, ticket: Ticket, headers: Mapping[str, str]) -> None:
        """What the headers of the request's response say."""
        for kind, told in read_limits(headers).items():
            self._allowances[kind].learn(ticket.marks[kind], told)

    def used(self, ticket: Ticket, tokens: int) -> None:
        """What the request used in the end; 0 where nothing was billed."""
        if pace := self._paces.get("tokens"):
            pace.take(tokens - ticket.tokens)
        if tokens:
            share = min(1.0, tokens / ticket.worst_tokens)
            self._used_share += LEARNING_SHARE * (share - self._used_share)

    def _wait_seconds(self, worst_tokens: int) -> float:
        tokens = worst_tokens * self._used_share
        return max(
            0.0,
            self._allowances["requests"].wait_seconds(1),
            self._allowances["tokens"].wait_seconds(tokens),
            *(pace.wait_seconds() for pace in self._paces.values()),
        )

    def _count(self, worst_tokens: int) -> Ticket:
        tokens = worst_tokens * self._used_share
        units: dict[Kind, float] = {"requests": 1.0, "tokens": tokens}
        for kind, pace in self._paces.items():
            pace.take(units[kind])
        marks = {kind: self._allowances[kind].take(units[kind]) for kind in KINDS}
        return Ticket(tokens, worst_tokens, marks)


def _number(text: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _bounded(seconds: float) -> float:
    return min(max(0.0, seconds), RESET_MOST_SECONDS)
