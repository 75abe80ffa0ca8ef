import random

import pytest

from judging.errors import NoFigure
from judging.length_bias import LengthDecisions


def decisions(rows):
    counted = LengthDecisions()
    for apart, winner in rows:
        counted.add(apart, winner)
    return counted.bias()


def test_nothing_decided_has_no_bias():
    with pytest.raises(NoFigure):
        LengthDecisions().bias()


def test_the_share_of_decisions_for_the_longer_answer_leaves_equal_lengths_out():
    found = decisions([(5, "one"), (-5, "other"), (-7, "one"), (0, "one"), (0, "other")])
    assert (found.longer.successes, found.longer.total) == (2, 3)
    assert (found.preferred.successes, found.preferred.total) == (3, 5)


def test_a_judge_that_goes_by_length_alone_prefers_neither_at_equal_length():
    rows = [(apart, "one" if apart > 0 else "other") for apart in (*range(-60, 0), *range(1, 181))]
    found = decisions(rows)
    assert found.longer.value == 1.0
    assert found.preferred.value == 0.75
    assert found.equal_length_interval.low < 0.5 < found.equal_length_interval.high
    assert found.per_spread_interval.low > 0.0


def test_a_judge_that_goes_by_merit_alone_keeps_its_preference_at_equal_length():
    dice = random.Random(0)
    rows = [(dice.randint(-50, 50), "one" if dice.random() < 0.8 else "other") for _ in range(2000)]
    found = decisions(rows)
    assert found.preferred_at_equal_length == pytest.approx(0.8, abs=0.03)
    assert found.per_spread_interval.low < 0.0 < found.per_spread_interval.high


def test_without_any_difference_in_length_the_two_shares_are_one():
    found = decisions([(0, "one")] * 30 + [(0, "other")] * 10)
    assert found.longer is None
    assert found.preferred_at_equal_length == pytest.approx(0.75, abs=0.001)
