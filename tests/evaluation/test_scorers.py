import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.loglikelihood import Score
from evaluation.errors import EmptyBenchmark
from evaluation.scorers import (
    implicit_reward_margin,
    nats_per_token,
    score_choice,
    score_pair,
)


def test_a_long_right_choice_wins_per_byte_though_not_by_sum():
    choices = ("abcdefgh", "ab", "cd", "ef")
    scores = [Score(-8.0, 4), Score(-4.0, 1), Score(-5.0, 1), Score(-6.0, 1)]
    result = score_choice(scores, choices, answer=0)
    assert result.right
    assert not result.right_by_sum
    assert result.logprobs_per_byte == (-1.0, -2.0, -2.5, -3.0)


def test_chinese_choices_are_weighed_by_their_bytes():
    scores = [Score(-6.0, 2), Score(-4.0, 1), Score(-9.0, 1), Score(-9.0, 1)]
    result = score_choice(scores, ("急诊", "120", "回家", "等待"), answer=0)
    assert result.logprobs_per_byte == pytest.approx((-1.0, -4 / 3, -1.5, -1.5))
    assert result.right


def test_a_tie_is_not_right():
    assert not score_choice([Score(-2.0, 1)] * 4, ("ab",) * 4, answer=1).right
    assert not score_pair(Score(-2.0, 2), Score(-1.0, 1)).preferred


@settings(deadline=None)
@given(st.lists(st.floats(-50, -0.1), min_size=4, max_size=4, unique=True))
def test_just_one_choice_of_four_can_be_right(logprobs):
    scores = [Score(value, 3) for value in logprobs]
    results = [score_choice(scores, ("abc", "def", "ghi", "jkl"), i) for i in range(4)]
    assert sum(result.right for result in results) <= 1
    assert sum(result.right_by_sum for result in results) == 1


def test_a_pair_is_weighed_per_token_and_by_sum():
    result = score_pair(chosen=Score(-6.0, 6), rejected=Score(-4.0, 2))
    assert result.preferred
    assert not result.preferred_by_sum
    assert (result.margin, result.margin_of_sums) == (1.0, -2.0)


def test_the_loss_is_nats_per_token_and_never_that_of_no_token():
    assert nats_per_token(Score(math.log(0.25) * 3, 3)) == pytest.approx(math.log(4))
    with pytest.raises(EmptyBenchmark):
        nats_per_token(Score(0.0, 0))


def test_the_implicit_reward_is_the_gain_over_the_base():
    # DPO at beta 0.1: rewards .1 * (-5 + 7) and .1 * (-9 + 8); margin .3 = .1 * 3.
    chosen, rejected = 0.1 * (-5 + 7), 0.1 * (-9 + 8)
    margin = implicit_reward_margin(-5 - -9, -7 - -8)
    assert 0.1 * margin == pytest.approx(chosen - rejected)
