import pytest

from evaluation.control import control_groups, group_of, read_talks
from evaluation.errors import NotEnoughData
from tests.evaluation import factory


def test_a_group_counts_turns_characters_questions_and_talks_with_a_fault():
    talks = [
        factory.talk("en-0", "en", faults=["loop", "loop", "truncated"]),
        factory.talk("en-1", "en", faults=["loop"]),
    ]
    group = group_of(talks)
    said = len(factory.QUESTIONS["en"]) + len(factory.ADVICE["en"])
    assert (group.talks, group.doctor_turns, group.asking) == (2, 2.0, 0.5)
    assert group.doctor_characters == said / 2
    assert group.faults == {"loop": 2, "truncated": 1}
    assert group.sound == 0
    assert group_of([*talks, factory.talk("en-2", "en")]).sound == 1


def test_chinese_questions_are_questions():
    assert group_of([factory.talk("zh-0", "zh")]).asking == 0.5


def test_kept_are_those_of_the_generated_that_the_data_set_holds():
    made = [factory.talk(f"en-{i}", "en") for i in range(3)]
    groups = control_groups(
        made, [factory.talk("en-0", "en", source="scripted/1")], {made[1].record_id}
    )
    assert {name: group.talks for name, group in groups.items()} == {
        "generated": 3,
        "kept": 1,
        "scripted": 1,
    }


def test_a_group_without_talks_is_left_out_and_has_no_figures(tmp_path):
    assert control_groups([], [], set()) == {}
    assert read_talks(tmp_path / "conversations.jsonl") == []
    with pytest.raises(NotEnoughData):
        group_of([])
