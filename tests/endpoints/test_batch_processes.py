"""Processes that ask by batches: killed at any moment, and several at once."""

import random
import time

import pytest

from endpoints.budget import Budget
from endpoints.journal import Journal
from tests.endpoints.batch_asker import BatchAsker
from tests.endpoints.test_budget import billed
from tests.endpoints.test_processes import wait_until
from tests.fake_batches import FakeBatches
from tests.fake_llm import FakeLLM

QUESTIONS = 8


def finish(server, path):
    """The same command again: all answers come, and no request was run twice."""
    texts = BatchAsker(server.base_url, path, QUESTIONS).end()
    assert len(set(texts)) == QUESTIONS
    assert len(server.batches.asked) == QUESTIONS
    assert set(server.batches.asked.values()) == {1}
    with Journal(path) as journal, Budget(journal) as budget:
        now = budget.spending()
        assert journal.totals().completions == QUESTIONS
        assert journal.read("SELECT * FROM batches") == []
    # Nothing that was billed is missing from the ledger, and nothing is counted twice.
    assert now.spent_usd == pytest.approx(billed(server), abs=1e-7)
    assert (now.batched_usd, now.leased_usd) == (0.0, 0.0)


@pytest.mark.parametrize("slow", ["upload", "create", "poll"])
def test_a_killed_process_goes_on_with_its_batches_and_sends_no_request_twice(tmp_path, slow):
    path = tmp_path / "journal.sqlite"
    batches = FakeBatches(
        upload_seconds=60.0 if slow == "upload" else 0.0,
        create_seconds=60.0 if slow == "create" else 0.0,  # it exists, and nobody was told
        polls=10**6 if slow == "poll" else 1,
    )
    with FakeLLM(batches=batches) as server:
        first = BatchAsker(server.base_url, path, QUESTIONS)
        wait_until(lambda: batches.files if slow == "upload" else len(batches.batches) == 2)
        if slow == "poll":
            wait_until(lambda: len(batches.looks) == 2)
        first.kill()
        batches.upload_seconds = batches.create_seconds = 0.0
        batches.polls = 1
        finish(server, path)


@pytest.mark.parametrize("seed", range(4))
def test_a_process_that_is_killed_at_a_random_instant_loses_and_doubles_nothing(tmp_path, seed):
    path = tmp_path / "journal.sqlite"
    dice = random.Random(seed)
    with FakeLLM(batches=FakeBatches(polls=2)) as server:
        first = BatchAsker(server.base_url, path, QUESTIONS)
        wait_until(lambda: path.exists())
        time.sleep(dice.uniform(0.0, 0.8))
        first.kill()
        finish(server, path)


def test_two_processes_at_once_share_their_batches_and_one_goes_on_when_the_other_dies(tmp_path):
    path = tmp_path / "journal.sqlite"
    batches = FakeBatches(polls=10**6)
    with FakeLLM(batches=batches) as server:
        both = [BatchAsker(server.base_url, path, QUESTIONS) for _ in range(2)]
        wait_until(lambda: sum(batches.asked.values()) >= QUESTIONS)
        both[0].kill()
        batches.polls = 1
        assert len(set(both[1].end())) == QUESTIONS
        finish(server, path)
