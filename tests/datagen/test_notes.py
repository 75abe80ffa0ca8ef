import csv
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from artifacts.digest import digest_json
from datagen.case_growth import GrowSettings, build_growth, growth_key
from datagen.errors import NotesError
from datagen.files import read_cases
from datagen.grid import Cell
from datagen.notes import (
    Note,
    NotesFile,
    drug_names,
    not_in_the_note,
    numbers,
    read_notes,
)
from tests.datagen.conftest import case_of
from tests.datagen.teacher import Teacher, drafted
from tests.fake_llm import FakeLLM
from validation.schemas import Quarantined

REFERENCE = Path(__file__).parents[3] / "shared" / "data" / "mts-dialog"
LONG = "The patient has had trouble with the knee for eight years and takes Tylenol for it. " * 5


def notes_of(path, language="en", **more):
    return list(read_notes(NotesFile(path=path, **more), language))


def jsonl(folder, *rows):
    path = folder / "notes.jsonl"
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("She is twenty-six, fell 4 to 5 days ago", {26, 4, 5}),
        ("a temperature of 38.5 for ninety minutes", {38.5, 90}),
        ("half a tablet in eleven hours", {0.5, 11}),
        ("no number here, and often none", set()),
        ("烧了三天，体温38.5，二十五岁，咳了十来天", {3, 38.5, 25, 10}),
        ("喝了半杯，吐了两回", {0.5, 2}),
        ("一直一样", set()),
    ],
)
def test_numbers_are_read_in_digits_and_words_of_both_languages(text, found):
    assert numbers(text) == found


@pytest.mark.parametrize(
    ("text", "language", "found"),
    [
        (
            "Takes Lisinopril and aspirin, no amoxicillin",
            "en",
            {"lisinopril", "aspirin", "amoxicillin"},
        ),
        ("A person of that season, in April", "en", set()),
        ("吃过阿司匹林，对青霉素过敏", "zh", {"阿司匹林", "霉素"}),
        ("平时不吃药", "zh", set()),
    ],
)
def test_drugs_are_known_by_name_or_ending(text, language, found):
    assert drug_names(text, language) == found


@pytest.mark.parametrize("column", ["section_text", "note", "text"])
def test_notes_are_read_from_csv_and_jsonl_by_any_of_their_columns(tmp_path, column):
    path = tmp_path / "notes.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ["ID", column])
        writer.writeheader()
        writer.writerow({"ID": "0", column: LONG})
    assert notes_of(path) == [Note(text=LONG.strip(), origin="notes.csv:1")]
    assert notes_of(jsonl(tmp_path, {column: LONG}))[0].text == LONG.strip()


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("{", "not_json"),
        ([1], "no_text"),
        ({"title": LONG}, "no_text"),
        ({"text": "No known allergies."}, "note_too_short"),
        ({"text": "病人咳嗽" * 100}, "wrong_language"),
    ],
)
def test_a_row_that_is_no_usable_note_is_quarantined_by_name(tmp_path, row, fault):
    (found,) = notes_of(jsonl(tmp_path, row))
    assert isinstance(found, Quarantined)
    assert (found.fault, found.origin) == (fault, "notes.jsonl:1")


def test_the_same_note_again_is_a_duplicate(tmp_path):
    first, again = notes_of(jsonl(tmp_path, {"text": LONG}, {"note": f"  {LONG.upper()}"}))
    assert isinstance(first, Note)
    assert (again.fault, again.detail) == ("duplicate", "the same note as notes.jsonl:1")


@pytest.mark.parametrize(
    ("name", "told"), [("none.csv", "is not there"), ("notes.txt", r"\.csv, \.jsonl")]
)
def test_a_file_that_cannot_be_read_is_named_before_anything_is_bought(
    access, tmp_path, name, told
):
    (tmp_path / "notes.txt").write_text(LONG)
    settings = GrowSettings(notes=NotesFile(path=tmp_path / name))
    with pytest.raises(NotesError, match=told):
        growth_key(settings, access("http://127.0.0.1:9/v1"))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_case_tells_nothing_strange_to_a_note_that_says_it_all(language):
    case = case_of(language)
    whole = " ".join(
        [case.complaint, case.opening, case.history]
        + [text for fact in case.facts for text in (fact.statement, fact.answer)]
    )
    assert list(not_in_the_note(case, whole)) == []


@pytest.mark.parametrize(
    ("language", "statement", "strange"),
    [
        ("en", "She fell 17 days ago.", "'17'"),
        ("en", "She fell seventeen days ago.", "'17'"),
        ("en", "She takes warfarin.", "'warfarin'"),
        ("zh", "她十七天前摔过。", "'17'"),
        ("zh", "她在吃华法林。", "'华法林'"),
    ],
)
def test_a_number_or_a_drug_that_the_note_lacks_is_named_with_its_place(
    language, statement, strange
):
    case = case_of(language)
    fact = case.facts[0].model_copy(update={"statement": statement})
    case = case.model_copy(update={"facts": (fact,)})
    note = " ".join([case.complaint, case.opening, case.history, fact.answer])
    (fault,) = not_in_the_note(case, note)
    assert fault.name == "not_in_the_note"
    assert fault.detail == f"facts.{fact.fact_id}: {strange} does not stand in the note"


@pytest.mark.parametrize(
    ("language", "who", "strange"),
    [
        ("en", "She is a 93-year-old woman.", ["patient.age_years"]),
        ("en", "A nine-year-old seen today with her mother and his father", []),
        ("en", "He came alone; his knee", ["patient.sex"]),
        ("en", "The patient came alone", []),
        ("zh", "患者男，三个月前", ["patient.sex"]),
        ("zh", "患者，93岁", ["patient.age_years"]),
        ("zh", "患者女", []),
    ],
)
def test_another_patient_than_the_notes_is_named(language, who, strange):
    found = [fault.detail.split(":")[0] for fault in not_in_the_note(drafted_case(language), who)]
    assert [place for place in found if place.startswith("patient.")] == strange


def drafted_case(language):
    """A woman of 30 years."""
    case = case_of(language)
    patient = case.patient.model_copy(update={"age_years": 30, "sex": "female"})
    return case.model_copy(update={"patient": patient})


class NoteTeacher(Teacher):
    """Drafts for any note the library's case of a fixed cell; what it tells are its own words."""

    cell = Cell(specialty="rheumatology", urgency="routine", age_band="middle", sex="female")

    def draft(self, prompt):
        return drafted("en", self.cell)


def told_by(draft):
    texts = [draft["truth"]["complaint"], draft["truth"]["history"], draft["wording"]["opening"]]
    for fact in draft["wording"]["facts"]:
        texts += [fact["statement"], fact["answer"]]
    return " ".join(texts)


def test_a_note_becomes_a_case_that_names_its_source_and_licence(access, workspace, tmp_path):
    place = workspace()
    note = told_by(drafted("en", NoteTeacher.cell))
    path = jsonl(tmp_path, {"text": "Short."}, {"text": note}, {"text": LONG})
    notes = NotesFile(path=path, license="CC BY 4.0", source="The notes")
    with FakeLLM(NoteTeacher()) as server:
        built = build_growth(GrowSettings(rows=1, notes=notes), access(server.base_url), place)
        prompts = [r.body["messages"][0]["content"] for r in server.requests]
    assert built.counts == {"rows_in": 2, "accepted": 1, "quarantined": 1}
    assert built.summary["failed"] == {"note_too_short": 1}
    (case,) = read_cases(place.out).values()
    assert case.license == "CC BY 4.0"
    assert case.sources == ("The notes, notes.jsonl:2", "drafted by fake, not reviewed")
    assert len(prompts) == 2
    assert all(f"<note>\n{note}\n</note>" in prompt for prompt in prompts)


def test_a_draft_that_tells_more_than_its_note_is_quarantined(access, workspace, tmp_path):
    place = workspace()
    notes = NotesFile(path=jsonl(tmp_path, {"text": LONG}))
    with FakeLLM(NoteTeacher()) as server:
        built = build_growth(GrowSettings(notes=notes), access(server.base_url), place)
    assert built.summary["failed"] == {"not_in_the_note": 1}


@pytest.mark.reference
@pytest.mark.skipif(not REFERENCE.is_dir(), reason="the reference data is not there")
def test_every_row_of_the_reference_notes_is_a_note_or_named():
    seen = Counter()
    for path in sorted(REFERENCE.glob("*.csv")):
        seen.update(row.fault if isinstance(row, Quarantined) else "note" for row in notes_of(path))
    assert seen == {"note": 350, "note_too_short": 1144, "duplicate": 7}


@pytest.mark.reference
@pytest.mark.skipif(not REFERENCE.is_dir(), reason="the reference data is not there")
def test_reference_notes_become_cases_or_named_rows(access, workspace):
    place = workspace()
    path = REFERENCE / "MTS-Dialog-ValidationSet.csv"
    notes = NotesFile(path=path, license="CC BY 4.0", source="MTS-Dialog")
    with FakeLLM(FromSentences()) as server:
        built = build_growth(GrowSettings(rows=20, notes=notes), access(server.base_url), place)
    assert built.counts["rows_in"] == built.counts["accepted"] + built.counts["quarantined"]
    cases = read_cases(place.out).values()
    assert len(cases) == 8
    assert set(built.summary["failed"]) == {
        "endpoint_schema_mismatch",  # fewer than five sentences make no five facts
        "note_too_short",
        "script_loop",
        "words_do_not_match",
    }
    for case in cases:
        assert case.license == "CC BY 4.0"
        assert case.sources[0].startswith("MTS-Dialog, MTS-Dialog-ValidationSet.csv:")


class FromSentences(NoteTeacher):
    """Makes a note's sentences the facts, as an honest teacher would, without any model."""

    def draft(self, prompt):
        note = prompt.split("<note>\n")[1].split("\n</note>")[0]
        said = [s.strip() for s in note.replace("\n", " ").split(".") if 3 < len(s.split()) < 30]
        draft = drafted("en", self.cell)
        draft["truth"] |= {"complaint": said[0], "history": said[0], "title": said[0]}
        name = f"Q{digest_json(note)[:8]}"
        draft["truth"]["diagnosis"] = {"name": name, "names": [name]}
        draft["wording"]["opening"] = f"{said[0]}."
        age = re.search(r"(\d+)[- ]year[- ]old", note)
        man = re.search(r"\b(?:he|his|male|mr)\b", note.lower())
        patient = {"age_years": float(age[1]) if age else 50, "sex": "male" if man else "female"}
        draft["truth"]["patient"] |= patient
        template = draft["wording"]["facts"][0]
        draft["wording"]["facts"] = [
            template
            | {
                "fact_id": f"fact_{chr(97 + i)}",
                "statement": f"{text}.",
                "question": f"What about {' and '.join(text.split()[-2:])}?",
                "answer": f"{text}.",
                "topic_words": ["what about"],
                "reveal_words": [" ".join(text.split()[:3]).lower()],
                "contradiction_words": [],
            }
            for i, text in enumerate(said[1:9])
        ]
        return draft
