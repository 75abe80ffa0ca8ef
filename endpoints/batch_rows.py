"""Batches that are under way, in the journal: what was sent, and what money it holds."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from endpoints.journal import Journal

BATCH_COLUMNS = "id, endpoint, base_url, route, scope, batch_id, created_at"
REQUEST_COLUMNS = "digest, request, reserved, attempts, draws, cost_usd"


@dataclass(frozen=True)
class OpenBatch:
    """A batch that was sent or is about to be; `batch_id` is the endpoint's, None before it."""

    id: int
    endpoint: str
    base_url: str
    route: str
    scope: str
    batch_id: str | None
    created_at: str

    @property
    def mark(self) -> str:
        """What the batch carries at the endpoint, so that it can be found there."""
        return f"{self.id:x}"


@dataclass(frozen=True)
class BatchedRequest:
    """One request of a batch: the money that it holds, and what happened to it before."""

    digest: str
    request: str
    reserved: int
    attempts: int
    draws: int
    cost_usd: float


def insert_batch(
    connection: sqlite3.Connection, batch: OpenBatch, requests: Iterable[BatchedRequest]
) -> None:
    """Write down what is about to be sent."""
    connection.execute(
        f"INSERT INTO batches ({BATCH_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            batch.id,
            batch.endpoint,
            batch.base_url,
            batch.route,
            batch.scope,
            batch.batch_id,
            batch.created_at,
        ),
    )
    connection.executemany(
        f"INSERT INTO batch_requests (batch, {REQUEST_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            (batch.id, r.digest, r.request, r.reserved, r.attempts, r.draws, r.cost_usd)
            for r in requests
        ),
    )


def name_batch(connection: sqlite3.Connection, batch: OpenBatch, batch_id: str) -> None:
    """Keep the endpoint's id of a batch."""
    connection.execute("UPDATE batches SET batch_id = ? WHERE id = ?", (batch_id, batch.id))


def remove_request(connection: sqlite3.Connection, batch: OpenBatch, digest: str) -> None:
    """Take a request out of its batch, and free the money that it held; the last ends it."""
    connection.execute(
        "DELETE FROM batch_requests WHERE batch = ? AND digest = ?", (batch.id, digest)
    )
    connection.execute(
        "DELETE FROM batches WHERE id = ? AND NOT EXISTS "
        "(SELECT 1 FROM batch_requests WHERE batch = id)",
        (batch.id,),
    )


def remove_batch(connection: sqlite3.Connection, batch: OpenBatch) -> None:
    """Forget a batch with all that is left in it."""
    connection.execute("DELETE FROM batch_requests WHERE batch = ?", (batch.id,))
    connection.execute("DELETE FROM batches WHERE id = ?", (batch.id,))


def open_batches(journal: Journal, endpoint: str, base_url: str) -> list[OpenBatch]:
    """The batches of an endpoint that are under way, the oldest first."""
    query = (
        f"SELECT {BATCH_COLUMNS} FROM batches WHERE endpoint = ? AND base_url = ? "
        "ORDER BY created_at, id"
    )
    return [OpenBatch(*row) for row in journal.read(query, endpoint, base_url)]


def find_batch(journal: Journal, digest: str, endpoint: str, base_url: str) -> OpenBatch | None:
    """The batch of an endpoint that holds the request, if one does."""
    rows = journal.read(
        f"SELECT {BATCH_COLUMNS} FROM batches JOIN batch_requests ON batch = id "
        "WHERE digest = ? AND endpoint = ? AND base_url = ?",
        digest,
        endpoint,
        base_url,
    )
    return OpenBatch(*rows[0]) if rows else None


def count_requests(journal: Journal, endpoint: str, base_url: str) -> int:
    """How many requests of an endpoint stand in batches that are under way."""
    query = (
        "SELECT count(*) FROM batch_requests JOIN batches ON id = batch "
        "WHERE endpoint = ? AND base_url = ?"
    )
    count: int = journal.read(query, endpoint, base_url)[0][0]
    return count


def read_request(journal: Journal, batch: OpenBatch, digest: str) -> BatchedRequest | None:
    """A request of a batch, if it still waits for its answer."""
    query = f"SELECT {REQUEST_COLUMNS} FROM batch_requests WHERE batch = ? AND digest = ?"
    rows = journal.read(query, batch.id, digest)
    return BatchedRequest(*rows[0]) if rows else None


def read_digests(journal: Journal, batch: OpenBatch) -> list[str]:
    """The digests of the requests that still wait in a batch."""
    query = "SELECT digest FROM batch_requests WHERE batch = ? ORDER BY digest"
    return [row[0] for row in journal.read(query, batch.id)]
