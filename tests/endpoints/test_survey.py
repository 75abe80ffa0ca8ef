import asyncio

import pytest

from endpoints.budget import Budget
from endpoints.journal import Journal
from endpoints.survey import survey
from tests.endpoints.test_journal import entry


def filled(path):
    """Two models of one endpoint and one of another, one row faulty, with hits."""
    rows = [
        entry("a", request='{"model":"big"}', cost_usd=0.5),
        entry("b", request='{"model":"big"}', cost_usd=0.25, fault="truncated"),
        entry("c", request='{"model":"small"}', cost_usd=0.125, created_at="2026-11-20T00:00:00"),
        entry("d", request='{"model":"big"}', cost_usd=1.0, endpoint="judge"),
    ]
    journal = Journal(path)

    async def put():
        for row in rows:
            await journal.put(row)

    asyncio.run(put())
    for digest in ("a", "a", "b", "d"):
        journal.used(digest)
    journal.close()
    return path


@pytest.fixture
def path(tmp_path):
    return filled(tmp_path / "journal.sqlite")


def test_rows_are_counted_by_endpoint_and_model_with_what_their_hits_saved(path):
    with Journal(path) as journal:
        found = survey(journal)
    figures = {
        (g.endpoint, g.model): (g.rows, g.cost_usd, g.hits, g.saved_usd) for g in found.groups
    }
    assert figures == {
        ("teacher", "big"): (2, 0.75, 3, 1.25),
        ("teacher", "small"): (1, 0.125, 0, 0.0),
        ("judge", "big"): (1, 1.0, 1, 1.0),
    }
    assert [(f.fault, f.rows, f.cost_usd) for f in found.faults] == [("truncated", 1, 0.25)]
    assert (found.oldest[:10], found.newest[:10]) == ("2026-11-20", "2026-11-24")
    assert found.size_bytes >= path.stat().st_size > 0


def test_the_ledger_tells_the_living_from_the_dead(path):
    with Journal(path) as dead:
        asyncio.run(Budget(dead, 1.0, "project").reserve(0.25))  # never closed: as if killed
    with Journal(path) as journal, Budget(journal, 1.0, "project") as budget:
        budget._buried = True  # it has looked before the other died

        async def hold():
            return await budget.reserve(0.5)

        asyncio.run(hold())
        scopes = survey(journal).scopes
    assert [(s.name, s.leased_usd, s.dead_usd) for s in scopes] == [("project", 0.5, 0.25)]


def test_an_empty_journal_has_no_groups_and_no_dates(journal):
    found = survey(journal)
    assert (found.groups, found.faults, found.scopes, found.batches) == ((), (), (), ())
    assert found.oldest is None
