import asyncio
import logging

import pytest

from endpoints.budget import Budget
from endpoints.client import Client
from endpoints.errors import (
    ConfigurationError,
    FaultyCompletion,
)
from endpoints.journal import Entry, Journal
from endpoints.request import ChatRequest, Sampling
from endpoints.wire import payload
from tests.endpoints.fake_endpoint import SkippingClock, ask, endpoint, question, short
from tests.fake_llm import FakeLLM

NOBODY = "http://127.0.0.1:9/v1"
SECRET = "sk-very-secret-key"


def test_an_answer_is_bought_once_and_then_found(journal):
    with FakeLLM() as server:
        settings = endpoint(server.base_url)
        bought = asyncio.run(ask(settings, journal, question()))[0]
        found = asyncio.run(ask(settings, journal, question()))[0]
        assert len(server.requests) == 1
    assert not bought.from_journal
    assert found == bought.model_copy(update={"from_journal": True})
    assert bought.cost_usd == pytest.approx(
        bought.prompt_tokens * 1e-6 + bought.completion_tokens * 2e-6
    )


def test_what_is_in_the_journal_needs_neither_key_nor_endpoint(journal):
    with FakeLLM() as server:
        asyncio.run(ask(endpoint(server.base_url), journal, question()))
    gone = endpoint(NOBODY, key_variable="UNSET")
    assert asyncio.run(ask(gone, journal, question()))[0].from_journal


def test_another_sample_index_buys_another_answer(journal):
    with FakeLLM() as server:
        asked = [question(sample_index=i) for i in (0, 1, 2, 1, 0)]
        asyncio.run(ask(endpoint(server.base_url), journal, *asked))
        assert len(server.requests) == 3


def test_identical_requests_in_flight_are_joined(journal):
    with FakeLLM(latency_seconds=0.05) as server:
        answers = asyncio.run(ask(endpoint(server.base_url), journal, *[question()] * 20))
        assert len(server.requests) == 1
    assert sum(not answer.from_journal for answer in answers) == 1
    assert len({answer.text for answer in answers}) == 1


def test_two_clients_of_one_journal_share_what_is_in_flight(journal):
    async def run(base_url):
        with Budget(journal) as budget:
            first = Client(endpoint(base_url), journal, budget, {})
            second = Client(endpoint(base_url), journal, budget, {})
            async with first, second:
                return await asyncio.gather(
                    *(client.complete(question()) for client in (first, second))
                )

    with FakeLLM(latency_seconds=0.1) as server:
        answers = asyncio.run(run(server.base_url))
        assert len(server.requests) == 1
    assert sorted(answer.from_journal for answer in answers) == [False, True]


def test_a_caller_that_goes_away_does_not_take_the_answer_from_the_others(journal):
    async def run(base_url):
        with Budget(journal) as budget:
            async with Client(endpoint(base_url), journal, budget, {}) as client:
                first = asyncio.create_task(client.complete(question()))
                second = asyncio.create_task(client.complete(question()))
                await asyncio.sleep(0.05)
                first.cancel()
                return await second

    with FakeLLM(latency_seconds=0.2) as server:
        assert asyncio.run(run(server.base_url)).text
        assert len(server.requests) == 1


def test_who_asks_for_what_another_has_just_given_up_gets_an_answer(journal):
    async def run(base_url):
        with Budget(journal) as budget:
            settings = endpoint(base_url, max_in_flight=1)
            async with Client(settings, journal, budget, {}) as client:
                holder = asyncio.create_task(client.complete(question("slow")))
                first = asyncio.create_task(client.complete(question()))
                await asyncio.sleep(0.05)
                first.cancel()
                second = asyncio.create_task(client.complete(question()))
                await holder
                return await second

    with FakeLLM(latency_seconds=0.2) as server:
        assert asyncio.run(run(server.base_url)).text


def test_what_was_sent_when_the_run_stops_is_still_kept(journal):
    async def run(base_url):
        with Budget(journal) as budget:
            settings = endpoint(base_url, max_in_flight=2)
            async with Client(settings, journal, budget, {}) as client:
                asked = [asyncio.create_task(client.complete(short(f"q{i}"))) for i in range(9)]
                while client._limit.in_flight < 2:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.1)
                for task in asked:
                    task.cancel()

    with FakeLLM(latency_seconds=0.4) as server:
        asyncio.run(run(server.base_url))
        assert len(server.requests) == 2
    assert journal.totals().completions == 2


def test_no_more_than_max_in_flight_are_sent_at_once(journal):
    with FakeLLM(latency_seconds=0.02) as server:
        settings = endpoint(server.base_url, max_in_flight=4)
        asyncio.run(ask(settings, journal, *(short(f"q{i}") for i in range(30))))
        assert server.most_at_once <= 4


def test_a_chat_and_a_transcript_go_to_their_routes(journal):
    with FakeLLM(reply=lambda body: body.get("prompt", "chat")) as server:
        line = ChatRequest(model="fake", prompt="Doctor:", sampling=Sampling(stop=("\n",), seed=3))
        answers = asyncio.run(ask(endpoint(server.base_url), journal, question(), line))
        sent = {seen.path: seen.body for seen in server.requests}
    assert [answer.text for answer in answers] == ["chat", "Doctor:"]
    assert sent["/v1/completions"]["stop"] == ["\n"]
    assert sent["/v1/completions"]["seed"] == 3
    assert sent["/v1/chat/completions"]["messages"][0]["role"] == "user"


def test_the_body_holds_what_was_asked_and_no_more():
    settings = endpoint(NOBODY, token_limit_field="max_completion_tokens")
    path, body = payload(question(json_schema={"type": "object"}), settings)
    assert path == "/chat/completions"
    assert set(body) == {
        "model", "messages", "temperature", "top_p", "max_completion_tokens", "response_format"
    }  # fmt: skip


@pytest.mark.parametrize(
    "fault",
    [
        *("rate_limit", "server", "unavailable", "reset", "html", "malformed", "no_choices"),
        "error_body",
    ],
)
def test_a_passing_fault_is_tried_again(journal, fault):
    with FakeLLM(faults=[fault, fault]) as server:
        answer = asyncio.run(ask(endpoint(server.base_url), journal, question()))[0]
        assert len(server.requests) == 3
    assert answer.attempts == 3
    assert answer.text


def test_an_endpoint_that_is_full_is_sent_about_as_much_as_it_takes(journal):
    limits = []

    async def run(base_url):
        with Budget(journal) as budget:
            settings = endpoint(base_url, max_in_flight=64)
            async with Client(settings, journal, budget, {}, SkippingClock()) as client:

                async def one(number):
                    await client.complete(short(f"q{number}"))
                    limits.append(client._limit.limit)

                await asyncio.gather(*(one(i) for i in range(300)))

    with FakeLLM(latency_seconds=0.02, slots=8, refuse_when_full=True) as server:
        asyncio.run(run(server.base_url))
        assert server.most_at_once == 8
    assert len(limits) == 300
    assert max(limits[50:]) < 32


def test_a_request_is_not_to_blame_for_an_endpoint_that_wants_less(journal):
    with FakeLLM(faults=["unavailable"] * 12) as server:
        settings = endpoint(server.base_url, max_attempts=4)
        assert asyncio.run(ask(settings, journal, question()))[0].attempts == 13


def test_a_slow_answer_is_a_timeout_and_is_tried_again(journal):
    with FakeLLM(faults=["timeout"]) as server:
        settings = endpoint(server.base_url, timeout_seconds=0.2)
        assert asyncio.run(ask(settings, journal, question()))[0].attempts == 2


@pytest.mark.parametrize("fault", ["rate_limit", "unavailable", "server"])
def test_retry_after_is_kept_to(journal, fault):
    clock = SkippingClock()
    with FakeLLM(faults=[fault], retry_after_seconds=17) as server:
        asyncio.run(ask(endpoint(server.base_url), journal, question(), clock=clock))
    assert 16.9 <= clock.seconds <= 17.1


@pytest.mark.parametrize(
    ("kind", "fault", "sent"),
    [
        ("truncated", "truncated", 1),
        ("refused", "refused", 1),
        ("content_filter", "content_filter", 1),
        ("empty", "empty", 3),
    ],
)
def test_an_answer_that_cannot_be_used_is_paid_once_and_never_asked_again(
    journal, kind, fault, sent
):
    with FakeLLM(faults=[kind] * 9) as server:
        for _ in range(2):
            with pytest.raises(FaultyCompletion) as caught:
                asyncio.run(ask(endpoint(server.base_url), journal, question()))
            assert caught.value.fault == fault
            assert caught.value.completion.attempts == sent
        assert len(server.requests) == sent


def test_failures_of_the_server_use_up_none_of_the_draws_after_an_empty_answer(journal):
    with FakeLLM(faults=["server", "server", "empty", "empty"]) as server:
        assert asyncio.run(ask(endpoint(server.base_url), journal, question()))[0].attempts == 5


def test_an_answer_that_the_server_broke_off_is_asked_for_again(journal):
    with FakeLLM(faults=["aborted"] * 2) as server:
        settings = endpoint(server.base_url, max_attempts=2)
        with pytest.raises(FaultyCompletion):
            asyncio.run(ask(settings, journal, question()))
        more = endpoint(server.base_url, max_attempts=3)
        assert asyncio.run(ask(more, journal, question()))[0].attempts == 3
        assert len(server.requests) == 3


def test_an_empty_answer_is_drawn_again_with_another_seed(journal):
    with FakeLLM(faults=["empty"]) as server:
        asked = question(sampling=Sampling(seed=40))
        answer = asyncio.run(ask(endpoint(server.base_url), journal, asked))[0]
        assert [seen.body["seed"] for seen in server.requests] == [40, 41]
    assert answer.text
    assert answer.attempts == 2


@pytest.mark.parametrize(("kind", "sent"), [("bad_request", 1), ("server", 4)])
def test_a_request_that_never_succeeds_is_given_up_and_the_others_go_on(journal, kind, sent):
    faults = [kind] * sent + [None]
    with FakeLLM(faults=faults) as server:
        settings = endpoint(server.base_url, max_attempts=4)
        with pytest.raises(FaultyCompletion) as caught:
            asyncio.run(ask(settings, journal, question("poison")))
        assert caught.value.completion is None
        assert asyncio.run(ask(settings, journal, question("fine")))[0].text
        assert len(server.requests) == sent + 1


def test_a_key_is_sent_and_stands_neither_in_errors_nor_in_logs_nor_in_the_journal(journal, caplog):
    caplog.set_level(logging.DEBUG)
    with FakeLLM(key=SECRET, faults=[None, "echo_key", "echo_page"]) as server:
        settings = endpoint(server.base_url, key_variable="TEACHER_KEY", max_attempts=1)
        environment = {"TEACHER_KEY": f"{SECRET}\n"}
        asyncio.run(ask(settings, journal, question(), environment=environment))
        with pytest.raises(FaultyCompletion, match=r"Bearer \*\*\*"):
            asyncio.run(ask(settings, journal, question("b"), environment=environment))
        with pytest.raises(FaultyCompletion, match="not JSON") as caught:
            asyncio.run(ask(settings, journal, question("c"), environment=environment))
        assert SECRET[:5] not in str(caught.value)
    journal.close()
    assert SECRET not in caplog.text
    for file in journal.path.parent.iterdir():
        assert SECRET.encode() not in file.read_bytes()


def test_answers_that_cannot_be_stored_are_bought_within_a_bound(tmp_path):
    class StuckJournal(Journal):
        """One whose disk takes nothing until it is told to."""

        def __init__(self, path):
            super().__init__(path)
            self.free = asyncio.Event()

        async def put(self, entry, also=None):
            await self.free.wait()
            await super().put(entry, also)

    async def run(base_url, journal):
        with Budget(journal) as budget:
            async with Client(endpoint(base_url, max_in_flight=8), journal, budget, {}) as client:
                asked = asyncio.gather(*(client.complete(short(f"q{i}")) for i in range(60)))
                await asyncio.sleep(0.5)
                bought = len(server.requests)
                journal.free.set()
                return bought, await asked

    with FakeLLM() as server, StuckJournal(tmp_path / "journal.sqlite") as journal:
        bought, answers = asyncio.run(run(server.base_url, journal))
    assert bought == 16
    assert len(answers) == 60


def test_a_request_for_another_model_is_refused(journal):
    with pytest.raises(ConfigurationError, match="declared with 'fake'"):
        asyncio.run(ask(endpoint(NOBODY), journal, question(model="other")))


def test_thoughts_are_kept_apart_from_the_answer(journal):
    with FakeLLM(reply=lambda body: "<think>\nhm\n</think>\n\nRest.") as server:
        asyncio.run(ask(endpoint(server.base_url), journal, question()))
        answer = asyncio.run(ask(endpoint(server.base_url), journal, question()))[0]
    assert (answer.reasoning, answer.text) == ("hm", "Rest.")


def test_nothing_of_the_persons_own_settings_is_sent(journal, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("OPENAI_ADMIN_KEY", SECRET)
    monkeypatch.setenv("OPENAI_PROJECT_ID", "my-organisation")
    monkeypatch.setenv("OPENAI_BASE_URL", NOBODY)
    monkeypatch.setenv("OPENAI_ORG_ID", "my-organisation")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Mine: my-organisation")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with FakeLLM() as server:
        asyncio.run(ask(endpoint(server.base_url), journal, question()))
        headers = server.requests[0].headers
    assert "Authorization" not in headers
    assert "my-organisation" not in str(headers)
    assert SECRET not in str(headers)
    assert not [name for name in headers if name.lower().startswith("x-stainless")]
    assert headers["User-Agent"] == "medfactory"


def test_attempts_that_failed_are_no_draws_of_a_process_that_died_between_them(journal):
    """Two servers' failures and one empty answer, then death: two more draws are left."""
    request = question()
    row = Entry(
        digest=request.digest, request=request.canonical, text="", reasoning="",
        finish_reason="stop", fault="empty", prompt_tokens=9, completion_tokens=0,
        cost_usd=0.5, latency_seconds=1.0, attempts=3, endpoint="teacher", created_at="",
        draws=1,
    )  # fmt: skip
    asyncio.run(journal.put(row))
    with FakeLLM(faults=["empty", None]) as server:
        answer = asyncio.run(ask(endpoint(server.base_url), journal, request))[0]
        assert len(server.requests) == 2
    assert answer.attempts == 5
    assert answer.cost_usd > 0.5
    assert journal.get(request.digest).draws == 2


def test_every_answer_that_was_not_bought_counts_as_a_hit_of_its_row(journal):
    with FakeLLM(latency_seconds=0.05) as server:
        settings = endpoint(server.base_url)
        asyncio.run(ask(settings, journal, *[question()] * 3))  # two are joined
        asyncio.run(ask(settings, journal, question()))
    path = journal.path
    journal.close()
    with Journal(path) as again:
        assert again.read("SELECT digest, hits FROM uses") == [(question().digest, 3)]
