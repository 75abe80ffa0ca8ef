"""A process of its own that asks by batches, to be killed at any moment."""

import asyncio
from multiprocessing.connection import Connection
from pathlib import Path

from endpoints.batch import BatchClient
from endpoints.budget import Budget
from endpoints.journal import Journal
from endpoints.settings import BatchSettings
from tests.endpoints.asker import PROCESSES
from tests.endpoints.fake_endpoint import endpoint, short

BATCH = BatchSettings(poll_seconds=0.2, quiet_seconds=0.1, max_requests=4)


class BatchAsker:
    """Asks so many questions at once, `max_requests` of them in a batch."""

    def __init__(self, base_url: str, path: Path, count: int) -> None:
        self._end, told = PROCESSES.Pipe(duplex=False)
        self._process = PROCESSES.Process(target=tell, args=(told, base_url, path, count))
        self._process.start()
        told.close()

    def end(self) -> list[str]:
        """Wait for its end: the texts of the answers."""
        if not self._end.poll(60):
            self._process.kill()
        texts: list[str] = self._end.recv()
        self._process.join()
        return texts

    def kill(self) -> None:
        """SIGKILL: nothing of it is tidied up."""
        self._process.kill()
        self._process.join()


def tell(told: Connection, base_url: str, path: Path, count: int) -> None:
    told.send(asyncio.run(ask(base_url, path, count)))


async def ask(base_url: str, path: Path, count: int) -> list[str]:
    with Journal(path) as journal, Budget(journal, 1.0) as budget:
        settings = endpoint(base_url, batch=BATCH)
        async with BatchClient(settings, journal, budget, {}) as client:
            asked = (client.complete(short(f"question {i}")) for i in range(count))
            return [answer.text for answer in await asyncio.gather(*asked)]
