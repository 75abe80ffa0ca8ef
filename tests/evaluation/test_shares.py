import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.errors import NotEnoughData
from evaluation.shares import (
    clustered_wilson_interval,
    effective_items,
    least_detectable_share,
    mcnemar_p,
    paired_interval,
    wilson_interval,
)

Z = 1.959963984540054
CHANGED = st.integers(1, 30).flatmap(
    lambda n: st.tuples(st.integers(0, n), st.just(n)).flatmap(
        lambda pair: st.tuples(st.just(pair[0]), st.integers(0, n - pair[0]), st.just(n))
    )
)


def test_wilson_is_that_of_the_textbook():
    # Newcombe 1998, table I: 81/263 and 0/20.
    interval = wilson_interval(81, 263)
    assert (interval.low, interval.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    interval = wilson_interval(0, 20)
    assert (interval.low, interval.high) == pytest.approx((0.0, 0.1611), abs=5e-5)


@settings(deadline=None)
@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_stays_between_0_and_1(counts):
    successes, total = counts
    interval = wilson_interval(successes, total)
    assert 0.0 <= interval.low <= successes / total <= interval.high <= 1.0


def test_a_share_of_nothing_raises():
    with pytest.raises(NotEnoughData):
        wilson_interval(0, 0)


def test_items_alone_in_their_clusters_count_in_full():
    values = [1.0, 0.0, 0.0, 1.0, 1.0]
    assert effective_items(values, list("abcde")) == pytest.approx(5)
    clustered, usual = clustered_wilson_interval(values, list("abcde")), wilson_interval(3, 5)
    assert (clustered.low, clustered.high) == pytest.approx((usual.low, usual.high))


def test_clusters_that_agree_within_count_once_each():
    # Four clusters of two: p(1 - p) / 7 = 1/28 against 4/3 * 4 / 64 = 1/12; 8 * 12/28 = 24/7.
    values, clusters = [1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0], list("aabbccdd")
    assert effective_items(values, clusters) == pytest.approx(24 / 7)
    wide, narrow = clustered_wilson_interval(values, clusters), wilson_interval(4, 8)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_clusters_never_add_items_and_one_cluster_counts_as_one():
    assert effective_items([1.0, 0.0, 1.0, 0.0], list("aabb")) == 4
    assert effective_items([1.0, 1.0, 0.0], list("aaa")) == 1
    assert effective_items([0.0] * 4, list("aabb")) == 4


def test_the_clustered_interval_holds_the_share_where_items_go_together():
    import numpy as np

    # 10 topics of 8 questions, correlation 0.3; Wilson's of 80 items held it in 75 %.
    draw, hits, clusters = np.random.default_rng(0), 0, [str(i // 8) for i in range(80)]
    for _ in range(500):
        chances = draw.beta(0.3 * 7 / 3, 0.7 * 7 / 3, size=10)
        values = (draw.random(80) < np.repeat(chances, 8)).astype(float).tolist()
        hits += clustered_wilson_interval(values, clusters).holds(0.3)
    assert hits / 500 > 0.9


def test_mcnemar_is_the_binomial_worked_out_by_hand():
    # 2 * (C(10,0) + C(10,1)) / 2^10.
    assert mcnemar_p(9, 1) == pytest.approx(2 * 11 / 1024)
    assert mcnemar_p(1, 9) == mcnemar_p(9, 1)
    assert mcnemar_p(0, 0) == 1.0


def test_no_change_leaves_an_interval_and_not_a_point():
    # With no discordant item the score equation is n d^2 = z^2 d (1 - d).
    for items in (4, 80):
        edge = Z**2 / (items + Z**2)
        interval = paired_interval(0, 0, items)
        assert (interval.low, interval.high) == pytest.approx((-edge, edge), abs=1e-9)
    with pytest.raises(NotEnoughData):
        paired_interval(0, 0, 0)


def test_the_ends_are_where_the_score_test_just_rejects():
    from scipy import optimize

    gained, lost, items = 12, 2, 50
    for end in (
        paired_interval(gained, lost, items).low,
        paired_interval(gained, lost, items).high,
    ):

        def unlikelihood(lost_share, end=end):
            shares = (lost_share + end, lost_share, 1 - 2 * lost_share - end)
            counts = (gained, lost, items - gained - lost)
            return -sum(n * math.log(p) for n, p in zip(counts, shares, strict=True))

        bounds = (max(0.0, -end) + 1e-9, (1 - end) / 2 - 1e-9)
        best = optimize.minimize_scalar(
            unlikelihood, bounds=bounds, method="bounded", options={"xatol": 1e-10}
        ).x
        error = math.sqrt((2 * best + end - end**2) / items)
        assert abs((gained - lost) / items - end) / error == pytest.approx(Z, abs=1e-4)


@settings(deadline=None)
@given(CHANGED)
def test_the_paired_interval_holds_the_difference_and_turns_with_the_sign(counts):
    gained, lost, items = counts
    there, back = paired_interval(gained, lost, items), paired_interval(lost, gained, items)
    assert -1.0 <= there.low <= (gained - lost) / items <= there.high <= 1.0
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low), abs=1e-8)


@pytest.mark.parametrize(("discordant", "items"), [(0, 12), (3, 20), (8, 80)])
def test_the_least_detectable_share_is_found_four_times_in_five(discordant, items):
    from scipy import stats

    effect = least_detectable_share(discordant, items)
    rate = max(effect, discordant / items)
    chances = ((rate + effect) / 2, (rate - effect) / 2, 1 - rate)
    power = sum(
        stats.multinomial.pmf((gained, lost, items - gained - lost), items, chances)
        for gained in range(items + 1)
        for lost in range(items + 1 - gained)
        if gained > lost and mcnemar_p(gained, lost) <= 0.05
    )
    assert power == pytest.approx(0.8, abs=1e-3)


def test_too_few_items_can_show_no_difference_of_any_size():
    # All five gained: 2 / 2^5 = 0.0625; all six: 0.031, but 0.28 once counted nine times.
    assert least_detectable_share(0, 5) is None
    assert least_detectable_share(0, 6) < 1
    assert least_detectable_share(0, 6, alpha=0.05 / 9) is None
