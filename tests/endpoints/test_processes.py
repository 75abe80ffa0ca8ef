"""Several processes on one journal and one ledger, and processes that die."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from endpoints.budget import Budget
from endpoints.journal import Journal
from tests.endpoints.test_budget import WORST, billed
from tests.fake_llm import FakeLLM

ROOT = Path(__file__).parents[2]
QUESTIONS = 24


def asker(server, path, cap="none", questions=QUESTIONS):
    arguments = [server.base_url, str(path), str(questions), str(cap)]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.endpoints.asker", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


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
        ends = [process.communicate(timeout=60)[0] for process in both]
        assert all(f"ended {QUESTIONS} []" in end for end in ends)
        assert sorted(asked(server)) == sorted(f"question {i}" for i in range(QUESTIONS))


@pytest.mark.parametrize("answers", [1, 11])
def test_a_killed_process_goes_on_and_buys_again_only_what_was_in_flight(tmp_path, answers):
    path = tmp_path / "journal.sqlite"
    with FakeLLM(latency_seconds=0.03) as server:
        first = asker(server, path, cap=1.0)
        wait_until(lambda: len(server.requests) > answers)
        first.send_signal(signal.SIGKILL)
        first.communicate(timeout=60)
        with Journal(path) as journal:
            kept = journal.totals().completions
            stored = {row[0] for row in journal.read("SELECT digest FROM completions")}
        assert kept == len(stored)
        sent_before = len(server.requests)
        assert sent_before - kept <= 4 + 4  # in flight, and answered but not yet committed
        second = asker(server, path, cap=1.0)
        assert f"ended {QUESTIONS} []" in second.communicate(timeout=60)[0]
        assert len(server.requests) - sent_before == QUESTIONS - kept
    with Journal(path) as journal:
        assert journal.totals().completions == QUESTIONS


def test_the_cap_is_hard_across_processes_also_when_one_is_killed(tmp_path):
    path = tmp_path / "journal.sqlite"
    cap = 24 * WORST
    with FakeLLM(reply=lambda body: "x" * 40, latency_seconds=0.02) as server:
        three = [asker(server, path, cap=cap, questions=300) for _ in range(3)]
        wait_until(lambda: len(server.requests) > 20)
        three[0].send_signal(signal.SIGKILL)
        ends = [process.communicate(timeout=60)[0] for process in three]
        assert all("['BudgetExceeded']" in end for end in ends[1:])
        with Journal(path) as journal, Budget(journal, cap) as budget:
            now = budget.spending()
        assert billed(server) <= now.spent_usd + now.unconfirmed_usd + 1e-8
        assert now.spent_usd + now.unconfirmed_usd <= cap
        assert now.spent_usd + now.unconfirmed_usd > cap - 2 * WORST
