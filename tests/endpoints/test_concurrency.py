import asyncio
import random

from endpoints.concurrency import AdaptiveLimit, Breaker
from tests.endpoints.fake_endpoint import SkippingClock


def test_no_more_run_at_once_than_the_limit_and_first_come_is_first_served():
    async def run():
        limit = AdaptiveLimit(3, SkippingClock())
        most, order = 0, []

        async def work(name):
            nonlocal most
            await limit.acquire()
            most = max(most, limit.in_flight)
            order.append(name)
            await asyncio.sleep(0)
            limit.release()

        await asyncio.gather(*(work(i) for i in range(50)))
        assert limit.in_flight == 0
        return most, order

    most, order = asyncio.run(run())
    assert most == 3
    assert order == list(range(50))


def test_a_burst_of_refusals_halves_the_limit_once_and_answers_raise_it_again():
    async def run():
        limit = AdaptiveLimit(64, SkippingClock())
        epochs = [await limit.acquire() for _ in range(64)]
        for epoch in epochs:
            limit.overloaded(epoch)
            limit.release()
        halved = limit.limit
        epochs = [await limit.acquire() for _ in range(32)]
        for epoch in epochs:
            limit.overloaded(epoch)
            limit.release()
        quartered = limit.limit
        answers = 0
        while limit.limit < 64:
            limit.succeeded()
            answers += 1
        return halved, quartered, answers

    halved, quartered, answers = asyncio.run(run())
    assert (halved, quartered) == (32, 16)
    assert answers < 64 * 16


def test_refusals_that_chance_strews_in_leave_the_limit_as_it_is():
    async def run():
        limit, dice, limits = AdaptiveLimit(256, SkippingClock()), random.Random(7), []
        for _ in range(5000):
            epoch = await limit.acquire()
            if dice.random() < 0.09:
                limit.overloaded(epoch)
            else:
                limit.succeeded()
            limit.release()
            limits.append(limit.limit)
        return sum(limits) / len(limits)

    assert asyncio.run(run()) > 240


def test_an_endpoint_that_refuses_half_of_all_soon_gets_a_fraction():
    async def run():
        limit = AdaptiveLimit(256, SkippingClock())
        for number in range(400):
            epoch = await limit.acquire()
            if number % 2:
                limit.overloaded(epoch)
            else:
                limit.succeeded()
            limit.release()
        return limit.limit

    assert asyncio.run(run()) < 64


def test_the_limit_never_falls_below_one():
    async def run():
        limit = AdaptiveLimit(2, SkippingClock())
        for _ in range(5):
            limit.overloaded(await limit.acquire())
            limit.release()
        return limit.limit

    assert asyncio.run(run()) == 1


def test_everybody_waits_as_long_as_the_endpoint_asks():
    async def run():
        clock = SkippingClock()
        limit = AdaptiveLimit(4, clock)
        limit.overloaded(await limit.acquire(), retry_after_seconds=7.0)
        await limit.acquire()
        return clock.seconds

    assert asyncio.run(run()) == 7.0


def test_a_waiter_that_is_cancelled_passes_its_slot_on():
    async def run():
        limit = AdaptiveLimit(1, SkippingClock())
        await limit.acquire()
        waiters = [asyncio.create_task(limit.acquire()) for _ in range(3)]
        await asyncio.sleep(0)
        waiters[0].cancel()
        limit.release()
        waiters[1].cancel()
        await asyncio.wait_for(waiters[2], 5)
        limit.release()
        await asyncio.gather(*waiters, return_exceptions=True)
        return limit.in_flight

    assert asyncio.run(run()) == 0


def test_one_that_is_cancelled_while_the_endpoint_rests_gives_its_slot_back():
    class StandingClock(SkippingClock):
        async def sleep(self, seconds):
            await asyncio.Event().wait()

    async def run():
        limit = AdaptiveLimit(4, StandingClock())
        limit.overloaded(0, retry_after_seconds=7.0)
        resting = asyncio.create_task(limit.acquire())
        await asyncio.sleep(0)
        assert limit.in_flight == 1
        resting.cancel()
        await asyncio.gather(resting, return_exceptions=True)
        return limit.in_flight

    assert asyncio.run(run()) == 0


def test_an_endpoint_that_never_answered_is_dead_after_five_failures_to_connect():
    breaker = Breaker(SkippingClock())
    assert [breaker.failed("connection", False, "a") for _ in range(5)] == [False] * 4 + [True]


def test_an_endpoint_that_did_answer_is_given_a_minute():
    clock = SkippingClock()
    breaker = Breaker(clock)
    breaker.succeeded()
    assert not any(breaker.failed("connection", False, "a") for _ in range(100))
    clock.seconds = 59
    assert not breaker.failed("connection", False, "a")
    clock.seconds = 60
    assert breaker.failed("connection", False, "a")


def test_one_request_that_always_fails_does_not_bring_the_endpoint_down():
    clock = SkippingClock()
    breaker = Breaker(clock)
    breaker.failed("server", True, "poison")
    clock.seconds = 1000
    assert not any(breaker.failed("server", True, "poison") for _ in range(50))
    assert not breaker.suspicious
    assert any(breaker.failed("server", True, str(i)) for i in range(5))


def test_an_answer_closes_the_row_of_failures_and_rate_limits_do_not_count():
    breaker = Breaker(SkippingClock())
    for _ in range(4):
        breaker.failed("connection", False, "a")
    breaker.succeeded()
    assert not breaker.failed("connection", False, "a")
    assert not any(breaker.failed("rate_limit", True, str(i)) for i in range(100))
    assert not breaker.suspicious


def test_rate_limits_alone_are_borne_for_a_quarter_of_an_hour():
    clock = SkippingClock()
    breaker = Breaker(clock)
    assert not breaker.failed("rate_limit", True, "a")
    clock.seconds = 899
    assert not breaker.failed("rate_limit", True, "a")
    breaker.succeeded()
    assert not breaker.failed("rate_limit", True, "a")
    clock.seconds += 900
    assert breaker.failed("rate_limit", True, "a")
