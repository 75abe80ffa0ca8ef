from collections import Counter

import pytest
import yaml

from evaluation.errors import QuestionError
from evaluation.questions import (
    FOLDER,
    LANGUAGES,
    questions_digest,
    read_questions,
    read_wordings,
)

SHIPPED = read_questions()


def row(**changes):
    known = {
        "question_id": "en-001",
        "topic": "triage",
        "question": "Where to?",
        "choices": ["Home", "Clinic", "Hospital", "Pharmacy"],
        "answer": 2,
        "explanation": "Because.",
        "source": "WHO",
    }
    return known | changes


def written(tmp_path, *rows, language="en"):
    text = yaml.safe_dump(list(rows), allow_unicode=True)
    (tmp_path / f"{language}.yaml").write_text(text, encoding="utf-8")
    return tmp_path


def test_there_are_enough_questions_in_both_languages():
    languages = Counter(question.language for question in SHIPPED)
    assert len(SHIPPED) >= 60
    assert all(languages[language] >= 30 for language in LANGUAGES)


def test_no_identifier_and_no_question_stands_twice():
    assert len({q.question_id for q in SHIPPED}) == len(SHIPPED)
    assert len({q.question for q in SHIPPED}) == len(SHIPPED)


def test_every_question_has_four_choices_that_differ():
    assert all(len(set(question.choices)) == 4 for question in SHIPPED)


@pytest.mark.parametrize("language", LANGUAGES)
def test_right_answers_are_spread_over_the_places(language):
    places = Counter(q.answer for q in SHIPPED if q.language == language)
    total = sum(places.values())
    assert all(0.15 * total <= places[place] <= 0.35 * total for place in range(4))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_right_choice_is_not_told_by_its_length(language):
    own = [q for q in SHIPPED if q.language == language]
    right = [(len(q.choices[q.answer]), sorted(map(len, q.choices))) for q in own]
    assert sum(length == every[-1] for length, every in right) <= 0.4 * len(own)
    alone_shortest = sum(length < every[1] for length, every in right)
    assert 0.1 * len(own) <= alone_shortest <= 0.4 * len(own)


def test_a_question_is_put_in_its_own_language():
    wordings = read_wordings()
    english = next(q for q in SHIPPED if q.language == "en")
    chinese = next(q for q in SHIPPED if q.language == "zh")
    prompt, choices = wordings["en"].put(english)
    assert prompt == f"Question: {english.question}\nAnswer:"
    assert choices == tuple(f" {choice}" for choice in english.choices)
    prompt, choices = wordings["zh"].put(chinese)
    assert prompt == f"问题：{chinese.question}\n答案："
    assert choices == chinese.choices


def test_a_changed_question_changes_the_digest(tmp_path):
    for language in LANGUAGES:
        text = (FOLDER / f"{language}.yaml").read_text(encoding="utf-8")
        (tmp_path / f"{language}.yaml").write_text(text, encoding="utf-8")
    assert questions_digest(tmp_path) == questions_digest()
    (tmp_path / "zh.yaml").write_text(text + "\n# more\n", encoding="utf-8")
    assert questions_digest(tmp_path) != questions_digest()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"answer": 4}, "0.answer"),
        ({"choices": ["Home", "home ", "Hospital", "Clinic"]}, "two choices are the same"),
        ({"choices": ["Home", "Clinic"]}, "0.choices"),
        ({"topic": "gossip"}, "0.topic"),
        ({"anser": 1}, "0.anser"),
        ({"question_id": "zh-001"}, "do not begin with 'en'"),
    ],
)
def test_a_fault_in_a_file_is_named(tmp_path, change, named):
    folder = written(tmp_path, row(**change))
    with pytest.raises(QuestionError, match=r"en\.yaml") as raised:
        read_questions(("en",), folder)
    assert named in str(raised.value)


def test_an_identifier_used_twice_is_named(tmp_path):
    with pytest.raises(QuestionError, match="used twice.*en-001"):
        read_questions(("en",), written(tmp_path, row(), row(question="Where else?")))


def test_a_missing_file_and_broken_yaml_are_named(tmp_path):
    with pytest.raises(QuestionError, match=r"zh\.yaml cannot be read"):
        read_questions(("zh",), tmp_path)
    (tmp_path / "en.yaml").write_text("- [", encoding="utf-8")
    with pytest.raises(QuestionError, match="not YAML"):
        read_questions(("en",), tmp_path)
