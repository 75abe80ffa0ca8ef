import math
import statistics as standard

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.errors import NotEnoughData
from evaluation.statistics import (
    Interval,
    bootstrap_interval,
    clustered_standard_error,
    holm,
    least_sign_flip_p,
    mean,
    minimum_detectable_effect,
    sign_flip_p,
    t_interval,
    t_test_p,
    verdict,
)

VALUES = st.lists(st.floats(-5, 5), min_size=2, max_size=12)


def names(count):
    return [f"c{i}" for i in range(count)]


def test_a_mean_of_nothing_raises_and_is_not_zero():
    with pytest.raises(NotEnoughData):
        mean([])


@settings(deadline=None)
@given(VALUES)
def test_with_clusters_of_one_the_standard_error_is_the_usual_one(values):
    usual = standard.stdev(values) / math.sqrt(len(values))
    assert clustered_standard_error(values, names(len(values))) == pytest.approx(usual, abs=1e-9)


def test_copies_of_an_item_in_one_cluster_add_no_certainty():
    once = clustered_standard_error([0.0, 1.0, 2.0], ["a", "b", "c"])
    twice = clustered_standard_error([0.0, 0.0, 1.0, 1.0, 2.0, 2.0], list("aabbcc"))
    assert twice == pytest.approx(once)


def test_the_clustered_error_is_that_worked_out_by_hand():
    # mean 2; sums of deviations: a -2, b +2; sqrt(2 * (4 + 4)) / 4 = 1.
    assert clustered_standard_error([1.0, 1.0, 3.0, 3.0], list("aabb")) == pytest.approx(1.0)


def test_one_cluster_has_no_standard_error():
    with pytest.raises(NotEnoughData):
        clustered_standard_error([1.0, 2.0], ["a", "a"])


def test_the_t_interval_is_that_of_scipy():
    from scipy import stats

    values = [0.1, 0.4, 0.35, 0.8]
    wanted = stats.t.interval(0.95, 3, loc=mean(values), scale=stats.sem(values))
    found = t_interval(values, names(4))
    assert (found.low, found.high) == pytest.approx(wanted)


def test_the_t_test_is_that_of_scipy():
    from scipy import stats

    values = [0.1, 0.4, 0.35, 0.8]
    assert t_test_p(values, names(4)) == pytest.approx(stats.ttest_1samp(values, 0.0).pvalue)


def test_equal_differences_get_the_least_p_that_signs_can_give():
    assert t_test_p([0.5] * 4, names(4)) == 2 / 2**4
    assert t_test_p([0.0] * 4, names(4)) == 1.0


def test_differences_that_floats_alone_tell_apart_count_as_equal():
    losses = [2.3, 2.4, 2.5]
    assert t_test_p([loss - (loss - 0.3) for loss in losses], names(3)) == 2 / 2**3


def test_the_bootstrap_is_the_same_for_the_same_seed_and_holds_the_mean():
    values = [0.1, 0.4, 0.35, 0.8, -0.2, 0.3]
    first = bootstrap_interval(values, names(6), seed=3)
    assert first == bootstrap_interval(values, names(6), seed=3)
    assert first.holds(mean(values))


def test_draws_in_pieces_are_those_of_one_piece(monkeypatch):
    values = [math.sin(i) for i in range(40)]
    whole = bootstrap_interval(values, names(40)), sign_flip_p(values, names(40))
    monkeypatch.setattr("evaluation.statistics.DRAWN_AT_ONCE", 1_000)
    assert (bootstrap_interval(values, names(40)), sign_flip_p(values, names(40))) == whole


def test_the_bootstrap_of_two_values_reaches_both():
    interval = bootstrap_interval([0.0, 1.0], ["a", "b"])
    assert (interval.low, interval.high) == (0.0, 1.0)


def test_the_bootstrap_of_ten_clusters_is_as_wide_as_the_t_interval():
    # Plain percentiles would have 0.82 of its width.
    values = [standard.NormalDist().inv_cdf((i + 0.5) / 10) for i in range(10)]
    drawn, by_t = bootstrap_interval(values, names(10)), t_interval(values, names(10))
    assert drawn.high - drawn.low == pytest.approx(by_t.high - by_t.low, rel=0.05)


def test_the_bootstrap_comes_near_the_normal_interval_of_many_values():
    values = [math.sin(i * 12.9898) for i in range(400)]
    error = clustered_standard_error(values, names(400))
    interval = bootstrap_interval(values, names(400))
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * error, rel=0.05)


@settings(deadline=None)
@given(VALUES, st.integers(0, 3))
def test_the_bootstrap_turns_with_the_sign(values, seed):
    clusters = names(len(values))
    there = bootstrap_interval(values, clusters, seed, resamples=200)
    back = bootstrap_interval([-v for v in values], clusters, seed, resamples=200)
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low), abs=1e-9)


def test_the_sign_flip_test_counts_all_flips():
    # Of the 8 signed sums of 1, 2, 3 only +6 and -6 reach 6.
    assert sign_flip_p([1.0, 2.0, 3.0], names(3)) == 2 / 8
    # 3 + 2 - 1 = 4: the sums 6, 4 and their mirrors reach it.
    assert sign_flip_p([-1.0, 2.0, 3.0], names(3)) == 4 / 8


def test_the_sign_flip_test_flips_clusters_not_items():
    assert sign_flip_p([1.0] * 30, ["a"] * 15 + ["b"] * 15) == 2 / 4


def test_many_clusters_are_drawn_and_never_give_p_0():
    p_value = sign_flip_p([1.0] * 40, names(40))
    assert p_value == pytest.approx(1 / 10_001)
    assert sign_flip_p([1.0] * 40, names(40)) == p_value


@pytest.mark.parametrize("clusters", [5, 10, 16, 40])
def test_the_least_p_of_signs_is_that_of_differences_which_all_agree(clusters):
    assert sign_flip_p([1.0] * clusters, names(clusters)) == least_sign_flip_p(clusters)


@settings(deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=8))
def test_the_sign_flip_test_does_not_care_which_model_came_first(values):
    clusters = names(len(values))
    assert sign_flip_p(values, clusters) == sign_flip_p([-v for v in values], clusters)


def test_holm_is_that_of_the_textbook():
    # 4 * .005, 3 * .01, 2 * .03, then no less than the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_never_lowers_a_p_and_keeps_their_order(values):
    adjusted = holm(values)
    assert all(a >= p for a, p in zip(adjusted, values, strict=True))
    assert all(a <= 1 for a in adjusted)
    order = sorted(range(len(values)), key=lambda i: values[i])
    ranked = [adjusted[i] for i in order]
    assert ranked == sorted(ranked)


def test_the_least_detectable_effect_of_many_clusters_is_2_8_standard_errors():
    assert minimum_detectable_effect(1.0, 100_000) == pytest.approx(1.95996 + 0.84162, abs=1e-3)
    with pytest.raises(NotEnoughData):
        minimum_detectable_effect(1.0, 1)


@pytest.mark.parametrize("clusters", [2, 3, 6, 10])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 9])
def test_the_least_detectable_effect_is_found_four_times_in_five(clusters, alpha):
    import numpy as np
    from scipy import stats

    effect = minimum_detectable_effect(1.0, clusters, alpha)
    draw, degrees = np.random.default_rng(0), clusters - 1
    spread = np.sqrt(draw.chisquare(degrees, 200_000) / degrees)
    found = draw.normal(effect, size=200_000) / spread > stats.t.isf(alpha / 2, degrees)
    assert found.mean() == pytest.approx(0.8, abs=0.005)


def test_a_verdict_needs_interval_and_p_to_agree():
    away, across = Interval(0.1, 0.3), Interval(-0.1, 0.3)
    assert verdict(0.2, away, 0.01).label == "better"
    assert verdict(-0.2, Interval(-0.3, -0.1), 0.01).label == "worse"
    assert verdict(0.2, across, 0.01).reason == "interval_holds_zero"
    assert verdict(0.2, away, 0.06).reason == "chance_not_excluded"
    assert verdict(0.2, None, None).reason == "too_few_clusters"
    assert {verdict(0.2, across, 0.01).label, verdict(0.2, away, 0.06).label} == {"noise"}
