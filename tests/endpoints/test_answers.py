import pytest

from endpoints.answers import AttemptFailed, read_answer, read_error_body, split_thought
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


def said(message, finish_reason="stop", **usage):
    return {"choices": [{"message": message, "finish_reason": finish_reason}], "usage": usage}


@pytest.mark.parametrize(
    ("text", "thought", "answer"),
    [
        ("<think>\nhm\n</think>\n\nRest.", "hm", "Rest."),
        ("\n<thinking>hm</thinking>Rest.", "hm", "Rest."),
        ("hm, so\n</think>\n\nRest.", "hm, so", "Rest."),
        ("<think>\nhm, and then", "hm, and then", ""),
        ("I think you need rest.", "", "I think you need rest."),
        ("Rest. <think>no</thi", "", "Rest. <think>no</thi"),
        ("<think></think>Rest.", "", "Rest."),
    ],
)
def test_a_thought_is_split_from_the_answer(text, thought, answer):
    assert split_thought(text) == (thought, answer)


@pytest.mark.parametrize("finish_reason", ["length", "stop"])
def test_a_thought_that_was_cut_at_the_limit_is_a_truncated_answer(finish_reason):
    asked = question()
    used = asked.sampling.max_tokens
    answer = read_answer(
        said({"content": "<think>hm, and"}, finish_reason, completion_tokens=used), asked
    )
    assert (answer.text, answer.reasoning, answer.fault) == ("", "hm, and", "truncated")


def test_a_thought_that_ends_of_itself_without_an_answer_is_an_empty_answer():
    answer = read_answer(said({"content": "<think>hm</think>"}, completion_tokens=5), question())
    assert (answer.reasoning, answer.fault) == ("hm", "empty")


@pytest.mark.parametrize(
    "message",
    [
        {"content": "Rest.", "reasoning_content": "hm"},
        {"content": "Rest.", "reasoning": "hm"},
        {"content": "<think>hm</think>Rest.", "reasoning_content": None},
        {"content": "hm</think>Rest.", "reasoning": {"summary": "no text"}},
        {"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Rest."}]},
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                {"type": "text", "text": "Rest."},
            ]
        },
    ],
)
def test_a_thought_is_found_wherever_the_endpoint_puts_it(message):
    answer = read_answer(said(message), question())
    assert (answer.text, answer.reasoning, answer.fault) == ("Rest.", "hm", None)


@pytest.mark.parametrize("content", [7, ["Rest."], [{"type": "text"}], {"text": "Rest."}])
def test_a_content_of_another_kind_is_malformed(content):
    with pytest.raises(AttemptFailed, match="malformed"):
        read_answer(said({"content": content}), question())


@pytest.mark.parametrize(
    ("error", "fault", "overloaded"),
    [
        ({"code": 429, "message": "slow down"}, "rate_limit", True),
        ({"code": "429"}, "rate_limit", True),
        ({"code": 402}, "quota", False),
        ({"code": 401}, "authentication", False),
        ({"code": 400, "type": "invalid_request_error"}, "bad_request", False),
        ({"code": 502, "message": "Provider returned error"}, "server", False),
        ({"code": 503}, "server", True),
        ({"type": "overloaded_error", "message": "Overloaded"}, "server", True),
        ({"code": "context_length_exceeded"}, "bad_request", False),
        ({"code": "insufficient_quota"}, "quota", False),
        ({"code": 8, "status": "RESOURCE_EXHAUSTED"}, "rate_limit", True),
        ({"message": "who knows"}, "server", False),
        ("who knows", "server", False),
    ],
)
def test_an_error_under_status_200_is_judged_as_what_it_names(error, fault, overloaded):
    told = read_error_body({"error": error})
    assert (told.fault, told.overloaded) == (fault, overloaded)


def test_an_error_within_the_choice_counts_and_an_absent_one_does_not():
    broken = {"choices": [{"error": {"code": 502}, "message": {"content": "half"}}]}
    assert read_error_body(broken).fault == "server"
    assert read_error_body(said({"content": "fine"}) | {"error": None}) is None
    assert read_error_body([]) is None
