import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpoints.budget import Budget
from endpoints.client import Client
from endpoints.rates import Rates, Told, read_duration, read_limits
from tests.endpoints.fake_endpoint import SkippingClock, ask, endpoint, short
from tests.fake_llm import FakeLLM

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("20ms", 0.02),
        ("1m0.5s", 60.5),
        ("1h", 600.0),
        ("12", 12.0),
        ("0.25", 0.25),
        ("2026-11-24T12:00:30Z", 30.0),
        ("2026-11-24T11:00:00+00:00", 0.0),
        (str(NOW.timestamp() + 7), 7.0),
        ("soon", None),
        ("", None),
        ("5 apples", None),
        ("nan", None),
    ],
)
def test_a_duration_is_read_in_every_spelling(text, seconds):
    assert read_duration(text, NOW) == pytest.approx(seconds)


@given(st.text())
def test_no_text_of_a_header_breaks_the_reading(text):
    seconds = read_duration(text)
    assert seconds is None or 0 <= seconds <= 600


def test_limits_are_read_in_the_spellings_of_openai_and_anthropic():
    openai = {
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-remaining-tokens": "149984",
        "x-ratelimit-reset-tokens": "6m0s",
    }
    anthropic = {
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": "2026-11-24T12:00:09Z",
    }
    assert read_limits(openai) == {"requests": Told(59, 1), "tokens": Told(149984, 360)}
    assert read_limits(anthropic, NOW) == {"requests": Told(0, 9)}
    assert read_limits({"x-ratelimit-remaining-requests": "0"}) == {}
    assert read_limits({}) == {}


def spend(rates, clock, count, worst_tokens=100, used_tokens=None):
    """When each of so many requests was let go."""

    async def run():
        times = []
        for _ in range(count):
            ticket = await rates.admit(worst_tokens)
            times.append(clock.seconds)
            if used_tokens is not None:
                rates.used(ticket, used_tokens)
        return times

    return asyncio.run(run())


@pytest.mark.parametrize("per_minute", [1, 7, 60, 600])
def test_no_minute_holds_more_requests_than_allowed_and_hardly_fewer(per_minute):
    clock = SkippingClock()
    times = spend(Rates(per_minute, None, clock), clock, 4 * per_minute + 1)
    for start in times:
        assert sum(start <= time < start + 59.999 for time in times) <= per_minute
    assert times[-1] <= 4 * 60 * 1.02


def test_tokens_a_minute_are_counted_at_the_worst_and_corrected_by_usage():
    clock = SkippingClock()
    unknown = spend(Rates(None, 6000, clock), clock, 241)[-1]
    clock = SkippingClock()
    corrected = spend(Rates(None, 6000, clock), clock, 241, used_tokens=25)[-1]
    assert unknown == pytest.approx(240, rel=0.03)
    assert corrected == pytest.approx(60, rel=0.1)


def test_a_request_larger_than_a_minutes_tokens_goes_all_the_same():
    clock = SkippingClock()
    assert spend(Rates(None, 10, clock), clock, 2, worst_tokens=100)[-1] == pytest.approx(
        610, rel=0.01
    )


def test_waiting_requests_go_in_their_order():
    async def run():
        clock, order = SkippingClock(), []
        rates = Rates(60, None, clock)

        async def one(number):
            await rates.admit(1)
            order.append(number)

        await asyncio.gather(*(one(number) for number in range(20)))
        return order

    assert asyncio.run(run()) == list(range(20))


def test_what_is_left_counts_down_with_what_was_sent_since():
    async def run():
        clock = SkippingClock()
        rates = Rates(None, None, clock)
        tickets = [await rates.admit(10) for _ in range(5)]
        headers = {"x-ratelimit-remaining-requests": "6", "x-ratelimit-reset-requests": "30s"}
        rates.learn(tickets[0], headers)  # four of the six are under way
        await rates.admit(10)
        await rates.admit(10)
        before = clock.seconds
        await rates.admit(10)
        return before, clock.seconds

    assert asyncio.run(run()) == (0.0, 30.0)


def test_a_late_response_does_not_overrule_a_newer_one():
    async def run():
        clock = SkippingClock()
        rates = Rates(None, None, clock)
        first, second = [await rates.admit(10) for _ in range(2)]
        told = {"x-ratelimit-remaining-tokens": "1000", "x-ratelimit-reset-tokens": "30s"}
        rates.learn(second, told | {"x-ratelimit-remaining-tokens": "0"})
        rates.learn(first, told)
        await rates.admit(10)
        return clock.seconds

    assert asyncio.run(run()) == 30.0


def test_a_newer_response_ends_a_wait_before_the_reset():
    async def run():
        clock = SkippingClock()
        rates = Rates(None, None, clock)
        first, second = [await rates.admit(10) for _ in range(2)]
        told = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "300s"}
        rates.learn(first, told)
        waiting = asyncio.create_task(rates.admit(10))
        await asyncio.sleep(0)
        rates.learn(second, told | {"x-ratelimit-remaining-requests": "50"})
        await waiting
        return clock.seconds

    assert asyncio.run(run()) < 3


def test_what_is_left_of_a_limit_is_kept_to_until_its_reset(journal):
    clock = SkippingClock()
    told = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}
    with FakeLLM(limit_headers=told) as server:
        settings = endpoint(server.base_url)

        async def run():
            with Budget(journal) as budget:
                async with Client(settings, journal, budget, {}, clock) as client:
                    await client.complete(short("first"))
                    await client.complete(short("second"))

        asyncio.run(run())
    assert 359 <= clock.seconds <= 361


def test_no_more_requests_a_minute_are_sent_than_the_settings_allow(journal):
    clock = SkippingClock()
    with FakeLLM() as server:
        settings = endpoint(server.base_url, requests_per_minute=30)
        asyncio.run(ask(settings, journal, *(short(f"q{i}") for i in range(31)), clock=clock))
    assert 59 <= clock.seconds <= 62
