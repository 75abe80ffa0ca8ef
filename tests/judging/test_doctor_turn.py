import pytest

from judging.doctor_turn import DoctorTurn, Topic, judge_doctor_turn
from validation.schemas import Message

EN = {
    "history": ["I have had belly pain since yesterday."],
    "topics": [("onset", "since when", "since"), ("fever", "fever", "no fever")],
    "diagnosis": "appendicitis",
    "good": "Have you had a fever at all?",
    "closing": "Go to the emergency department now, please, and take nothing by mouth.",
    "action": "emergency",
}
ZH = {
    "history": ["我从昨天起肚子疼。"],
    "topics": [("onset", "什么时候", "昨天起"), ("fever", "发烧", "没发烧")],
    "diagnosis": "阑尾炎",
    "good": "您有没有发烧的情况？",
    "closing": "您现在马上去急诊，先不要吃东西、喝水。",
    "action": "急诊",
}


def judged(language, candidate, closing=False):
    given = EN if language == "en" else ZH
    turn = DoctorTurn(
        language=language,
        history=tuple(Message(role="user", content=c) for c in given["history"]),
        candidate=candidate,
        topics=tuple(
            Topic(name=n, asked_by=(asked,), told_by=(told,)) for n, asked, told in given["topics"]
        ),
        diagnosis_names=(given["diagnosis"],),
        action_words=(given["action"],),
        closing=closing,
    )
    return judge_doctor_turn(turn)


def value(judgement, name):
    return next(s.value for s in judgement.scores if s.criterion.name == name)


WORSE = [
    ("right_language", "您有没有发烧的情况？", "Have you had a fever at all?"),
    ("one_question", "I would like to know more of the fever.", "我想多了解一下发烧的事。"),
    ("new_topic", "Since when has it been like this?", "您从什么时候开始这样的？"),
    ("no_repetition", "I have had belly pain since yesterday?", "我从昨天起肚子疼？"),
    ("stays_doctor", "Patient: no. Have you a fever?", "患者：没有。您发烧吗，现在？"),
    ("stays_doctor", "I see. Fact: he is ill. Fever?", "明白。事实：他病了。您发烧吗？"),
    ("stays_doctor", "My pain is bad; have you a fever?", "我肚子也疼，您发烧吗？"),
    ("no_invented_finding", "Your blood test showed fever, right?", "您的化验单提示发烧，对吗？"),
    ("no_early_diagnosis", "It is appendicitis; any fever?", "这是阑尾炎，您发烧吗？"),
    ("good_length", "Fever?", "发烧？"),
    ("whole_sentence", "Have you had a fever at all? And how", "您有没有发烧？还有您"),
]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_good_question_has_full_marks(language):
    judgement = judged(language, (EN if language == "en" else ZH)["good"])
    assert judgement.total == 1.0


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(("name", "en", "zh"), WORSE)
def test_a_worse_turn_loses_in_the_criterion_that_it_breaks(language, name, en, zh):
    judgement = judged(language, en if language == "en" else zh)
    assert value(judgement, name) < 1.0
    assert judgement.total < 1.0


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_last_turn_is_judged_by_its_action_and_not_by_questions(language):
    given = EN if language == "en" else ZH
    good = judged(language, given["closing"], closing=True)
    assert good.total == 1.0
    assert "one_question" not in {s.criterion.name for s in good.scores}
    assert value(judged(language, given["good"], closing=True), "acts") == 0.0


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    ("name", "en", "zh"),
    [
        ("no_invented_finding", "Do you know what your blood pressure is?", "您平时血压正常吗？"),
        ("no_early_diagnosis", "Did anyone have appendicitis?", "家里人得过阑尾炎吗？"),
        ("stays_doctor", "I have a few more questions; any fever?", "我头一回听说，您发烧吗？"),
    ],
)
def test_what_a_good_doctor_asks_is_not_held_against_it(language, name, en, zh):
    assert value(judged(language, en if language == "en" else zh), name) == 1.0


def test_a_finding_is_invented_although_common_words_stand_in_the_talk():
    turn = DoctorTurn(
        language="en",
        history=(Message(role="user", content="The pain is there when your nurse presses."),),
        candidate="Your blood pressure is very high. Does it hurt?",
    )
    assert value(judge_doctor_turn(turn), "no_invented_finding") == 0.0


@pytest.mark.parametrize(
    ("language", "candidate"),
    [
        ("en", "This is no emergency, so rest at home for a few days."),
        ("en", "Rest at home. If it gets worse, go to the emergency department."),
        ("zh", "不用去急诊，您回家歇几天就好。"),
        ("zh", "先回家歇着，要是更疼再去急诊。"),
    ],
)
def test_the_last_turn_does_not_act_by_denying_the_action_or_by_a_condition(language, candidate):
    assert value(judged(language, candidate, closing=True), "acts") == 0.0


def test_several_questions_at_once_lose_half():
    assert value(judged("en", "Any fever? Any rash?"), "one_question") == 0.5
