import pytest

from evaluation.comparison import compare
from evaluation.items import Item
from evaluation.scorecard import make_scorecard
from evaluation.wording import read_words, sentence


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
