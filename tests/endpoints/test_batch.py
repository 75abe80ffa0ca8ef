import asyncio
import json
import logging

import pytest

from endpoints.batch import BatchClient, open_batch_client
from endpoints.batch_rows import open_batches
from endpoints.budget import Budget
from endpoints.client import Client
from endpoints.embedded import open_client
from endpoints.errors import (
    BudgetExceeded,
    CircuitOpen,
    ConfigurationError,
    EndpointDown,
    EndpointError,
    FaultyCompletion,
    KeyMissing,
    KeyRefused,
    ModelUnknown,
)
from endpoints.journal import Journal
from endpoints.request import Sampling
from endpoints.settings import BatchSettings, EmbeddedSettings
from tests.endpoints.fake_endpoint import PRICES, SkippingClock, ask, endpoint, question, short
from tests.endpoints.test_budget import WORST, billed, spent
from tests.fake_batches import FakeBatches
from tests.fake_llm import FakeLLM

HALF = PRICES.model_copy(update={"batch_share": 0.5})
QUICK = BatchSettings(poll_seconds=0.05, quiet_seconds=0.05)
SECRET = "sk-very-secret-key"


def batch_endpoint(server, **changes):
    base_url = changes.pop("base_url", server.base_url)
    return endpoint(base_url, **({"prices": HALF, "batch": QUICK} | changes))


async def ask_batch(settings, journal, *requests, cap_usd=None, environment=None, tally=None):
    with Budget(journal, cap_usd) as budget:
        client = BatchClient(settings, journal, budget, environment or {}, SkippingClock())
        async with client:
            asked = (client.complete(request) for request in requests)
            ends = await asyncio.gather(*asked, return_exceptions=True)
        if tally is not None:
            tally.append(client.tally)
    return ends


def run(*args, **kwargs):
    return asyncio.run(ask_batch(*args, **kwargs))


def questions(count):
    return [short(f"question {i:02}") for i in range(count)]


def under_way(journal, settings):
    return open_batches(journal, settings.name, settings.base_url)


def test_requests_gather_into_one_batch_and_are_answered_as_the_live_client_would(tmp_path):
    asked = questions(5)
    with FakeLLM() as server, Journal(tmp_path / "batch") as journal:
        settings = batch_endpoint(server)
        tally = []
        answers = run(settings, journal, *asked, tally=tally)
        assert len(server.batches.batches) == 1
        assert server.requests == []
        with Journal(tmp_path / "live") as other:
            live = asyncio.run(ask(settings, other, *asked))
            rows = [(journal.get(r.digest), other.get(r.digest)) for r in asked]
    assert [a.text for a in answers] == [a.text for a in live]
    assert [a.cost_usd for a in answers] == pytest.approx([a.cost_usd / 2 for a in live])
    assert not any(answer.from_journal for answer in answers)
    assert (tally[0].bought, tally[0].reused, tally[0].joined) == (5, 0, 0)
    for by_batch, by_live in rows:
        for name in ("digest", "request", "text", "finish_reason", "fault", "prompt_tokens"):
            assert getattr(by_batch, name) == getattr(by_live, name)
        assert (by_batch.attempts, by_batch.draws, by_batch.endpoint) == (1, 0, "teacher")


def test_what_is_in_the_journal_is_not_asked_again_by_either_transport(journal):
    with FakeLLM() as server:
        settings = batch_endpoint(server)
        run(settings, journal, *questions(2))
        live = asyncio.run(ask(settings, journal, *questions(3)))
        again = run(settings, journal, *questions(3))
        assert len(server.requests) == 1
        assert len(server.batches.batches) == 1
    assert [answer.from_journal for answer in live] == [True, True, False]
    assert all(answer.from_journal for answer in again)


def test_identical_requests_are_joined(journal):
    with FakeLLM() as server:
        tally = []
        answers = run(batch_endpoint(server), journal, *[question()] * 4, tally=tally)
        assert server.batches.asked == {question().digest: 1}
    assert [answer.from_journal for answer in answers] == [False, True, True, True]
    assert (tally[0].bought, tally[0].joined) == (1, 3)


def test_the_ledger_holds_half_the_bill_and_nothing_stays_reserved(journal):
    with FakeLLM() as server:
        settings = batch_endpoint(server)
        answers = run(settings, journal, *questions(8), cap_usd=1.0)
        now = spent(journal)
        assert now.spent_usd == pytest.approx(billed(server) / 2, abs=1e-7)
    assert now.spent_usd == pytest.approx(sum(a.cost_usd for a in answers), abs=1e-7)
    assert (now.unconfirmed_usd, now.leased_usd, now.batched_usd) == (0.0, 0.0, 0.0)
    assert under_way(journal, settings) == []


@pytest.mark.parametrize(
    ("limits", "batches"), [({"max_requests": 2}, [2, 2, 1]), ({"max_bytes": 1_000}, None)]
)
def test_a_full_batch_is_sent_and_the_next_one_begun(journal, limits, batches):
    with FakeLLM() as server:
        settings = batch_endpoint(server, batch=QUICK.model_copy(update=limits))
        tally = []
        answers = run(settings, journal, *questions(5), tally=tally)
        files = [server.batches.files[b["input_file_id"]] for b in server.batches.batches.values()]
    assert len({answer.text for answer in answers}) == 5
    assert (tally[0].bought, tally[0].joined) == (5, 0)
    sizes = [len(file.splitlines()) for file in files]
    assert sum(sizes) == 5
    assert batches is None or sizes == batches
    assert len(sizes) > 1
    assert all(len(file) <= settings.batch.max_bytes for file in files)


def test_chats_and_transcripts_go_into_batches_of_their_own(journal):
    transcript = question(messages=None, prompt="Patient: it hurts.\nDoctor:")
    with FakeLLM() as server:
        answers = run(batch_endpoint(server), journal, question(), transcript)
        routes = {batch["endpoint"] for batch in server.batches.batches.values()}
    assert routes == {"/v1/chat/completions", "/v1/completions"}
    assert all(answer.text for answer in answers)


def test_a_request_that_fails_is_typed_and_the_others_are_kept(journal):
    faults = [None, "bad_request", None, "truncated"]
    with FakeLLM(batches=FakeBatches(faults)) as server:
        ends = run(batch_endpoint(server), journal, *questions(4), cap_usd=1.0)
        assert len(server.batches.batches) == 1
        assert spent(journal).spent_usd == pytest.approx(billed(server) / 2, abs=1e-7)
    assert [type(end).__name__ for end in ends] == [
        "Completion", "FaultyCompletion", "Completion", "FaultyCompletion",
    ]  # fmt: skip
    assert [end.fault for end in ends if isinstance(end, FaultyCompletion)] == [
        "bad_request", "truncated",
    ]  # fmt: skip
    assert "maximum context length" in str(ends[1])
    assert journal.totals().completions == 3  # the truncated one was paid for


@pytest.mark.parametrize("fault", ["server", "expired", "missing", "no_choices", "empty"])
def test_what_brought_no_usable_answer_is_asked_again_in_another_batch(journal, fault):
    end = "expired" if fault in ("expired", "missing") else "completed"
    batches = FakeBatches([None, fault], end=end)
    with FakeLLM(batches=batches) as server:
        ends = run(batch_endpoint(server), journal, *questions(2), cap_usd=1.0)
        assert [server.batches.asked[r.digest] for r in questions(2)] == [1, 2]
        now = spent(journal)
        # What came back without sense may have been billed at its worst.
        unseen = WORST / 2 if fault == "no_choices" else 0.0
        assert now.unconfirmed_usd == pytest.approx(unseen)
    assert [answer.attempts for answer in ends] == [1, 2]
    assert all(answer.text for answer in ends)


def test_a_request_is_not_asked_again_for_ever(journal):
    batches = FakeBatches(["server", "server", "server", None])
    with FakeLLM(batches=batches) as server:
        ends = run(batch_endpoint(server, max_attempts=3), journal, *questions(1))
    assert ends[0].fault == "server"
    assert "after 3 attempts in batches" in str(ends[0])


def test_answers_that_a_completed_batch_lost_count_at_their_worst(journal):
    with FakeLLM(batches=FakeBatches(["missing", None])) as server:
        ends = run(batch_endpoint(server), journal, *questions(1), cap_usd=1.0)
    assert ends[0].text
    assert spent(journal).unconfirmed_usd == pytest.approx(WORST / 2)


def test_the_cap_holds_the_worst_case_of_batches_and_frees_what_they_did_not_need(journal):
    cap = 4 * WORST / 2  # at the batch's price
    with FakeLLM(reply=lambda body: "x" * 40) as server:
        ends = run(batch_endpoint(server), journal, *questions(30), cap_usd=cap)
        refused = [end for end in ends if isinstance(end, BudgetExceeded)]
        sizes = [
            len(server.batches.files[b["input_file_id"]].splitlines())
            for b in server.batches.batches.values()
        ]
        assert billed(server) / 2 <= cap
        assert sizes[0] == 4  # what fits at its worst
        assert len(sizes) > 1  # then what the first did not need
        assert len(ends) - len(refused) == sum(sizes) > 4
    assert refused
    now = spent(journal)
    assert cap - WORST / 2 < now.spent_usd <= cap
    assert (now.leased_usd, now.batched_usd) == (0.0, 0.0)


def test_money_that_a_batch_holds_is_not_there_for_a_live_request(journal, caplog):
    async def open_live(settings):
        with Budget(journal) as budget:
            async with open_client(settings, journal, budget, {}):
                pass

    async def leave_it_under_way(settings):
        with Budget(journal, 3 * WORST / 2) as budget:
            async with BatchClient(settings, journal, budget, {}) as client:
                asking = [asyncio.create_task(client.complete(r)) for r in questions(2)]
                while not server.batches.batches:
                    await asyncio.sleep(0.01)
                for task in asking:
                    task.cancel()

    with FakeLLM(batches=FakeBatches(polls=10**6)) as server:
        settings = batch_endpoint(server)
        asyncio.run(leave_it_under_way(settings))
        assert spent(journal).batched_usd == pytest.approx(2 * WORST / 2)
        asyncio.run(open_live(settings))
        assert "2 requests stand in batches" in caplog.text
        with pytest.raises(BudgetExceeded, match="held for batches"):
            asyncio.run(ask(settings, journal, short("question 77"), cap_usd=3 * WORST / 2))
        server.batches.polls = 0  # it ends; the next run collects it, though it asks nothing of it
        run(settings, journal, short("question 99"))
        assert journal.totals().completions == 3
        now = spent(journal)
        assert now.spent_usd == pytest.approx(billed(server) / 2, abs=1e-7)
        assert now.batched_usd == 0.0


def test_a_creation_whose_answer_is_lost_is_found_at_the_endpoint(journal):
    async def others(settings):  # enough for a second page of the list
        for index in range(3):
            await ask_batch(settings, journal, short(f"before {index}"))

    with FakeLLM() as server:
        settings = batch_endpoint(server)
        asyncio.run(others(settings))
        server.batches.lost_creations = 1
        answers = run(settings, journal, *questions(3))
        assert len(server.batches.batches) == 4
        assert set(server.batches.asked.values()) == {1}
    assert all(answer.text for answer in answers)


def test_a_batch_that_the_endpoint_forgot_is_counted_and_asked_again(journal):
    async def forget(settings):
        with Budget(journal, 1.0) as budget:
            async with BatchClient(settings, journal, budget, {}) as client:
                asking = asyncio.create_task(client.complete(questions(1)[0]))
                while not server.batches.looks:
                    await asyncio.sleep(0.01)
                server.batches.forget()
                server.batches.polls = 0
                return await asking

    with FakeLLM(batches=FakeBatches(polls=10**6)) as server:
        answer = asyncio.run(forget(batch_endpoint(server)))
    assert answer.text
    assert spent(journal).unconfirmed_usd == pytest.approx(WORST / 2)


def test_a_batch_that_is_refused_for_its_content_ends_the_run_with_what_was_said(journal):
    with FakeLLM(batches=FakeBatches(problems=["invalid_json_line"])) as server:
        settings = batch_endpoint(server)
        ends = run(settings, journal, *questions(2), cap_usd=1.0)
    assert all("refused a whole batch" in str(end) for end in ends)
    assert under_way(journal, settings) == []
    assert spent(journal).batched_usd == 0.0


def test_a_batch_that_is_too_much_for_the_queue_waits_and_is_sent_again(journal):
    with FakeLLM(batches=FakeBatches(problems=["token_limit_exceeded"])) as server:
        assert run(batch_endpoint(server), journal, *questions(2))[0].text
        assert len(server.batches.batches) == 2
        server.batches.problems = iter(["token_limit_exceeded"] * 9)
        ends = run(batch_endpoint(server, max_attempts=3), journal, *questions(3))
    assert isinstance(ends[2], CircuitOpen)
    assert "takes no more batches" in str(ends[2])


def test_an_endpoint_without_a_batch_api_is_named(journal):
    with FakeLLM() as server:
        settings = batch_endpoint(server, base_url=server.base_url + "/nothing")
        ends = run(settings, journal, *questions(1))
    assert isinstance(ends[0], ConfigurationError)
    assert "has no Batch API" in str(ends[0])
    assert under_way(journal, settings) == []


def test_an_embedded_endpoint_or_one_without_a_price_is_refused_before_anything_is_sent(journal):
    embedded = endpoint(None, embedded=EmbeddedSettings(), free=True)
    with pytest.raises(ConfigurationError, match="has no Batch API"):
        run(embedded, journal, question())
    with pytest.raises(ConfigurationError, match="no price"):
        run(endpoint("http://127.0.0.1:9/v1", prices=None), journal, question())


def test_a_refused_key_ends_the_run_and_is_never_shown(journal, caplog):
    caplog.set_level(logging.DEBUG)
    with FakeLLM(key="another") as server:
        settings = batch_endpoint(server, key_variable="TEACHER_KEY")
        ends = run(settings, journal, *questions(2), environment={"TEACHER_KEY": SECRET})
    assert all(isinstance(end, KeyRefused) for end in ends)
    assert SECRET not in str(ends) + caplog.text
    assert under_way(journal, settings) == []
    missing = run(settings, journal, *questions(1))
    assert isinstance(missing[0], KeyMissing)


def test_the_key_and_nothing_of_the_machine_goes_along(journal, monkeypatch):
    monkeypatch.setenv("OPENAI_ORG_ID", "org-secret")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Mine: secret")
    with FakeLLM(key=SECRET) as server:
        settings = batch_endpoint(server, key_variable="TEACHER_KEY")
        run(settings, journal, *questions(1), environment={"TEACHER_KEY": SECRET})
        run(batch_endpoint(server), journal, *questions(1))  # from the journal: no key is needed
        seen = server.batches.headers
    assert {headers["Authorization"] for headers in seen} == {f"Bearer {SECRET}"}
    assert not [h for headers in seen for h in headers if h.lower().startswith("x-stainless-os")]
    assert "org-secret" not in json.dumps(seen)
    assert "X-Mine" not in json.dumps(seen)


def test_without_a_key_none_is_sent(journal, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    with FakeLLM() as server:
        run(batch_endpoint(server), journal, *questions(1))
        assert not any("Authorization" in headers for headers in server.batches.headers)


def test_a_request_for_another_model_is_refused(journal):
    with FakeLLM() as server:
        ends = run(batch_endpoint(server), journal, question(model="other"))
    assert "was given to endpoint 'teacher'" in str(ends[0])


def test_closing_ends_those_who_wait_and_names_what_is_under_way(journal, caplog):
    async def close_early(settings):
        with Budget(journal) as budget:
            async with open_batch_client(settings, journal, budget, {}) as client:
                asking = asyncio.create_task(client.complete(question()))
                while not server.batches.batches:
                    await asyncio.sleep(0.01)
            return (await asyncio.gather(asking, return_exceptions=True))[0]

    with FakeLLM(batches=FakeBatches(polls=10**6)) as server:
        end = asyncio.run(close_early(batch_endpoint(server)))
    assert isinstance(end, EndpointError | asyncio.CancelledError)
    assert "1 batches are under way" in caplog.text


def test_a_batch_and_a_live_client_at_once_buy_each_answer_once(journal):
    async def both(settings):
        with Budget(journal) as budget:
            batch = BatchClient(settings, journal, budget, {})
            live = Client(settings, journal, budget, {})
            async with batch, live:
                return await asyncio.gather(batch.complete(question()), live.complete(question()))

    with FakeLLM() as server:
        answers = asyncio.run(both(batch_endpoint(server)))
        assert len(server.requests) + sum(server.batches.asked.values()) == 1
    assert answers[0].text == answers[1].text


def test_a_second_draw_of_a_seeded_request_shifts_its_seed(journal):
    request = question(sampling=Sampling(max_tokens=10, seed=7))
    with FakeLLM(batches=FakeBatches(["empty", None])) as server:
        run(batch_endpoint(server), journal, request)
        seeds = [
            json.loads(server.batches.files[b["input_file_id"]])["body"]["seed"]
            for b in server.batches.batches.values()
        ]
    assert seeds == [7, 8]
    assert journal.get(request.digest).draws == 1


def test_a_defect_in_the_work_behind_ends_the_run_with_its_own_error(journal):
    odd = BatchSettings.model_construct(**(QUICK.model_dump() | {"quiet_seconds": "soon"}))
    with FakeLLM() as server:
        settings = batch_endpoint(server).model_copy(update={"batch": odd})
        ends = run(settings, journal, *questions(2))
    assert [type(end) for end in ends] == [TypeError] * 2


def test_an_endpoint_is_checked_before_anything_is_bought(journal):
    async def check(settings):
        with Budget(journal) as budget:
            async with BatchClient(settings, journal, budget, {}, SkippingClock()) as client:
                return await client.check()

    with FakeLLM() as server:
        assert asyncio.run(check(batch_endpoint(server))).models == ("fake",)
        with pytest.raises(ModelUnknown, match="does not serve the model 'other'"):
            asyncio.run(check(batch_endpoint(server, model="other")))
        assert server.batches.files == {}
    with pytest.raises(EndpointDown, match="does not answer"):
        asyncio.run(check(batch_endpoint(server, max_attempts=2)))


def test_a_download_that_breaks_is_taken_up_again_and_nothing_is_charged_twice(
    journal, monkeypatch
):
    monkeypatch.setattr("endpoints.batch_attendant.LINES_AT_ONCE", 1)
    stored = []
    put = journal.put

    async def watched(entry, also=None):
        stored.append(entry.digest)
        await put(entry, also)

    monkeypatch.setattr(journal, "put", watched)
    with FakeLLM(batches=FakeBatches(broken_downloads=1)) as server:
        tally = []
        answers = run(batch_endpoint(server), journal, *questions(6), cap_usd=1.0, tally=tally)
        assert server.batches.broken_downloads == 0
        assert spent(journal).spent_usd == pytest.approx(billed(server) / 2, abs=1e-7)
    assert len(stored) == len(set(stored)) == 6  # those of the first half were not stored again
    assert all(answer.text for answer in answers)
    assert tally[0].bought == 6
