import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from endpoints.request import ChatMessage, ChatRequest, Sampling
from tests.endpoints.fake_endpoint import question
from validation.schemas import Message, ToolCall

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda t: t.strip())
requests = st.builds(
    ChatRequest,
    model=texts,
    revision=st.text(st.characters(exclude_categories=["Cs"])),
    messages=st.lists(
        st.builds(
            ChatMessage, role=st.sampled_from(["system", "user", "assistant"]), content=texts
        ),
        min_size=1,
        max_size=4,
    ).map(tuple),
    sampling=st.builds(
        Sampling,
        temperature=st.floats(0, 2),
        max_tokens=st.integers(1, 9999),
        seed=st.none() | st.integers(0, 2**31),
    ),
    sample_index=st.integers(0, 50),
)


@given(requests)
def test_a_request_read_back_from_its_canonical_json_has_the_same_digest(request):
    again = ChatRequest.model_validate_json(request.canonical)
    assert again == request
    assert again.digest == request.digest
    assert len(request.digest) == 64


@given(requests, requests)
def test_two_requests_share_a_digest_only_when_they_are_equal(first, second):
    assert (first.digest == second.digest) == (first == second)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "other"},
        {"revision": "v2"},
        {"sample_index": 1},
        {"sampling": Sampling(seed=1)},
        {"sampling": Sampling(temperature=0.1)},
        {"sampling": Sampling(max_tokens=7)},
        {"sampling": Sampling(top_p=0.9)},
        {"sampling": Sampling(presence_penalty=0.5)},
        {"sampling": Sampling(frequency_penalty=0.5)},
        {"messages": (Message(role="assistant", content="What brings you here?"),)},
        {"messages": None, "prompt": "What brings you here?"},
        {"sampling": Sampling(stop=("\n",))},
        {"json_schema": {"type": "object"}},
    ],
)
def test_everything_that_can_change_the_answer_changes_the_digest(change):
    assert question(**change).digest != question().digest


def test_the_messages_of_records_are_taken_as_they_are():
    talk = (Message(role="system", content="你好"), Message(role="user", content="b"))
    request = ChatRequest(model="fake", messages=talk)
    assert [(m.role, m.content) for m in request.messages] == [("system", "你好"), ("user", "b")]
    assert "tool" not in request.canonical
    assert "你好" in request.canonical


def test_a_field_that_is_none_is_not_part_of_the_digest():
    assert "null" not in question().canonical


@given(requests)
def test_the_bound_of_prompt_tokens_is_at_least_one_a_byte(request):
    assert request.most_prompt_tokens >= sum(len(m.content.encode()) for m in request.messages)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"messages": ()},
        {"messages": (Message(role="user", content="a"),), "prompt": "b"},
        {"messages": (Message(role="tool", content="a"),)},
        {
            "messages": (
                Message(role="assistant", content="a", tool_calls=(ToolCall(name="book"),)),
            )
        },
        {"prompt": "a", "json_schema": {}},
    ],
)
def test_a_request_that_cannot_be_sent_as_it_is_meant_is_refused(fields):
    with pytest.raises(ValidationError):
        ChatRequest(model="fake", **fields)
