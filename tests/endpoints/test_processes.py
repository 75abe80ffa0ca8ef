"""Several processes on one journal and one ledger, and processes that die."""

import time

import pytest

from endpoints.budget import Budget
from endpoints.journal import Journal
from tests.endpoints.asker import Asker
from tests.endpoints.test_budget import WORST, billed
from tests.fake_llm import FakeLLM

QUESTIONS = 24


def asker(server, path, cap_usd=None, questions=QUESTIONS):
    return Asker(server.base_url, path, questions, cap_usd)


def wait_until(true):
    give_up = time.monotonic() + 60
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def asked(server):
    return [seen.body["messages"][0]["content"] for seen in server.requests]


def test_two_processes_at_once_buy_each_answer_once(tmp_path):
    with FakeLLM(latency_seconds=0.02) as server:
        both = [asker(server, tmp_path / "journal.sqlite") for _ in range(2)]
        ends = [one.end() for one in both]
        assert ends == [(QUESTIONS, [])] * 2
        assert sorted(asked(server)) == sorted(f"question {i}" for i in range(QUESTIONS))


@pytest.mark.parametrize("answers", [1, 11])
def test_a_killed_process_goes_on_and_buys_again_only_what_was_in_flight(tmp_path, answers):
    path = tmp_path / "journal.sqlite"
    with FakeLLM(latency_seconds=0.03) as server:
        first = asker(server, path, cap_usd=1.0)
        wait_until(lambda: len(server.requests) > answers)
        first.kill()
        with Journal(path) as journal:
            kept = journal.totals().completions
            stored = {row[0] for row in journal.read("SELECT digest FROM completions")}
        assert kept == len(stored)
        sent_before = len(server.requests)
        assert sent_before - kept <= 4 + 4  # in flight, and answered but not yet committed
        second = asker(server, path, cap_usd=1.0)
        assert second.end() == (QUESTIONS, [])
        assert len(server.requests) - sent_before == QUESTIONS - kept
    with Journal(path) as journal:
        assert journal.totals().completions == QUESTIONS


def test_the_cap_is_hard_across_processes_also_when_one_is_killed(tmp_path):
    path = tmp_path / "journal.sqlite"
    cap = 24 * WORST
    with FakeLLM(reply=lambda body: "x" * 40, latency_seconds=0.02) as server:
        three = [asker(server, path, cap_usd=cap, questions=300) for _ in range(3)]
        wait_until(lambda: len(server.requests) > 20)
        three[0].kill()
        assert all(one.end()[1] == ["BudgetExceeded"] for one in three[1:])
        with Journal(path) as journal, Budget(journal, cap) as budget:
            now = budget.spending()
        assert billed(server) <= now.spent_usd + now.unconfirmed_usd + 1e-8
        assert now.spent_usd + now.unconfirmed_usd <= cap
        assert now.spent_usd + now.unconfirmed_usd > cap - 2 * WORST


def test_what_a_killed_process_had_in_flight_without_a_cap_is_counted_by_the_next(tmp_path):
    path = tmp_path / "journal.sqlite"
    with FakeLLM(reply=lambda body: "x" * 40, latency_seconds=0.2) as server:
        first = asker(server, path)
        wait_until(lambda: len(server.requests) >= 8)
        first.kill()
        assert asker(server, path).end() == (QUESTIONS, [])
        with Journal(path) as journal, Budget(journal) as budget:
            now = budget.spending()
        # What the server billed to the dead one and nobody saw, at its worst.
        assert 0 < now.unconfirmed_usd <= 4 * WORST + 1e-8
        assert billed(server) <= now.spent_usd + now.unconfirmed_usd + 1e-8
        assert now.leased_usd == 0.0
