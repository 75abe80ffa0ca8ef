import asyncio
import json

import pytest

from datagen.access import open_cast
from datagen.conversation_checks import TalkCheckSettings, check_talk
from datagen.meter import Meter
from datagen.personas import read_personas
from datagen.scripted import scripted_messages, worked_example
from datagen.simulation import Ask, TalkSettings
from datagen.speaking import Speaker, up_to_last_sentence
from datagen.talks import make_talk
from endpoints.errors import EndpointDown
from tests.datagen.conftest import LIBRARY, ScriptPlayer, case_of
from tests.fake_llm import FakeLLM
from validation.schemas import Conversation, Quarantined

CHECKS = TalkCheckSettings()


def ask_for(case, index=0):
    example = worked_example(case, LIBRARY, 3)
    return Ask(case=case, persona=read_personas()[0], sample_index=index, example=example)


def simulated(access, settings, ask, style, base_url, checks=CHECKS):
    async def run():
        asked = access(base_url, style, max_attempts=2, timeout_seconds=5)
        async with open_cast(asked, ("doctor", "patient"), Meter()) as cast:
            return await make_talk(ask, settings, checks, Speaker(cast, style))

    return asyncio.run(run())


@pytest.mark.parametrize("style", ["chat", "transcript"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_two_agents_that_play_the_script_make_the_scripted_talk(access, language, style):
    case = case_of(language)
    settings = TalkSettings(doctor_turns=len(case.facts) + 1)
    with FakeLLM(ScriptPlayer()) as server:
        talk = simulated(access, settings, ask_for(case), style, server.base_url)
    assert isinstance(talk, Conversation)
    assert talk.messages == scripted_messages(case)
    assert check_talk(talk, case) == ()


@pytest.mark.parametrize("style", ["chat", "transcript"])
def test_the_talk_ends_with_advice_when_its_turns_are_used_up(access, style):
    case = case_of("en")
    with FakeLLM(ScriptPlayer()) as server:
        ask = ask_for(case)
        talk = simulated(access, TalkSettings(doctor_turns=3), ask, style, server.base_url)
    assert len(talk.messages) == 6
    assert talk.messages[-1].content == case.disposition.advice


def test_a_chat_doctor_who_asks_nothing_more_has_ended_the_talk(access):
    case = case_of("en")
    settings = TalkSettings(doctor_turns=9, min_doctor_turns=2)
    with FakeLLM(lambda body: f"Noted as number {len(body['messages'])}.") as server:
        talk = simulated(access, settings, ask_for(case), "chat", server.base_url)
    assert [m.role for m in talk.messages] == ["user", "assistant", "user", "assistant"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_chat_doctor_who_asks_nothing_more_is_asked_for_the_advice(access, language):
    case = case_of(language)
    tell = {"en": "Please tell me more of it.", "zh": "请您再说说。"}[language]
    player = ScriptPlayer()

    def reply(body):
        answer = player(body)
        doctor = body["messages"][1]["content"] == case.opening
        return tell if doctor and answer != case.disposition.advice else answer

    settings = TalkSettings(doctor_turns=9, min_doctor_turns=2)
    with FakeLLM(reply) as server:
        talk = simulated(access, settings, ask_for(case), "chat", server.base_url)
    said = [m.content for m in talk.messages if m.role == "assistant"]
    assert said == [tell, case.disposition.advice]


def test_the_doctors_requests_hold_the_talk_alone_and_the_patients_are_swapped(access):
    case = case_of("en")
    with FakeLLM(ScriptPlayer()) as server:
        ask = ask_for(case)
        simulated(
            access,
            TalkSettings(doctor_turns=3, repairs=0, critic=False),
            ask,
            "chat",
            server.base_url,
        )
        bodies = [r.body["messages"] for r in server.requests]
    doctors = [b for b in bodies if case.history not in json.dumps(b, ensure_ascii=False)]
    patients = [b for b in bodies if b not in doctors]
    assert len(doctors) == 3
    assert all(case.complaint not in json.dumps(b, ensure_ascii=False) for b in doctors)
    assert doctors[-1][-1]["role"] == "user"
    assert patients[-1][-1]["role"] == "user"
    assert patients[-1][2] == {"role": "assistant", "content": case.opening}


def test_another_sample_of_a_case_is_drawn_with_other_seeds(access):
    case = case_of("en")
    with FakeLLM(ScriptPlayer()) as server:
        for index in (0, 1):
            ask = ask_for(case, index)
            simulated(access, TalkSettings(doctor_turns=2), ask, "transcript", server.base_url)
        seeds = [r.body["seed"] for r in server.requests]
    assert len(set(seeds)) == len(seeds) == 6
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_an_answer_that_finally_fails_quarantines_the_talk_with_what_was_said(access):
    case = case_of("en")
    faults = [None, "content_filter"]
    with FakeLLM(ScriptPlayer(), faults=faults) as server:
        row = simulated(access, TalkSettings(), ask_for(case), "transcript", server.base_url)
    assert isinstance(row, Quarantined)
    assert row.fault == "endpoint_content_filter"
    assert json.loads(row.raw)["messages"][0]["content"] == case.opening
    assert len(json.loads(row.raw)["messages"]) == 2


def test_a_line_cut_at_its_limit_is_kept_up_to_its_last_sentence(access):
    case = case_of("en")
    cut = ["truncated"] * 9
    with FakeLLM(lambda body: "Is it bad? And then it goes on.", faults=cut) as server:
        settings = TalkSettings(doctor_turns=1)
        talk = simulated(access, settings, ask_for(case), "transcript", server.base_url)
    assert talk.messages[-1].content == "Is it bad?"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("It is 38.5 degrees. And then", "It is 38.5 degrees."),
        ("三十八度五。然后", "三十八度五。"),
        ("no end at all", "no end at all"),
        ('He said "stop!" and', 'He said "stop!'),
    ],
)
def test_an_unfinished_sentence_is_cut_off(text, kept):
    assert up_to_last_sentence(text) == kept


def test_an_endpoint_that_is_down_ends_the_run(access):
    with pytest.raises(EndpointDown):
        simulated(access, TalkSettings(), ask_for(case_of("en")), "chat", "http://127.0.0.1:9/v1")
