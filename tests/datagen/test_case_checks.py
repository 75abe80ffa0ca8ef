import pytest
from pydantic import ValidationError

from datagen.case_checks import Ground, check_case, faults_of
from datagen.case_drafts import Order, assemble, choose_example, draft_of
from datagen.case_duplicates import DuplicateSettings, KnownCases
from datagen.cases import Case
from datagen.grid import cell_of
from tests.datagen.conftest import LIBRARY, case_of


def names(case, ground=None):
    return [fault.name for fault in check_case(case, ground or Ground(cell=cell_of(case)))]


def with_fact(case, index=0, **values):
    facts = list(case.facts)
    facts[index] = facts[index].model_copy(update=values)
    return case.model_copy(update={"facts": tuple(facts)})


def urgent(language):
    return next(
        c for c in LIBRARY if c.language == language and c.disposition.urgency == "emergency"
    )


@pytest.mark.parametrize("case", LIBRARY, ids=lambda c: c.case_id)
def test_every_case_of_the_library_would_have_been_kept(case):
    assert names(case) == []


@pytest.mark.parametrize("case", LIBRARY, ids=lambda c: c.case_id)
def test_a_case_taken_apart_as_a_draft_is_put_together_again(case):
    order = Order(
        name="x",
        language=case.language,
        ground=Ground(cell=cell_of(case)),
        example=case,
        license=case.license,
    )
    made, faults = assemble(draft_of(case), order, "a-model")
    assert faults == ()
    assert made == case.model_copy(
        update={
            "case_id": made.case_id,
            "sources": ("drafted by a-model, not reviewed",),
            "reviewed": False,
        }
    )
    assert made.case_id.startswith(f"{case.language}-")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_an_emergency_without_a_red_flag_is_named(language):
    case = urgent(language)
    plain = tuple(fact.model_copy(update={"red_flag": False}) for fact in case.facts)
    assert names(case.model_copy(update={"facts": plain})) == ["no_red_flag"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_hidden_red_flag_that_nobody_must_ask_for_is_named(language):
    case = urgent(language)
    index = next(i for i, fact in enumerate(case.facts) if fact.red_flag)
    hidden = with_fact(case, index, must_ask=False, disclosure="concealed")
    assert names(hidden) == ["red_flag_unreachable"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_words_that_are_only_heard_as_part_of_others_or_denied_do_not_match(language):
    case = case_of(language)
    found = {
        "en": {"question": "Did the car crash?", "topic_words": ("rash",)},
        "zh": {"answer": "没有发烧。", "reveal_words": ("发烧",)},
    }
    assert "words_do_not_match" in names(with_fact(case, **found[language]))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_advice_that_depends_on_an_if_is_no_advice_to_act(language):
    case = urgent(language)
    word = case.disposition.action_words[0]
    advice = {"en": f"If it gets worse, {word}.", "zh": f"要是加重了，就{word}。"}[language]
    disposition = case.disposition.model_copy(update={"advice": advice})
    found = names(case.model_copy(update={"disposition": disposition}))
    assert {"words_do_not_match", "script_red_flag_not_acted_on"} <= set(found)


def test_text_in_another_language_is_named():
    english = case_of("zh").model_copy(update={"history": "Always healthy, takes no medicines."})
    assert names(english) == ["wrong_language"]
    chinese = with_fact(case_of("en"), statement="他已经痛了三天了。")
    assert names(chinese) == ["wrong_language"]


def test_a_case_made_of_a_note_may_fill_any_cell_that_there_is():
    case = case_of("en")
    note = " ".join(
        [case.complaint, case.opening, case.history]
        + [text for fact in case.facts for text in (fact.statement, fact.answer)]
    )
    assert names(case, Ground(note=note)) == []
    odd = case.model_copy(update={"specialty": "astrology"})
    assert names(odd, Ground(note=note)) == ["unknown_specialty"]
    grown = case.model_copy(
        update={
            "specialty": "paediatrics",
            "patient": case.patient.model_copy(update={"age_years": 40}),
        }
    )
    assert names(grown, Ground(note=note)) == ["impossible_cell"]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda v: v["facts"][1].update(fact_id=v["facts"][0]["fact_id"]), "fact_twice"),
        (lambda v: [f.update(must_ask=False) for f in v["facts"]], "no_must_ask"),
        (lambda v: v["diagnosis"].update(names=[v["facts"][0]["answer"]]), "diagnosis_named"),
        (
            lambda v: v["facts"][0].update(contradiction_words=[v["facts"][0]["answer"]]),
            "contradicts_itself",
        ),
        (lambda v: v["facts"][0].update(topic_words=["zebra {x}"]), "words_do_not_match"),
        (lambda v: v.update(title=" "), "schema"),
    ],
)
def test_what_a_case_itself_refuses_has_a_name(change, fault):
    values = case_of("en").model_dump(mode="json")
    change(values)
    with pytest.raises(ValidationError) as caught:
        Case.model_validate(values)
    (found,) = faults_of(caught.value)
    assert found.name == fault


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_case_that_says_again_what_another_says_is_found(language):
    case = case_of(language)
    settings = DuplicateSettings()
    known = KnownCases([case], settings)
    other = next(c for c in LIBRARY if c.language == language and c.case_id != case.case_id)
    assert known.repeated_by(other) is None
    opening = other.model_copy(update={"opening": case.opening.replace("，", "、") + " "})
    assert known.repeated_by(opening) == f"the opening of {case.case_id}"
    facts = other.model_copy(update={"specialty": case.specialty, "facts": case.facts[:6]})
    assert known.repeated_by(facts) == f"the facts of {case.case_id}"
    cell = other.model_copy(
        update={
            "specialty": case.specialty,
            "patient": case.patient,
            "disposition": case.disposition,
            "diagnosis": case.diagnosis,
        }
    )
    assert known.repeated_by(cell) == f"the diagnosis in the same cell of {case.case_id}"


def test_what_the_library_says_in_one_language_is_new_in_the_other():
    case = case_of("en")
    assert (
        KnownCases([case], DuplicateSettings()).repeated_by(
            case.model_copy(update={"language": "zh"})
        )
        is None
    )


def test_the_library_repeats_nothing():
    known = KnownCases([], DuplicateSettings())
    for case in LIBRARY:
        assert known.repeated_by(case) is None, case.case_id
        known.add(case)


def test_the_example_is_the_nearest_case_of_the_language():
    case = case_of("zh")
    assert choose_example(LIBRARY, "zh", cell_of(case)) == case
    assert choose_example(LIBRARY, "en", cell_of(case)).language == "en"
    shortest = choose_example(tuple(reversed(LIBRARY)), "en", None)
    assert shortest == choose_example(LIBRARY, "en", None)
