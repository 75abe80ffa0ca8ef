import asyncio
import errno
import sqlite3
import threading
import time
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from endpoints.claims import Claims
from endpoints.errors import JournalFailed
from endpoints.journal import MOST_USES_WAITING, Entry, Journal
from endpoints.layout import LAYOUT_VERSION

texts = st.text(st.characters(exclude_categories=["Cs"]))


def entry(digest="d", text="answer", fault=None, **changes):
    values = {
        "digest": digest,
        "request": "{}",
        "text": text,
        "reasoning": "",
        "finish_reason": "stop",
        "fault": fault,
        "prompt_tokens": 3,
        "completion_tokens": 5,
        "cost_usd": 0.25,
        "latency_seconds": 1.5,
        "attempts": 1,
        "endpoint": "teacher",
        "created_at": "2026-11-24T00:00:00+00:00",
    }
    return Entry(**(values | changes))


@given(
    st.builds(
        Entry,
        digest=st.text("0123456789abcdef", min_size=64, max_size=64),
        request=texts,
        text=texts,
        reasoning=texts,
        finish_reason=texts,
        fault=st.none(),
        prompt_tokens=st.integers(0, 2**40),
        completion_tokens=st.integers(0, 2**40),
        cost_usd=st.floats(0, 1e6),
        latency_seconds=st.floats(0, 1e6),
        attempts=st.integers(1, 99),
        endpoint=texts,
        created_at=texts,
        draws=st.integers(0, 99),
    )
)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_stored_answer_comes_back_as_it_was(journal, stored):
    if journal.get(stored.digest) is None:
        asyncio.run(journal.put(stored))
        assert journal.get(stored.digest) == stored


def test_a_journal_keeps_its_answers_when_it_is_opened_again(tmp_path):
    path = tmp_path / "deep" / "journal.sqlite"
    with Journal(path) as journal:
        asyncio.run(journal.put(entry()))
    with Journal(path) as journal:
        assert journal.get("d") == entry()
        assert journal.get("other") is None
        assert journal.totals().completions == 1
        assert journal.totals().cost_usd == 0.25


def test_a_good_answer_is_never_overwritten_and_a_faulty_one_is(journal):
    async def store(*entries):
        for one in entries:
            await journal.put(one)

    asyncio.run(store(entry(text="", fault="empty"), entry(text="good"), entry(text="late")))
    assert journal.get("d").text == "good"


def test_many_writers_at_once_are_all_kept(journal):
    async def store():
        await asyncio.gather(*(journal.put(entry(digest=str(i))) for i in range(2000)))

    asyncio.run(store())
    assert journal.totals().completions == 2000


def test_one_bad_row_does_not_take_the_others_of_its_commit_with_it(journal):
    async def store():
        rows = (entry(digest=str(i), text="\ud800" if i == 7 else "fine") for i in range(20))
        return await asyncio.gather(*(journal.put(r) for r in rows), return_exceptions=True)

    ends = asyncio.run(store())
    assert [i for i, end in enumerate(ends) if isinstance(end, JournalFailed)] == [7]
    assert journal.totals().completions == 19


def test_a_full_disk_is_named_with_what_to_do(tmp_path):
    with Journal(tmp_path / "journal.sqlite") as journal:

        async def fill():
            await journal.write(lambda connection: connection.execute("PRAGMA max_page_count = 1"))
            await journal.put(entry(text="x" * 1_000_000))

        with pytest.raises(JournalFailed, match=r"disk is full.*Free space"):
            asyncio.run(fill())
        assert journal.get("d") is None


def test_a_write_that_the_system_refuses_leaves_the_journal_usable(journal):
    def refuse(connection):
        connection.execute("INSERT INTO leases VALUES (1, 'all', 5)")
        raise OSError(errno.ENOLCK, "No locks available")

    async def run():
        with pytest.raises(JournalFailed, match="No locks available"):
            await journal.write(refuse)
        await journal.put(entry())

    asyncio.run(run())
    assert journal.get("d") == entry()
    assert journal.read("SELECT * FROM leases") == []


def test_a_journal_that_another_process_holds_fails_everybody_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("endpoints.journal.BUSY_SECONDS", 0.3)
    path = tmp_path / "journal.sqlite"

    async def store(journal):
        rows = (journal.put(entry(digest=str(i))) for i in range(50))
        return await asyncio.gather(*rows, return_exceptions=True)

    with Journal(path) as journal, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        ends = asyncio.run(store(journal))
        assert time.monotonic() - started < 5
        assert all("Another process holds it" in str(end) for end in ends)
        other.rollback()
        assert asyncio.run(store(journal)) == [None] * 50


def test_a_damaged_or_newer_file_is_refused(tmp_path):
    damaged = tmp_path / "damaged.sqlite"
    damaged.write_bytes(b"this is no database " * 100)
    with pytest.raises(JournalFailed, match="move it away"):
        Journal(damaged)
    newer = tmp_path / "newer.sqlite"
    with sqlite3.connect(newer) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(JournalFailed, match="newer version"):
        Journal(newer)


def test_a_claim_is_held_by_one_handle_at_a_time(tmp_path):
    first, second = Claims(tmp_path / "claims"), Claims(tmp_path / "claims")
    assert first.take(5)
    assert not first.take(5)
    assert not second.take(5)
    assert second.take(6)
    first.free(5)
    assert second.take(5)
    second.close()
    assert first.take(6)
    first.close()


VERSION_1 = """
CREATE TABLE completions (
    digest TEXT PRIMARY KEY, request TEXT NOT NULL, text TEXT NOT NULL, reasoning TEXT NOT NULL,
    finish_reason TEXT NOT NULL, fault TEXT, prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL, cost_usd REAL NOT NULL, latency_seconds REAL NOT NULL,
    attempts INTEGER NOT NULL, endpoint TEXT NOT NULL, created_at TEXT NOT NULL
);
CREATE TABLE ledger (
    scope TEXT PRIMARY KEY, spent INTEGER NOT NULL DEFAULT 0,
    unconfirmed INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE leases (id INTEGER PRIMARY KEY, scope TEXT NOT NULL, amount INTEGER NOT NULL);
INSERT INTO completions VALUES
    ('good', '{}', 'answer', '', 'stop', NULL, 3, 5, 0.25, 1.5, 4, 'teacher', '2026-01-01'),
    ('bad', '{}', '', '', 'stop', 'empty', 3, 5, 0.25, 1.5, 3, 'teacher', '2026-01-01');
INSERT INTO ledger VALUES ('all', 500000000, 0);
PRAGMA user_version = 1;
"""


def test_a_file_of_version_1_becomes_one_of_this_version_with_all_that_it_held(tmp_path):
    path = tmp_path / "journal.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1)
    for _ in range(2):  # changed once, and opened again as it is
        with Journal(path) as journal:
            good, bad = journal.get("good"), journal.get("bad")
            assert (good.attempts, good.draws, good.text) == (4, 0, "answer")
            assert (bad.attempts, bad.draws, bad.fault) == (3, 3, "empty")
            assert journal.read("SELECT spent FROM ledger") == [(500_000_000,)]
            assert journal.read("PRAGMA user_version") == [(LAYOUT_VERSION,)]
    with Journal(path) as journal:
        asyncio.run(journal.put(entry(digest="bad", text="good", draws=3)))
        assert journal.get("bad").text == "good"


def test_a_change_of_layout_that_is_fails_half_way_leaves_the_old_file(tmp_path):
    path = tmp_path / "journal.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        # An index of that name stands in the way of the last table.
        connection.executescript(VERSION_1 + "CREATE INDEX batch_requests ON ledger (spent);")
    with pytest.raises(JournalFailed):
        Journal(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert len(connection.execute("SELECT * FROM completions").fetchone()) == 13


def test_hits_are_counted_in_memory_and_written_when_the_journal_closes(tmp_path):
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        asyncio.run(journal.put(entry()))
        for _ in range(3):
            journal.used("d")
        assert journal.read("SELECT * FROM uses") == []
    with Journal(path) as journal:
        assert journal.read("SELECT digest, hits FROM uses") == [("d", 3)]
        journal.used("d")
    with Journal(path) as journal:
        assert journal.read("SELECT hits FROM uses") == [(4,)]
        assert journal.read("SELECT last_used FROM uses")[0][0] > "2026"


def test_many_hits_are_written_before_they_fill_the_memory(journal):
    for number in range(MOST_USES_WAITING):
        journal.used(str(number))
    asyncio.run(journal.write(lambda connection: None))
    assert journal.read("SELECT sum(hits) FROM uses") == [(MOST_USES_WAITING,)]


def test_hits_of_a_commit_that_failed_are_not_lost(tmp_path, monkeypatch):
    monkeypatch.setattr("endpoints.journal.USES_WAIT_SECONDS", 0.0)

    def refuse(connection):
        raise OSError(errno.ENOLCK, "No locks available")

    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.used("d")
        with pytest.raises(JournalFailed):
            asyncio.run(journal.write(refuse))
        asyncio.run(journal.write(lambda connection: None))
        assert journal.read("SELECT hits FROM uses") == [(1,)]


def test_who_wants_a_journal_alone_finds_and_keeps_out_the_others(tmp_path):
    path = tmp_path / "journal.sqlite"
    with Journal(path) as first:
        with Journal(path):
            assert not first.claims.be_alone()
        assert first.claims.be_alone()
        with pytest.raises(JournalFailed, match="being pruned"):
            Journal(path)
    with Journal(path):
        pass


def test_processes_that_begin_one_file_at_once_stand_in_line(tmp_path):
    path = tmp_path / "journal.sqlite"
    opened = threading.Event()

    def open_it():
        with Journal(path):
            opened.set()

    first = Claims(path.with_name(path.name + "-claims"))
    with first.opening():
        thread = threading.Thread(target=open_it)
        thread.start()
        assert not opened.wait(0.1)
        assert not path.exists()
    assert opened.wait(10)
    thread.join()
    first.close()
