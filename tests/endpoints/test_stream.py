import asyncio
import json
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpoints.answers import AttemptFailed
from endpoints.budget import Budget
from endpoints.client import Client
from endpoints.errors import FaultyCompletion
from endpoints.journal import Journal
from endpoints.request import ChatRequest, Sampling
from endpoints.stream import StreamedBody
from tests.endpoints.fake_endpoint import SkippingClock, ask, endpoint, question
from tests.fake_llm import FakeLLM

EVENTS = (
    {"choices": [{"delta": {"role": "assistant", "content": ""}}]},
    {"choices": [{"delta": {"reasoning_content": "肝"}}]},
    {"choices": [{"delta": {"reasoning_content": "炎?"}}]},
    {"choices": [{"delta": {"content": "多喝水"}}]},
    {"choices": [{"delta": {"content": "，休息。"}, "finish_reason": None}]},
    {"choices": [{"delta": {}, "finish_reason": "stop"}]},
    {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 5}},
)
SENT = b"".join(
    b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n" for event in EVENTS
)
WHOLE = {
    "choices": [
        {
            "finish_reason": "stop",
            "message": {"content": "多喝水，休息。", "reasoning_content": "肝炎?"},
        }
    ],
    "usage": {"prompt_tokens": 7, "completion_tokens": 5},
}


@given(st.lists(st.integers(0, len(SENT)), max_size=20))
def test_it_does_not_matter_where_the_pieces_of_a_stream_end(cuts):
    streamed = StreamedBody()
    places = [0, *sorted(cuts), len(SENT)]
    for start, end in pairwise(places):
        streamed.feed(SENT[start:end])
    streamed.feed(b"data: [DONE]")
    assert streamed.body(chat=True) == WHOLE


def test_comments_names_of_events_and_windows_line_ends_do_not_matter():
    streamed = StreamedBody()
    streamed.feed(b": keep-alive\r\n\r\nevent: message\r\n" + SENT.replace(b"\n", b"\r\n"))
    assert streamed.body(chat=True) == WHOLE


def test_an_error_within_a_stream_is_told_as_an_error():
    streamed = StreamedBody()
    streamed.feed(SENT[: SENT.index(b"data", 300)] + b'data: {"error": {"code": 502}}\n\n')
    assert streamed.begun
    assert streamed.body(chat=True) == {"error": {"code": 502}}


def test_an_event_that_is_no_json_is_malformed():
    with pytest.raises(AttemptFailed, match="malformed"):
        StreamedBody().feed(b"data: <html>\n")


def test_streaming_or_not_gives_the_same_entry(tmp_path):
    def reply(body):
        return "<think>hm, 肝炎?</think>\n\nRest and drink. 多喝水，休息。"

    entries = []
    asked = (question("你好"), question(sampling=Sampling(max_tokens=3)))
    for stream in (False, True):
        faults = [None, "truncated"]
        with FakeLLM(reply, faults=faults) as server, Journal(tmp_path / f"{stream}") as journal:
            settings = endpoint(server.base_url, stream=stream, max_in_flight=1)
            with pytest.raises(FaultyCompletion, match="truncated"):
                asyncio.run(ask(settings, journal, *asked))
            entries.append([journal.get(one.digest) for one in asked])
            assert [seen.body.get("stream", False) for seen in server.requests] == [stream] * 2
    plain, streamed = (
        [replace(e, latency_seconds=0.0, created_at="") for e in found] for found in entries
    )
    assert plain == streamed
    assert (plain[0].text, plain[0].reasoning) == ("Rest and drink. 多喝水，休息。", "hm, 肝炎?")


def test_a_transcript_can_be_streamed(journal):
    line = ChatRequest(model="fake", prompt="Doctor:", sampling=Sampling(stop=("\n",)))
    with FakeLLM(reply=lambda body: "Where does it hurt?") as server:
        answer = asyncio.run(ask(endpoint(server.base_url, stream=True), journal, line))[0]
    assert answer.text == "Where does it hurt?"
    assert (answer.prompt_tokens, answer.completion_tokens) == (2, 5)


@pytest.mark.parametrize(
    ("kind", "fault"),
    [("cut_stream", "connection"), ("unended_stream", "malformed"), ("error_body", "rate_limit")],
)
def test_a_stream_that_breaks_or_never_ends_is_tried_again(journal, kind, fault):
    async def run(base_url):
        with Budget(journal) as budget:
            settings = endpoint(base_url, stream=True)
            async with Client(settings, journal, budget, {}, SkippingClock()) as client:
                return await client.complete(question()), client.tally

    with FakeLLM(faults=[kind]) as server:
        answer, tally = asyncio.run(run(server.base_url))
    assert tally.faults == {fault: 1}
    assert answer.attempts == 2
    assert answer.text
