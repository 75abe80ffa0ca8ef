import asyncio

import pytest

from endpoints.budget import Budget
from endpoints.client import Client
from endpoints.errors import ModelUnknown
from endpoints.models import find_listed
from tests.endpoints.fake_endpoint import endpoint, question
from tests.fake_llm import FakeLLM


@pytest.mark.parametrize(
    ("model", "listed"),
    [
        ("gpt-5", "gpt-5-2026-08-01"),
        ("qwen3", "qwen3:latest"),
        ("qwen3:latest", "qwen3"),
        ("gemini-3-pro", "models/gemini-3-pro"),
        ("Qwen/Qwen3-8B", "qwen/qwen3-8b"),
        ("claude-opus-5", "claude-opus-5@20260801"),
    ],
)
def test_an_alias_is_known_by_the_name_that_it_stands_for(model, listed):
    assert find_listed(model, ("another", listed)) == listed


@pytest.mark.parametrize(
    ("model", "listed"), [("gpt-5", "gpt-50"), ("qwen3-8b", "qwen3-14b"), ("fake", "real")]
)
def test_another_model_is_no_alias(model, listed):
    assert find_listed(model, (listed,)) is None


def test_its_own_name_comes_before_those_like_it():
    assert find_listed("gpt-5", ("gpt-5-mini", "gpt-5")) == "gpt-5"


def check(settings, journal):
    async def run():
        with Budget(journal) as budget:
            async with Client(settings, journal, budget, {}) as client:
                checked = await client.check()
                await client.complete(question())
                return checked

    return asyncio.run(run())


def test_a_model_that_is_listed_under_a_version_is_warned_of_and_not_refused(journal):
    with FakeLLM(models=("fake-2026-11-01",), aliases=("fake",)) as server:
        checked = check(endpoint(server.base_url), journal)
    assert "'fake-2026-11-01'" in checked.warning


def test_the_first_request_decides_whether_an_alias_is_served(journal):
    with FakeLLM(models=("fake-2026-11-01",)) as server:
        with pytest.raises(ModelUnknown, match="fake-2026-11-01"):
            check(endpoint(server.base_url), journal)
        assert [seen.path for seen in server.requests] == ["/v1/chat/completions"]


def test_a_listed_model_is_not_warned_of(journal):
    with FakeLLM() as server:
        assert check(endpoint(server.base_url), journal).warning == ""
