from collections import Counter

import pytest
import yaml

from datagen.agents import age_words
from datagen.cases import Treatment
from datagen.errors import NothingToGenerate
from datagen.generators.building import build_generated, generated_key
from datagen.generators.dosing import dose_questions
from datagen.generators.generator import Ground
from datagen.generators.problem import (
    FORMS,
    ProblemSettings,
    compose,
    items,
    names_diagnosis,
)
from datagen.prompting import read_prompt, render
from judging.verifiers import LETTERS, verify
from tests.datagen.conftest import LIBRARY
from validation.checks import CheckSettings, check_problem
from validation.text import normalised

MARKED = {"en": "I weighed them.\nAnswer: {0}", "zh": "权衡如上。\n答案：{0}"}
SYRUP = {"en": "Paracetamol (by weight, 12 kg)", "zh": "对乙酰氨基酚（按体重12 kg）"}
DRIP = {"en": "Heparin (first bolus)", "zh": "肝素（首剂）"}
ROUTE = {"en": ("oral", "intravenous"), "zh": ("口服，餐后", "静脉注射，首剂")}
COUNTS = {
    "daily_total": lambda one: one.dose * one.doses_a_day * (1e-3 if _in_grams(one) else 1),
    "course_units": lambda one: one.dose / one.strength * one.doses_a_day * one.days,
    "dose_volume": lambda one: one.dose / one.in_5_ml * 5,
    "course_volume": lambda one: one.dose / one.in_5_ml * 5 * one.doses_a_day * one.days,
    "most_doses": lambda one: one.most_a_day // one.dose - one.taken,
}


def _in_grams(one):
    return (one.unit, one.answer_unit) == ("mg", "g")


def treated(language, **changes):
    """A child's case with a syrup that is taken regularly and an injection that is not."""
    case = next(c for c in LIBRARY if c.language == language and 2 <= c.patient.age_years < 12)
    oral, other = ROUTE[language]
    syrup = {
        "drug": SYRUP[language],
        "dose": 180,
        "unit": "mg",
        "route": oral,
        "doses_a_day": 4,
        "least_dose": 120,
        "most_dose": 180,
        "most_a_day": 720,
        "source": "BNFC",
    }
    drip = {"drug": DRIP[language], "route": other, "unit": "unit", "doses_a_day": 1}
    treatments = (syrup | changes, syrup | drip)
    chosen = tuple(Treatment.model_validate(one) for one in treatments)
    return case.model_copy(update={"treatments": chosen})


def library_of(folder, cases):
    for case in cases:
        path = folder / case.language / f"{case.case_id}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(case.model_dump(mode="json"), allow_unicode=True))
    return folder


def every_item(cases, **changes):
    ground = Ground(languages=("en", "zh"), cases=cases)
    with pytest.raises(NothingToGenerate) as refused:
        items(ProblemSettings(rows=10**6, **changes), ground)
    most = int(str(refused.value).split("gives ")[1].split()[0])
    return items(ProblemSettings(rows=most, **changes), ground)


def composed(item):
    def prompt(name, **values):
        return render(read_prompt(item.language, "chat", name), **values)

    return compose(item, prompt, "problem/1")


EVERY = [(item, composed(item)) for item in every_item(LIBRARY, choices=5)]


def silent(body):
    raise AssertionError("a problem asks nobody")


def test_of_every_case_the_own_answer_is_right_and_every_other_choice_is_wrong():
    for item, problem in EVERY:
        if item.form == "dose":
            continue
        assert f"\n{LETTERS[len(problem.choices) - 1]}. " in problem.prompt[0].content
        right = 0
        for letter, choice in zip(LETTERS, problem.choices, strict=False):
            said = [MARKED[item.language].format(one) for one in (letter, choice)]
            assert f"\n{letter}. {choice}\n" in problem.prompt[0].content
            wanted = choice == problem.answer
            assert [verify(problem, one).right for one in said] == [wanted, wanted], choice
            right += wanted
        assert right == 1
    assert {item.case_id for item, _ in EVERY if item.form == "diagnosis"} == {
        case.case_id for case in LIBRARY
    }


def test_no_prompt_gives_the_diagnosis_away():
    hidden = 0
    for item, problem in EVERY:
        told = problem.prompt[0].content
        if item.form == "diagnosis":
            told = told.partition("\nA. ")[0]
            hidden += any(
                names_diagnosis(f"{one.name} {one.result}", item.case)
                and normalised(one.result) not in normalised(told)
                for one in item.case.findings
            )
        assert not names_diagnosis(told, item.case), (item.case_id, item.form)
    assert hidden


def test_every_problem_passes_the_checks_of_the_data_set_and_none_is_said_twice():
    assert [check_problem(one, CheckSettings()) for _, one in EVERY] == [None] * len(EVERY)
    assert len({one.prompt[0].content for _, one in EVERY}) == len(EVERY)


def test_the_right_letter_cannot_be_guessed():
    letters = Counter(
        LETTERS[one.choices.index(one.answer)]
        for item, one in EVERY
        if item.form == "urgency" and len(one.choices) == 5
    )
    assert sorted(letters) == list("ABCDE")
    assert max(letters.values()) < 0.5 * letters.total()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_sums_on_a_treatment_have_the_answers_of_their_numbers(language):
    case = treated(language)
    sums = dose_questions(case, 0, 20)
    assert {one.asks for one in sums} == set(COUNTS)
    assert {one.drug for one in sums} == {SYRUP[language].partition(" (")[0].partition("（")[0]}
    for one in sums:
        assert one.answer == pytest.approx(COUNTS[one.asks](one))
        assert round(one.answer, 2) == pytest.approx(one.answer, abs=1e-9)
        assert one.dose * one.doses_a_day <= 720
    for item in every_item((case,) if language == "en" else (treated("en"), case)):
        if item.dose and item.language == language:
            problem = composed(item)
            assert age_words(case.patient.age_years, language) in problem.prompt[0].content
            unit = "mL" if item.dose.asks.endswith("volume") else "mg"
            right = MARKED[language].format(f"{problem.answer} {unit}")
            assert verify(problem, right).right
            wrong = float(problem.answer) + 1
            assert not verify(problem, MARKED[language].format(wrong)).right


def test_a_treatment_that_says_how_long_it_lasts_is_asked_for_no_other_length():
    sums = dose_questions(treated("en", source="NICE, for three days"), 0, 20)
    assert {one.asks for one in sums} == {"daily_total", "dose_volume", "most_doses"}


def test_an_adult_gets_tablets_alone_and_an_injection_neither():
    adult = next(c for c in LIBRARY if c.language == "en" and c.patient.age_years > 30)
    oral = adult.model_copy(update={"treatments": treated("en").treatments})
    assert not any(one.asks.endswith("volume") for one in dose_questions(oral, 0, 20))
    drip = treated("en", route="intravenous")
    assert {one.asks for one in dose_questions(drip, 0, 20)} == {"daily_total", "most_doses"}


def test_problems_are_made_without_an_endpoint_of_any_style(generate, access, workspace, tmp_path):
    folder = library_of(tmp_path / "cases", [treated("en"), treated("zh")])
    settings = ProblemSettings(rows=16, library=folder)
    made = generate(settings, silent)
    assert made.built.counts == {"rows_in": 16, "accepted": 16, "quarantined": 0}
    assert not made.requests
    assert made.built.cost_usd == 0.0
    assert set(made.built.summary["by_source"]) <= {f"problem_{form}" for form in FORMS}
    assert {one.language for one in made.records} == {"en", "zh"}
    assert {one.verifier for one in made.records} == {"choice", "number"}
    place = workspace("transcript")
    nobody = access("http://127.0.0.1:9/v1", style="transcript", languages=("en",))
    build_generated(settings, nobody, place)
    assert (place.out / "problems.jsonl").read_bytes() == made.files["problems.jsonl"]
    assert generated_key(settings, nobody) == generated_key(settings, access("http://other/v1"))


def test_one_more_row_changes_no_earlier_problem():
    ground = Ground(languages=("en", "zh"), cases=LIBRARY)
    few, more = (items(ProblemSettings(rows=rows), ground) for rows in (40, 41))
    assert list(few) == list(more)[:40]
    alone = items(ProblemSettings(rows=20), Ground(languages=("zh",), cases=LIBRARY))
    assert list(alone) == [one for one in few if one.language == "zh"]


def test_more_problems_than_the_library_gives_are_refused_with_their_number(access, workspace):
    settings = ProblemSettings(rows=5000, forms=("urgency",))
    with pytest.raises(NothingToGenerate, match=f"gives {len(LIBRARY)} of the forms"):
        build_generated(settings, access("http://127.0.0.1:9/v1"), workspace("many"))


def test_a_red_flag_is_chosen_from_facts_that_are_none():
    found = 0
    for item, problem in EVERY:
        if item.form != "red_flag":
            continue
        flags = {fact.statement for fact in item.case.facts if fact.red_flag}
        assert flags & set(problem.choices) == {problem.answer}
        found += 1
    assert found == sum(
        any(fact.red_flag for fact in case.facts)
        and sum(not fact.red_flag for fact in case.facts) >= 2
        for case in LIBRARY
    )
