import json
from pathlib import Path

import pytest

from evaluation.coverage import age_band, coverage_of, read_case_facts
from evaluation.errors import MissingInput, NotEnoughData
from evaluation.generation import (
    GenerationNumbers,
    StepCost,
    build_generation_report,
    generation_report_settings,
)
from evaluation.generation_page import cost_section, pair_section, read_generation_words
from evaluation.human_talk import read_human_talk
from tests.evaluation import factory
from tests.evaluation.test_report import Reader
from validation.schemas import Conversation, Fault, Message, Quarantined

REFERENCE = Path(__file__).parents[3] / "shared" / "data" / "mts-dialog"
CASES = {
    "en-1": ("en", "cardiology", "emergency", 54, "male"),
    "en-2": ("en", "dermatology", "self_care", 0.4, "female"),
    "zh-1": ("zh", "cardiology", "routine", 71, "female"),
}
LINES = {
    "en": ("My chest hurts, {n}.", "Since when does it hurt?", "Since {n} days.", "Rest now {n}."),
    "zh": ("胸口疼，第{n}回了。", "何时开始疼的？", "疼了{n}天。", "先休息{n}天。"),
}
CSV = """ID,section_header,section_text,dialogue
0,GENHX,note,"Doctor: What brings you here?
Patient: I have had a cough for two weeks.
Doctor: Is there any blood?
 Patient: No, none at all."
1,GENHX,note,"Doctor: How are you?
Guest: He is fine."
2,GENHX,note,"Patient: My knee is swollen and warm.
Doctor: Did you fall on it?
It happens.
Patient: Yes, last week on the stairs."
"""


def conversation(case_id, number, fault=False):
    language = CASES[case_id][0]
    roles = ("user", "assistant", "user", "assistant")
    return Conversation(
        language=language,
        source="simulated/1 m",
        case_id=case_id,
        messages=tuple(
            Message(role=role, content=text.format(n=number))
            for role, text in zip(roles, LINES[language], strict=True)
        ),
        sample_index=number,
        faults=(Fault(name="loop", detail="says it again", message_index=1),) if fault else (),
    )


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "conversations"
    talks = [conversation(c, n, fault=n == 1) for c in CASES for n in range(2)]
    factory.write_text(
        folder / "conversations.jsonl", "".join(t.model_dump_json() + "\n" for t in talks)
    )
    factory.write_text(
        folder / "scripted.jsonl", "".join(t.model_dump_json() + "\n" for t in talks[::2])
    )
    cases = [
        {
            "case_id": case_id,
            "language": language,
            "specialty": specialty,
            "patient": {"age_years": age, "sex": sex},
            "disposition": {"urgency": urgency},
        }
        for case_id, (language, specialty, urgency, age, sex) in CASES.items()
    ]
    factory.write_text(folder / "cases.jsonl", "".join(json.dumps(c) + "\n" for c in cases))
    failed = Quarantined(
        raw='{"language": "en", "case_id": "en-1"}',
        fault="endpoint_timeout",
        detail="no answer <b>",
        origin="en-1/7",
    )
    factory.write_text(folder / "failed.jsonl", failed.model_dump_json() + "\n")
    return folder


def report(folder, tmp_path, language="en", human=None):
    work = factory.workspace(tmp_path / f"report_{language}", {"conversations": folder})
    build_generation_report(generation_report_settings(language, human), work)
    page = (work.out / "generation.html").read_text(encoding="utf-8")
    return page, json.loads((work.out / "generation.json").read_text(encoding="utf-8"))


def test_the_numbers_are_what_a_hand_counts(folder, tmp_path):
    _, numbers = report(folder, tmp_path)
    assert numbers["coverage"]["cases"] == 3
    assert numbers["coverage"]["languages"] == {"en": 4, "zh": 2}
    assert numbers["coverage"]["specialty_by_urgency"]["cardiology"]["emergency"] == 2
    assert numbers["coverage"]["age_by_sex"]["infant"] == {"female": 2, "male": 0}
    assert numbers["talks_with_faults"] == 3
    (loop,) = numbers["talk_faults"]
    assert (loop["name"], loop["rows"], len(loop["examples"])) == ("loop", 3, 2)
    assert loop["examples"][0]["text"] == "Since when does it hurt?"
    (timeout,) = numbers["quarantined"]
    assert (timeout["name"], timeout["rows"]) == ("endpoint_timeout", 1)
    assert numbers["figures"]["generated"]["zh"]["lengths"]["talks"] == 2


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_is_whole_and_loads_nothing(folder, tmp_path, language):
    page, _ = report(folder, tmp_path, language)
    reader = Reader()
    reader.feed(page)
    assert reader.loads == []
    assert reader.open == []
    assert "no answer &lt;b&gt;" in page
    assert "{{" not in page
    words = read_generation_words(language)
    assert words["faults"]["endpoint_timeout"] in page
    assert "50" + "\u00a0" + "%" in page


def test_both_languages_of_the_page_have_the_same_words():
    def keys(value):
        return {k: keys(v) for k, v in value.items()} if isinstance(value, dict) else None

    english, chinese = read_generation_words("en"), read_generation_words("zh")
    for words in (english, chinese):
        words["coverage"].pop("specialties")  # English ones are the cases' own
    assert keys(english) == keys(chinese)


def test_human_talk_stands_beside_the_generated(folder, tmp_path):
    path = tmp_path / "human.csv"
    path.write_text(CSV, encoding="utf-8")
    page, numbers = report(folder, tmp_path, human=path)
    human = numbers["figures"]["human"]["en"]
    assert human["lengths"]["talks"] == 2
    assert numbers["human_unusable"] == 1
    assert "Human talk" in page
    assert (
        human["diversity"]["tokens"] == numbers["figures"]["generated"]["en"]["diversity"]["tokens"]
    )


def test_a_line_without_a_speaker_goes_on_with_the_one_before(tmp_path):
    path = tmp_path / "human.csv"
    path.write_text(CSV, encoding="utf-8")
    reading = read_human_talk(path)
    assert reading.talks[1].messages[1].content == "Did you fall on it? It happens."
    assert reading.unusable == (2,)


@pytest.mark.parametrize(
    ("key", "role", "words", "names"),
    [
        ("messages", "role", "content", ("user", "assistant")),
        ("conversations", "from", "value", ("human", "gpt")),
    ],
)
def test_human_talk_may_stand_in_json_rows(tmp_path, key, role, words, names):
    row = {key: [{role: n, words: w} for n, w in zip(names, ("头疼", "多久？"), strict=True)]}
    path = tmp_path / "human.jsonl"
    path.write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    (talk,) = read_human_talk(path).talks
    assert talk.language == "zh"
    assert [m.role for m in talk.messages] == ["user", "assistant"]


def test_a_file_without_talks_says_what_it_needs(tmp_path):
    path = tmp_path / "human.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(MissingInput, match="column 'dialogue'"):
        read_human_talk(path)


def test_a_talk_of_an_unknown_case_is_refused(folder):
    cases = read_case_facts(folder / "cases.jsonl")
    with pytest.raises(MissingInput, match="en-9"):
        coverage_of(["en-1", "en-9"], cases)


def test_nothing_generated_is_no_report(folder, tmp_path):
    (folder / "conversations.jsonl").write_text("")
    (folder / "scripted.jsonl").write_text("")
    with pytest.raises(NotEnoughData, match="no conversation"):
        report(folder, tmp_path)


@pytest.mark.parametrize(
    ("years", "band"),
    [(0.9, "infant"), (1, "child"), (12, "adolescent"), (18, "adult"), (65, "older")],
)
def test_ages_fall_into_bands(years, band):
    assert age_band(years) == band


@pytest.mark.reference
@pytest.mark.skipif(not REFERENCE.is_dir(), reason="the reference data is not there")
def test_the_real_human_talk_can_be_read():
    path = REFERENCE / "MTS-Dialog-ValidationSet.csv"
    reading = read_human_talk(path)
    assert len(reading.talks) + len(reading.unusable) == 100
    assert len(reading.talks) > 80


JUDGED = {
    "fault_types": {"wrong_dose": 4, "missed_red_flag": 2},
    "conversations": 9,
    "ties": {"kept": 0, "dropped": 3},
    "verified": {"rule": 4, "judge": 2},
    "judges": {
        "comparisons": 40,
        "flip_rate": {"value": 0.125, "interval": [0.055, 0.261], "of": 40},
        "agreement": {
            "verdicts_kappa": {"value": 0.61, "units": 20, "interval": [0.3, 0.9]},
            "verdicts_alpha": None,
        },
        "errors_found": {
            "overall": {
                "precision": {"value": 0.9, "interval": [0.6, 0.98], "of": 10},
                "recall": {"value": 0.75, "interval": [0.4, 0.93], "of": 12},
            },
            "wrong_dose": {"precision": None, "recall": {"value": 1.0, "of": 4}},
            "none_named": {"value": 0.1, "interval": [0.0, 0.2], "of": 10},
        },
        "by_judge": {"big <judge>": {"flip_rate": {"value": 0.2, "of": 20}, "length_bias": None}},
    },
}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_judges_say_is_told_with_intervals_and_absent_figures_are_left_out(language):
    words = read_generation_words(language)
    shown = pair_section(GenerationNumbers.model_construct(preferences=JUDGED), words)
    figures = {row["name"]: row["value"] for row in shown["pair_figures"]}
    names = words["pairs"]["figures"]
    assert figures[names["judges.flip_rate"][0]] == "0.12 (0.06–0.26), n\u00a0=\u00a040"
    assert figures[names["judges.agreement.verdicts_kappa"][0]].startswith("0.61 (0.30–0.90)")
    assert names["judges.agreement.verdicts_alpha"][0] not in figures
    assert [row["cells"] for row in shown["detection"]] == [
        ["0.90 (0.60–0.98), n\u00a0=\u00a010", "0.75 (0.40–0.93), n\u00a0=\u00a012"],
        ["–", "1.00, n\u00a0=\u00a04"],
    ]
    (judge,) = shown["judges"]
    assert judge["cells"] == ["0.20, n\u00a0=\u00a020", "–", "–"]
    assert [row["count"] for row in shown["pairs"]] == [4, 2]


@pytest.mark.parametrize(("language", "named"), [("en", "Safety talks"), ("zh", "安全对话")])
def test_steps_of_other_generators_are_named_in_the_readers_language(language, named):
    def cost(step):
        return StepCost(
            step=step,
            made=2,
            quarantined=0,
            kept=2,
            calls=2,
            from_journal=0,
            prompt_tokens=2,
            completion_tokens=2,
            cost_usd=0.1,
            seconds=1.0,
            retried={},
        )

    steps = [cost("generated_safety"), cost("generated_my_clinic")]
    rows = cost_section(steps, read_generation_words(language))["costs"]
    assert [row["name"] for row in rows] == [named, "my_clinic"]
