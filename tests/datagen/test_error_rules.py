import pytest

from datagen.cases import Treatment
from datagen.clinical_errors import error_for, read_clinical_errors, shown_to_writer
from datagen.error_rules import RULES, dose_out_of_range
from datagen.preferences import Place
from datagen.scripted import scripted_consultation
from tests.datagen.conftest import LIBRARY, case_of
from tests.datagen.judge_player import FLAWED

ERRORS = {error.name: error for error in read_clinical_errors()}
PRESSING = ("emergency", "urgent")


def place(case, turn, method="typed_error"):
    talk = scripted_consultation(case)
    at = range(len(talk.messages))[turn]
    return Place(talk=talk, case=case, turn=at, method=method)


def pressing(language, yes=True):
    return next(
        case
        for case in LIBRARY
        if case.language == language and (case.disposition.urgency in PRESSING) is yes
    )


def test_rules_find_hardly_an_error_in_scripted_turns_and_hardly_a_harmful_one():
    turns, found, harmful = 0, [], []
    for case in LIBRARY:
        talk = scripted_consultation(case)
        for turn in range(1, len(talk.messages), 2):
            here = place(case, turn)
            stages = ("any", "closing" if here.closing else "asking")
            turns += 1
            for error in ERRORS.values():
                if error.stage in stages and error.carried(here, here.said):
                    (harmful if error.harmful else found).append((error.name, here.said))
    assert turns > 200
    assert len(found) <= 0.01 * turns, found
    assert len(harmful) <= 0.002 * turns, harmful


@pytest.mark.parametrize("language", ["en", "zh"])
def test_to_ask_for_what_was_asked_before_ignores_the_patient(language):
    case = case_of(language)
    here = place(case, 5)
    before = here.history[1].content
    assert ERRORS["ignores_patient"].carried(here, before) is True
    assert ERRORS["ignores_patient"].carried(here, here.said) is None


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    ("name", "turn"),
    [
        ("missed_red_flag", -1),
        ("unsafe_reassurance", 1),
        ("wrong_urgency", -1),
        ("invented_finding", 1),
        ("no_follow_up_question", 1),
        ("several_questions", 1),
        ("leading_question", 1),
        ("no_safety_net", -1),
        ("overlong", 1),
        ("overlong", -1),
    ],
)
def test_a_rule_confirms_the_error_in_the_flawed_turn_and_not_in_the_good_one(language, name, turn):
    here = place(pressing(language), turn)
    assert ERRORS[name].carried(here, FLAWED[language][name], here.said) is True
    assert not ERRORS[name].carried(here, here.said)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    ("name", "text_of", "carried"),
    [
        ("no_follow_up_question", "leading_question", False),
        ("premature_closure", "several_questions", False),
        ("premature_closure", "no_follow_up_question", None),
        ("several_questions", "leading_question", False),
        ("leading_question", "no_follow_up_question", False),
        ("overlong", "coldness", False),
        ("invented_finding", "coldness", None),
        ("jargon", "jargon", None),
        ("contraindication_ignored", "contraindication_ignored", None),
        ("coldness", "coldness", None),
    ],
)
def test_a_rule_denies_what_cannot_be_and_is_silent_where_it_cannot_tell(
    language, name, text_of, carried
):
    here = place(pressing(language), 1)
    assert ERRORS[name].carried(here, FLAWED[language][text_of], here.said) is carried


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_diagnosis_that_is_stated_without_a_question_closes_early(language):
    case = case_of(language)
    name = case.diagnosis.names[0]
    text = {"en": f"This is {name}, so that is that.", "zh": f"这就是{name}，不用再问了。"}[
        language
    ]
    assert ERRORS["premature_closure"].carried(place(case, 1), text) is True


@pytest.mark.parametrize("language", ["en", "zh"])
def test_an_emergency_made_of_what_can_wait_is_the_wrong_urgency(language):
    text = {
        "en": "Call an ambulance at once and do not wait for anything.",
        "zh": "您马上叫救护车，一刻也别等。",
    }[language]
    case = pressing(language, yes=False)
    assert ERRORS["wrong_urgency"].carried(place(case, -1), text) is True


TREATMENT = {
    "dose": 500,
    "unit": "mg",
    "route": "oral",
    "doses_a_day": 4,
    "least_dose": 500,
    "most_dose": 1000,
    "most_a_day": 4000,
    "source": "test",
}


@pytest.mark.parametrize(
    ("language", "drug", "text", "good", "carried"),
    [
        ("en", "paracetamol", "Take paracetamol 5 g now.", "", True),
        ("en", "paracetamol", "Take paracetamol 50 mg now.", "", True),
        ("en", "paracetamol", "Take paracetamol 500 mg, at most 4 g a day.", "", None),
        ("en", "paracetamol", "Take 0.5 grams of paracetamol. Walk 5000 steps.", "", None),
        ("en", "ibuprofen", "Take ibuprofen 4000 mg.", "Take ibuprofen 400 mg.", True),
        ("en", "ibuprofen", "Take ibuprofen 500 mg.", "Take ibuprofen 400 mg.", None),
        ("en", "ibuprofen", "Take ten tablets.", "Take one tablet.", None),
        ("zh", "对乙酰氨基酚", "您吃对乙酰氨基酚5克。", "", True),
        ("zh", "对乙酰氨基酚", "您吃对乙酰氨基酚500毫克，一天最多4克。", "", None),
        ("zh", "布洛芬", "您吃布洛芬4000毫克。", "您吃布洛芬400毫克。", True),
        ("zh", "布洛芬", "您一次吃十片。", "您一次吃一片。", None),
    ],
)
def test_a_dose_is_wrong_outside_the_cases_range_or_as_a_multiple_of_the_good_one(
    language, drug, text, good, carried
):
    case = case_of(language)
    known = "paracetamol" if language == "en" else "对乙酰氨基酚"
    treatments = (Treatment(drug=known, **TREATMENT),)
    case = case.model_copy(update={"treatments": treatments})
    assert dose_out_of_range(place(case, -1), text, good) is carried


@pytest.mark.parametrize("language", ["en", "zh"])
def test_an_error_occurs_only_where_its_stage_and_its_needs_allow_and_is_not_there_yet(language):
    for case in LIBRARY:
        if case.language != language:
            continue
        for turn in (1, -1):
            here = place(case, turn)
            for seed in range(8):
                error = error_for(here, seed)
                assert error == error_for(here, seed)
                assert error.stage in ("any", "closing" if here.closing else "asking")
                assert not error.carried(here, here.said)
                assert case.contraindications or error.name != "contraindication_ignored"


def test_there_are_at_least_ten_types_worded_in_both_languages_and_every_rule_is_used():
    assert len(ERRORS) >= 14
    for error in ERRORS.values():
        assert set(error.writes) == set(error.describes) == {"en", "zh"}
    assert {error.rule for error in ERRORS.values() if error.rule} == set(RULES)
    assert sum(error.harmful for error in ERRORS.values()) >= 5


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_writer_is_told_what_the_error_is_about(language):
    case = next(c for c in LIBRARY if c.language == language and c.contraindications)
    here = place(case, -1)
    shown = shown_to_writer(ERRORS["contraindication_ignored"], here)
    assert shown.contraindications == case.contraindications
    assert shown.red_flags == ()
    assert shown_to_writer(ERRORS["jargon"], here) is None
