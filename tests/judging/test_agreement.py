import pytest
from hypothesis import given
from hypothesis import strategies as st

from judging.agreement import Ratings, agreement, cohen_kappa, krippendorff_alpha, raw_agreement
from judging.errors import NoFigure

N = None
# Krippendorff 2011, section C and D: four observers, twelve units.
OBSERVERS = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3),
    (N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N),
)
PUBLISHED = Ratings(zip(*OBSERVERS, strict=True))
# 50 units: both yes 20, first yes 5, second yes 10, both no 15.
FIFTY = Ratings([("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15)


@pytest.mark.parametrize(
    ("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_alpha_is_that_of_krippendorffs_example(level, published):
    assert krippendorff_alpha(PUBLISHED, level) == pytest.approx(published, abs=0.0005)


def test_alpha_of_two_judges_is_as_worked_out_by_hand():
    # Krippendorff 2011, section A: 10 units, o = 4 of 20 disagree, n = (14, 6): 1 - 19 * 4 / 84.
    units = list(zip((0, 1, 0, 0, 0, 0, 0, 0, 1, 0), (1, 1, 1, 0, 0, 1, 0, 0, 0, 0), strict=True))
    assert krippendorff_alpha(Ratings(units)) == pytest.approx(1 - 19 * 8 / (2 * 14 * 6))


def test_kappa_is_as_worked_out_by_hand():
    # Observed 0.7; by chance 0.5 * 0.6 + 0.5 * 0.4 = 0.5.
    assert cohen_kappa(FIFTY) == pytest.approx(0.4)
    assert raw_agreement(FIFTY) == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("weights", "kappa"), [("none", 7 / 11), ("linear", 5 / 7), ("quadratic", 4 / 5)]
)
def test_weighted_kappa_is_as_worked_out_by_hand(weights, kappa):
    # Marginals (2, 1, 1) and (1, 2, 1); one unit of four is off, by one place. By chance 11/4
    # units would be off; 14/4 with places counted, 20/4 with their squares.
    units = Ratings([("low", "low"), ("low", "mid"), ("mid", "mid"), ("high", "high")])
    assert cohen_kappa(units, weights, ("low", "mid", "high")) == pytest.approx(kappa)


def test_only_units_that_two_judges_rated_count():
    ratings = Ratings([("a", "a", N), ("a", N, "b"), (N, N, "b"), ("b", "b", "b")])
    assert ratings.pair(0, 1).patterns == {("a", "a"): 1, ("b", "b"): 1}
    assert cohen_kappa(ratings.pair(0, 1)) == 1.0


@pytest.mark.parametrize("figure", [raw_agreement, cohen_kappa, krippendorff_alpha])
@pytest.mark.parametrize("units", [[], [("a", N)]])
def test_no_data_has_no_agreement(figure, units):
    with pytest.raises(NoFigure):
        figure(Ratings(units))


@pytest.mark.parametrize("figure", [cohen_kappa, krippendorff_alpha])
def test_judges_who_always_say_the_same_thing_have_no_figure_beyond_chance(figure):
    with pytest.raises(NoFigure, match="0 / 0"):
        figure(Ratings([("a", "a")] * 5))


def test_kappa_of_three_judges_is_refused():
    with pytest.raises(NoFigure, match="two judges"):
        cohen_kappa(Ratings([("a", "a", "b")]))


def test_the_interval_holds_the_figure_is_seeded_and_narrows_with_units():
    few = agreement(FIFTY, "kappa")
    assert few.interval.low < few.value < few.interval.high
    assert few == agreement(FIFTY, "kappa")
    many = Ratings()
    for pattern, count in FIFTY.patterns.items():
        many.patterns[pattern] = 100 * count
    wide, narrow = few.interval, agreement(many, "kappa").interval
    assert narrow.high - narrow.low < (wide.high - wide.low) / 5
    # Cohen 1960: the standard error is sqrt(0.7 * 0.3 / 50) / (1 - 0.5) = 0.130.
    assert wide.high - wide.low == pytest.approx(2 * 1.96 * 0.130, rel=0.1)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=30))
def test_alpha_is_never_above_one_and_ignores_the_order_of_units(units):
    try:
        value = krippendorff_alpha(Ratings(units), "interval")
    except NoFigure:
        assert len({rating for unit in units for rating in unit}) == 1
        return
    assert value <= 1.0 + 1e-9
    assert krippendorff_alpha(Ratings(units[::-1]), "interval") == pytest.approx(value)
