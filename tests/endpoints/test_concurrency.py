import asyncio
import random

import pytest

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


def test_a_burst_of_refusals_lowers_the_limit_once_and_answers_raise_it_again():
    async def run():
        limit = AdaptiveLimit(64, SkippingClock())
        lowered = []
        for _ in range(2):
            epochs = [await limit.acquire() for _ in range(int(limit.limit))]
            for epoch in epochs:
                limit.overloaded(epoch)
                limit.release()
            lowered.append(limit.limit)
        answers = 0
        for _ in range(int(limit.limit)):
            await limit.acquire()
        while limit.limit < 64:
            limit.succeeded()
            answers += 1
            while limit.in_flight < int(limit.limit):
                await limit.acquire()
        return lowered, answers

    lowered, answers = asyncio.run(run())
    assert lowered == pytest.approx([64 * 0.7, 64 * 0.7 * 0.7])
    assert answers < 64 * 16


def test_a_limit_of_which_nobody_makes_use_does_not_grow():
    async def run():
        limit = AdaptiveLimit(64, SkippingClock())
        for epoch in [await limit.acquire() for _ in range(64)]:
            limit.overloaded(epoch)
            limit.release()
        before = limit.limit
        for _ in range(500):
            await limit.acquire()
            limit.succeeded()
            limit.release()
        return before, limit.limit

    before, after = asyncio.run(run())
    assert after == before < 64


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
        for _ in range(20):
            for number, epoch in enumerate(
                [await limit.acquire() for _ in range(int(limit.limit))]
            ):
                if number % 2:
                    limit.overloaded(epoch)
                else:
                    limit.succeeded()
            while limit.in_flight:
                limit.release()
        return limit.limit

    assert asyncio.run(run()) < 64


@pytest.mark.parametrize("room", [8, 60, 200])
def test_the_limit_settles_near_what_the_endpoint_takes(room):
    async def run():
        limit, used = AdaptiveLimit(256, SkippingClock()), []
        for _ in range(300):
            epochs = [await limit.acquire() for _ in range(int(limit.limit))]
            for epoch in epochs[room:]:
                limit.overloaded(epoch)
            for _ in epochs[:room]:
                limit.succeeded()
            while limit.in_flight:
                limit.release()
            used.append(min(room, len(epochs)))
        return sum(used) / len(used), len(epochs)

    used, last = asyncio.run(run())
    assert used > 0.8 * room
    assert last < 2 * room


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
