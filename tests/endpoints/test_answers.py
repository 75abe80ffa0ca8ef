import pytest

from endpoints.answers import read_answer
from tests.endpoints.fake_endpoint import question


def response(usage):
    return {"choices": [{"message": {"content": "Rest."}, "finish_reason": "stop"}], "usage": usage}


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        "12 tokens",
        {"prompt_tokens": None, "completion_tokens": None},
        {"prompt_tokens": -1, "completion_tokens": float("inf")},
        {"prompt_tokens": float("nan"), "completion_tokens": 1 << 60},
    ],
)
def test_an_answer_is_kept_and_counted_at_its_most_where_its_usage_makes_no_sense(usage):
    asked = question()
    answer = read_answer(response(usage), asked)
    assert answer.text == "Rest."
    assert answer.prompt_tokens == asked.most_prompt_tokens
    assert answer.completion_tokens == asked.sampling.max_tokens


def test_an_answers_usage_is_taken_as_it_is_told():
    answer = read_answer(response({"prompt_tokens": 7, "completion_tokens": 2}), question())
    assert (answer.prompt_tokens, answer.completion_tokens) == (7, 2)
