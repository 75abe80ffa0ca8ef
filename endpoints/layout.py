"""The tables of the journal's file, and how an older file becomes one of this version."""

import sqlite3
from pathlib import Path

from endpoints.errors import JournalFailed

LAYOUT_VERSION = 2
# `uses` stands apart: a hit then rewrites a few bytes, not a row with its texts.
TABLES = (
    """
    CREATE TABLE IF NOT EXISTS completions (
        digest TEXT PRIMARY KEY,
        request TEXT NOT NULL,
        text TEXT NOT NULL,
        reasoning TEXT NOT NULL,
        finish_reason TEXT NOT NULL,
        fault TEXT,
        prompt_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL,
        cost_usd REAL NOT NULL,
        latency_seconds REAL NOT NULL,
        attempts INTEGER NOT NULL,
        endpoint TEXT NOT NULL,
        created_at TEXT NOT NULL,
        draws INTEGER NOT NULL DEFAULT 0
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS uses (
        digest TEXT PRIMARY KEY,
        hits INTEGER NOT NULL,
        last_used TEXT NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE IF NOT EXISTS ledger (
        scope TEXT PRIMARY KEY,
        spent INTEGER NOT NULL DEFAULT 0,
        unconfirmed INTEGER NOT NULL DEFAULT 0
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS leases (
        id INTEGER PRIMARY KEY,
        scope TEXT NOT NULL,
        amount INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS batches (
        id INTEGER PRIMARY KEY,
        endpoint TEXT NOT NULL,
        base_url TEXT NOT NULL,
        route TEXT NOT NULL,
        scope TEXT NOT NULL,
        batch_id TEXT,
        created_at TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS batch_requests (
        batch INTEGER NOT NULL REFERENCES batches (id),
        digest TEXT NOT NULL,
        request TEXT NOT NULL,
        reserved INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        draws INTEGER NOT NULL,
        cost_usd REAL NOT NULL,
        PRIMARY KEY (batch, digest)
    )
    """,
    "CREATE INDEX IF NOT EXISTS batch_requests_by_digest ON batch_requests (digest)",
)
# Version 1 took the attempts of a faulty answer for its draws; its rows keep that meaning, so
# that what was final stays final.
FROM_VERSION_1 = (
    "ALTER TABLE completions ADD COLUMN draws INTEGER NOT NULL DEFAULT 0",
    "UPDATE completions SET draws = attempts WHERE fault IS NOT NULL",
)


def lay_out(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables of this version, of an older version's too, in one transaction.

    Raises JournalFailed where a newer version wrote the file.
    """
    if _version(connection) == LAYOUT_VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection)  # another process may have been first
        if version > LAYOUT_VERSION:
            raise JournalFailed(
                f"the journal {path} has layout {version}, this program knows up to "
                f"{LAYOUT_VERSION}. A newer version of the project wrote it: update, or name "
                "another journal."
            )
        for statement in (FROM_VERSION_1 if version == 1 else ()) + TABLES:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {LAYOUT_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version
