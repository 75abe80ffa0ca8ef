import json
from collections import Counter
from pathlib import Path

import pytest

from datagen.errors import PersonaError
from datagen.role_seeds import import_role_seeds, read_seed
from validation.schemas import Quarantined

REFERENCE = Path(__file__).parents[3] / "shared" / "data" / "medicalgpt"
PATIENT = (
    "孙大爷\n**性别**：男\n**年龄**：70岁\n**性格特点**：倔强，爱抬杠。\n"
    "**病情描述**：患有糖尿病。\n**特点**：孙大爷不太信医生的话。他血糖一直高。"
)
NURSE = (
    "你是周宁\n**职业**：护士\n**性格特点**：你开朗，有耐心。\n"
    "**语言特点**：说话简短，比如“好嘞”。语气轻快。"
)
ENGLISH = (
    "You are Ann, a nurse.\nOccupation: nurse\nPersonality: Warm and patient.\n"
    "Speech style: Short sentences. She says “dear” (smiles).\nBackground: Ten years in surgery."
)


def imported(folder, *lines):
    path = folder / "seeds.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return list(import_role_seeds(path))


def seed(text):
    return json.dumps({"system_prompt": text}, ensure_ascii=False)


def test_of_a_patients_seed_the_manner_is_kept_and_person_and_illness_left_out():
    persona = read_seed(PATIENT, "x")
    assert persona.seat == "patient"
    assert persona.manner == {"zh": "为人：倔强，爱抬杠。您不太信医生的话。"}


def test_a_nurse_takes_the_clinicians_seat():
    persona = read_seed(NURSE, "x")
    assert persona.seat == "clinician"
    assert persona.manner["zh"].startswith("您是一名护士")
    assert persona.manner["zh"].endswith("为人：您开朗，有耐心。说话：语气轻快。")


def test_a_patient_who_is_a_nurse_by_profession_stays_a_patient():
    persona = read_seed("职业：护士\n健康状况：高血压\n特点：爱刨根问底。", "x")
    assert (persona.seat, persona.manner["zh"]) == ("patient", "为人：爱刨根问底。")


def test_an_english_seed_becomes_an_english_manner():
    persona = read_seed(ENGLISH, "x")
    assert persona.seat == "clinician"
    assert persona.manner["en"].endswith(
        "By nature: Warm and patient. In speech: Short sentences. She says."
    )


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "not_json"),
        ("[]", "unknown_layout"),
        ('{"prompt": "性格特点：急"}', "unknown_layout"),
        (seed("  "), "unknown_layout"),
        (seed("一个总是着急的病人。"), "no_parts"),
        (seed("姓名：王某\n特点：腰疼得直不起身。"), "no_manner"),
    ],
)
def test_a_line_that_is_no_usable_seed_is_quarantined_by_name(tmp_path, line, fault):
    (row,) = imported(tmp_path, line)
    assert isinstance(row, Quarantined)
    assert (row.fault, row.raw, row.origin) == (fault, line, "seeds.jsonl:1")


def test_the_same_manner_again_is_a_duplicate(tmp_path):
    first, again = imported(tmp_path, seed(PATIENT), seed(PATIENT.replace("孙大爷", "马大爷")))
    assert first.persona_id == "seeds-1"
    assert again.fault == "duplicate"
    assert "seeds-1" in again.detail


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(PersonaError, match="none"):
        list(import_role_seeds(tmp_path / "none.jsonl"))


@pytest.mark.reference
@pytest.mark.skipif(not REFERENCE.is_dir(), reason="the reference data is not there")
@pytest.mark.parametrize(
    ("name", "seat", "kept", "fell"),
    [
        ("seed_patient_role", "patient", 43, {"no_manner": 52}),
        ("seed_nurse_role", "clinician", 62, {"duplicate": 3, "no_manner": 1}),
    ],
)
def test_every_row_of_the_reference_files_is_a_persona_or_named(name, seat, kept, fell):
    rows = list(import_role_seeds(REFERENCE / f"{name}.jsonl"))
    personas = [row for row in rows if not isinstance(row, Quarantined)]
    assert {persona.seat for persona in personas} == {seat}
    assert len(personas) == kept
    assert Counter(row.fault for row in rows if isinstance(row, Quarantined)) == fell
