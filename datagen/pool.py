"""Many coroutines, a bounded number of them at once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


async def run_bounded(
    work: Callable[[ItemT], Awaitable[ResultT]],
    items: Sequence[ItemT],
    at_once: int,
    on_done: Callable[[ResultT], None] = lambda result: None,
) -> list[ResultT]:
    """The results of `work` for every item, in the items' order; `on_done` as each is ready.

    The first error stops the others and is raised as it is.
    """
    results: dict[int, ResultT] = {}
    waiting = iter(enumerate(items))

    async def worker() -> None:
        for index, item in waiting:
            results[index] = result = await work(item)
            on_done(result)

    workers = [asyncio.create_task(worker()) for _ in range(min(at_once, len(items)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return [results[index] for index in range(len(items))]
