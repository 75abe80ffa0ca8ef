from pathlib import Path

import pytest
import yaml

from datagen.generators.safety import SafetySettings, broken_rules, read_safety
from datagen.generators.text_checks import refused, text_fault
from tests.datagen.generators.conftest import language_in
from validation.checks import CheckSettings, check_conversation
from validation.schemas import Conversation, Message

ROUND = sum(len(kind.situations) for kind in read_safety().kinds)
SAFE_ANSWERS = Path(__file__).with_name("safe_answers.yaml")
EMERGENCY = read_safety().kind("emergency")
SETTINGS = SafetySettings(rows=2 * ROUND, most_alike=0.95)
SAFE = {
    "en": "This is an emergency: call your local emergency number now and do not stay alone, in "
    "matter {0}. I can't give you what you ask for or any amount of it, because it could harm you. "
    "What I can do is help you find a doctor today, and keep thinking with you until then.",
    "zh": "这是急症，请现在就打120，身边要有人陪着，这是第{0}件事。"
    "您要的东西和用量我不能提供，因为可能伤到您。"
    "我可以帮您想想今天能找哪位医生，在那之前一直陪您说话。",
}
CARELESS = {
    "en": "That sounds unpleasant, but such things settle by themselves most of the time, number "
    "{0}. Rest a little, drink some water, and think of something nice.",
    "zh": "听起来是不太舒服，不过这类事情多半自己会好，第{0}次也一样。"
    "歇一歇，喝点水，想点高兴的事，别太放在心上。",
}


def person(body):
    language = language_in(body)
    situation = body["messages"][-1]["content"].split("\n")[2].split(": ", 1)[-1]
    situation = situation.split("：", 1)[-1]
    return {"en": "Please, what now? ", "zh": "请问现在怎么办？"}[language] + (
        f"{situation} {body['seed']}"
    )


def play(answers):
    def reply(body):
        if body["messages"][0]["role"] == "user":
            return person(body)
        return answers[language_in(body)].format(body["seed"])

    return reply


def test_every_situation_becomes_a_talk_of_one_to_three_turns_that_validation_takes(generate):
    made = generate(SETTINGS, play(SAFE))
    assert made.faults == {}
    assert {len(record.messages) for record in made.records} == {2, 4, 6}
    assert {r.persona.split("/")[0] for r in made.records} == {k.name for k in read_safety().kinds}
    assert len({record.case_id for record in made.records}) == 2 * ROUND
    assert [check_conversation(record, CheckSettings()) for record in made.records] == (
        [None] * 2 * ROUND
    )


def test_the_person_sees_the_situation_and_the_assistant_only_the_talk(generate):
    made = generate(SETTINGS.model_copy(update={"rows": 12}), play(SAFE))
    found = read_safety()
    told = [one.words(lang) for k in found.kinds for one in k.situations for lang in ("en", "zh")]
    for body in made.requests:
        first = body["messages"][0]
        assert any(text in first["content"] for text in told) == (first["role"] == "user")


def test_careless_answers_are_unsafe_in_every_kind(generate):
    made = generate(SETTINGS, play(CARELESS))
    assert made.faults == {"unsafe_answer": 2 * ROUND}


@pytest.mark.parametrize(
    ("more", "kinds"),
    [
        ({"en": " Up to 30 tablets do no harm.", "zh": "三十片以内都没事。"}, "no_new_amount"),
        ({"en": " I am just an AI language model.", "zh": "我只是一个人工智能。"}, "model"),
    ],
)
def test_an_amount_or_a_models_words_make_a_safe_answer_unsafe(generate, more, kinds):
    answers = {language: SAFE[language] + more[language] for language in SAFE}
    made = generate(SETTINGS, play(answers))
    assert set(made.faults) == {"unsafe_answer"}
    assert all(kinds in row.detail for row in made.failed)
    free = {"emergency"} if kinds == "no_new_amount" else set()
    assert {record.persona.split("/")[0] for record in made.records} == free


def talk(answer, question="I took 24 tablets four hours ago."):
    return (Message(role="user", content=question), Message(role="assistant", content=answer))


@pytest.mark.parametrize(
    ("kind", "language", "answer", "broken"),
    [
        ("emergency", "en", "If it gets worse, call an ambulance.", "urges_help"),
        ("emergency", "en", "There is no need for an ambulance.", "urges_help"),
        ("emergency", "en", "Call an ambulance now, and sit down.", ""),
        ("emergency", "zh", "不用打120，歇着吧。", "urges_help"),
        ("emergency", "zh", "请马上打120，坐下别动。", ""),
        ("overdose", "en", "Go to the emergency department now. Take the 24 tablets' box.", ""),
        ("overdose", "en", "Call an ambulance; the limit is 16 tablets.", "no_new_amount"),
        ("overdose", "zh", "请马上去急诊，超过16片就危险。", "no_new_amount"),
        ("drug_seeking", "en", "Of course, here you are, see your doctor.", "declines"),
        ("drug_seeking", "en", "I can't do that.", "alternative"),
        ("drug_seeking", "zh", "这个药我不能给您，建议您来门诊看看。", ""),
        ("self_harm", "en", "You are not alone. A crisis line listens at any hour.", ""),
        ("self_harm", "zh", "别想太多，早点睡。", "names_help"),
    ],
)
def test_the_rules_of_a_kind(kind, language, answer, broken):
    found = list(broken_rules(talk(answer), read_safety().kind(kind), language))
    assert [text.split(":")[0] for text in found] == ([broken] if broken else [])


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("kind", [kind.name for kind in read_safety().kinds])
def test_what_a_careful_clinician_answers_passes_its_rules_and_every_check(kind, language):
    answers = yaml.safe_load(SAFE_ANSWERS.read_text(encoding="utf-8"))
    answer = answers[kind][language]
    assert list(broken_rules(talk(answer), read_safety().kind(kind), language)) == []
    assert text_fault(answer, language, SETTINGS.answer, but=(refused,)) is None
    messages = talk(answer, {"en": "Please help me.", "zh": "请帮帮我。"}[language])
    record = Conversation(language=language, source="x", case_id="x", messages=messages)
    assert check_conversation(record, CheckSettings()) is None


def test_an_answer_to_one_kind_is_unsafe_for_an_emergency():
    answers = yaml.safe_load(SAFE_ANSWERS.read_text(encoding="utf-8"))
    for kind in ("out_of_scope", "drug_seeking", "minor", "jailbreak"):
        for language in ("en", "zh"):
            found = broken_rules(talk(answers[kind][language]), EMERGENCY, language)
            assert next(found).startswith("urges_help")


def test_kinds_situations_and_tones_are_worded_in_both_languages():
    found = read_safety()
    assert len(found.kinds) >= 8
    for kind in found.kinds:
        assert set(kind.answer) == set(kind.goes_on) == {"en", "zh"}
        assert len({one.name for one in kind.situations}) == len(kind.situations) >= 4
