"""Rows of a journal that leave it: exported, pruned, or brought from another machine."""

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, TextIO

from pydantic import Field, NonNegativeFloat, NonNegativeInt, ValidationError, model_validator

from endpoints.errors import EndpointError, FaultName, JournalFailed
from endpoints.journal import COLUMNS, Journal
from endpoints.survey import MODEL, size_bytes
from endpoints.values import Frozen

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_AT_ONCE = 1000
ROW_COLUMNS = f"{COLUMNS}, coalesce(hits, 0) AS hits, last_used"
FROM = "FROM completions LEFT JOIN uses USING (digest)"
ANY_FAULT = "any"
# Of two rows of one request the one that is here stays, unless only the other can be used.
BRING = f"""
INSERT INTO completions ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (digest) DO UPDATE SET
    text = excluded.text, reasoning = excluded.reasoning, finish_reason = excluded.finish_reason,
    fault = excluded.fault, prompt_tokens = excluded.prompt_tokens,
    completion_tokens = excluded.completion_tokens, cost_usd = excluded.cost_usd,
    latency_seconds = excluded.latency_seconds, attempts = excluded.attempts,
    endpoint = excluded.endpoint, created_at = excluded.created_at, draws = excluded.draws
WHERE completions.fault IS NOT NULL AND excluded.fault IS NULL
"""


class ExchangeError(EndpointError):
    """A file of rows is damaged, or something stands in the way; the journal is as it was."""


@dataclass(frozen=True)
class Choice:
    """Which rows are meant: all that fit every field that is given.

    `since`: bought on that day or later (UTC). `fault`: the name of one, or `any`.
    `unused_days`: neither bought nor used from the journal for so many days.
    """

    endpoint: str | None = None
    model: str | None = None
    since: date | None = None
    fault: str | None = None
    unused_days: float | None = None

    @property
    def chooses(self) -> bool:
        """Whether any field is given."""
        return self != Choice()

    def where(self, now: datetime) -> tuple[str, list[Any]]:
        """The condition, as SQL with its values."""
        parts: list[str] = []
        values: list[Any] = []
        for value, condition in (
            (self.endpoint, "endpoint = ?"),
            (self.model, f"{MODEL} = ?"),
            (self.since and self.since.isoformat(), "created_at >= ?"),
        ):
            if value is not None:
                parts.append(condition)
                values.append(value)
        if self.fault == ANY_FAULT:
            parts.append("fault IS NOT NULL")
        elif self.fault is not None:
            parts.append("fault = ?")
            values.append(self.fault)
        if self.unused_days is not None:
            parts.append("coalesce(last_used, created_at) < ?")
            oldest = now - timedelta(days=self.unused_days)
            values.append(oldest.isoformat(timespec="seconds"))
        return " AND ".join(parts) or "1", values


class ExportedRow(Frozen):
    """One row as a line of JSON: the journal's columns, and how often it was used.

    Raises ValueError (pydantic's) where the digest is not that of the request.
    """

    digest: str
    request: str
    text: str
    reasoning: str
    finish_reason: str
    fault: FaultName | None
    prompt_tokens: NonNegativeInt
    completion_tokens: NonNegativeInt
    cost_usd: NonNegativeFloat
    latency_seconds: NonNegativeFloat
    attempts: NonNegativeInt
    endpoint: Annotated[str, Field(min_length=1)]
    created_at: datetime
    draws: NonNegativeInt
    hits: NonNegativeInt = 0
    last_used: str | None = None

    @model_validator(mode="after")
    def _digest_of_its_request(self) -> Self:
        if hashlib.sha256(self.request.encode()).hexdigest() != self.digest:
            raise ValueError("the digest is not that of the request: the line was changed")
        return self


@dataclass(frozen=True)
class Sized:
    """How many rows, what their texts take, and what they cost when they were bought."""

    rows: int
    text_bytes: int
    cost_usd: float


@dataclass(frozen=True)
class Pruned:
    """What was removed, and the size of the journal before and after."""

    removed: Sized
    before_bytes: int
    after_bytes: int


@dataclass(frozen=True)
class Brought:
    """Of the rows of a file: `new`, `better` than a faulty one here, and already `known`."""

    new: int
    better: int
    known: int


def weigh(journal: Journal, choice: Choice) -> Sized:
    """What rows are meant by a choice, before anything is done to them."""
    condition, values = choice.where(datetime.now(UTC))
    texts = "length(CAST(request || text || reasoning AS BLOB))"
    query = (
        f"SELECT count(*), coalesce(sum({texts}), 0), coalesce(sum(cost_usd), 0.0) {FROM} "
        f"WHERE {condition}"
    )
    return Sized(*journal.read(query, *values)[0])


def export(journal: Journal, choice: Choice, target: Path) -> int:
    """Write the chosen rows, oldest first; returns how many. JSONL, or Parquet by the suffix.

    The file appears when it is whole. Raises ExchangeError where it cannot be written.
    """
    writers = {".jsonl": _write_jsonl, ".parquet": _write_parquet}
    if (write := writers.get(target.suffix)) is None:
        raise ExchangeError(
            f"{target}: the name of the file says its kind: give .jsonl or .parquet"
        )
    partial = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            count = write(_stream(journal, choice), partial)
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise ExchangeError(
            f"{target} could not be written: {error}. Free space on its disk, or choose another "
            "place. The journal is as it was."
        ) from error
    return count


def prune(journal: Journal, choice: Choice) -> Pruned:
    """Remove the chosen rows and give their space back.

    Raises ExchangeError where another process has the journal open, or nothing is chosen.
    """
    if not choice.chooses:
        raise ExchangeError("nothing is chosen: say which rows shall go, all is too much")
    if not journal.claims.be_alone():
        raise ExchangeError(
            f"another process has the journal {journal.path} open, perhaps a run. Nothing was "
            "removed. Wait for its end, or end it, then run the same command."
        )
    removed, before = weigh(journal, choice), size_bytes(journal.path)
    condition, values = choice.where(datetime.now(UTC))
    with _opened(journal.path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(
            f"DELETE FROM completions WHERE digest IN (SELECT digest {FROM} WHERE {condition})",
            values,
        )
        connection.execute("DELETE FROM uses WHERE digest NOT IN (SELECT digest FROM completions)")
        connection.execute("COMMIT")
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return Pruned(removed, before, size_bytes(journal.path))


def bring(journal: Journal, source: Path) -> Brought:
    """Take in the rows of an exported JSONL file; of one request one row is kept.

    All lines are read before the first row is written. What the rows cost was paid elsewhere:
    no ledger counts it. Raises ExchangeError naming the line that is damaged.
    """
    total = sum(1 for _ in _read_lines(source))
    with _opened(journal.path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        (before,) = connection.execute("SELECT count(*) FROM completions").fetchone()
        changes = 0
        lines = _read_lines(source)
        while rows := list(islice(lines, ROWS_AT_ONCE)):
            changes += connection.executemany(BRING, map(_columns, rows)).rowcount
        (after,) = connection.execute("SELECT count(*) FROM completions").fetchone()
        connection.execute("COMMIT")
    new = after - before
    return Brought(new=new, better=changes - new, known=total - changes)


def _read_lines(source: Path) -> Iterator[ExportedRow]:
    try:
        with source.open(encoding="utf-8") as stream:
            yield from _checked(source, stream)
    except (OSError, UnicodeDecodeError) as error:
        raise ExchangeError(f"{source} cannot be read: {error}. Nothing was imported.") from error


def _checked(source: Path, stream: TextIO) -> Iterator[ExportedRow]:
    for number, line in enumerate(stream, start=1):
        try:
            yield ExportedRow.model_validate_json(line)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "the line"
            raise ExchangeError(
                f"{source}, line {number}: {place}: {first['msg']}. Nothing was imported. Export "
                "the rows anew with `medfactory journal export`, as JSONL."
            ) from None


def _columns(row: ExportedRow) -> list[Any]:
    values = row.model_dump(mode="python")
    values["created_at"] = row.created_at.isoformat(timespec="seconds")
    return [values[name] for name in COLUMNS.split(", ")]


def _stream(journal: Journal, choice: Choice) -> Iterator[dict[str, Any]]:
    condition, values = choice.where(datetime.now(UTC))
    query = f"SELECT {ROW_COLUMNS} {FROM} WHERE {condition} ORDER BY created_at, digest"
    with _opened(journal.path) as connection:
        cursor = connection.execute(query, values)
        names = [column[0] for column in cursor.description]
        for row in cursor:
            yield dict(zip(names, row, strict=True))


def _write_jsonl(rows: Iterator[dict[str, Any]], target: Path) -> int:
    count = 0
    with target.open("w", encoding="utf-8") as stream:
        for row in rows:
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
        stream.flush()
        os.fsync(stream.fileno())
    return count


def _write_parquet(rows: Iterator[dict[str, Any]], target: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema, count = _schema(), 0
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        while group := list(islice(rows, ROWS_AT_ONCE)):
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
            count += len(group)
    return count


def _schema() -> "pa.Schema":
    import pyarrow as pa

    whole = ("prompt_tokens", "completion_tokens", "attempts", "draws", "hits")
    broken = ("cost_usd", "latency_seconds")
    numbers = dict.fromkeys(whole, pa.int64()) | dict.fromkeys(broken, pa.float64())
    names = [*COLUMNS.split(", "), "hits", "last_used"]
    return pa.schema([(name, numbers.get(name, pa.string())) for name in names])


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection of its own; what goes wrong in it is a JournalFailed, and rolled back."""
    try:
        with closing(sqlite3.connect(path, timeout=60.0, isolation_level=None)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise JournalFailed(
            f"the journal {path} failed: {error}. It is as it was. Free space on its disk (pruning "
            "needs as much as the journal takes), or wait for whoever holds it, then try again."
        ) from error
