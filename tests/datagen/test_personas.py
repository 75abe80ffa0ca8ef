import json
import re
from collections import Counter

import pytest
from pydantic import ValidationError

from datagen.errors import PersonaError
from datagen.personas import (
    AXES,
    MIX,
    Axes,
    Persona,
    PersonaSettings,
    clinician_manner,
    composed_personas,
    draw_clinician,
    draw_persona,
    persona_files,
    read_own_personas,
    read_personas,
)
from validation.text import han_share, latin_share

COMPOSED = PersonaSettings(plain=0)
EVERY = (*read_personas(), *composed_personas())


def drawn(settings, number=600, case="en-x", **more):
    return [draw_persona(case, i, 0, settings, **more) for i in range(number)]


@pytest.mark.parametrize("persona", EVERY, ids=lambda p: p.persona_id)
def test_every_persona_is_worded_in_both_languages(persona):
    assert han_share(persona.manner["zh"]) == 1.0
    assert latin_share(persona.manner["en"]) == 1.0
    assert "  " not in persona.manner["en"]


def test_a_persona_id_says_the_value_of_each_axis_and_is_used_once():
    names = [persona.persona_id for persona in EVERY]
    assert len(set(names)) == len(names)
    for persona in composed_personas():
        axes = Axes.of(persona.persona_id)
        assert axes is not None
        assert axes.name == persona.persona_id
    assert Axes.of("chatty") is None
    assert Axes.of("a-b-c-d") is None


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("axis", AXES)
def test_each_value_of_an_axis_changes_the_manner_and_nothing_else(axis, language):
    texts = {p.persona_id: p.manner[language] for p in composed_personas()}
    base = dict(zip(AXES, ("neutral", "intermediate", "low", "normal"), strict=True))
    variants = {texts[Axes.model_validate(base | {axis: v}).name] for v in AXES[axis]}
    assert len(variants) == len(AXES[axis])


def test_contradictory_persons_are_left_out():
    axes = [Axes.of(p.persona_id) for p in composed_personas()]
    assert len(axes) == 45
    assert not [a for a in axes if a.confusion == "high" and a.recall == "high"]
    assert not [a for a in axes if a.confusion == "high" and a.proficiency == "advanced"]
    assert not [a for a in axes if a.personality == "verbose" and a.proficiency == "basic"]


def test_the_draw_is_the_same_for_the_same_talk_and_another_for_another():
    assert drawn(MIX, 50) == drawn(MIX, 50)
    assert drawn(MIX, 50) != drawn(MIX, 50, case="en-y")
    assert len({p.persona_id for p in drawn(MIX)}) > 40


def test_plain_and_composed_manners_come_about_equally_often_unless_weighed():
    plain = {p.persona_id for p in read_personas()}
    share = sum(p.persona_id in plain for p in drawn(MIX)) / 600
    assert 0.42 < share < 0.58
    assert not plain & {p.persona_id for p in drawn(COMPOSED)}
    assert {p.persona_id for p in drawn(PersonaSettings(composed=0))} == plain


def test_weights_of_an_axis_are_followed():
    settings = PersonaSettings(
        plain=0, personality={"distrustful": 8}, proficiency={"basic": 0, "advanced": 0}
    )
    axes = [Axes.of(p.persona_id) for p in drawn(settings)]
    assert {a.proficiency for a in axes} == {"intermediate"}
    found = Counter(a.personality for a in axes)
    assert found["distrustful"] > sum(found.values()) / 2 > found["neutral"] > 0


def test_whoever_speaks_for_another_is_clear_headed():
    assert {Axes.of(p.persona_id).confusion for p in drawn(COMPOSED)} == {"normal", "high"}
    mothers = drawn(COMPOSED, speaker="mother")
    assert {Axes.of(p.persona_id).confusion for p in mothers} == {"normal"}


@pytest.mark.parametrize(
    ("weights", "named"),
    [
        ({"plain": 0, "composed": 0}, "no persona is left"),
        ({"recall": {"low": 0, "high": 0}}, "every value of recall"),
        ({"files": ["a/own.jsonl", "b/own.jsonl"]}, "called the same"),
    ],
)
def test_settings_that_draw_nobody_or_are_ambiguous_are_refused(weights, named):
    with pytest.raises(ValidationError, match=named):
        PersonaSettings(**weights)


def own_file(folder, *rows):
    path = folder / "own.jsonl"
    path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows))
    return path


SLOW = {"persona_id": "slow", "manner": {"en": "You speak slowly."}}
NURSE = {"persona_id": "nurse", "manner": {"zh": "您是一名护士。"}, "seat": "clinician"}


def test_own_personas_are_drawn_in_their_language_and_seat_alone(tmp_path):
    own = PersonaSettings(plain=0, composed=0, files=(own_file(tmp_path, SLOW, NURSE),))
    assert {p.persona_id for p in drawn(own, 20)} == {"slow"}
    assert draw_clinician("zh-x", 0, 0, own) == Persona.model_validate(NURSE)
    assert draw_clinician("en-x", 0, 0, own) is None
    with pytest.raises(PersonaError, match="no persona that talks in 'zh'"):
        draw_persona("zh-x", 0, 0, own)
    assert persona_files(own)[-1] == own.files[0]


def test_the_doctor_is_told_who_it_is_only_where_a_persona_sits_in_its_seat():
    assert clinician_manner(Persona.model_validate(NURSE), "zh") == "您是一名护士。"
    assert clinician_manner(draw_clinician("zh-x", 0, 0), "zh") == ""


def test_a_clinicians_persona_takes_its_share_of_the_talks(tmp_path):
    files = (own_file(tmp_path, NURSE),)
    settings = PersonaSettings(clinician_share=0.3, files=files)
    seats = [draw_clinician("zh-x", index, 0, settings) for index in range(400)]
    assert 80 < sum(seat is not None for seat in seats) < 160
    none = settings.model_copy(update={"clinician_share": 0.0})
    assert draw_clinician("zh-x", 0, 0, none) is None
    assert "nurse" not in {p.persona_id for p in drawn(settings, 50, "zh-x")}


def test_a_changed_file_of_personas_is_read_anew(tmp_path):
    path = own_file(tmp_path, SLOW)
    own = PersonaSettings(plain=0, composed=0, files=(path,))
    assert draw_persona("en-x", 0, 0, own).persona_id == "slow"
    path.write_text(json.dumps(SLOW | {"persona_id": "slower"}))
    assert draw_persona("en-x", 0, 0, own).persona_id == "slower"


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ([{"persona_id": "x"}], r"own\.jsonl:1 is no persona: manner"),
        ([SLOW, {"system_prompt": "性格特点：急"}], r":2 .*`medfactory personas`"),
        ([SLOW, SLOW], r"used twice: \['slow'\]"),
        ([SLOW | {"persona_id": "plain"}], r"used twice: \['plain'\]"),
    ],
)
def test_a_bad_file_of_personas_is_named(tmp_path, rows, named):
    with pytest.raises(PersonaError, match=named):
        read_own_personas((own_file(tmp_path, *rows),))


def test_a_file_that_is_not_there_is_named_before_anything_is_made(tmp_path):
    with pytest.raises(PersonaError, match=re.escape(str(tmp_path / "none.jsonl"))):
        persona_files(PersonaSettings(files=(tmp_path / "none.jsonl",)))
