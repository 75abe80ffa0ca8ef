import pytest
import yaml

from judging.doctor_turn import RULES
from judging.errors import RubricError
from judging.rubric_files import FOLDER, read_rubric

SHIPPED = sorted(path.stem for path in FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_rubric_is_whole_in_both_languages_with_good_and_bad_examples(name):
    rubric = read_rubric(name)
    assert rubric.name == name
    assert rubric.languages == ("en", "zh")
    for language in rubric.languages:
        assert {e.quality for e in rubric.examples if e.language == language} == {"good", "bad"}
    assert any(criterion.weight < 0 for criterion in rubric.criteria)


def test_the_four_rubrics_are_there_and_the_rules_are_those_of_the_file():
    assert {"doctor_turn", "whole_consultation", "single_answer", "safety_answer"} <= set(SHIPPED)
    ruled = read_rubric("doctor_turn").graded_by("rule")
    assert [criterion.name for criterion in ruled] == [rule.__name__ for rule in RULES]


def test_a_name_that_is_not_there_lists_those_that_are():
    with pytest.raises(RubricError, match="doctor_turn, safety_answer"):
        read_rubric("doctors_turn")


def good():
    return yaml.safe_load((FOLDER / "single_answer.yaml").read_text(encoding="utf-8"))


def drop_chinese(rubric):
    del rubric["criteria"][0]["describes"]["zh"]


BAD = {
    "lacks the language": drop_chinese,
    "weighs nothing": lambda r: r["criteria"][0].update(weight=0),
    "named twice": lambda r: r["criteria"].append(r["criteria"][0]),
    "all criteria are harms": lambda r: [c.update(weight=-1) for c in r["criteria"]],
    "exceed the scale's most": lambda r: r["examples"][0]["scores"].update(right=5),
    "are no criteria": lambda r: r["examples"][0]["scores"].update(rigth=1),
    "a good and a bad answer": lambda r: [e.update(quality="good") for e in r["examples"]],
    "what 0 and 4 mean": lambda r: r["scale"]["means"]["en"].pop(0),
    "not on the scale": lambda r: r["scale"]["means"]["en"].update({9: "more"}),
    "Extra inputs": lambda r: r.update(wieght=1),
    "String should match pattern": lambda r: r["criteria"][0].update(name="Right!"),
}


@pytest.mark.parametrize("says", BAD)
def test_a_bad_file_is_refused_with_its_name_and_what_is_wrong(tmp_path, says):
    rubric = good()
    BAD[says](rubric)
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(rubric, allow_unicode=True), encoding="utf-8")
    with pytest.raises(RubricError, match=says) as raised:
        read_rubric(str(path))
    assert str(path) in str(raised.value)
    assert "is an example" in str(raised.value)


@pytest.mark.parametrize("text", ["name: a\nname: b\n", "name: [", "just words"])
def test_what_is_no_mapping_of_single_keys_is_refused(tmp_path, text):
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RubricError, match=r"bad\.yaml"):
        read_rubric(str(path))
