import asyncio
import itertools
import json

import pytest

from datagen.access import open_cast
from datagen.clinical_errors import error_for, read_clinical_errors
from datagen.conversation_checks import TalkCheckSettings, with_faults
from datagen.error_rules import doctor_turn
from datagen.meter import Meter
from datagen.pair_making import make_pair
from datagen.pairing import find_places
from datagen.preferences import PreferenceSettings, usable_turns
from datagen.scripted import scripted_consultation
from datagen.speaking import Speaker
from judging.doctor_turn import judge_doctor_turn
from tests.datagen.conftest import LIBRARY, case_of
from tests.fake_llm import FakeLLM
from validation.schemas import Conversation, Fault, PreferencePair, Quarantined

CASES = {case.case_id: case for case in LIBRARY}
BAD = {"en": "I am in pain, my chest", "zh": "我的肚子疼得厉害"}


def judge(place, text):
    return judge_doctor_turn(doctor_turn(place, text))


def pairs_of(access, reply, settings, talks, style="chat", faults=()):
    async def run(server):
        asked = access(server.base_url, style)
        async with open_cast(asked, ("doctor", "teacher"), Meter()) as cast:
            places = find_places(talks, CASES, settings, style)
            speaker = Speaker(cast, style)
            made = [await make_pair(place, settings, "rules", speaker) for place in places]
            return [one.outcome for one in made]

    with FakeLLM(reply, faults=faults) as server:
        return asyncio.run(run(server)), server.requests


@pytest.mark.parametrize("style", ["chat", "transcript"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_best_draw_stands_against_the_worst(access, language, style):
    talk = scripted_consultation(case_of(language))
    settings = PreferenceSettings(methods=("sampled",), samples=2, turns_per_conversation=3)
    pairs, requests = pairs_of(access, lambda body: BAD[language], settings, [talk], style)
    assert len(pairs) == 3
    assert len(requests) == 6
    for pair in pairs:
        assert isinstance(pair, PreferencePair)
        assert pair.rejected[0].content == BAD[language]
        assert pair.chosen[0] in talk.messages
        assert pair.prompt == talk.messages[: len(pair.prompt)]
        assert pair.prompt[-1].role == "user"
        assert pair.margin >= settings.min_margin


def test_draws_that_score_alike_are_a_tie_that_is_kept(access):
    case = case_of("en")
    talk = scripted_consultation(case)
    # A margin of 1 makes every place a tie.
    settings = PreferenceSettings(methods=("sampled",), samples=1, min_margin=1.0)
    pairs, _ = pairs_of(access, lambda body: BAD["en"], settings, [talk])
    assert {pair.fault for pair in pairs} == {"tie"}
    assert BAD["en"] in json.loads(pairs[0].raw)["candidates"]


def test_draws_that_are_all_one_text_make_no_pair(access):
    case = case_of("en")
    talk = scripted_consultation(case)
    settings = PreferenceSettings(methods=("sampled",), samples=2, turns_per_conversation=1)
    said = talk.messages[usable_turns(talk, settings)[0]].content
    (pair,), _ = pairs_of(access, lambda body: said, settings, [talk])
    assert pair.fault == "too_few_candidates"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_typed_error_names_the_error_and_asks_for_it_in_the_talks_language(access, language):
    talk = scripted_consultation(case_of(language))
    flawed = {"en": "That is surely nothing at all.", "zh": "这肯定没什么事，放心。"}[language]
    settings = PreferenceSettings(methods=("typed_error",), turns_per_conversation=9)
    pairs, requests = pairs_of(access, lambda body: flawed, settings, [talk])
    names = {error.name for error in read_clinical_errors()}
    made = [pair for pair in pairs if isinstance(pair, PreferencePair)]
    assert made
    assert {pair.fault_type for pair in made} <= names
    assert {pair.rejected[0].content for pair in made} == {flawed}
    assert {row.fault for row in pairs if row not in made} <= {"error_not_carried"}
    described = [error.writes[language] for error in read_clinical_errors()]
    for request in requests:
        text = request.body["messages"][-1]["content"]
        assert sum(line in text for line in described) == 1


def test_a_rewrite_that_changes_nothing_or_the_language_or_refuses_is_no_pair(access):
    talk = scripted_consultation(case_of("en"))
    settings = PreferenceSettings(methods=("typed_error",), turns_per_conversation=1)
    said = talk.messages[usable_turns(talk, settings)[0]].content
    (same,), _ = pairs_of(access, lambda body: said, settings, [talk])
    assert same.fault == "not_rewritten"
    other = settings.model_copy(update={"seed": 1, "turns_per_conversation": 1})
    refusal = "I'm sorry, but I can't help with that."
    third = settings.model_copy(update={"seed": 2})
    (refused,), _ = pairs_of(access, lambda body: refusal, third, [talk])
    assert refused.fault == "role_swap"
    (foreign,), _ = pairs_of(access, lambda body: "这没什么要紧的。", other, [talk])
    assert foreign.fault == "wrong_language"


def test_only_turns_with_a_clean_talk_before_them_serve():
    talk = scripted_consultation(case_of("en"))
    settings = PreferenceSettings(turns_per_conversation=99)
    every = usable_turns(talk, settings)
    assert every == tuple(range(1, len(talk.messages), 2))
    fault = Fault(name="loop", message_index=5).model_dump()
    broken = type(talk).model_validate(talk.model_dump(exclude={"record_id"}) | {"faults": [fault]})
    assert usable_turns(broken, settings) == (1, 3, 5)
    assert len(usable_turns(talk, PreferenceSettings(turns_per_conversation=2))) == 2


def test_an_endpoint_that_refuses_leaves_a_quarantined_row(access):
    talk = scripted_consultation(case_of("en"))
    settings = PreferenceSettings(methods=("sampled",), samples=1, turns_per_conversation=1)
    (row,), _ = pairs_of(access, lambda body: "", settings, [talk], faults=["refused"] * 9)
    assert isinstance(row, Quarantined)
    assert row.fault == "endpoint_refused"


def test_every_error_is_described_in_both_languages_and_fits_its_place():
    errors = read_clinical_errors()
    assert len(errors) >= 6
    assert all(set(error.describes) == {"en", "zh"} for error in errors)
    talk = scripted_consultation(case_of("zh"))
    for place in find_places([talk], CASES, PreferenceSettings(turns_per_conversation=99), "chat"):
        assert error_for(place, 0).stage in ("any", "closing" if place.closing else "asking")


@pytest.mark.parametrize("case", LIBRARY, ids=lambda c: c.case_id)
def test_the_rubric_scores_every_scripted_turn_high(case):
    talk = with_faults(scripted_consultation(case), case, TalkCheckSettings())
    settings = PreferenceSettings(turns_per_conversation=99)
    for place in find_places([talk], CASES, settings, "transcript"):
        judged = judge(place, place.said)
        assert judged.total >= 0.7, [s for s in judged.scores if s.value < 1]


HARMFUL = {
    "en": "Rest at home and drink plenty of water, please.",
    "zh": "您回家多休息、多喝水就好。",
}


def emergency_with(language, last):
    case = next(
        c for c in LIBRARY if c.language == language and c.disposition.urgency == "emergency"
    )
    talk = scripted_consultation(case).model_dump(exclude={"record_id"})
    talk["messages"] = [*talk["messages"][:-1], {"role": "assistant", "content": last}]
    checked = with_faults(Conversation.model_validate(talk), case, TalkCheckSettings())
    assert "red_flag_not_acted_on" in {fault.name for fault in checked.faults}
    return checked


@pytest.mark.parametrize("method", ["sampled", "typed_error"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_advice_that_leaves_an_emergency_at_home_is_never_chosen(access, language, method):
    talk = emergency_with(language, HARMFUL[language])
    settings = PreferenceSettings(methods=(method,), samples=2, turns_per_conversation=99)
    pairs, _ = pairs_of(access, lambda body: BAD[language], settings, [talk])
    assert isinstance(pairs[-1], Quarantined)
    assert pairs[-1].fault == "no_good_answer"
    assert "acts" in pairs[-1].detail


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_best_that_may_be_chosen_is_chosen_although_another_scores_more(access, language):
    case = case_of(language)
    topic = case.facts[-1].topic_words[0]
    mute = {"en": f"Please tell me about {topic}.", "zh": f"请您说说{topic}的事。"}[language]
    plain = {"en": "How do you feel about it?", "zh": "您对这件事怎么看呢？"}[language]
    talk = scripted_consultation(case).model_dump(exclude={"record_id"})
    talk["messages"] = [talk["messages"][0], {"role": "assistant", "content": mute}]
    talk["messages"] += [{"role": "user", "content": "…"}, {"role": "assistant", "content": mute}]
    settings = PreferenceSettings(methods=("sampled",), samples=2, turns_per_conversation=2)
    replies = itertools.cycle([plain, BAD[language]])
    (pair, _), _ = pairs_of(
        access, lambda body: next(replies), settings, [Conversation.model_validate(talk)]
    )
    assert (pair.chosen[0].content, pair.rejected[0].content) == (plain, BAD[language])


@pytest.mark.parametrize(("ties", "kept"), [("drop", False), ("keep", True)])
def test_a_margin_that_is_too_small_is_a_tie_and_kept_if_wished(access, ties, kept):
    talk = scripted_consultation(case_of("en"))
    settings = PreferenceSettings(
        methods=("sampled",), samples=1, min_margin=1.0, turns_per_conversation=1, ties=ties
    )
    (pair,), _ = pairs_of(access, lambda body: BAD["en"], settings, [talk])
    assert isinstance(pair, PreferencePair) is kept
    assert kept or pair.fault == "tie"


def test_a_turn_that_a_check_found_faulty_is_not_the_good_one_of_a_typed_error(access):
    talk = scripted_consultation(case_of("en"))
    fault = Fault(name="loop", message_index=1).model_dump()
    broken = type(talk).model_validate(talk.model_dump(exclude={"record_id"}) | {"faults": [fault]})
    settings = PreferenceSettings(methods=("typed_error",))
    (row,), requests = pairs_of(access, lambda body: BAD["en"], settings, [broken])
    assert (row.fault, requests) == ("no_good_answer", [])
    assert "loop" in row.detail


def test_a_red_flag_is_missed_only_where_one_was_told():
    settings = PreferenceSettings(turns_per_conversation=99, methods=("typed_error",))
    talks = [scripted_consultation(case) for case in LIBRARY]
    missed = set()
    for place in find_places(talks, CASES, settings, "chat"):
        told = {m.content for m in place.history}
        flags = {fact.answer for fact in place.case.facts if fact.red_flag}
        drawn = {error.name for error in read_clinical_errors() if error.occurs(place)}
        missed.add(("missed_red_flag" in drawn, bool(flags & told)))
    assert (True, True) in missed
    assert (True, False) not in missed


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_rewrite_without_a_question_may_not_ask_one(access, language):
    talk = scripted_consultation(case_of(language))
    flawed = {"en": "That is surely fine, is it not?", "zh": "这肯定没什么事，对吧？"}[language]
    settings = PreferenceSettings(methods=("typed_error",), turns_per_conversation=9)
    silent = {"premature_closure", "no_follow_up_question"}
    for seed in range(4):
        seeded = settings.model_copy(update={"seed": seed})
        pairs, _ = pairs_of(access, lambda body: flawed, seeded, [talk])
        made = {pair.fault_type for pair in pairs if isinstance(pair, PreferencePair)}
        assert made
        assert not made & silent


@pytest.mark.parametrize("language", ["en", "zh"])
def test_to_ask_again_for_what_the_patient_hides_is_no_repetition_of_topic(language):
    case = case_of(language)
    hidden = next(f for f in case.facts if f.disclosure == "concealed")
    dodge = {"en": "I would rather not say.", "zh": "这个我不想说。"}[language]
    talk = scripted_consultation(case).model_dump(exclude={"record_id"})
    roles = ("user", "assistant", "user", "assistant", "user", "assistant")
    words = (case.opening, hidden.question, dodge, hidden.question, dodge, hidden.question)
    talk["messages"] = [{"role": r, "content": w} for r, w in zip(roles, words, strict=True)]
    record = Conversation.model_validate(talk)
    places = find_places(
        [record], CASES, PreferenceSettings(turns_per_conversation=9), "transcript"
    )
    scores = [
        score.value
        for place in places
        for score in judge(place, place.said).scores
        if score.criterion.name == "new_topic"
    ]
    assert scores == [1.0, 1.0]
