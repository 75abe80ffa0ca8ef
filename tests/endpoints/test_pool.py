import asyncio
from collections import Counter

import pytest

from endpoints.budget import Budget
from endpoints.embedded import open_client
from endpoints.errors import ConfigurationError, EndpointDown
from endpoints.journal import Journal
from endpoints.pool import Member, Pool
from endpoints.request import ChatMessage, ChatRequest
from endpoints.settings import EndpointSettings
from tests.fake_llm import FakeLLM

DEAD = "http://127.0.0.1:9/v1"


def endpoint(name, base_url):
    return EndpointSettings(
        name=name, base_url=base_url, model=name, free=True, max_attempts=1, timeout_seconds=5
    )


def question(text):
    def ask(settings):
        messages = (ChatMessage(role="user", content=text),)
        return ChatRequest(model=settings.model, messages=messages)

    return ask


def asked(path, members, names, fallbacks=()):
    """Ask under each name; the endpoints that answered, and all that was told of answers."""

    async def run():
        told = []
        with Journal(path / "journal.sqlite") as journal, Budget(journal) as budget:

            async def enter(settings):
                return await stack.enter_async_context(open_client(settings, journal, budget))

            async with AsyncExitStack() as stack:
                pool = Pool(
                    [Member(await enter(s), weight) for s, weight in members],
                    [await enter(s) for s in fallbacks],
                    told.append,
                )
                answers = [await pool.complete(question(name), name) for name in names]
        return [answer.endpoint.name for answer in answers], told

    from contextlib import AsyncExitStack

    return asyncio.run(run())


def test_endpoints_are_drawn_by_their_weights_and_always_alike(tmp_path):
    names = [f"talk {i}" for i in range(200)]
    with FakeLLM(models=("a", "b")) as server:
        members = [(endpoint("a", server.base_url), 3.0), (endpoint("b", server.base_url), 1.0)]
        drawn, told = asked(tmp_path, members, names)
        again, _ = asked(tmp_path, members[::-1], names)
        assert len(server.requests) == 200
    assert again == drawn
    assert 130 <= Counter(drawn)["a"] <= 170
    assert [answer.endpoint.name for answer in told] == drawn


def test_a_fallback_steps_in_and_its_answer_is_not_bought_again(tmp_path):
    with FakeLLM(models=("spare", "main")) as server:
        spare = endpoint("spare", server.base_url)
        down = endpoint("main", DEAD)
        assert asked(tmp_path, [(down, 1.0)], ["one", "two"], [spare])[0] == ["spare", "spare"]
        up = endpoint("main", server.base_url)
        assert asked(tmp_path, [(up, 1.0)], ["one", "three"], [spare])[0] == ["spare", "main"]
        assert [request.body["model"] for request in server.requests] == ["spare", "spare", "main"]


def test_a_member_that_is_added_gets_its_share_though_the_journal_knows_the_other(tmp_path):
    names = [f"talk {i}" for i in range(40)]
    with FakeLLM(models=("a", "b")) as server:
        a, b = endpoint("a", server.base_url), endpoint("b", server.base_url)
        asked(tmp_path, [(a, 1.0)], names)
        both, _ = asked(tmp_path, [(a, 1.0), (b, 1.0)], names)
        bought = [request.body["model"] for request in server.requests[len(names) :]]
    assert 8 <= Counter(both)["b"] <= 32
    assert bought == ["b"] * Counter(both)["b"]


def test_the_log_says_once_which_endpoint_is_given_up_and_who_steps_in(tmp_path, caplog):
    with FakeLLM(models=("spare",)) as server:
        spare = endpoint("spare", server.base_url)
        asked(tmp_path, [(endpoint("main", DEAD), 1.0)], ["one", "two"], [spare])
    said = [r.getMessage() for r in caplog.records if r.name == "endpoints.pool"]
    assert said == ["endpoint 'main' is given up for this role: asking 'spare' instead"]


def test_the_last_endpoints_error_is_raised_where_all_are_down(tmp_path):
    with pytest.raises(EndpointDown, match="'spare'"):
        asked(tmp_path, [(endpoint("main", DEAD), 1.0)], ["one"], [endpoint("spare", DEAD)])


def test_a_pool_without_endpoints_is_refused():
    with pytest.raises(ConfigurationError, match="at least one endpoint"):
        Pool([])
