"""Many items through the endpoints at once; results go to disk in order, as they are ready.

Memory holds what is being worked on and what waits for an earlier item, never all results.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from artifacts.progress import Progress
from datagen.access import AgentRole, Cast, LlmAccess, open_cast
from datagen.meter import Meter
from endpoints.collector import rare_collections
from endpoints.errors import BudgetExceeded
from endpoints.spending import with_estimate

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
# Results that may wait for one slow item before new ones are begun, per item at work.
AHEAD = 16
LEAST_AHEAD = 256


@dataclass(frozen=True)
class Production:
    """A step's way of working: who answers, what one item is called, and who hears of it."""

    access: LlmAccess
    roles: Sequence[AgentRole]
    unit: str
    progress: Callable[[Progress], None]
    meter: Meter = field(default_factory=Meter)

    def run(
        self,
        items: Iterable[ItemT],
        total: int,
        work: Callable[[ItemT, Cast], Awaitable[ResultT]],
        keep: Callable[[ResultT], None],
        meanwhile: Iterable[object] = (),
    ) -> None:
        """Do the work of every item; `keep` gets the results in the items' order.

        `meanwhile`: what needs no endpoint, gone through step by step while they answer.
        Raises the endpoint errors that end a run.
        """
        if total:
            with rare_collections():
                asyncio.run(self._run(items, total, work, keep, meanwhile))
        else:
            deque(meanwhile, maxlen=0)

    async def _run(
        self,
        items: Iterable[ItemT],
        total: int,
        work: Callable[[ItemT, Cast], Awaitable[ResultT]],
        keep: Callable[[ResultT], None],
        meanwhile: Iterable[object],
    ) -> None:
        done = 0
        use = self.meter.total

        def report() -> None:
            note = f"{use.calls} answers, {use.from_journal} from the journal"
            self.progress(Progress(done, total, self.unit, round(use.spent_usd, 6), note))

        def count() -> None:
            nonlocal done
            done += 1
            report()

        self.meter.on_call = report
        async with open_cast(self.access, self.roles, self.meter) as cast:
            # Work that asks nobody has no slots to fill.
            at_once = min(max(1, cast.at_once(self.roles)), total)
            aside = asyncio.create_task(_go_through(meanwhile))
            try:
                await run_in_order(lambda item: work(item, cast), items, at_once, keep, count)
                await aside
            except BudgetExceeded as error:
                raise with_estimate(error, use.cost_usd, done, total) from None
            finally:
                aside.cancel()


async def _go_through(steps: Iterable[object]) -> None:
    """Take step after step, and let others work between them."""
    for _ in steps:
        await asyncio.sleep(0)


async def run_in_order(
    work: Callable[[ItemT], Awaitable[ResultT]],
    items: Iterable[ItemT],
    at_once: int,
    keep: Callable[[ResultT], None],
    on_done: Callable[[], None] = lambda: None,
) -> None:
    """Do the work of every item, `at_once` of them at a time.

    `keep` gets the results in the items' order, `on_done` is told as each is ready. Items are
    taken as they are needed; no more than `AHEAD` times `at_once` results wait for a slow one.
    The first error stops the others and is raised as it is.
    """
    waiting = iter(enumerate(items))
    ready: dict[int, ResultT] = {}
    kept = 0
    most_ahead = max(LEAST_AHEAD, AHEAD * at_once)
    room = asyncio.Condition()

    async def worker() -> None:
        nonlocal kept
        for index, item in waiting:
            while index - kept >= most_ahead:
                async with room:
                    await room.wait()
            ready[index] = await work(item)
            on_done()
            before = kept
            while kept in ready:
                keep(ready.pop(kept))
                kept += 1
            if kept > before:
                async with room:
                    room.notify_all()

    workers = [asyncio.create_task(worker()) for _ in range(at_once)]
    try:
        await asyncio.gather(*workers)
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
