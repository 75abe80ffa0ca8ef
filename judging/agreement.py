"""Agreement between judges: raw, Cohen's kappa, Krippendorff's alpha, with bootstrap intervals.

Every figure is worked out from a matrix of counts, categories by categories, that units (what
was judged) add up to; so a million units of few kinds take no more memory than those kinds.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from judging.errors import NoFigure
from judging.intervals import Interval
from validation.schemas import Frozen

if TYPE_CHECKING:
    import numpy as np

    Matrix = np.ndarray[Any, np.dtype[np.float64]]

Level = Literal["nominal", "ordinal", "interval"]
Weights = Literal["none", "linear", "quadratic"]
Rating = Hashable | None
RESAMPLES = 1000


class Agreement(Frozen):
    """A figure of agreement with its interval (None: too few units to resample)."""

    value: float
    interval: Interval | None
    units: int


class Ratings:
    """Counts units by what their judges said of them; a unit is one judged thing.

    The place of a rating in its unit is its judge's; None: this judge did not rate it.
    """

    def __init__(self, units: Iterable[Sequence[Rating]] = ()) -> None:
        self.patterns: Counter[tuple[Rating, ...]] = Counter()
        for unit in units:
            self.add(unit)

    def add(self, unit: Sequence[Rating]) -> None:
        """Count one unit."""
        self.patterns[tuple(unit)] += 1

    def pair(self, one: int, other: int) -> "Ratings":
        """The ratings of two judges alone, where both gave one."""
        paired = Ratings()
        for pattern, count in self.patterns.items():
            if len(pattern) > max(one, other) and None not in (pattern[one], pattern[other]):
                paired.patterns[pattern[one], pattern[other]] += count
        return paired


def raw_agreement(ratings: Ratings) -> float:
    """The share of pairs of ratings of one unit that are the same.

    Raises NoFigure where no unit has two ratings.
    """
    _, matrices, counts = _coincidences(ratings)
    return _agreeing(_added(matrices, counts))


def cohen_kappa(ratings: Ratings, weights: Weights = "none", order: Sequence[Any] = ()) -> float:
    """Agreement of two judges beyond chance (Cohen 1960; weighted, Cohen 1968).

    `order`: the categories from least to most, for weighted kappa (absent: sorted). Raises
    NoFigure where no unit was rated by both, where a unit has not two ratings, or where both
    always say the same one thing, so that chance alone would agree.
    """
    categories, matrices, counts = _confusions(ratings, order)
    return _kappa(_added(matrices, counts), _disagreement(len(categories), weights))


def krippendorff_alpha(ratings: Ratings, level: Level = "nominal") -> float:
    """Agreement of any number of judges beyond chance, ratings may be missing.

    Krippendorff 2011, "Computing Krippendorff's alpha-reliability". Ordinal categories are put
    in sorted order, interval ones are numbers. Raises NoFigure where no unit has two ratings, or
    where all ratings are the same.
    """
    categories, matrices, counts = _coincidences(ratings)
    return _alpha(_added(matrices, counts), categories, level)


def agreement(
    ratings: Ratings,
    figure: Literal["raw", "kappa", "alpha"],
    level: Level = "nominal",
    weights: Weights = "none",
    order: Sequence[Any] = (),
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Agreement:
    """A figure with its 95 % percentile bootstrap interval over units.

    Raises NoFigure as the figure itself does.
    """
    if figure == "kappa":
        categories, matrices, counts = _confusions(ratings, order)
        away = _disagreement(len(categories), weights)
        told: Callable[[Any], float] = lambda m: _kappa(m, away)  # noqa: E731
    else:
        categories, matrices, counts = _coincidences(ratings)
        told = _agreeing if figure == "raw" else lambda m: _alpha(m, categories, level)
    return Agreement(
        value=told(_added(matrices, counts)),
        interval=_bootstrap(told, matrices, counts, seed, resamples),
        units=int(counts.sum()),
    )


def _bootstrap(
    figure: Callable[["Matrix"], float],
    matrices: "Matrix",
    counts: "Matrix",
    seed: int,
    resamples: int,
) -> Interval | None:
    """Units drawn with replacement. Draws for which the figure is undefined are left out."""
    import numpy as np

    units = int(counts.sum())
    if units < 2:
        return None
    dice = np.random.default_rng(seed)
    found = []
    for _ in range(resamples):
        drawn = dice.multinomial(units, counts / units).astype(float)
        try:
            found.append(figure(_added(matrices, drawn)))
        except NoFigure:
            continue
    if not found:
        return None
    low, high = np.quantile(found, [0.025, 0.975])
    return Interval(low=float(low), high=float(high))


def _added(matrices: "Matrix", counts: "Matrix") -> "Matrix":
    """The matrix of all units: (kinds, C, C) and (kinds,) to (C, C)."""
    import numpy as np

    added: Matrix = np.tensordot(counts, matrices, axes=1)
    return added


def _coincidences(ratings: Ratings) -> tuple[list[Any], "Matrix", "Matrix"]:
    """Categories, each kind of unit's coincidences, how many units are of that kind."""
    import numpy as np

    rated = {
        pattern: count
        for pattern, count in ratings.patterns.items()
        if sum(value is not None for value in pattern) > 1
    }
    if not rated:
        raise NoFigure("no unit was rated twice, so there is no agreement to measure")
    categories = _sorted({value for pattern in rated for value in pattern if value is not None})
    place = {category: index for index, category in enumerate(categories)}
    matrices = np.zeros((len(rated), len(categories), len(categories)))
    for matrix, pattern in zip(matrices, rated, strict=True):
        values = [place[value] for value in pattern if value is not None]
        for i, one in enumerate(values):
            for j, other in enumerate(values):
                if i != j:
                    matrix[one, other] += 1 / (len(values) - 1)
    return categories, matrices, np.array(list(rated.values()), dtype=float)


def _confusions(ratings: Ratings, order: Sequence[Any]) -> tuple[list[Any], "Matrix", "Matrix"]:
    """As `_coincidences`, of two judges: rows are the first one's ratings."""
    import numpy as np

    if wrong := [pattern for pattern in ratings.patterns if len(pattern) != 2]:
        raise NoFigure(
            f"Cohen's kappa is of two judges, and a unit has {len(wrong[0])} ratings: take "
            "`Ratings.pair`, or Krippendorff's alpha"
        )
    rated = {p: count for p, count in ratings.patterns.items() if None not in p}
    if not rated:
        raise NoFigure("no unit was rated by both judges, so there is no agreement to measure")
    categories = list(order) or _sorted({value for pattern in rated for value in pattern})
    place = {category: index for index, category in enumerate(categories)}
    matrices = np.zeros((len(rated), len(categories), len(categories)))
    for matrix, (one, other) in zip(matrices, rated, strict=True):
        matrix[place[one], place[other]] = 1.0
    return categories, matrices, np.array(list(rated.values()), dtype=float)


def _sorted(values: Iterable[Any]) -> list[Any]:
    return sorted(values)


def _disagreement(categories: int, weights: Weights) -> "Matrix":
    """How far apart two categories count: (C, C), 0 on the diagonal."""
    import numpy as np

    places = np.arange(categories)
    apart = np.abs(places[:, None] - places[None, :]).astype(float)
    if weights == "none":
        apart = np.minimum(apart, 1.0)
    elif weights == "quadratic":
        apart = apart * apart
    away: Matrix = apart
    return away


def _kappa(confusion: "Matrix", away: "Matrix") -> float:
    total = float(confusion.sum())
    chance = confusion.sum(axis=1)[:, None] * confusion.sum(axis=0)[None, :] / total
    expected = float((away * chance).sum())
    if expected == 0.0:
        raise NoFigure("both judges always say the same one thing: kappa is 0 / 0")
    return 1.0 - float((away * confusion).sum()) / expected


def _agreeing(coincidence: "Matrix") -> float:
    return float(coincidence.trace() / coincidence.sum())


def _alpha(coincidence: "Matrix", categories: Sequence[Any], level: Level) -> float:
    import numpy as np

    marginals = coincidence.sum(axis=1)
    total = float(marginals.sum())
    away: Any
    if level == "nominal":
        away = _disagreement(len(categories), "none")
    elif level == "interval":
        numbers = np.array(categories, dtype=float)
        away = (numbers[:, None] - numbers[None, :]) ** 2
    else:
        # From the middle of one category's ranks to the middle of the other's.
        middles = np.cumsum(marginals) - marginals / 2
        away = (middles[:, None] - middles[None, :]) ** 2
    expected = float((away * np.outer(marginals, marginals)).sum()) / (total - 1)
    if expected == 0.0:
        raise NoFigure("all ratings are the same: alpha is 0 / 0")
    return 1.0 - float((away * coincidence).sum()) / float(expected)
