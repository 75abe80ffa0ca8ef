import pytest

from evaluation.comparison import compare
from evaluation.items import Item
from evaluation.scorecard import make_scorecard
from evaluation.scores import Range
from evaluation.wording import (
    change_range_text,
    change_text,
    number_text,
    range_text,
    read_words,
    sentence,
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
