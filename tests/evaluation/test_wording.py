import re
from pathlib import Path
from typing import get_args

import pytest
import yaml

from endpoints.errors import FaultName
from evaluation.comparison import compare
from evaluation.items import Item
from evaluation.scorecard import make_scorecard
from evaluation.scores import Range
from evaluation.wording import (
    change_range_text,
    change_text,
    headline,
    number_text,
    p_text,
    range_text,
    read_words,
    seconds_text,
    sentence,
)
from judging.doctor_turn import RULES
from judging.rubric_files import read_rubric
from tests.evaluation import factory
from validation.reading import TELLING_ORDER

ROOT = Path(__file__).parents[2]
FAULT_NAMED = re.compile(
    r"(?:Fault\(\s*name=|Unfit\(\s*|_unsound\(\s*|_quarantined\(\s*(?:self\.)?place, "
    r"|_not_ended_by\(.*, )\"(\w+)\""
)


def answers(values):
    return [
        Item(
            benchmark="preference",
            item_id=f"pair-{i}",
            cluster=f"case-{i}",
            language="en",
            metric="accuracy",
            value=float(value),
        )
        for i, value in enumerate(values)
    ]


@pytest.mark.parametrize(("language", "part"), [("en", "so few items"), ("zh", "条目太少")])
def test_four_items_are_said_to_show_no_difference_whatever_it_is(language, part):
    evaluations = {"base": answers([1, 0, 1, 0]), "dpo": answers([0, 1, 1, 0])}
    card = make_scorecard(evaluations, 0)
    (primary,) = [c for c in card.comparisons if c.primary]
    assert primary.minimum_detectable is None
    assert part in sentence(card, primary, read_words(language))


def test_eighty_items_say_how_large_a_difference_must_be():
    base = [i % 2 for i in range(80)]
    changed = [value if i % 20 else 1 - value for i, value in enumerate(base)]
    evaluations = {"base": answers(base), "dpo": answers(changed)}
    card = make_scorecard(evaluations, 0)
    (primary,) = [c for c in card.comparisons if c.primary]
    text = sentence(card, primary, read_words("en"))
    assert primary.minimum_detectable > primary.improvement
    assert f"{100 * primary.minimum_detectable:.1f} points" in text
    assert compare(evaluations, 0)


def test_a_difference_that_shows_no_digit_has_no_sign_and_its_interval_has_signs():
    card = make_scorecard({"base": answers([0, 1] * 20), "dpo": answers([1, 0] * 20)}, 0)
    (same,) = [c for c in card.comparisons if c.primary]
    words = read_words("en")
    assert change_text(same, -0.0004, words) == "0.0 points"
    assert change_text(same, -0.004, words) == "−0.4 points"
    assert same.interval.low < 0 < same.interval.high
    text = change_range_text(same, words)
    assert text.startswith("−")
    assert " to +" in text
    assert "-" not in text


def test_a_negative_margin_and_its_range_have_minus_signs():
    assert number_text("preference", "margin_nats", -0.5) == "−0.500"
    interval = Range(low=-1.745, high=-0.131)
    assert range_text("preference", "margin_nats", interval) == "−1.745 – −0.131"


def test_every_fault_that_rows_can_have_has_words_in_both_languages():
    told = set(TELLING_ORDER) | {rule.__name__ for rule in RULES}
    told |= {f"endpoint_{name}" for name in get_args(FaultName)}
    told |= {"bad_encoding", "email", "url", "phone_number", "length_balance"}
    told |= {criterion.name for criterion in read_rubric("doctor_turn").criteria}
    errors = yaml.safe_load((ROOT / "datagen/clinical_errors.yaml").read_text(encoding="utf-8"))
    told |= {error["name"] for error in errors["errors"]}
    for path in (*ROOT.glob("validation/*.py"), *ROOT.glob("datagen/**/*.py")):
        told |= set(FAULT_NAMED.findall(path.read_text(encoding="utf-8")))
    assert len(told) > 50
    for language in ("en", "zh"):
        assert told - set(read_words(language)["faults"]) == set()


def test_both_languages_have_the_same_words():
    def shape(value):
        return {k: shape(v) for k, v in value.items()} if isinstance(value, dict) else None

    english, chinese = read_words("en"), read_words("zh")
    assert shape(english) == shape(chinese)


def test_sentences_exist_for_every_verdict_in_both_languages():
    worse = {"base": factory.items(20, 2.0, 10, 20), "sft": factory.items(20, 3.0, 10, 0)}
    card = make_scorecard(worse)
    for language in ("en", "zh"):
        words = read_words(language)
        assert headline(card, words)
        said = [sentence(card, comparison, words) for comparison in card.comparisons]
        assert all("{" not in text and text for text in said)
    assert headline(card, read_words("en")) == (
        "sft against base: worse on 2 of 3 measures, no more than noise on 1."
    )


def test_figures_read_well():
    assert [seconds_text(s) for s in (0.42, 38.2, 245, 7800)] == [
        "0.4 s",
        "38 s",
        "4 min 05 s",
        "2 h 10 min",
    ]
    assert [p_text(p) for p in (None, 0.0004, 0.0449)] == ["–", "< 0.001", "0.045"]
