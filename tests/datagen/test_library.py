"""The case library as a whole, and each of its cases, in both languages."""

from collections import Counter
from itertools import combinations
from typing import Any

import pytest
import yaml

from datagen.agents import patient_view, recall
from datagen.cases import LIBRARY as FOLDER
from datagen.cases import CaseError, read_case
from datagen.personas import read_personas
from judging.claims import first_claimed, first_urged
from judging.wording import alike, first_mention
from tests.datagen.conftest import LIBRARY
from validation.schemas import Message

LANGUAGES = ("en", "zh")
CASES_A_LANGUAGE = 60
CASES_A_SPECIALTY = 2
CASES_AN_URGENCY = 8
CASES_AN_AGE_BAND = 6
SPECIALTIES = """cardiology, dermatology, emergency medicine, endocrinology, gastroenterology,
general practice, gynaecology, infectious disease, nephrology, neurology, obstetrics,
ophthalmology, orthopaedics, otolaryngology, paediatric surgery, paediatrics, psychiatry,
respiratory medicine, rheumatology, sleep medicine, urology, vascular medicine, haematology,
oncology, geriatrics, toxicology, dentistry, allergy""".replace("\n", " ").split(", ")
URGENCIES = ("emergency", "urgent", "soon", "routine", "self_care")
# Lower ends in years: infant, child, adolescent, adult, middle age, old age.
AGE_BANDS = {0: "infant", 1: "child", 12: "adolescent", 18: "adult", 40: "middle", 65: "older"}
# The likest openings of two real cases reach 0.64; two plain denials may be worded the same,
# but no two cases share two such facts.
ALIKE_OPENINGS = 0.75
ALIKE_STATEMENTS = 0.8
LARGEST_FILE_BYTES = 6 * 1024


def cases_in(language: str):
    return [case for case in LIBRARY if case.language == language]


def find_twins(cases) -> list[tuple[str, str]]:
    """Pairs of cases that open alike, or share more than one fact."""
    return [
        (one.case_id, other.case_id)
        for one, other in combinations(cases, 2)
        if alike(one.opening, other.opening, ALIKE_OPENINGS) or shared_facts(one, other) > 1
    ]


def shared_facts(one, other) -> int:
    return sum(
        alike(mine.statement, theirs.statement, ALIKE_STATEMENTS)
        for mine in one.facts
        for theirs in other.facts
    )


def age_band(years: float) -> str:
    return next(name for least, name in reversed(AGE_BANDS.items()) if years >= least)


@pytest.fixture
def broken(tmp_path):
    """Writes a case of the library with one change, and returns its path."""

    def write(change: Any, name: str = "en-chest-tightness-office") -> Any:
        document = yaml.safe_load((FOLDER / "en" / f"{name}.yaml").read_text(encoding="utf-8"))
        change(document)
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_library_holds_sixty_cases_a_language(language):
    assert len(cases_in(language)) >= CASES_A_LANGUAGE


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_specialty_is_met_twice_and_none_is_misspelt(language):
    met = Counter(case.specialty for case in cases_in(language))
    assert not set(met) - set(SPECIALTIES)
    assert not {s: met[s] for s in SPECIALTIES if met[s] < CASES_A_SPECIALTY}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_urgency_and_every_age_is_met_often(language):
    urgencies = Counter(case.disposition.urgency for case in cases_in(language))
    bands = Counter(age_band(case.patient.age_years) for case in cases_in(language))
    assert not {u: urgencies[u] for u in URGENCIES if urgencies[u] < CASES_AN_URGENCY}
    assert not {b: bands[b] for b in AGE_BANDS.values() if bands[b] < CASES_AN_AGE_BAND}


@pytest.mark.parametrize("language", LANGUAGES)
def test_both_sexes_are_met_about_equally_often(language):
    sexes = Counter(case.patient.sex for case in cases_in(language))
    assert 0.45 <= sexes["female"] / sexes.total() <= 0.55


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_cells_of_the_grid_are_spread(language):
    """No cell of specialty and urgency, and none of urgency, age and sex, is crowded."""
    cases = cases_in(language)
    narrow = Counter((c.specialty, c.disposition.urgency) for c in cases)
    wide = Counter(
        (c.disposition.urgency, age_band(c.patient.age_years), c.patient.sex) for c in cases
    )
    assert len(narrow) >= 0.65 * len(cases)
    assert max(narrow.values()) <= 4
    assert len(wide) >= 0.4 * len(cases)
    assert max(wide.values()) <= 6


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_disclosures_and_the_treatments_are_all_in_use(language):
    cases = cases_in(language)
    ways = Counter(fact.disclosure for case in cases for fact in case.facts)
    hidden = [
        c for c in cases if any(f.disclosure in ("asked_twice", "concealed") for f in c.facts)
    ]
    flagged = [c for c in cases if any(f.red_flag for f in c.facts)]
    assert set(ways) == {"volunteered", "asked", "asked_twice", "concealed"}
    assert len(hidden) >= 0.9 * len(cases)
    assert len(flagged) >= 0.5 * len(cases)
    assert sum(bool(case.treatments) for case in cases) >= 0.2 * len(cases)


@pytest.mark.parametrize("case", LIBRARY, ids=lambda c: c.case_id)
def test_every_red_flag_comes_out_after_at_most_two_questions(case):
    view = patient_view(case, read_personas()[0])
    for fact in (f for f in case.facts if f.red_flag or f.must_ask):
        asked = [Message(role="assistant", content=fact.question)] * 2
        known = {(k.statement if (k := recall(view, tuple(asked[:n]))) else "") for n in (1, 2)}
        assert first_mention(fact.question, fact.topic_words)
        assert fact.statement in known, fact.fact_id
        assert first_claimed(fact.answer, fact.reveal_words), fact.fact_id


@pytest.mark.parametrize("case", LIBRARY, ids=lambda c: c.case_id)
def test_no_fact_and_no_word_of_the_patient_names_the_diagnosis(case):
    known = [case.complaint, case.opening, case.history]
    for fact in case.facts:
        known += [fact.statement, fact.answer]
    names = (case.diagnosis.name, *case.diagnosis.names)
    assert not [text for text in known if first_mention(text, names)]


@pytest.mark.parametrize("case", LIBRARY, ids=lambda c: c.case_id)
def test_an_opening_tells_no_red_flag_before_it_is_asked_for(case):
    flags = [word for fact in case.facts if fact.red_flag for word in fact.reveal_words]
    assert first_mention(case.opening, flags) is None


@pytest.mark.parametrize("case", LIBRARY, ids=lambda c: c.case_id)
def test_the_patient_contradicts_no_fact_of_the_own_case(case):
    told = [case.opening, case.history, *(fact.answer for fact in case.facts)]
    phrases = [phrase for fact in case.facts for phrase in fact.contradiction_words]
    assert not [(text, p) for text in told if (p := first_claimed(text, phrases))]


@pytest.mark.parametrize("case", LIBRARY, ids=lambda c: c.case_id)
def test_the_action_that_is_due_is_urged_whatever_the_urgency(case):
    assert first_urged(case.disposition.advice, case.disposition.action_words)


@pytest.mark.parametrize("case", LIBRARY, ids=lambda c: c.case_id)
def test_a_treatment_is_a_dose_within_the_range_of_its_source(case):
    for drug in case.treatments:
        assert drug.least_dose <= drug.dose <= drug.most_dose <= drug.most_a_day
        assert drug.dose * drug.doses_a_day <= drug.most_a_day * (1 + 1e-9)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dose": 900.0}, "outside its range"),
        ({"dose": 75.0}, "outside its range"),
        ({"doses_a_day": 4.0}, "a day is more"),
        ({"unit": "tablet"}, "treatments"),
        ({"source": " "}, "treatments"),
    ],
)
def test_a_case_is_refused_whose_dose_leaves_its_range_or_names_no_source(broken, change, said):
    aspirin = {
        "drug": "Aspirin",
        "dose": 300.0,
        "unit": "mg",
        "route": "oral",
        "doses_a_day": 1.0,
        "least_dose": 300.0,
        "most_dose": 300.0,
        "most_a_day": 300.0,
        "source": "NICE NG185",
    }
    assert read_case(broken(lambda d: d.update(treatments=[aspirin]))).treatments
    with pytest.raises(CaseError, match=said):
        read_case(broken(lambda d: d.update(treatments=[aspirin | change])))


def test_a_case_is_refused_whose_patient_names_the_diagnosis(broken):
    with pytest.raises(CaseError, match="stands in what the patient knows"):
        read_case(broken(lambda d: d.update(opening="It is a heart attack, I just know it.")))


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_two_cases_are_alike(language):
    assert find_twins(cases_in(language)) == []


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("reworded", ["opening", "facts"])
def test_a_copy_with_other_words_at_its_edges_is_found_to_be_a_twin(language, reworded):
    case = cases_in(language)[-1]
    edge = {"en": "Well, doctor. ", "zh": "大夫，"}[language]
    facts = [f.model_copy(update={"statement": edge + f.statement}) for f in case.facts]
    fresh = {"en": "It began quite otherwise, long ago.", "zh": "这回完全是另外一件事情。"}[
        language
    ]
    change = {"opening": fresh, "facts": facts}
    if reworded == "opening":
        change = {"opening": edge + case.opening, "facts": case.facts[:1]}
    twin = case.model_copy(update={"case_id": f"{case.case_id}-twin", **change})
    assert find_twins([case, twin]) == [(case.case_id, twin.case_id)]


def test_the_files_of_the_library_are_small_and_bear_the_name_of_their_case():
    paths = sorted(FOLDER.glob("*/*.yaml"))
    assert not [path.name for path in paths if path.stat().st_size > LARGEST_FILE_BYTES]
    assert [path.stem for path in paths] == [case.case_id for case in LIBRARY]
