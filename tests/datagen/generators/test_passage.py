import json

import pytest

from datagen.generators.generator import Ground
from datagen.generators.passage import PassageSettings, items
from datagen.generators.text_checks import TextLimits
from datagen.generators.topics import read_topics
from tests.datagen.conftest import LIBRARY
from tests.datagen.generators.conftest import language_in

WORDS = {
    "en": "The {0} of this condition is best understood by asking first what the {0} means for a "
    "patient, and then which {0} would change what is done next on day {1}. ",
    "zh": "要理解{0}，先要问{0}对患者意味着什么，再问什么样的{0}会改变第{1}天接下来的处理。",
}
SETTINGS = PassageSettings(rows=8, most_alike=0.9, limits=TextLimits(min_width=100))
TITLE = {"en": "What must not be missed", "zh": "不能漏掉的情况"}


def prose(body):
    """A text that differs from request to request."""
    language, seed = language_in(body), body["seed"]
    words = [f"w{seed % 997}x", "history"] if language == "en" else [f"甲{seed % 997}乙", "病史"]
    return "".join(WORDS[language].format(word, seed % 89) for word in words)


def written(body, **changes):
    entry = {"title": TITLE[language_in(body)], "text": prose(body)} | changes
    return json.dumps(entry, ensure_ascii=False)


def test_passages_of_both_languages_stand_on_cases_and_topics(generate):
    made = generate(SETTINGS, written)
    assert made.built.counts == {"rows_in": 8, "accepted": 8, "quarantined": 0}
    assert [one.language for one in made.records] == ["en", "zh"] * 4
    cases = {case.case_id for case in LIBRARY}
    of_cases = [one for one in made.records if one.case_id in cases]
    assert 0 < len(of_cases) < 8
    assert all(one.case_id.startswith(f"{one.language}-") for one in made.records)
    assert {one.source for one in made.records} == {"passage/1 fake"}


def test_a_case_is_told_whole_and_a_topic_by_its_name(generate):
    made = generate(SETTINGS.model_copy(update={"case_share": 1.0, "rows": 2}), written)
    for record, body in zip(made.records, made.requests, strict=True):
        case = next(case for case in LIBRARY if case.case_id == record.case_id)
        text = body["messages"][0]["content"]
        assert case.diagnosis.name in text
        assert all(fact.statement in text for fact in case.facts)


def test_a_form_suits_its_reader_and_a_case_is_never_told_as_a_leaflet():
    every = items(SETTINGS.model_copy(update={"rows": 200}), Ground(("en", "zh"), LIBRARY))
    assert {item.form.name for item in every} == {form.name for form in read_topics().forms}
    for item in every:
        assert (item.form.suits == "lay") == item.audience.lay
        assert (item.case is None) != (item.topic is None)
        assert item.form.name != ("patient_leaflet" if item.case else "case_discussion")


def test_an_infants_age_is_told_in_months(generate):
    made = generate(SETTINGS.model_copy(update={"case_share": 1.0, "rows": 40}), written)
    texts = [body["messages"][0]["content"] for body in made.requests]
    infants = [case for case in LIBRARY if case.patient.age_years < 2]
    told = [text for text in texts if any(case.complaint in text for case in infants)]
    assert told
    assert all("months old" in text or "个月" in text for text in told)
    assert not any(".0 years" in text or ".0岁" in text for text in texts)


LIST = {
    "en": "- Fever in the evening\n- Cough at night\n- Weight loss of late\n- Rest and water.",
    "zh": "- 傍晚发热\n- 夜间咳嗽\n- 近来消瘦\n- 休息、多喝水、按时复诊。",
}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"text": "……"}, "empty"),
        ({"text": None}, "endpoint_schema_mismatch"),
        ({"title": "——"}, "bad_title"),
        ({"more": " As shown by Smith et al. 2019, 参考文献 [1]."}, "invented_citation"),
        ({"more": " And then, 然后"}, "truncated"),
        ({"more": " Doctor: go on. 医生：请继续。"}, "debris"),
        ({"more": " See www.example.org for it."}, "contact_details"),
        ({"lead": "I'm sorry, but I cannot do this. ", "zh": "抱歉，我无法完成。"}, "refused"),
        ({"list": True}, "bare_list"),
    ],
)
def test_a_bad_passage_is_quarantined_under_its_fault(generate, changes, fault):
    def reply(body):
        changed = dict(changes)
        language = language_in(body)
        text = changed.pop("text", prose(body))
        lead, chinese = changed.pop("lead", ""), changed.pop("zh", "")
        if text is not None:
            text = (chinese if language == "zh" and chinese else lead) + text
            text += changed.pop("more", "")
        if changed.pop("list", False):
            text = LIST[language]
        return written(body, text=text, **changed)

    limits = TextLimits(min_width=40)
    made = generate(SETTINGS.model_copy(update={"rows": 2, "limits": limits}), reply)
    assert made.faults == {fault: 2}


def test_a_stub_is_quarantined(generate):
    settings = SETTINGS.model_copy(update={"rows": 2, "limits": TextLimits(min_width=5000)})
    assert generate(settings, written).faults == {"too_short": 2}


def test_a_passage_in_the_other_language_is_quarantined(generate):
    def reply(body):
        other = {"en": "zh", "zh": "en"}[language_in(body)]
        return written(body, text=WORDS[other].format("x", 1) * 2 + WORDS[other].format("y", 2))

    limits = TextLimits(min_width=40, max_repeated_share=1.0)
    made = generate(SETTINGS.model_copy(update={"rows": 2, "limits": limits}), reply)
    assert made.faults == {"wrong_language": 2}
