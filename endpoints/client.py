"""One endpoint's client: the journal first, then the budget, then the wire."""

import asyncio
import logging
import os
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from types import TracebackType
from typing import Self

from endpoints import verdicts
from endpoints.answers import Answer, AttemptFailed
from endpoints.budget import Budget
from endpoints.concurrency import AdaptiveLimit, Breaker, Clock, SystemClock
from endpoints.errors import (
    ConfigurationError,
    EndpointError,
    FaultName,
    FaultyCompletion,
    JournalFailed,
)
from endpoints.faults import POLICIES, backoff_seconds
from endpoints.journal import Entry, Journal
from endpoints.models import Checked, check_model, list_models
from endpoints.prices import stale_price
from endpoints.purchase import Purchase, deliver, is_final
from endpoints.rates import Rates, Ticket
from endpoints.request import ChatRequest, Completion
from endpoints.settings import EndpointSettings, cost_usd
from endpoints.wire import Wire

# How long closing waits for requests that are already paid for.
DRAIN_SECONDS = 15.0
LEAST_UNSTORED = 8
# How many times as often a request may meet an endpoint that wants less (503, 529) as one that
# fails (500): a share of refusals is borne, and no request is to blame for it.
OVERLOAD_PATIENCE = 5
CLAIM_POLL_SECONDS = 0.05
CLAIM_POLL_MOST_SECONDS = 0.5


@dataclass
class Tally:
    """What one client did: answers bought, found in the journal, shared in flight, and faults."""

    bought: int = 0
    reused: int = 0
    joined: int = 0
    cost_usd: float = 0.0
    faults: Counter[FaultName] = field(default_factory=Counter)


class Client:
    """Asks one endpoint; an async context manager for one event loop.

    The key is read from `environment` (os.environ where None) when the first request is sent.
    Leaving waits for requests that were already sent, at most 15 s, so that they are kept.
    """

    def __init__(
        self,
        settings: EndpointSettings,
        journal: Journal,
        budget: Budget,
        environment: Mapping[str, str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.settings = settings
        self.journal = journal
        self.budget = budget
        self.tally = Tally()
        self._clock = clock or SystemClock()
        self._wire = Wire(settings, os.environ if environment is None else environment)
        self._limit = AdaptiveLimit(settings.max_in_flight, self._clock)
        self._rates = Rates(settings.requests_per_minute, settings.tokens_per_minute, self._clock)
        # Answers that wait to be stored count too: where the disk is full or slow, what is
        # bought and not yet kept stays within a bound.
        most = settings.max_in_flight
        self._unstored = asyncio.Semaphore(most + max(LEAST_UNSTORED, most // 4))
        self._breaker = Breaker(self._clock)
        self._dice = random.Random()
        self._purchases: dict[str, Purchase] = {}
        self._ended: EndpointError | None = None

    async def __aenter__(self) -> Self:
        """Raises ConfigurationError where the endpoint has no price and is not declared free."""
        cost_usd(self.settings, 0, 0)
        if old := stale_price(self.settings.model, self.settings.prices, date.today()):
            logging.getLogger(__name__).warning("endpoint '%s': %s", self.settings.name, old)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended = self._ended or EndpointError("the client was closed while it was asked")
        for purchase in list(self._purchases.values()):
            if not purchase.sent and purchase.task is not None:
                purchase.task.cancel()
        tasks = [p.task for p in self._purchases.values() if p.task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=DRAIN_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._wire.close()

    async def complete(self, request: ChatRequest) -> Completion:
        """The answer to a request: from the journal, or bought once and stored before it returns.

        Raises FaultyCompletion where this request finally failed (quarantine it and go on);
        any other EndpointError (EndpointDown, BudgetExceeded, KeyMissing, …) ends the run.
        """
        if (request.model, request.revision) != (self.settings.model, self.settings.revision):
            raise ConfigurationError(
                f"a request for model '{request.model}' (revision '{request.revision}') was given "
                f"to endpoint '{self.settings.name}', which is declared with "
                f"'{self.settings.model}' (revision '{self.settings.revision}')"
            )
        purchase = self._purchases.get(request.digest)
        if purchase is not None and purchase.task is not None and not purchase.task.cancelling():
            completion = await self._wait(purchase)
            self.tally.joined += 1
            self.journal.used(request.digest)
            return completion.model_copy(update={"from_journal": True})
        if (entry := self.journal.get(request.digest)) is not None and self._is_final(entry):
            self.tally.reused += 1
            self.journal.used(request.digest)
            return deliver(entry, from_journal=True)
        purchase = Purchase(request)
        purchase.task = asyncio.create_task(self._buy(purchase))
        purchase.task.add_done_callback(lambda task: self._forget(request.digest, task))
        self._purchases[request.digest] = purchase
        return await self._wait(purchase)

    def knows(self, request: ChatRequest) -> bool:
        """Whether the journal holds the answer, so that asking costs nothing."""
        entry = self.journal.get(request.digest)
        return entry is not None and self._is_final(entry)

    async def check(self) -> Checked:
        """Ask the endpoint which models it serves; costs nothing.

        Raises EndpointDown, KeyMissing, KeyRefused, ModelUnknown.
        """
        return await check_model(self._wire, self.settings, self._clock)

    async def _wait(self, purchase: Purchase) -> Completion:
        """Wait, as others may too; a purchase that is not sent ends with its last waiter."""
        assert purchase.task is not None
        purchase.waiters += 1
        try:
            return await asyncio.shield(purchase.task)
        finally:
            purchase.waiters -= 1
            if not (purchase.waiters or purchase.sent or purchase.task.done()):
                purchase.task.cancel()

    def _forget(self, digest: str, task: asyncio.Task[Completion]) -> None:
        if (purchase := self._purchases.get(digest)) is not None and purchase.task is task:
            del self._purchases[digest]
        if not task.cancelled():
            task.exception()  # seen, also where nobody waits any more

    async def _buy(self, purchase: Purchase) -> Completion:
        digest = purchase.request.digest
        number = int(digest[:15], 16)
        pause = CLAIM_POLL_SECONDS
        while not self.journal.claims.take(number):  # another client or process is buying it
            await self._clock.sleep(pause)
            pause = min(2 * pause, CLAIM_POLL_MOST_SECONDS)
        try:
            if (entry := self.journal.get(digest)) is not None:
                if self._is_final(entry):
                    self.tally.joined += 1
                    self.journal.used(digest)
                    return deliver(entry, from_journal=True)
                purchase.resume(entry)
            return await self._try_until_answered(purchase)
        finally:
            self.journal.claims.free(number)

    async def _try_until_answered(self, purchase: Purchase) -> Completion:
        while True:
            if self._ended is not None:
                raise self._ended
            if not purchase.waiters and purchase.attempts:
                raise EndpointError("nobody waits for this request any more")
            try:
                entry = await self._attempt(purchase)
            except AttemptFailed as failed:
                await self._judge(purchase, failed)
                await self._clock.sleep(self._pause_seconds(purchase, failed))
                continue
            if is_final(entry.fault, purchase.draws, self.settings.max_attempts):
                self.tally.bought += 1
                return deliver(entry, from_journal=False)
            await self._clock.sleep(backoff_seconds(purchase.draws, self._dice))

    def _is_final(self, entry: Entry) -> bool:
        return is_final(entry.fault, entry.draws, self.settings.max_attempts)

    def _pause_seconds(self, purchase: Purchase, failed: AttemptFailed) -> float:
        if not failed.retry_after_seconds:
            failures = purchase.met.total() or 1
            return backoff_seconds(failures, self._dice, failed.overloaded)
        # Where the endpoint is overloaded, all wait for it in the queue.
        return 0.0 if failed.overloaded else failed.retry_after_seconds

    async def _attempt(self, purchase: Purchase) -> Entry:
        """Send once, and store what came. Raises AttemptFailed where nothing usable came."""
        request, settings = purchase.request, self.settings
        self._wire.open()
        worst = cost_usd(settings, request.most_prompt_tokens, request.sampling.max_tokens)
        async with self._unstored:
            epoch = await self._limit.acquire()
            try:
                ticket = await self._rates.admit(request.most_tokens)
                reserved = await self.budget.reserve(worst)
                if self._ended is not None:  # while this one stood in the queue
                    self.budget.release(reserved)
                    raise self._ended
                answer, seconds = await self._send(purchase, ticket, reserved, worst, epoch)
            finally:
                self._limit.release()
            return await self._store(purchase, answer, seconds, reserved)

    async def _store(
        self, purchase: Purchase, answer: Answer, seconds: float, reserved: int
    ) -> Entry:
        settings = self.settings
        cost = cost_usd(
            settings, answer.prompt_tokens, answer.completion_tokens, answer.cached_tokens
        )
        self.tally.cost_usd += cost
        purchase.cost_usd += cost
        if answer.fault is not None:
            self.tally.faults[answer.fault] += 1
            purchase.draws += 1
        entry = purchase.entry(answer, seconds, settings.name)
        charge = self.budget.settle(reserved, cost)
        try:
            await self.journal.put(entry, also=charge)
        except JournalFailed as failed:
            self._ended = failed  # what cannot be kept must not be bought
            self.journal.write_soon(charge)  # the money is gone all the same
            raise
        finally:
            purchase.sent = False
        return entry

    async def _send(
        self, purchase: Purchase, ticket: Ticket, reserved: int, worst_usd: float, epoch: int
    ) -> tuple[Answer, float]:
        purchase.sent = True
        started = self._clock.now()
        billed = True  # also where the task is cancelled under way
        answered = False
        try:
            answer = await self._wire.ask(
                purchase.request, purchase.draws, lambda told: self._rates.learn(ticket, told)
            )
            answered = True
        except AttemptFailed as failed:
            billed = failed.may_be_billed
            if not billed:
                self._rates.used(ticket, 0)
            if failed.overloaded:
                self._limit.overloaded(epoch, failed.retry_after_seconds)
            raise
        finally:
            if not answered:
                purchase.sent = False
                self._give_up_reservation(reserved, worst_usd, billed)
        purchase.attempts += 1
        self._limit.succeeded()
        self._breaker.succeeded()
        self._rates.used(ticket, answer.prompt_tokens + answer.completion_tokens)
        return answer, self._clock.now() - started

    def _give_up_reservation(self, reserved: int, worst_usd: float, billed: bool) -> None:
        if billed:
            self.journal.write_soon(self.budget.settle(reserved, worst_usd, confirmed=False))
        else:
            self.budget.release(reserved)

    async def _judge(self, purchase: Purchase, failed: AttemptFailed) -> None:
        """Return where another attempt makes sense; else raise what ends the request or the run."""
        fault, policy = failed.fault, POLICIES[failed.fault]
        self.tally.faults[fault] += 1
        if policy.stops_run:
            known = fault == "model_unknown"
            models = await list_models(self._wire, self.settings, self._clock) if known else ()
            self._ended = verdicts.stop(self.settings, fault, failed.detail, models)
            raise self._ended from None
        if failed.reached:
            purchase.attempts += 1
            purchase.met[fault] += 1
        if policy.attempts == 1:
            self._breaker.succeeded()  # it judged this one request; so it lives
        elif self._breaker.failed(fault, failed.reached, purchase.request.digest):
            self._ended = verdicts.given_up(self.settings, fault, failed.detail, failed.reached)
            raise self._ended from None
        most = policy.attempts or self.settings.max_attempts
        if fault == "server" and failed.overloaded:
            most *= OVERLOAD_PATIENCE
        to_blame = policy.attempts == 1 or not (
            fault == "rate_limit" or self._breaker.suspicious  # then it is the endpoint
        )
        if purchase.met[fault] >= most and to_blame:
            raise FaultyCompletion(
                f"endpoint '{self.settings.name}' ({self.settings.model}) gave no answer after "
                f"{purchase.attempts} attempts; the last fault was {failed}",
                fault,
            ) from None
