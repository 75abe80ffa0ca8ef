import asyncio
import logging

import pytest

from endpoints.budget import Budget
from endpoints.client import Client
from endpoints.errors import (
    CircuitOpen,
    ConfigurationError,
    EndpointDown,
    JournalFailed,
    KeyMissing,
    KeyRefused,
    ModelUnknown,
    QuotaExhausted,
)
from tests.endpoints.fake_endpoint import SkippingClock, ask, endpoint, question, short
from tests.fake_llm import FakeLLM

NOBODY = "http://127.0.0.1:9/v1"
SECRET = "sk-very-secret-key"


def run_check(settings, journal, environment=None):
    async def run():
        with Budget(journal) as budget:
            clock = SkippingClock()
            async with Client(settings, journal, budget, environment or {}, clock) as client:
                return await client.check()

    return asyncio.run(run())


def test_an_endpoint_that_is_down_is_reported_at_once_with_what_to_do(journal):
    clock = SkippingClock()
    with pytest.raises(EndpointDown, match=r"teacher.*does not answer.*Start it") as caught:
        asyncio.run(
            ask(endpoint(NOBODY), journal, *(short(f"q{i}") for i in range(50)), clock=clock)
        )
    assert not isinstance(caught.value, CircuitOpen)
    assert clock.seconds < 60
    with pytest.raises(EndpointDown, match="MEDFACTORY_ENDPOINT_TEACHER_BASE_URL"):
        run_check(endpoint(NOBODY), journal)


def test_an_endpoint_that_answers_with_faults_alone_ends_the_run(journal):
    clock = SkippingClock()
    with FakeLLM(faults=["server"] * 100_000) as server:
        asked = [short(f"q{i}") for i in range(20)]
        with pytest.raises(CircuitOpen, match="HTTP 500"):
            asyncio.run(ask(endpoint(server.base_url), journal, *asked, clock=clock))
    assert clock.seconds >= 60


def test_a_rate_limit_that_lasts_ends_the_run_and_is_blamed_on_no_request(journal):
    clock = SkippingClock()
    with FakeLLM(faults=["rate_limit"] * 100_000) as server:
        asked = [short(f"q{i}") for i in range(6)]
        with pytest.raises(CircuitOpen, match=r"rate limit \(HTTP 429.*lower max_in_flight"):
            asyncio.run(ask(endpoint(server.base_url), journal, *asked, clock=clock))
    assert clock.seconds >= 900


def test_an_endpoint_that_takes_requests_and_never_answers_is_told_from_one_with_faults(journal):
    clock = SkippingClock()
    with FakeLLM(faults=["timeout"] * 1000) as server:
        settings = endpoint(server.base_url, timeout_seconds=0.05)
        asked = [short(f"q{i}") for i in range(20)]
        with pytest.raises(EndpointDown, match="raise timeout_seconds") as caught:
            asyncio.run(ask(settings, journal, *asked, clock=clock))
    assert not isinstance(caught.value, CircuitOpen)


def test_a_missing_key_ends_the_run_before_anything_is_sent(journal):
    with FakeLLM(key=SECRET) as server:
        settings = endpoint(server.base_url, key_variable="TEACHER_KEY")
        with pytest.raises(KeyMissing, match="TEACHER_KEY"):
            asyncio.run(ask(settings, journal, question(), cap_usd=1.0))
        with pytest.raises(KeyMissing, match="TEACHER_KEY"):
            run_check(settings, journal)
        assert server.requests == []


def test_a_refused_key_is_named_by_its_variable_and_never_shown(journal, caplog):
    caplog.set_level(logging.DEBUG)
    wrong = "sk-another-secret"
    with FakeLLM(key=SECRET) as server:
        settings = endpoint(server.base_url, key_variable="TEACHER_KEY")
        for refused in (
            lambda: asyncio.run(
                ask(settings, journal, question(), environment={"TEACHER_KEY": wrong})
            ),
            lambda: run_check(settings, journal, {"TEACHER_KEY": wrong}),
        ):
            with pytest.raises(KeyRefused, match=r"\$TEACHER_KEY") as caught:
                refused()
            assert "secret" not in f"{caught.value!r}{caught.value.__cause__!r}"
        with pytest.raises(KeyRefused, match="key_variable"):
            asyncio.run(ask(endpoint(server.base_url), journal, question()))
    assert "secret" not in caplog.text


def test_an_unknown_model_is_answered_with_those_that_exist(journal):
    with FakeLLM(models=["fake-large", "other"]) as server:
        settings = endpoint(server.base_url, model="fake-larg")
        for refused in (
            lambda: run_check(settings, journal),
            lambda: asyncio.run(ask(settings, journal, question(model="fake-larg"))),
        ):
            with pytest.raises(ModelUnknown, match=r"did you mean 'fake-large'.*other"):
                refused()


def test_a_check_says_which_models_there_are(journal):
    with FakeLLM(models=["fake", "other"]) as server:
        assert run_check(endpoint(server.base_url), journal).models == ("fake", "other")


def test_an_account_without_money_ends_the_run(journal):
    with FakeLLM(faults=["quota"]) as server:
        with pytest.raises(QuotaExhausted, match="Top it up"):
            asyncio.run(ask(endpoint(server.base_url), journal, question()))
        assert len(server.requests) == 1


def test_an_endpoint_without_a_price_is_refused_before_the_first_call(journal):
    with FakeLLM() as server:
        with pytest.raises(ConfigurationError, match="free: true"):
            asyncio.run(ask(endpoint(server.base_url, prices=None), journal, question()))
        assert server.requests == []


def ends_of(server, journal, count, **changes):
    """What becomes of so many requests that are asked one after another."""

    async def run():
        with Budget(journal, 1.0) as budget:
            settings = endpoint(server.base_url, max_in_flight=1, **changes)
            async with Client(settings, journal, budget, {}, SkippingClock()) as client:
                asked = (client.complete(short(f"q{i}")) for i in range(count))
                return await asyncio.gather(*asked, return_exceptions=True)

    return asyncio.run(run())


def test_nothing_more_is_sent_once_the_run_has_ended(journal):
    with FakeLLM(faults=["quota"]) as server:
        ends = ends_of(server, journal, 20)
        assert len(server.requests) == 1
    assert all(isinstance(end, QuotaExhausted) for end in ends)


def test_nothing_more_is_bought_when_answers_cannot_be_kept(journal):
    asyncio.run(journal.write(lambda c: c.execute("PRAGMA max_page_count = 1")))
    with FakeLLM(reply=lambda body: "x" * 1_000_000) as server:
        ends = ends_of(server, journal, 20)
        assert len(server.requests) == 1
        billed_usd = server.billed_prompt_tokens * 1e-6 + server.billed_completion_tokens * 2e-6
    assert all(isinstance(end, JournalFailed) for end in ends)
    with Budget(journal) as budget:
        assert budget.spending().spent_usd == pytest.approx(billed_usd, abs=1e-8)
