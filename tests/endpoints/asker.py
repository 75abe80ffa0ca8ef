"""Processes of their own that ask questions through a shared journal."""

import asyncio
import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path

from endpoints.budget import Budget
from endpoints.client import Client
from endpoints.errors import BudgetExceeded
from endpoints.journal import Journal
from tests.endpoints.fake_endpoint import endpoint, short

# They are forked from a server that has imported what takes a second, and runs no threads.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["aiohttp", "endpoints.client"])


class Asker:
    """A process that asks so many questions at once; `cap_usd` None: without a cap."""

    def __init__(self, base_url: str, path: Path, count: int, cap_usd: float | None) -> None:
        self._end, told = PROCESSES.Pipe(duplex=False)
        self._process = PROCESSES.Process(target=tell, args=(told, base_url, path, count, cap_usd))
        self._process.start()
        told.close()

    def end(self) -> tuple[int, list[str]]:
        """Wait for its end: how many answers came, and the names of the errors."""
        if not self._end.poll(60):
            self._process.kill()
        answers, errors = self._end.recv()
        self._process.join()
        return answers, errors

    def kill(self) -> None:
        """SIGKILL: nothing of it is tidied up."""
        self._process.kill()
        self._process.join()


def tell(told: Connection, base_url: str, path: Path, count: int, cap_usd: float | None) -> None:
    ends = asyncio.run(ask(base_url, path, count, cap_usd))
    errors = [end for end in ends if isinstance(end, BaseException)]
    assert all(isinstance(error, BudgetExceeded) for error in errors), errors
    told.send((count - len(errors), sorted({type(error).__name__ for error in errors})))


async def ask(base_url: str, path: Path, count: int, cap_usd: float | None) -> list[object]:
    with Journal(path) as journal, Budget(journal, cap_usd) as budget:
        async with Client(endpoint(base_url, max_in_flight=4), journal, budget, {}) as client:
            asked = (client.complete(short(f"question {i}")) for i in range(count))
            return await asyncio.gather(*asked, return_exceptions=True)
