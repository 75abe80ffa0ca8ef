import pytest

from datagen.conversation_checks import CHECKS, TalkCheckSettings, check_talk, with_faults
from datagen.scripted import scripted_consultation
from tests.datagen.conftest import LIBRARY, case_of
from validation.schemas import Conversation, Message

EMERGENCY = {
    language: next(
        c for c in LIBRARY if c.language == language and c.disposition.urgency == "emergency"
    )
    for language in ("en", "zh")
}


def talk_of(case, *contents, first="user"):
    roles = ("user", "assistant") if first == "user" else ("assistant", "user")
    messages = [Message(role=roles[i % 2], content=c) for i, c in enumerate(contents)]
    return Conversation(
        language=case.language, source="test", case_id=case.case_id, messages=messages
    )


def changed(case, index, content):
    contents = [m.content for m in scripted_consultation(case).messages]
    contents[index] = content
    return talk_of(case, *contents)


def names(talk, case, settings=None):
    return [fault.name for fault in check_talk(talk, case, settings)]


BROKEN_TURNS = [
    ("empty_turn", 2, "…", "……"),
    ("wrong_language", 2, "我不知道，医生。", "I really do not know, doctor."),
    ("truncated", 1, "And how long have the", "那么您这个情况是从"),
    ("too_long", 2, "Well, it is hard to say. " * 60, "这个我真的说不清楚啊。" * 60),
    ("role_swap", 2, "Do you have any fever or pain in the chest?", "您有没有发烧或者胸口疼？"),
    ("role_swap", 1, "I have been having terrible trouble.", "我的头也疼得厉害。"),
    ("role_swap", 2, "Hello, what brings you here today?", "您好，哪里不舒服？"),
    ("role_swap", 2, "Yes. Doctor asks: since when?", "有的。医生问：从什么时候开始？"),
    ("role_swap", 1, "As an AI, I see no patients.", "作为一个人工智能，我看不了病。"),
    ("role_swap", 2, "I'm sorry, I can’t help with that.", "抱歉，我无法提供帮助。"),
    ("role_swap", 2, "Yes. Fact: he is ill.", "有的。事实：他病了。"),
    ("role_swap", 2, "Yes. Doctor: And since when?", "有的。医生：从什么时候开始？"),
]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(("name", "index", "en", "zh"), BROKEN_TURNS)
def test_a_broken_turn_is_found_where_it_stands(language, name, index, en, zh):
    case = case_of(language)
    talk = changed(case, index, en if language == "en" else zh)
    found = [f for f in check_talk(talk, case) if f.name == name]
    assert [fault.message_index for fault in found] == [index]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_terse_patient_needs_no_full_stop_but_whoever_says_more_does(language):
    case = case_of(language)
    few = {"en": "Three days", "zh": "三天了"}[language]
    more = {"en": "It started three days ago and then", "zh": "三天前开始的，后来就"}[language]
    assert "truncated" not in names(changed(case, 2, few), case)
    assert "truncated" in names(changed(case, 2, more), case)
    assert "truncated" in names(changed(case, 1, few), case)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_patient_may_not_name_the_diagnosis_before_the_doctor_did(language):
    case = case_of(language)
    name = case.diagnosis.names[0]
    said = f"I think it is {name}." if language == "en" else f"我觉得是{name}。"
    assert "diagnosis_leaked" in names(changed(case, 2, said), case)
    asked = f"Could it be {name}?" if language == "en" else f"会不会是{name}？"
    contents = [m.content for m in scripted_consultation(case).messages]
    contents[1], contents[2] = asked, said
    assert "diagnosis_leaked" not in names(talk_of(case, *contents), case)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_cannot_be_true_in_the_case_is_a_contradiction_only_from_the_patient(language):
    case = next(c for c in LIBRARY if c.language == language and c.facts[1].contradiction_words)
    mark = "." if language == "en" else "。"
    phrase = case.facts[1].contradiction_words[0] + mark
    assert "contradiction" in names(changed(case, 4, phrase), case)
    assert "contradiction" not in names(changed(case, 3, phrase), case)


@pytest.mark.parametrize(
    ("case_id", "denied"),
    [
        ("en-knee-stairs-trouble", "I wouldn't say all my joints are swollen."),
        ("zh-boy-leg-spots", "没有老流鼻血，也没有刷牙出血。"),
    ],
)
def test_what_the_patient_denies_contradicts_nothing(case_id, denied):
    case = next(c for c in LIBRARY if c.case_id == case_id)
    assert "contradiction" not in names(changed(case, 4, denied), case)


def test_a_doctor_with_more_questions_is_no_patient():
    case = case_of("en")
    for said in ("I've got a few questions. Any fever?", "I have a plan for you: any fever?"):
        assert "role_swap" not in names(changed(case, 1, said), case)
    assert "role_swap" in names(changed(case, 1, "I've got a fever. And you?"), case)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_turn_said_again_is_a_loop_but_a_short_answer_may_recur(language):
    case = case_of(language)
    first = scripted_consultation(case).messages[1].content
    assert "loop" in names(changed(case, 3, first), case)
    yes = "Yes." if language == "en" else "有。"
    contents = [m.content for m in scripted_consultation(case).messages]
    contents[2] = contents[4] = yes
    assert "loop" not in names(talk_of(case, *contents), case)


@pytest.mark.parametrize(
    ("language", "circle"),
    [("en", "it hurts a lot " * 6 + "."), ("zh", "就是一直疼得厉害" * 6 + "。")],
)
def test_a_turn_that_goes_round_in_circles_is_a_loop(language, circle):
    case = case_of(language)
    assert "loop" in names(changed(case, 2, circle), case)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_an_emergency_ends_with_the_action_that_is_due(language):
    case = EMERGENCY[language]
    calm = "Rest a little and drink some water." if language == "en" else "您先歇歇，多喝点水。"
    talk = changed(case, -1, calm)
    one = TalkCheckSettings(acting_turns=1)
    assert "red_flag_not_acted_on" in names(talk, case, one)
    assert "red_flag_not_acted_on" not in names(scripted_consultation(case), case, one)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    ("en", "zh"),
    [
        ("There is no need for an ambulance.", "不用叫120，也不用去急诊。"),
        ("Rest. If it gets worse, call 999.", "先歇着。要是更难受就打120。"),
        ("It is 112/70, so all is well.", "血压120/80，没什么事。"),
    ],
)
def test_an_action_denied_put_off_or_only_a_number_is_no_action(language, en, zh):
    case = EMERGENCY[language]
    talk = changed(case, -1, en if language == "en" else zh)
    assert "red_flag_not_acted_on" in names(talk, case, TalkCheckSettings(acting_turns=1))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_too_little_of_what_must_be_asked_is_a_fault_and_zero_coverage_switches_it_off(language):
    case = case_of(language)
    script = scripted_consultation(case).messages
    hum = "Tell me more, please." if language == "en" else "您接着说。"
    bare = talk_of(case, script[0].content, hum, hum[:-1] + "!", script[-1].content)
    assert "must_ask_missed" in names(bare, case, TalkCheckSettings(must_ask_coverage=1.0))
    assert "must_ask_missed" not in names(bare, case, TalkCheckSettings(must_ask_coverage=0.0))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_closing_advice_asks_for_nothing_although_it_names_the_topics(language):
    case = case_of(language)
    hum = {"en": "Tell me more, please.", "zh": "您接着说。"}[language]
    topics = " ".join(word for fact in case.facts for word in fact.topic_words)
    bare = talk_of(case, case.opening, hum, hum, f"{topics}. {case.disposition.advice}")
    (fault,) = [f for f in check_talk(bare, case) if f.name == "must_ask_missed"]
    assert fault.detail.startswith("0%")


def test_a_fact_that_the_patient_denies_has_not_come_out():
    case = next(c for c in LIBRARY if c.case_id == "en-chest-tightness-office")
    denied = "I have never taken Viagra."
    talk = talk_of(case, case.opening, "Tell me more.", denied, case.disposition.advice)
    (fault,) = [
        f
        for f in check_talk(talk, case, TalkCheckSettings(must_ask_coverage=1.0))
        if f.name == "must_ask_missed"
    ]
    assert "sildenafil" in fault.detail


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_talk_ends_with_the_doctor_and_is_not_cut_short(language):
    case = case_of(language)
    contents = [m.content for m in scripted_consultation(case).messages]
    assert "ends_with_patient" in names(talk_of(case, *contents[:-1]), case)
    assert "too_short" in names(talk_of(case, *contents[:2]), case)


def test_faults_are_stored_in_check_order_and_change_the_records_name():
    case = EMERGENCY["en"]
    talk = talk_of(case, case.opening, "And how", "…")
    stored = with_faults(talk, case, TalkCheckSettings())
    order = [check.__name__ for check in CHECKS]
    found = [fault.name for fault in stored.faults]
    assert found == sorted(found, key=order.index)
    assert {"empty_turn", "truncated", "too_short", "ends_with_patient"} <= set(found)
    assert stored.record_id != talk.record_id
    assert stored.messages == talk.messages
