"""The Batch API behind the same call as the live client: half the price, hours of latency.

Requests gather until nothing more comes, are written into the journal, sent as one batch, and
answered when it ends. Whoever starts again finds the batches that are under way, and waits on.
An answer is the same row of the journal as one that was bought live.
"""

import asyncio
import logging
import os
from collections.abc import Mapping
from datetime import date
from types import TracebackType
from typing import Any, Self

from endpoints import verdicts
from endpoints.answers import AttemptFailed
from endpoints.batch_attendant import Attendant, BatchRefused, Outcome
from endpoints.batch_packing import Packer, Wanted
from endpoints.batch_rows import (
    OpenBatch,
    find_batch,
    open_batches,
)
from endpoints.batch_wire import BatchWire
from endpoints.budget import Budget
from endpoints.client import DRAIN_SECONDS, Tally
from endpoints.concurrency import Clock, SystemClock
from endpoints.errors import (
    CircuitOpen,
    ConfigurationError,
    EndpointError,
    FaultyCompletion,
)
from endpoints.faults import POLICIES
from endpoints.journal import Entry, Journal
from endpoints.models import Checked, check_model
from endpoints.prices import stale_price
from endpoints.purchase import deliver, is_final
from endpoints.request import ChatRequest, Completion
from endpoints.settings import EndpointSettings, cost_usd
from endpoints.wire import Wire

CLAIM_POLL_SECONDS = 0.05


class BatchClient:
    """Asks one endpoint by batches; an async context manager for one event loop.

    Leaving does not end the batches that are under way: the next run collects them. The key is
    read from `environment` (os.environ where None) when the first request is sent.
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
        self._base_url = settings.base_url or ""
        self._environment = os.environ if environment is None else environment
        self._wire = BatchWire(settings, self._environment)
        self._attendant = Attendant(settings, journal, self._wire, self._clock, self._hear)
        self._wanted: dict[str, Wanted] = {}
        self._attending: dict[int, asyncio.Task[None]] = {}
        self._packer = Packer(settings, journal, budget, self._attending, self._attend, self._end)
        self._limited = 0
        self._packing: asyncio.Task[None] | None = None
        self._ended: BaseException | None = None

    async def __aenter__(self) -> Self:
        """Raises ConfigurationError where the endpoint is embedded, or has no price."""
        if self.settings.base_url is None:
            raise ConfigurationError(
                f"endpoint '{self.settings.name}' runs inside this process and has no Batch API. "
                "Nothing was sent. Use `transport: live`, or another endpoint."
            )
        cost_usd(self.settings, 0, 0)
        if old := stale_price(self.settings.model, self.settings.prices, date.today()):
            logging.getLogger(__name__).warning("endpoint '%s': %s", self.settings.name, old)
        for batch in self._open_batches():
            self._adopt(batch)
        self._packing = asyncio.create_task(self._packer.work())
        self._packing.add_done_callback(self._look_at)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended = self._ended or EndpointError("the client was closed while it was asked")
        if collecting := [
            task for ident, task in self._attending.items() if ident in self._attendant.collecting
        ]:
            await asyncio.wait(collecting, timeout=DRAIN_SECONDS)
        wanted = (one.task for one in self._wanted.values())
        tasks: tuple[asyncio.Task[Any] | None, ...] = (self._packing, *wanted)
        going = [*self._attending.values(), *(task for task in tasks if task is not None)]
        for task in going:
            task.cancel()
        await asyncio.gather(*going, return_exceptions=True)
        await self._wire.close()
        if left := len(self._open_batches()):
            logging.getLogger(__name__).warning(
                "endpoint '%s': %d batches are under way; the same command collects them",
                self.settings.name,
                left,
            )

    def knows(self, request: ChatRequest) -> bool:
        """Whether the journal holds the answer, so that asking costs nothing."""
        entry = self.journal.get(request.digest)
        return entry is not None and self._is_final(entry)

    async def check(self) -> Checked:
        """Ask the endpoint which models it serves; costs nothing.

        Raises EndpointDown, KeyMissing, KeyRefused, ModelUnknown.
        """
        wire = Wire(self.settings, self._environment)
        try:
            return await check_model(wire, self.settings, self._clock)
        finally:
            await wire.close()

    async def complete(self, request: ChatRequest) -> Completion:
        """The answer to a request: from the journal, or out of a batch, stored before it returns.

        Raises FaultyCompletion where this request finally failed (quarantine it and go on);
        any other EndpointError ends the run.
        """
        if (request.model, request.revision) != (self.settings.model, self.settings.revision):
            raise ConfigurationError(
                f"a request for model '{request.model}' (revision '{request.revision}') was given "
                f"to endpoint '{self.settings.name}', which is declared with "
                f"'{self.settings.model}' (revision '{self.settings.revision}')"
            )
        digest = request.digest
        wanted = self._wanted.get(digest)
        if wanted is not None and wanted.task is not None and not wanted.task.cancelling():
            completion = await self._wait(wanted)
            self.tally.joined += 1
            self.journal.used(digest)
            return completion.model_copy(update={"from_journal": True})
        if (entry := self.journal.get(digest)) is not None and self._is_final(entry):
            self.tally.reused += 1
            self.journal.used(digest)
            return deliver(entry, from_journal=True)
        wanted = Wanted(request)
        wanted.task = asyncio.create_task(self._obtain(wanted))
        wanted.task.add_done_callback(lambda task: self._forget(digest, task))
        self._wanted[digest] = wanted
        return await self._wait(wanted)

    async def _wait(self, wanted: Wanted) -> Completion:
        """Wait, as others may too; what no batch holds yet ends with its last waiter."""
        assert wanted.task is not None
        wanted.waiters += 1
        try:
            return await asyncio.shield(wanted.task)
        finally:
            wanted.waiters -= 1
            if not wanted.waiters and not wanted.task.done():
                wanted.task.cancel()

    def _forget(self, digest: str, task: asyncio.Task[Completion]) -> None:
        if (wanted := self._wanted.get(digest)) is not None and wanted.task is task:
            del self._wanted[digest]
        if not task.cancelled():
            task.exception()  # seen, also where nobody waits any more

    def _is_final(self, entry: Entry) -> bool:
        return is_final(entry.fault, entry.draws, self.settings.max_attempts)

    async def _obtain(self, wanted: Wanted) -> Completion:
        """Follow a request from the queue into batches until it is answered for good."""
        digest = wanted.request.digest
        number = int(digest[:15], 16)
        await self._claim(number)
        try:
            while True:
                wanted.changed.clear()
                entry = self.journal.get(digest)
                if entry is not None and self._is_final(entry):
                    return self._hand_on(wanted, entry)
                if self._ended is not None:
                    raise self._ended
                if wanted.failed is not None:
                    raise wanted.failed
                if entry is not None:
                    wanted.draws, wanted.cost_usd = entry.draws, entry.cost_usd
                    wanted.attempts = max(wanted.attempts, entry.attempts)
                if (batch := self._batch_of(digest)) is not None:
                    await self._follow(wanted, batch)
                else:
                    self._wire.open()  # the key is missed before anything is written down
                    self._packer.put(wanted)
                    await wanted.changed.wait()
        finally:
            self.journal.claims.free(number)

    def _open_batches(self) -> list[OpenBatch]:
        return open_batches(self.journal, self.settings.name, self._base_url)

    def _batch_of(self, digest: str) -> OpenBatch | None:
        return find_batch(self.journal, digest, self.settings.name, self._base_url)

    async def _claim(self, number: int) -> None:
        """Wait until no other process is buying the same."""
        pause = CLAIM_POLL_SECONDS
        while not self.journal.claims.take(number):
            await self._clock.sleep(pause)
            pause = min(2 * pause, self.settings.batch.poll_seconds)

    def _hand_on(self, wanted: Wanted, entry: Entry) -> Completion:
        if not wanted.bought:
            self.tally.joined += 1
            self.journal.used(entry.digest)
        return deliver(entry, from_journal=not wanted.bought)

    async def _follow(self, wanted: Wanted, batch: OpenBatch) -> None:
        """Wait for news of a request that a batch holds, whoever attends it."""
        self._adopt(batch)
        if batch.id in self._attending:
            wanted.bought = True
            await wanted.changed.wait()
        else:
            await self._clock.sleep(self.settings.batch.poll_seconds)

    def _adopt(self, batch: OpenBatch) -> None:
        """Attend a batch that nobody attends."""
        if batch.id not in self._attending and self.journal.claims.take(batch.id):
            self._attend(batch, None)

    def _attend(self, batch: OpenBatch, content: bytes | None) -> None:
        task = asyncio.create_task(self._see_through(batch, content))
        task.add_done_callback(self._look_at)
        self._attending[batch.id] = task

    async def _see_through(self, batch: OpenBatch, content: bytes | None) -> None:
        try:
            await self._attendant.attend(batch, content)
            self._limited = 0
        except BatchRefused as refused:
            self._limited += refused.limited
            if not refused.limited or self._limited >= self.settings.max_attempts:
                self._end(_refusal(self.settings, refused))
        except AttemptFailed as failed:
            self._end(_verdict(self.settings, failed))
        except EndpointError as error:
            self._end(error)
        finally:
            self.journal.claims.free(batch.id)
            del self._attending[batch.id]
            self._wake()

    def _look_at(self, task: asyncio.Task[None]) -> None:
        """A defect in the work behind ends the run; nobody waits for it in vain."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._end(error)

    def _end(self, error: BaseException) -> None:
        self._ended = self._ended or error
        self._wake()

    def _wake(self) -> None:
        for wanted in self._wanted.values():
            wanted.changed.set()

    def _hear(self, outcome: Outcome) -> None:
        """What came of a request of an attended batch, whether or not it is wanted here."""
        self.tally.cost_usd += outcome.cost_usd
        if outcome.fault is not None:
            self.tally.faults[outcome.fault] += 1
        if outcome.entry is not None and self._is_final(outcome.entry):
            self.tally.bought += 1
        wanted = self._wanted.get(outcome.digest)
        if wanted is None:
            return
        if outcome.entry is None and outcome.fault is not None:
            self._count_fault(wanted, outcome)
        wanted.changed.set()

    def _count_fault(self, wanted: Wanted, outcome: Outcome) -> None:
        fault = outcome.fault
        assert fault is not None
        wanted.attempts += 1
        wanted.faults[fault] = wanted.faults.get(fault, 0) + 1
        policy = POLICIES[fault]
        if policy.stops_run:
            self._end(verdicts.stop(self.settings, fault, outcome.detail, ()))
        elif wanted.faults[fault] >= (policy.attempts or self.settings.max_attempts):
            wanted.failed = FaultyCompletion(
                f"endpoint '{self.settings.name}' ({self.settings.model}) gave no answer after "
                f"{wanted.attempts} attempts in batches; the last fault was {fault}: "
                f"{outcome.detail}",
                fault,
            )


def _refusal(settings: EndpointSettings, refused: BatchRefused) -> EndpointError:
    """What a batch that the endpoint did not begin means for the run."""
    if POLICIES[refused.fault].stops_run:
        return verdicts.stop(settings, refused.fault, str(refused), ())
    place = f"endpoint '{settings.name}' at {settings.base_url}"
    if refused.limited:
        return CircuitOpen(
            f"{place} takes no more batches: {refused}. Wait until those that are queued have "
            "ended, or lower batch.max_requests in endpoints.yaml, then run the same command: it "
            "goes on, and nothing is bought twice."
        )
    return EndpointError(
        f"{place} refused a whole batch, and ran nothing of it: {refused}. Use `transport: live` "
        "to see which request it objects to."
    )


def _verdict(settings: EndpointSettings, failed: AttemptFailed) -> EndpointError:
    """What a call that failed for good means for the run."""
    if failed.fault == "model_unknown":  # a 404: of a route, here
        return ConfigurationError(
            f"endpoint '{settings.name}' at {settings.base_url} has no Batch API "
            f"({failed.detail}). Use `transport: live`, or another endpoint."
        )
    if POLICIES[failed.fault].stops_run:
        return verdicts.stop(settings, failed.fault, failed.detail, ())
    return verdicts.given_up(settings, failed.fault, failed.detail, failed.reached)


def open_batch_client(
    settings: EndpointSettings,
    journal: Journal,
    budget: Budget,
    environment: Mapping[str, str] | None = None,
) -> BatchClient:
    """A client of the endpoint that asks by batches; enter it with `async with`."""
    return BatchClient(settings, journal, budget, environment)
