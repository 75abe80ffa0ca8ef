"""Requests on their way into a batch: gathered, paid for in advance, written down, sent."""

import asyncio
import json
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from endpoints.batch_rows import BatchedRequest, OpenBatch, insert_batch
from endpoints.budget import LEASE_IDS, Budget
from endpoints.errors import BudgetExceeded, EndpointError, FaultyCompletion
from endpoints.journal import Journal, now
from endpoints.request import ChatRequest, Completion
from endpoints.settings import EndpointSettings, cost_usd
from endpoints.wire import payload

BATCH_IDS = LEASE_IDS | 1 << 60  # batches' claims stand above those of leases


@dataclass
class Wanted:
    """A request that is asked for here: how many wait for it, and what happened so far.

    `changed` is set when its batch has an answer, or the run has an end. `queued`: it stands
    in the queue of those that no batch holds yet. `bought`: a batch that this client attends
    holds it, so that its answer is bought here (it may be read before the attendant tells).
    """

    request: ChatRequest
    task: asyncio.Task[Completion] | None = None
    waiters: int = 0
    queued: bool = False
    attempts: int = 0
    draws: int = 0
    cost_usd: float = 0.0
    faults: dict[str, int] = field(default_factory=dict)
    bought: bool = False
    failed: FaultyCompletion | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def alive(self) -> bool:
        """Whether somebody still waits for it."""
        return self.task is not None and not self.task.done()


@dataclass(frozen=True)
class _Line:
    wanted: Wanted
    route: str
    text: bytes


class Packer:
    """Packs requests of one endpoint into batches until it is cancelled.

    `attending`: the batches that are under way here. `attend` takes over one that was written
    down, with its file. `end` is told what ends the run.
    """

    def __init__(
        self,
        settings: EndpointSettings,
        journal: Journal,
        budget: Budget,
        attending: Mapping[int, asyncio.Task[None]],
        attend: Callable[[OpenBatch, bytes], None],
        end: Callable[[EndpointError], None],
    ) -> None:
        self.settings = settings
        self.journal = journal
        self.budget = budget
        self._attending = attending
        self._attend = attend
        self._end = end
        self._queue: asyncio.Queue[Wanted] = asyncio.Queue()
        self._held: _Line | None = None  # the one that did not fit into the last batch

    def put(self, wanted: Wanted) -> None:
        """Queue a request; once is enough."""
        if not wanted.queued:
            wanted.queued = True
            self._queue.put_nowait(wanted)

    async def work(self) -> None:
        """Send what has gathered, batch after batch."""
        while True:
            group = await self._gather()
            for route in dict.fromkeys(line.route for line in group):
                try:
                    await self._send(route, [line for line in group if line.route == route])
                except EndpointError as error:
                    self._end(error)

    async def _gather(self) -> list[_Line]:
        """Requests until nothing more comes for a while, or a batch is full."""
        limits = self.settings.batch
        group = [self._held or self._line(await self._queue.get())]
        self._held = None
        size = len(group[0].text)
        while len(group) < limits.max_requests:
            try:
                async with asyncio.timeout(limits.quiet_seconds):
                    line = self._line(await self._queue.get())
            except TimeoutError:
                break
            if size + len(line.text) > limits.max_bytes:
                self._held = line
                break
            group.append(line)
            size += len(line.text)
        return group

    def _line(self, wanted: Wanted) -> _Line:
        route, body = payload(wanted.request, self.settings, wanted.draws)
        line = {
            "custom_id": wanted.request.digest,
            "method": "POST",
            "url": f"/v1{route}",
            "body": body,
        }
        return _Line(wanted, route, json.dumps(line, ensure_ascii=False).encode() + b"\n")

    async def _send(self, route: str, lines: Iterable[_Line]) -> None:
        """Reserve each request's worst case and send those that fit under the cap.

        The others wait for a batch to end, and free what it did not need. Raises BudgetExceeded
        where no batch is under way that could.
        """
        ready: list[tuple[_Line, int]] = []
        for line in lines:
            while line.wanted.alive:
                alone = not ready and not self._attending
                try:
                    worst = self._worst_usd(line.wanted.request)
                    ready.append((line, await self.budget.reserve(worst, patient=alone)))
                    break
                except BudgetExceeded:
                    if alone:
                        raise
                await self._launch(route, ready)
                ready = []
                await asyncio.wait(self._attending.values(), return_when=asyncio.FIRST_COMPLETED)
        await self._launch(route, ready)

    def _worst_usd(self, request: ChatRequest) -> float:
        most = request.sampling.max_tokens
        return cost_usd(self.settings, request.most_prompt_tokens, most, batch=True)

    async def _launch(self, route: str, ready: list[tuple[_Line, int]]) -> None:
        """Write a batch into the journal, with the money that it holds, and begin to send it."""
        if not ready:
            return
        batch = OpenBatch(
            id=BATCH_IDS | secrets.randbits(60),
            endpoint=self.settings.name,
            base_url=self.settings.base_url or "",
            route=route,
            scope=self.budget.scope,
            batch_id=None,
            created_at=now(),
        )
        requests = [_batched(line.wanted, reserved) for line, reserved in ready]
        changes = [self.budget.hand_over(reserved) for _, reserved in ready]
        self.journal.claims.take(batch.id)

        def write(connection: sqlite3.Connection) -> None:
            insert_batch(connection, batch, requests)
            for change in changes:
                change(connection)

        await self.journal.write(write)
        self._attend(batch, b"".join(line.text for line, _ in ready))
        for line, _ in ready:
            line.wanted.queued, line.wanted.bought = False, True


def _batched(wanted: Wanted, reserved: int) -> BatchedRequest:
    request = wanted.request
    return BatchedRequest(
        request.digest,
        request.canonical,
        reserved,
        wanted.attempts,
        wanted.draws,
        wanted.cost_usd,
    )
