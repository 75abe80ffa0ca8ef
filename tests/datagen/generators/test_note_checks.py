import pytest

from datagen.generators.note_checks import (
    drugs_named,
    invented_drug,
    invented_number,
    missing_section,
    numbers_said,
)


@pytest.mark.parametrize(
    ("talk", "numbers"),
    [
        ("It began three days ago, 38.5 at most.", {"3", "38.5"}),
        ("Twenty-five minutes, twice", {"25", "2"}),
        ("二十五分钟，两次，38.5度", {"25", "2", "38.5"}),
        ("十二个小时", {"12"}),
        ("三个半小时", {"3", ".5"}),
        ("一百二十", {"120"}),
    ],
)
def test_numbers_are_read_as_digits_and_as_words(talk, numbers):
    assert numbers <= numbers_said(talk)


def test_a_number_that_nobody_said_is_found_and_list_numbers_are_none():
    talk = "I have had it for three days, temperature 38.5."
    assert invented_number("Fever of 38.5 °C for 3 days.\n1. Rest\n2. Fluids", talk) is None
    assert invented_number("Wakes at 03:00, 0.5 h.", "I wake at three for half an hour") is None
    assert "39" in invented_number("Fever of 39 °C.", talk).detail
    assert invented_number("发热38.5度3天，最高39度", "烧了三天，38.5度").name == "invented_number"


@pytest.mark.parametrize(
    ("note", "language", "named"),
    [
        ("Takes ramipril, Metoprolol and warfarin.", "en", ["warfarin", "metoprolol"]),
        ("On omeprazole; no penicillin.", "en", ["omeprazole", "penicillin"]),
        ("服用阿托伐他汀和华法林。", "zh", ["华法林", "他汀"]),
    ],
)
def test_drugs_show_by_name_and_by_ending(note, language, named):
    found = drugs_named(
        note, language, ("warfarin", "华法林"), ("olol", "prazole", "cillin", "他汀")
    )
    assert found == named


def test_a_drug_that_nobody_named_is_found():
    names, endings = ("ibuprofen",), ("cillin",)
    assert invented_drug("No amoxicillin.", "I took amoxicillin", "en", names, endings) is None
    assert invented_drug("Took ibuprofen.", "a painkiller", "en", names, endings) is not None


def test_sections_must_stand_in_their_order_at_the_beginning_of_lines():
    sections = ("Subjective", "Plan")
    assert missing_section("Subjective: a\n**Plan**: b", sections) is None
    assert missing_section("Plan: b\nSubjective: a", sections) is not None
    assert missing_section("Subjective: the plan: b", sections) is not None
    assert missing_section("主诉：a\n现病史：b", ("主诉", "现病史")) is None
