import pytest

from datagen.generators.question_answer import (
    QuestionAnswerSettings,
    evolution_fault,
    read_questions,
)
from datagen.generators.text_checks import TextLimits
from datagen.generators.topics import read_topics
from tests.datagen.generators.conftest import language_in

SETTINGS = QuestionAnswerSettings(rows=12, most_alike=0.9)
QUESTION = {
    "en": "I am {0} and have had kind number {1} of this trouble for {2} days. What helps, and "
    "when should somebody look at it?",
    "zh": "我今年{0}岁，这种不舒服第{1}次犯了，已经{2}天。该怎么办，什么时候要去看医生？",
}
HARDER = {
    "en": " I also take warfarin number {0} and had a kidney stone {1} years ago.",
    "zh": "另外我在吃第{0}种华法林，{1}年前得过肾结石。",
}
ANSWER = {
    "en": "Most of the time this settles by itself, and rest, fluids and patience number {0} are "
    "all that it takes. Have it looked at by your doctor if it lasts longer than two weeks, if it "
    "gets worse day by day, or if you lose weight. Call for help at once if you feel very ill.",
    "zh": "多数情况下这会自己好，休息、多喝水、耐心等第{0}天就够了。如果超过两个星期还不好、"
    "一天比一天重，或者体重明显下降，请去看医生。如果突然觉得很不舒服，要马上就医。平时记录一下发作的时间和诱因，"
    "就诊时带给医生看，会很有帮助。",
}


def asked(body):
    """What a request is for."""
    if body["messages"][0]["role"] == "system":
        return "answer"
    text = body["messages"][-1]["content"]
    return "evolve" if "harder to answer" in text or "更难答好" in text else "question"


def play(body, **wording):
    seed, language, step = body["seed"], language_in(body), asked(body)
    if step in wording:
        return wording[step](body) if callable(wording[step]) else wording[step]
    if step == "question":
        return QUESTION[language].format(seed % 83 + 18, seed % 9973, seed % 31 + 2)
    if step == "evolve":
        prompt = body["messages"][-1]["content"]
        before = prompt.split("\n\n")[1].split("\n", 1)[1]
        return before + HARDER[language].format(seed % 9973, seed % 19)
    return ANSWER[language].format(seed % 29)


def test_questions_of_both_languages_are_drawn_made_harder_and_answered(generate):
    made = generate(SETTINGS, play)
    assert made.built.counts == {"rows_in": 12, "accepted": 12, "quarantined": 0}
    for record in made.records:
        question, answer = record.messages
        assert (question.role, answer.role) == ("user", "assistant")
        harder = HARDER[record.language].split("{")[0].strip()
        assert (harder in question.content) == (record.persona.count("/") == 2)
        assert record.case_id.startswith(f"{record.language}-topic-")
    steps = {record.persona.count("/") for record in made.records}
    assert steps == {1, 2}
    assert {record.source for record in made.records} == {"question_answer/1 fake"}


def test_a_prompt_shows_topic_reader_kind_and_examples_and_no_other_row_has_the_same(generate):
    made = generate(SETTINGS, play)
    prompts = [b["messages"][0]["content"] for b in made.requests if asked(b) == "question"]
    assert len(set(prompts)) == 12
    found = read_topics()
    for prompt in prompts:
        assert any(topic.en in prompt or topic.zh in prompt for topic in found.topics)
        assert any(one.en in prompt or one.zh in prompt for one in found.audiences)
        assert prompt.count("\n- ") >= 5


def test_a_failed_evolution_leaves_the_question_as_it_was(generate):
    made = generate(SETTINGS, lambda body: play(body, evolve="I'm sorry, but I cannot do that."))
    assert made.built.counts["accepted"] == 12
    assert all(record.persona.count("/") == 1 for record in made.records)


@pytest.mark.parametrize(
    ("after", "fault"),
    [
        ("Why does my knee hurt when I climb stairs?", "adds_nothing"),
        (
            "Rewritten: why does a knee hurt after a fall on ice, at 70?",
            "speaks_of_the_task (rewritten)",
        ),
        ("抱歉，我无法改写。", "refused"),
        ("", "empty"),
        ("Why does my knee hurt when I climb stairs, at 70, on warfarin, after a fall?", None),
    ],
)
def test_evolutions_are_eliminated_by_rules(after, fault):
    before = "Why does my knee hurt when I climb stairs?"
    assert evolution_fault(before, after, "en", TextLimits(min_width=12)) == fault


ALARM = {
    "en": "I am {0} and have had chest pain number {0} since breakfast, what can I do about it?",
    "zh": "我{0}岁，吃完早饭第{0}次胸痛，一直不好，我能做点什么？",
}
CALM = {
    "en": "Most of the time this is a strained muscle of number {0}, and rest, warmth and patience "
    "are all that it takes. Lie down for a while and do not lift anything heavy this week.",
    "zh": "多数情况下这是第{0}次肌肉拉伤，休息、热敷、耐心等待就可以了。躺一会儿，"
    "这个星期不要提重物，也不要熬夜。平时注意姿势，坐久了起来走一走，慢慢就会好起来，不用想太多，放松心情就好。",
}


def alarmed(body):
    return ALARM[language_in(body)].format(body["seed"])


def calm(body):
    return CALM[language_in(body)].format(body["seed"])


def test_an_alarm_sign_of_a_lay_person_needs_a_word_on_urgent_help(generate):
    plain = SETTINGS.model_copy(update={"max_evolutions": 0, "rows": 28})
    made = generate(plain, lambda body: play(body, question=alarmed, answer=calm))
    assert set(made.faults) == {"no_safety_note"}
    lay = {one.name for one in read_topics().audiences if one.lay}
    assert all(record.persona.split("/")[0] not in lay for record in made.records)
    assert made.faults["no_safety_note"] == 16
    heeded = generate(plain, lambda body: play(body, question=alarmed))
    assert heeded.faults == {}


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ("…", "empty"),
        (lambda b: play(b)[:-12], "truncated"),
        (lambda b: play(b) + " (Smith and Jones, 2019)." + "参考文献见后。", "invented_citation"),
        (lambda b: play(b) + " Call 555-123-4567 or +86 13800138000.", "contact_details"),
        (lambda b: "As an AI language model, I may say: " + play(b), "refused"),
        (lambda b: "Patient: hello. 患者：您好。" + play(b), "debris"),
    ],
)
def test_a_bad_answer_is_quarantined_under_its_fault(generate, answer, fault):
    made = generate(SETTINGS.model_copy(update={"rows": 2}), lambda b: play(b, answer=answer))
    assert made.faults == {fault: 2}


def test_a_question_that_copies_an_example_is_quarantined(generate):
    def copied(body):
        return body["messages"][0]["content"].split("\n- ")[1].split("\n")[0]

    made = generate(SETTINGS.model_copy(update={"rows": 2}), lambda b: play(b, question=copied))
    assert made.faults == {"copied_example": 2}


def test_the_same_question_twice_is_a_duplicate(generate):
    def same(body):
        return QUESTION[language_in(body)].format(40, 1, 3)

    plain = SETTINGS.model_copy(update={"max_evolutions": 0, "rows": 6})
    made = generate(plain, lambda body: play(body, question=same))
    assert made.faults == {"duplicate": 4}


def test_seeds_are_of_known_readers_and_as_many_in_both_languages():
    seeds = read_questions().seeds
    known = {one.name for one in read_topics().audiences}
    assert {seed.audience for language in seeds for seed in seeds[language]} == known
    assert len(seeds["en"]) == len(seeds["zh"]) == len({s.text for s in seeds["zh"]})
