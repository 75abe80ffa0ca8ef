import asyncio

import pytest

from endpoints.budget import Budget
from endpoints.client import Client
from endpoints.errors import BudgetExceeded, ConfigurationError, EndpointDown, FaultyCompletion
from endpoints.journal import Journal
from tests.endpoints.fake_endpoint import ask, endpoint, question, short
from tests.fake_llm import FakeLLM

WORST = (len(b"question 00") + 16 + 64 + 10 * 2) / 1e6  # of `short("question 00")`


def spent(journal, cap_usd=None):
    with Budget(journal, cap_usd) as budget:
        return budget.spending()


def billed(server):
    """What the server would write on the bill."""
    return server.billed_prompt_tokens * 1e-6 + server.billed_completion_tokens * 2e-6


def test_a_request_that_could_pass_the_cap_is_not_sent(journal):
    with FakeLLM() as server:
        with pytest.raises(BudgetExceeded) as caught:
            asyncio.run(ask(endpoint(server.base_url), journal, question(), cap_usd=0.0001))
        assert server.requests == []
    for part in ("$0.0000 of $0.0001", "not sent", "raise the cap", str(journal.path)):
        assert part in str(caught.value)


def test_the_ledger_holds_what_the_answers_cost_and_nothing_stays_reserved(journal):
    with FakeLLM() as server:
        asked = [short(f"question {i}") for i in range(40)]
        answers = asyncio.run(ask(endpoint(server.base_url), journal, *asked, cap_usd=1.0))
        now = spent(journal)
        assert now.spent_usd == pytest.approx(sum(a.cost_usd for a in answers), abs=1e-7)
        assert now.spent_usd == pytest.approx(billed(server), abs=1e-7)
    assert (now.unconfirmed_usd, now.leased_usd) == (0.0, 0.0)


def test_the_cap_is_hard_with_many_at_once_and_most_of_it_is_used(journal):
    cap = 10 * WORST

    async def run(base_url):
        with Budget(journal, cap) as budget:
            async with Client(endpoint(base_url), journal, budget, {}) as client:
                asked = (client.complete(short(f"question {i:02}")) for i in range(99))
                return await asyncio.gather(*asked, return_exceptions=True)

    with FakeLLM(reply=lambda body: "x" * 40) as server:
        ends = asyncio.run(run(server.base_url))
        refused = [end for end in ends if isinstance(end, BudgetExceeded)]
        assert refused
        assert len(ends) - len(refused) == len(server.requests)
        assert cap - WORST <= billed(server) <= cap
    assert spent(journal, cap).spent_usd <= cap


def test_what_was_bought_is_kept_and_a_higher_cap_goes_on_from_there(journal):
    asked = [short(f"question {i:02}") for i in range(20)]
    with FakeLLM(reply=lambda body: "x" * 40) as server:
        settings = endpoint(server.base_url)
        with pytest.raises(BudgetExceeded):
            asyncio.run(ask(settings, journal, *asked, cap_usd=3 * WORST))
        assert 0 < len(server.requests) < 20
        asyncio.run(ask(settings, journal, *asked, cap_usd=1.0))
        assert len(server.requests) == 20


@pytest.mark.parametrize("fault", ["html", "malformed", "reset", "no_choices"])
def test_what_may_have_been_billed_unseen_counts_at_its_worst(journal, fault):
    with FakeLLM(faults=[fault]) as server:
        settings = endpoint(server.base_url)
        asyncio.run(ask(settings, journal, short("question 00"), cap_usd=1.0))
    assert spent(journal).unconfirmed_usd == pytest.approx(WORST)


@pytest.mark.parametrize("fault", ["rate_limit", "server", "unavailable"])
def test_what_is_refused_costs_nothing(journal, fault):
    with FakeLLM(faults=[fault]) as server:
        settings = endpoint(server.base_url)
        answers = asyncio.run(ask(settings, journal, short("question 00"), cap_usd=1.0))
    now = spent(journal)
    assert now.unconfirmed_usd == 0.0
    assert now.spent_usd == pytest.approx(answers[0].cost_usd, abs=1e-8)


def test_what_never_reached_the_endpoint_costs_nothing(journal):
    nobody = endpoint("http://127.0.0.1:9/v1")
    with pytest.raises(EndpointDown):
        asyncio.run(ask(nobody, journal, *(short(f"q{i}") for i in range(9)), cap_usd=1.0))
    now = spent(journal)
    assert (now.spent_usd, now.unconfirmed_usd, now.leased_usd) == (0.0, 0.0, 0.0)


def test_faulty_answers_that_were_paid_for_are_counted(journal):
    with FakeLLM(faults=["truncated"]) as server:
        with pytest.raises(FaultyCompletion) as caught:
            asyncio.run(ask(endpoint(server.base_url), journal, short("a"), cap_usd=1.0))
        assert caught.value.completion.cost_usd > 0
        assert spent(journal).spent_usd == pytest.approx(billed(server), abs=1e-8)


def test_scopes_have_ledgers_of_their_own(journal):
    async def run():
        with Budget(journal, 1.0, "first") as first, Budget(journal, 1.0, "second") as second:
            reserved = await first.reserve(0.75)
            await journal.write(first.settle(reserved, 0.5))
            await second.reserve(0.9)
            return first.spending(), second.spending()

    first, second = asyncio.run(run())
    assert (first.spent_usd, second.spent_usd) == (0.5, 0.0)


def test_a_reservation_waits_for_money_that_others_may_give_back(journal):
    async def run():
        with Budget(journal, 1.0) as mine, Budget(journal, 1.0) as other:
            held = await other.reserve(0.9)
            waiting = asyncio.create_task(mine.reserve(0.5))
            await asyncio.sleep(0.05)
            assert not waiting.done()
            await journal.write(other.settle(held, 0.1))
            return await asyncio.wait_for(waiting, 10)

    assert asyncio.run(run()) == 500_000_000


def test_a_reservation_that_is_cancelled_while_the_ledger_is_asked_keeps_no_money(journal):
    async def run():
        with Budget(journal, 1.0) as budget:
            asking = asyncio.create_task(budget.reserve(0.6))
            await asyncio.sleep(0)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            budget.release(await asyncio.wait_for(budget.reserve(0.6), 10))
        await journal.write(lambda connection: None)  # what was closed is now written

    asyncio.run(run())
    now = spent(journal)
    assert (now.unconfirmed_usd, now.leased_usd) == (0.0, 0.0)


def test_the_lease_of_a_dead_process_counts_as_spent(tmp_path):
    path = tmp_path / "journal.sqlite"

    async def die():
        await Budget(journal, 1.0).reserve(0.6)

    with Journal(path) as journal:
        asyncio.run(die())  # never closed: closing the journal frees its claims, like a death
    with Journal(path) as journal, Budget(journal, 1.0) as budget:
        with pytest.raises(BudgetExceeded, match=r"of which \$0\.6000 .* cut off"):
            asyncio.run(budget.reserve(0.5))
        assert budget.spending().unconfirmed_usd == pytest.approx(0.6)
        asyncio.run(budget.reserve(0.4))


def test_without_a_cap_spending_is_counted_and_never_refused(journal):
    with FakeLLM() as server:
        asyncio.run(ask(endpoint(server.base_url), journal, question()))
        assert spent(journal).spent_usd == pytest.approx(billed(server), abs=1e-8)


@pytest.mark.parametrize("cap", [-1.0, float("nan"), float("inf")])
def test_a_cap_that_is_no_amount_is_refused(journal, cap):
    with pytest.raises(ConfigurationError, match="cap"):
        Budget(journal, cap)


def test_without_a_cap_the_ledger_knows_what_is_in_flight_and_nothing_when_all_is_answered(journal):
    async def run():
        with Budget(journal) as budget:
            held = [await budget.reserve(0.25) for _ in range(3)]
            await journal.write(lambda connection: None)
            flying = budget.spending().leased_usd
            await journal.write(budget.settle(held[0], 0.125))
            budget.release(held[1])
            await journal.write(budget.settle(held[2], 0.25, confirmed=False))
        await journal.write(lambda connection: None)
        return flying

    assert asyncio.run(run()) == 0.75
    now = spent(journal)
    assert (now.spent_usd, now.unconfirmed_usd, now.leased_usd) == (0.125, 0.25, 0.0)


def test_without_a_cap_many_requests_in_flight_take_few_commits(journal):
    async def run():
        with Budget(journal) as budget:
            told = []
            journal.write_soon = told.append  # what would be written on its own
            held = [await budget.reserve(1e-3) for _ in range(1024)]
            ramp, told[:] = len(told), []
            for _ in range(1024):  # one answered, the next sent
                budget.settle(held.pop(0), 1e-4)
                held.append(await budget.reserve(1e-3))
            return ramp, len(told)

    ramp, steady = asyncio.run(run())
    assert ramp < 110
    assert steady == 0


def test_what_a_dead_process_had_in_flight_without_a_cap_counts_as_unconfirmed(tmp_path):
    path = tmp_path / "journal.sqlite"

    async def die():
        budget = Budget(journal)
        await budget.reserve(0.25)
        await budget.reserve(0.25)

    with Journal(path) as journal:
        asyncio.run(die())
    with Journal(path) as journal, Budget(journal) as budget:
        asyncio.run(budget.reserve(0.5))
        assert budget.spending().unconfirmed_usd == 0.5
