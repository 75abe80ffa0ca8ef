import asyncio
import json
from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from endpoints.budget import Budget
from endpoints.embedded import open_client
from endpoints.errors import FaultyCompletion
from endpoints.journal import Journal
from endpoints.pool import Member, Pool
from endpoints.request import ChatMessage, ChatRequest
from endpoints.settings import EndpointSettings
from endpoints.structured import ask_structured, read_value, strict_schema
from tests.fake_llm import FakeLLM


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    word: str = Field(min_length=2)


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")
    grade: int = Field(ge=0, le=5)
    why: Literal["good", "bad"]
    inner: list[Inner] = []


GOOD = json.dumps({"grade": 4, "why": "good", "inner": [{"word": "yes"}]})


def ask(tmp_path, replies, faults=(), times=1, language="en", **fields):
    """Ask for the shape; the outcomes, and the bodies that the server saw."""
    waiting = iter(replies)

    async def run(base_url):
        settings = EndpointSettings(
            name="fake", base_url=base_url, model="fake", free=True, **fields
        )
        outcomes = []
        with Journal(tmp_path / "journal.sqlite") as journal, Budget(journal) as budget:
            async with open_client(settings, journal, budget) as client:
                pool = Pool([Member(client)])
                for number in range(times):
                    messages = (ChatMessage(role="user", content=f"Grade number {number}"),)
                    request = ChatRequest(model="fake", messages=messages)
                    try:
                        outcomes.append(
                            await ask_structured(pool, lambda e, r=request: r, Shape, "x", language)
                        )
                    except FaultyCompletion as faulty:
                        outcomes.append(faulty)
        return outcomes

    with FakeLLM(lambda body: next(waiting), faults=list(faults)) as server:
        return asyncio.run(run(server.base_url)), [seen.body for seen in server.requests]


def test_an_endpoint_with_schemas_is_given_a_strict_one(tmp_path):
    (outcome,), (body,) = ask(tmp_path, [GOOD])
    assert outcome.value.grade == 4
    assert not outcome.repaired
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["required"] == ["grade", "why", "inner"]
    assert schema["additionalProperties"] is False
    assert "schema" not in body["messages"][0]["content"]


def test_an_endpoint_that_refuses_schemas_is_asked_by_words_from_then_on(tmp_path):
    outcomes, bodies = ask(tmp_path, [GOOD] * 2, faults=["bad_request", None, None], times=2)
    assert [outcome.value.why for outcome in outcomes] == ["good", "good"]
    assert ["response_format" in body for body in bodies] == [True, False, False]
    assert '"required":["grade","why","inner"]' in bodies[1]["messages"][0]["content"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_an_answer_that_does_not_fit_is_repaired_once_with_the_fault_shown(tmp_path, language):
    bad = '{"grade": 9, "why": "good", "inner": []}'
    outcomes, bodies = ask(tmp_path, [bad, GOOD], language=language, structured_outputs="prompt")
    assert outcomes[0].repaired
    assert outcomes[0].value.grade == 4
    said = bodies[1]["messages"]
    assert said[1] == {"role": "assistant", "content": bad}
    assert "grade: Input should be less than or equal to 5" in said[2]["content"]
    assert ("改正" in said[2]["content"]) == (language == "zh")


@pytest.mark.parametrize(
    ("text", "fault"), [("I would give it a four.", "no_json"), ('{"grade": 4}', "schema_mismatch")]
)
def test_what_does_not_fit_after_the_repair_either_is_a_named_fault(tmp_path, text, fault):
    (faulty,), bodies = ask(tmp_path, [text, text])
    assert faulty.fault == fault
    assert faulty.completion.text == text
    assert len(bodies) == 2


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"```json\n{GOOD}\n```",
        f"Here {{it}} is:\n{GOOD}\nAs you asked.",
    ],
)
def test_fences_and_words_around_the_object_do_no_harm(text):
    assert read_value(text, Shape).inner[0].word == "yes"


def test_a_strict_schema_holds_no_keyword_that_strict_endpoints_refuse():
    text = json.dumps(strict_schema(Shape))
    for keyword in ("minLength", "minimum", "maximum", "default", "title"):
        assert f'"{keyword}"' not in text
