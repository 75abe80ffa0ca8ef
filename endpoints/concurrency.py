"""How many requests may run at once, learned from the endpoint; and when it is down."""

import asyncio
import math
import time
from collections import deque
from typing import Protocol

from endpoints.errors import FaultName

# The factors of CUBIC (RFC 9438): less is given up than by halving, and won back soon.
DECREASE = 0.7
# A round is as many answers as the limit: back from half to full within about eight of them.
INCREASE_SHARE = 1 / 16
# From here on, beside the limit that was last too high, growth begins anew with one a round.
CAREFUL_SHARE = 0.9
# Refusals that chance strews in are borne; a share above this is the endpoint's own wish.
TOLERATED_SHARE = 0.2
SHARE_AFTER_DECREASE = TOLERATED_SHARE / 2
# Refusals come at once and answers late, so a wave of requests begins with all its refusals:
# fewer remembered than run at once, and these alone would look like the endpoint's wish
# (measured: 39 s for what takes 16 s, where 9 % were refused by chance).
LEAST_REMEMBERED = 4
FAILURES_TO_SUSPECT = 5
PATIENCE_SECONDS = 60.0
# Longer than any wait that an endpoint may ask for (faults.RETRY_AFTER_MOST_SECONDS).
LIMIT_PATIENCE_SECONDS = 900.0


class Clock(Protocol):
    """Time, as the waits see it."""

    def now(self) -> float:
        """Seconds since some fixed moment."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait so long."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Seconds since some fixed moment."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait so long."""
        await asyncio.sleep(seconds)


class AdaptiveLimit:
    """Additive increase, multiplicative decrease (Chiu and Jain 1989), and pauses.

    What decreases it is the share of refusals among the last answers (a moving average over
    about as many as run at once), not a single one: where 9 % of all answers were refusals
    that had nothing to do with the load, halving at each of them left 20 of 256 slots in use.
    A burst counts once: only a request that was sent after the last decrease may lower the
    limit again. Near the limit that was last too high it grows by one a round, then by twice
    as many in each further round.
    """

    def __init__(self, most: int, clock: Clock) -> None:
        self.limit = float(most)
        self.in_flight = 0
        self._most = most
        self._clock = clock
        self._resume_at = -math.inf
        self._epoch = 0
        self._refused_share = 0.0
        self._too_high = math.inf
        self._careful_rounds = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def acquire(self) -> int:
        """Wait for a slot, first come first served; returns the epoch, for `overloaded`.

        Order matters: conversations that fall behind would run alone at the end.
        """
        if self._waiting or self.in_flight >= int(self.limit):
            await self._queue()
        else:
            self.in_flight += 1
        try:
            while (pause := self._resume_at - self._clock.now()) > 0:
                await self._clock.sleep(pause)
        except asyncio.CancelledError:
            self.release()
            raise
        return self._epoch

    def release(self) -> None:
        """Give the slot back."""
        self.in_flight -= 1
        self._wake()

    def succeeded(self) -> None:
        """An answer came: room for a little more, where the room there is was used."""
        self._remember(0.0)
        if 2 * self.in_flight < self.limit:
            return
        step = max(1.0, self._most * INCREASE_SHARE)
        if self.limit >= CAREFUL_SHARE * self._too_high:
            step = min(step, 2.0**self._careful_rounds)
            self._careful_rounds += 1 / self.limit
        self.limit = min(float(self._most), self.limit + step / self.limit)

    def overloaded(self, epoch: int, retry_after_seconds: float | None = None) -> None:
        """The endpoint refused: lower the limit where it does so often; wait as long as it asks."""
        if epoch == self._epoch:
            self._remember(1.0)
            if self._refused_share > TOLERATED_SHARE:
                self._epoch += 1
                self._refused_share = SHARE_AFTER_DECREASE
                self._too_high, self._careful_rounds = self.limit, 0.0
                self.limit = max(1.0, self.limit * DECREASE)
        if retry_after_seconds:
            self._resume_at = max(self._resume_at, self._clock.now() + retry_after_seconds)

    def _remember(self, refused: float) -> None:
        remembered = max(self.limit, LEAST_REMEMBERED)
        self._refused_share += (refused - self._refused_share) / remembered

    async def _queue(self) -> None:
        """Wait until `_wake` hands a slot over."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.release()  # handed over and cancelled at once: to the next in the queue
            raise

    def _wake(self) -> None:
        while self._waiting and self.in_flight < int(self.limit):
            waiter = self._waiting.popleft()
            if not waiter.done():
                self.in_flight += 1
                waiter.set_result(None)


class Breaker:
    """Says when the endpoint, and not a request, is at fault: from failures in a row.

    One that never answered is dead after 5 failures to connect; one that answers with faults
    alone, or did answer earlier, is given 60 seconds, in which a server may restart; one that
    refuses everything by its rate limit, 15 minutes, in which a limit's window may pass. There
    is no way back: the run stops, and goes on with the same command.
    """

    def __init__(self, clock: Clock, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._clock = clock
        self._patience_seconds = patience_seconds
        self._answered = False
        self._failures = 0
        self._first_failure = 0.0
        self._requests: set[str] = set()
        self._limited_since: float | None = None

    def succeeded(self) -> None:
        """An answer came, or a refusal of that one request: the endpoint lives."""
        self._answered = True
        self._failures = 0
        self._requests.clear()
        self._limited_since = None

    def failed(self, fault: FaultName, reached: bool, digest: str) -> bool:
        """Count a failed attempt of a request; whether the endpoint is to be given up.

        `reached`: whether the endpoint got the request at all.
        """
        if fault == "rate_limit":
            if self._limited_since is None:
                self._limited_since = self._clock.now()
            return self._clock.now() - self._limited_since >= LIMIT_PATIENCE_SECONDS
        if self._failures == 0:
            self._first_failure = self._clock.now()
        self._failures += 1
        self._requests.add(digest)
        if self._failures < FAILURES_TO_SUSPECT:
            return False
        if not reached and not self._answered:
            return True
        waited = self._clock.now() - self._first_failure >= self._patience_seconds
        return waited and (not reached or self.suspicious)

    @property
    def suspicious(self) -> bool:
        """Whether several requests in a row failed, so that none of them is to blame."""
        return len(self._requests) >= FAILURES_TO_SUSPECT
