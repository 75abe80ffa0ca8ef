from itertools import takewhile

import pytest

from datagen.agents import doctor_view, patient_view, recall
from datagen.personas import read_personas
from datagen.prompting import read_prompt, render
from datagen.scripted import scripted_messages, worked_example
from judging.wording import first_mention
from tests.datagen.conftest import LIBRARY
from validation.schemas import Message

STYLES = ("chat", "transcript")


def patient_prompt(case, style, example=()):
    view = patient_view(case, read_personas()[0])
    prompt = read_prompt(case.language, style, "patient")
    recalled, more = recall(view, ()), {"plan": None, "note": "", "results": ""}
    return render(prompt, view=view, talk=(), example=example, recalled=recalled, **more)


def doctor_prompt(case, style, closing, example=()):
    view = doctor_view(case.language, scripted_messages(case)[:3])
    prompt = read_prompt(case.language, style, "doctor")
    return render(
        prompt, view=view, closing=closing, example=example, agenda=(), note="", manner=""
    )


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("case", LIBRARY, ids=lambda c: c.case_id)
def test_the_patients_prompt_holds_its_facts_and_no_diagnosis_or_finding(case, style):
    text = patient_prompt(case, style)
    stated = [fact.statement in text for fact in case.facts]
    assert all(stated) if style == "chat" else sum(stated) == 1
    assert first_mention(text, (case.diagnosis.name, *case.diagnosis.names)) is None
    assert not [f.result for f in case.findings if len(f.result) > 8 and f.result in text]
    assert case.disposition.advice not in text
    assert "must_ask" not in text


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("closing", [False, True])
@pytest.mark.parametrize("case", LIBRARY, ids=lambda c: c.case_id)
def test_the_doctors_prompt_holds_nothing_that_was_not_said(case, style, closing):
    example = worked_example(case, LIBRARY, 3)
    text = doctor_prompt(case, style, closing, example)
    unsaid = [case.complaint, case.history, case.diagnosis.name, case.disposition.advice]
    unsaid += [fact.statement for fact in case.facts]
    unsaid += [fact.answer for fact in case.facts[1:]]
    assert not [t for t in unsaid if t in text]


@pytest.mark.parametrize("style", STYLES)
def test_the_constant_part_of_a_prompt_comes_first(style):
    case = LIBRARY[0]
    example = worked_example(case, LIBRARY, 3)
    asking, closing = (doctor_prompt(case, style, last, example) for last in (False, True))
    same = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(asking, closing, strict=False))))
    assert same > 0.5 * len(asking)


@pytest.mark.parametrize("case", LIBRARY, ids=lambda c: c.case_id)
def test_a_fact_is_recalled_when_asked_for_and_hidden_ones_only_at_the_second_time(case):
    view = patient_view(case, read_personas()[0])
    for fact in case.facts:
        question = Message(role="assistant", content=fact.question)
        once = recall(view, (question,))
        twice = recall(view, (question, question))
        if fact.disclosure in ("asked_twice", "concealed"):
            assert once is None or once.statement != fact.statement
        asked_for = [f.statement for f in view.facts if first_mention(fact.question, f.asked_by)]
        assert twice is not None
        assert twice.statement == asked_for[0]


def test_a_patient_who_is_asked_nothing_known_tells_the_next_untold_fact_and_then_no_more():
    case = next(c for c in LIBRARY if c.facts[0].disclosure == "volunteered")
    view = patient_view(case, read_personas()[0])
    assert recall(view, ()).statement == case.facts[0].statement
    told = Message(role="user", content=case.facts[0].answer)
    assert recall(view, (told,)).statement != case.facts[0].statement
    every = tuple(Message(role="user", content=f.answer) for f in case.facts)
    assert recall(view, every) is None


@pytest.mark.parametrize("case", LIBRARY, ids=lambda c: c.case_id)
def test_the_view_names_no_field_that_only_the_case_may_know(case):
    fields = set(type(patient_view(case, read_personas()[0])).model_fields)
    assert not fields & {"diagnosis", "findings", "differential", "disposition", "must_ask"}


@pytest.mark.parametrize(
    ("years", "en", "zh"),
    [
        (0.13, "7 weeks old", "7周大"),
        (0.42, "5 months old", "5个月大"),
        (1.5, "18 months old", "18个月大"),
        (2, "2 years old", "2岁"),
    ],
)
def test_an_age_is_said_as_people_say_it_of_a_child_so_young(years, en, zh):
    for case in (LIBRARY[0], LIBRARY[-1]):
        patient = case.patient.model_copy(update={"age_years": years})
        view = patient_view(case.model_copy(update={"patient": patient}), read_personas()[0])
        assert view.age == (en if case.language == "en" else zh)
