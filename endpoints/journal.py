"""The journal: every answer that was ever bought, by the digest of its request.

One SQLite file in WAL mode, shared by processes. All writes go through one thread that
commits whatever has gathered since the last commit (group commit): an answer is handed on
only when its row is committed. Rows survive the death of every process at any moment. A
power cut may take those of the last seconds (the file stays sound): an fsync for each commit
was measured to stall the run for up to a second on a busy disk.
"""

import asyncio
import math
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

from endpoints.claims import Claims
from endpoints.errors import FaultName, JournalFailed
from endpoints.layout import lay_out

BUSY_SECONDS = 120.0
MOST_WRITES_PER_COMMIT = 512
# Hits that wait in memory before they are written: so many rows, or so long.
MOST_USES_WAITING = 2000
USES_WAIT_SECONDS = 5.0
COLUMNS = (
    "digest, request, text, reasoning, finish_reason, fault, prompt_tokens, completion_tokens, "
    "cost_usd, latency_seconds, attempts, endpoint, created_at, draws"
)
# A good answer is never overwritten; a faulty one gives way to a later attempt.
PUT = f"""
INSERT INTO completions ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (digest) DO UPDATE SET
    text = excluded.text, reasoning = excluded.reasoning, finish_reason = excluded.finish_reason,
    fault = excluded.fault, prompt_tokens = excluded.prompt_tokens,
    completion_tokens = excluded.completion_tokens, cost_usd = excluded.cost_usd,
    latency_seconds = excluded.latency_seconds, attempts = excluded.attempts,
    endpoint = excluded.endpoint, created_at = excluded.created_at, draws = excluded.draws
WHERE completions.fault IS NOT NULL
"""
GET = f"SELECT {COLUMNS} FROM completions WHERE digest = ?"
PUT_USES = """
INSERT INTO uses (digest, hits, last_used) VALUES (?, ?, ?)
ON CONFLICT (digest) DO UPDATE SET hits = hits + excluded.hits, last_used = excluded.last_used
"""
TOTALS = """
SELECT count(*), coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0),
       coalesce(sum(cost_usd), 0.0) FROM completions
"""

Write = Callable[[sqlite3.Connection], Any]
Outcome = tuple[Any, JournalFailed | None]


@dataclass(frozen=True, slots=True)
class Entry:
    """One row: the request's canonical JSON, and the answer as it came.

    `fault` is set where the answer cannot be used (truncated, refused, …): it was paid for
    and is kept, so that the same question is not asked again in vain. `attempts` counts all
    that was sent, `draws` the answers among it that could not be used.
    """

    digest: str
    request: str
    text: str
    reasoning: str
    finish_reason: str
    fault: FaultName | None
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    latency_seconds: float
    attempts: int
    endpoint: str
    created_at: str
    draws: int = 0


@dataclass(frozen=True)
class Totals:
    """What the journal holds."""

    completions: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float


@dataclass(frozen=True)
class _Job:
    write: Write
    done: Callable[[Any, JournalFailed | None], None]
    loop: asyncio.AbstractEventLoop | None


class Journal:
    """An open journal; a context manager. One for each process is enough for any number of loops.

    `claims` says which requests and leases are being worked on, by any process.
    Raises JournalFailed where the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._named_failures():
            path.parent.mkdir(parents=True, exist_ok=True)
            self.claims = Claims(path.with_name(path.name + "-claims"))
        if not self.claims.be_present():
            self.claims.close()
            raise JournalFailed(
                f"the journal {path} is being pruned by another process. Wait for its end, then "
                "run the same command."
            )
        with self._named_failures(), self.claims.opening():
            self._reader = self._connect()
            self._writer = self._connect()
            lay_out(self._writer, path)
        self._reading = threading.Lock()
        self._counting = threading.Lock()
        self._uses: Counter[str] = Counter()
        self._uses_written_at = time.monotonic()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Commit what is waiting, and close; harmless when repeated."""
        if not self._thread.is_alive():
            return
        self._jobs.put(None)
        self._thread.join()
        self._reader.close()
        self._writer.close()
        self.claims.close()

    def get(self, digest: str) -> Entry | None:
        """The answer to the request of that digest, if it was ever bought."""
        with self._named_failures(), self._reading:
            row = self._reader.execute(GET, (digest,)).fetchone()
        return Entry(*row) if row else None

    def used(self, digest: str) -> None:
        """Count that a row answered a request; written with later commits, at the latest on close.

        What a killed process has not written yet is not counted: a few seconds of hits.
        """
        with self._counting:
            self._uses[digest] += 1
            full = len(self._uses) == MOST_USES_WAITING
        if full:
            self.write_soon(lambda connection: None)

    def totals(self) -> Totals:
        """Numbers over all rows."""
        with self._named_failures(), self._reading:
            return Totals(*self._reader.execute(TOTALS).fetchone())

    def read(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of one SELECT, for the ledger and for people's questions."""
        with self._named_failures(), self._reading:
            return self._reader.execute(query, values).fetchall()

    async def put(self, entry: Entry, also: Write | None = None) -> None:
        """Store an answer; returns when it is committed. `also` goes into the same commit."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(PUT, _row(entry))
            if also is not None:
                also(connection)

        await self.write(write)

    async def write(self, write: Write) -> Any:
        """Run a function of the connection in the next commit; returns its value when committed.

        Raises JournalFailed (full disk, damaged file); nothing of it was then kept.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def done(value: Any, error: JournalFailed | None) -> None:
            if not future.done():
                if error is None:
                    future.set_result(value)
                else:
                    future.set_exception(error)

        self._jobs.put(_Job(write, done, loop))
        return await future

    def write_soon(self, write: Write) -> None:
        """Like `write`, for what nobody waits for."""
        self._jobs.put(_Job(write, lambda *_: None, None))

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            jobs, last = [job], False
            while len(jobs) < MOST_WRITES_PER_COMMIT and not self._jobs.empty():
                if (another := self._jobs.get()) is None:
                    last = True
                    break
                jobs.append(another)
            self._commit(jobs)
            if last:
                break
        if self._uses:
            self._uses_written_at = -math.inf
            self._commit([])

    def _commit(self, jobs: list[_Job]) -> None:
        """One transaction for all; where it fails, one for each, so that only the guilty fail."""
        try:
            with self._named_failures():
                self._writer.execute("BEGIN IMMEDIATE")
        except JournalFailed as error:  # alone, each would wait as long again
            _tell(jobs, [(None, error)] * len(jobs))
            return
        try:
            values = self._transact([job.write for job in jobs])
        except JournalFailed as error:
            if len(jobs) == 1:
                _tell(jobs, [(None, error)])
                return
            for job in jobs:
                self._commit([job])
            return
        _tell(jobs, [(value, None) for value in values])

    def _transact(self, writes: list[Write]) -> list[Any]:
        uses = self._take_uses()
        with self._named_failures():
            try:
                values = [write(self._writer) for write in writes]
                if uses:
                    at = now()
                    self._writer.executemany(PUT_USES, ((d, n, at) for d, n in uses.items()))
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                with self._counting:
                    self._uses.update(uses)
                raise
        return values

    def _take_uses(self) -> Counter[str]:
        """The hits that are due to be written; empty where they may wait."""
        with self._counting:
            waited = time.monotonic() - self._uses_written_at
            if len(self._uses) < MOST_USES_WAITING and waited < USES_WAIT_SECONDS:
                return Counter()
            self._uses_written_at = time.monotonic()
            taken, self._uses = self._uses, Counter()
            return taken

    @contextmanager
    def _named_failures(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, ValueError, OverflowError) as error:
            raise JournalFailed(
                f"the journal {self.path} failed: {error}. What it holds is kept. "
                f"{_remedy(error)}, then run the same command: it goes on, and nothing is bought "
                "twice. If it is damaged, move it away."
            ) from error


def now() -> str:
    """The time of a purchase, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _remedy(error: Exception) -> str:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
        return f"Another process holds it, for {BUSY_SECONDS:g} s now (a database tool?): end that"
    return "Free space on its disk or correct its permissions"


def _row(entry: Entry) -> tuple[Any, ...]:
    return tuple(getattr(entry, name) for name in Entry.__slots__)


def _tell(jobs: list[_Job], outcomes: list[Outcome]) -> None:
    """Hand the outcomes to their loops: one wake-up a loop and commit, not one a row."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Callable[[], None]]] = {}
    for job, (value, error) in zip(jobs, outcomes, strict=True):
        if job.loop is not None:
            call = lambda d=job.done, v=value, e=error: d(v, e)  # noqa: E731
            by_loop.setdefault(job.loop, []).append(call)
    for loop, calls in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_run, calls)


def _run(calls: list[Callable[[], None]]) -> None:
    for call in calls:
        call()
