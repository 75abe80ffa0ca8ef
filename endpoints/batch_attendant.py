"""One batch from its upload to its last answer, through deaths of the process on the way.

What is about to be sent stands in the journal before it is sent. A batch whose id was lost
with a process is found at the endpoint by the mark that it carries. Each answer, its cost and
the end of its reservation are one commit, so that collecting may be cut off and done again.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from endpoints.answers import AttemptFailed, read_answer, read_refusal
from endpoints.batch_rows import (
    BatchedRequest,
    OpenBatch,
    name_batch,
    read_digests,
    read_request,
    remove_batch,
    remove_request,
)
from endpoints.batch_wire import BatchState, BatchWire
from endpoints.budget import NANOS, charge, to_nanos
from endpoints.concurrency import Clock
from endpoints.errors import EndpointError, FaultName
from endpoints.faults import POLICIES, backoff_seconds
from endpoints.journal import Entry, Journal, Write
from endpoints.purchase import Purchase
from endpoints.request import ChatRequest
from endpoints.settings import EndpointSettings, cost_usd

LINES_AT_ONCE = 256
OK = 200
# Codes of a batch that was refused because too much is queued, not for what stands in it.
LIMIT_CODES = frozenset({"token_limit_exceeded", "request_limit_exceeded", "rate_limit_exceeded"})
EXPIRED = "batch_expired"
# Faults after which a batch was surely not made.
REFUSALS = frozenset({"rate_limit", "bad_request", "authentication", "quota", "model_unknown"})

T = TypeVar("T")


@dataclass(frozen=True)
class Outcome:
    """What came of one request of a batch: a row of the journal, or a fault without one."""

    digest: str
    entry: Entry | None
    fault: FaultName | None
    detail: str
    cost_usd: float


class BatchRefused(EndpointError):
    """The endpoint did not begin a batch; nothing was billed. `limited`: it may, later."""

    def __init__(self, message: str, fault: FaultName, limited: bool) -> None:
        super().__init__(message)
        self.fault: FaultName = fault
        self.limited = limited


class Attendant:
    """Sees batches of one endpoint to their end; `tell` hears of each request.

    `collecting` are those that have ended, and whose answers are being stored.
    """

    def __init__(
        self,
        settings: EndpointSettings,
        journal: Journal,
        wire: BatchWire,
        clock: Clock,
        tell: Callable[[Outcome], None],
    ) -> None:
        self.settings = settings
        self.journal = journal
        self._wire = wire
        self._clock = clock
        self._tell = tell
        self.collecting: set[int] = set()
        self._dice = random.Random()

    async def attend(self, batch: OpenBatch, content: bytes | None) -> None:
        """Send the batch (`content` None: it was sent, or about to be), wait, store the answers.

        Raises AttemptFailed where the endpoint cannot be used, BatchRefused, JournalFailed.
        """
        named = batch
        if batch.batch_id is None:
            found = await (self._sent(batch, content) if content else self._found(batch))
            if found is None:  # never made: its requests are asked anew
                await self.journal.write(lambda c: remove_batch(c, batch))
                return
            await self.journal.write(lambda c: name_batch(c, batch, found))
            named = replace(batch, batch_id=found)
        state = await self._ended(named)
        if state is not None and state.status == "failed":
            await self._refused(named, state)
        self.collecting.add(batch.id)
        try:
            await self._collect(named, state)
        finally:
            self.collecting.discard(batch.id)

    async def _sent(self, batch: OpenBatch, content: bytes) -> str:
        try:
            name = f"medfactory-{batch.mark}.jsonl"
            file_id = await self._steadily(lambda: self._wire.upload(name, content))
        except AttemptFailed:  # there can be no batch of it
            await self.journal.write(lambda c: remove_batch(c, batch))
            raise
        failures = 0
        while True:
            try:
                return await self._wire.create(file_id, batch.route, batch.mark)
            except AttemptFailed as failed:
                failures += 1
                if not failed.reached or failed.fault in REFUSALS:
                    if self._hopeless(failed, failures):
                        await self.journal.write(lambda c: remove_batch(c, batch))
                        raise
                elif (found := await self._found(batch)) is not None:
                    return found
                elif self._hopeless(failed, failures):
                    raise
                await self._clock.sleep(self._pause_seconds(failed, failures))

    async def _found(self, batch: OpenBatch) -> str | None:
        """The endpoint's id of a batch that may have been made, or never was."""
        if found := await self._steadily(lambda: self._wire.find(batch.mark)):
            return found
        # One that was asked for a moment ago may not be listed yet.
        await self._clock.sleep(self.settings.batch.poll_seconds)
        return await self._steadily(lambda: self._wire.find(batch.mark))

    async def _ended(self, batch: OpenBatch) -> BatchState | None:
        """Wait for the end of a batch; None where the endpoint does not know it."""
        batch_id = batch.batch_id
        assert batch_id is not None
        most = self.settings.batch.poll_seconds
        pause, unknown = most / 8, 0
        while True:
            state = await self._steadily(lambda: self._wire.state(batch_id))
            if state is not None and state.ended:
                return state
            # One that was made a moment ago may not be known everywhere yet.
            unknown = unknown + 1 if state is None else 0
            if unknown > 1:
                return None
            await self._clock.sleep(most if unknown else pause)
            pause = min(2 * pause, most)

    async def _refused(self, batch: OpenBatch, state: BatchState) -> None:
        """A batch that failed as a whole: nothing of it was run. Raises BatchRefused."""
        if state.files:
            return  # something of it was
        limited = state.problem_code in LIMIT_CODES
        if limited:
            await self._clock.sleep(self.settings.batch.poll_seconds)
        await self.journal.write(lambda c: remove_batch(c, batch))
        fault = read_refusal(400, {"code": state.problem_code}).fault
        told = state.problem or state.problem_code or "it does not say why"
        raise BatchRefused(told, fault, limited)

    async def _collect(self, batch: OpenBatch, state: BatchState | None) -> None:
        for file_id in state.files if state is not None else ():
            await self._steadily(partial(self._collect_file, batch, file_id))
        ended = state.status if state is not None else "unknown"
        missing = read_digests(self.journal, batch)
        for start in range(0, len(missing), LINES_AT_ONCE):
            group = missing[start : start + LINES_AT_ONCE]
            await asyncio.gather(*(self._settle_missing(batch, digest, ended) for digest in group))
        await self.journal.write(lambda c: remove_batch(c, batch))

    async def _collect_file(self, batch: OpenBatch, file_id: str) -> None:
        async for lines in _in_groups(self._wire.lines(file_id)):
            await asyncio.gather(*(self._settle_line(batch, line) for line in lines))

    async def _settle_line(self, batch: OpenBatch, line: dict[str, Any]) -> None:
        digest = str(line.get("custom_id"))
        row = read_request(self.journal, batch, digest)
        if row is None:
            return  # settled before the process was cut off
        response, error = line.get("response"), line.get("error")
        status = response.get("status_code") if isinstance(response, dict) else None
        body = response.get("body") if isinstance(response, dict) else None
        if status == OK:
            await self._settle_answer(batch, row, body)
        elif isinstance(status, int) and status:
            refused = read_refusal(status, body)
            detail = f"HTTP {status}: {refused.message}"
            await self._settle_fault(batch, row, refused.fault, detail)
        else:
            told = error if isinstance(error, dict) else {}
            code = str(told.get("code") or "")
            fault = "timeout" if code == EXPIRED else read_refusal(500, told).fault
            detail = f"{code}: {told.get('message') or ''}"
            await self._settle_fault(batch, row, fault, detail, billed=False)

    async def _settle_answer(self, batch: OpenBatch, row: BatchedRequest, body: Any) -> None:
        request = ChatRequest.model_validate_json(row.request)
        try:
            answer = read_answer(body, request)
        except AttemptFailed as failed:
            await self._settle_fault(batch, row, failed.fault, failed.detail, billed=True)
            return
        cost = cost_usd(
            self.settings,
            answer.prompt_tokens,
            answer.completion_tokens,
            answer.cached_tokens,
            batch=True,
        )
        purchase = Purchase(
            request,
            attempts=row.attempts + 1,
            draws=row.draws + (answer.fault is not None),
            cost_usd=row.cost_usd + cost,
        )
        entry = purchase.entry(answer, _seconds_since(batch.created_at), self.settings.name)
        await self.journal.put(entry, also=_settlement(batch, row, to_nanos(cost), True))
        self._tell(Outcome(row.digest, entry, answer.fault, "", cost))

    async def _settle_fault(
        self,
        batch: OpenBatch,
        row: BatchedRequest,
        fault: FaultName,
        detail: str,
        billed: bool | None = None,
    ) -> None:
        """End a request that brought no answer; what may have been billed counts at its worst."""
        if billed is None:
            billed = POLICIES[fault].bill == "unknown"
        await self.journal.write(_settlement(batch, row, row.reserved if billed else 0, False))
        cost = row.reserved / NANOS if billed else 0.0
        self._tell(Outcome(row.digest, None, fault, " ".join(detail.split())[:300], cost))

    async def _settle_missing(self, batch: OpenBatch, digest: str, ended: str) -> None:
        """A request that stands in no file: cut off and not billed, or lost and perhaps billed."""
        if (row := read_request(self.journal, batch, digest)) is None:
            return
        cut_off = ended in ("expired", "cancelled")
        fault: FaultName = "timeout" if cut_off else "malformed"
        detail = f"the batch ended as {ended}, without an answer to this request"
        await self._settle_fault(batch, row, fault, detail, billed=not cut_off)

    async def _steadily(self, call: Callable[[], Awaitable[T]]) -> T:
        """Try until it works. Raises AttemptFailed where that is hopeless."""
        failures = 0
        while True:
            try:
                return await call()
            except AttemptFailed as failed:
                failures += 1
                if self._hopeless(failed, failures):
                    raise
                await self._clock.sleep(self._pause_seconds(failed, failures))

    def _hopeless(self, failed: AttemptFailed, failures: int) -> bool:
        policy = POLICIES[failed.fault]
        return policy.stops_run or policy.attempts == 1 or failures >= self.settings.max_attempts

    def _pause_seconds(self, failed: AttemptFailed, failures: int) -> float:
        return failed.retry_after_seconds or backoff_seconds(failures, self._dice)


def _settlement(batch: OpenBatch, row: BatchedRequest, cost: int, confirmed: bool) -> Write:
    def write(connection: Any) -> None:
        remove_request(connection, batch, row.digest)
        if cost:
            charge(connection, batch.scope, cost, confirmed)

    return write


async def _in_groups(lines: AsyncIterator[dict[str, Any]]) -> AsyncIterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    async for line in lines:
        group.append(line)
        if len(group) == LINES_AT_ONCE:
            yield group
            group = []
    if group:
        yield group


def _seconds_since(created_at: str) -> float:
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(created_at)).total_seconds())
