"""Length bias: how far a judge decides for the longer answer, and what it says at equal length."""

import math
from collections import Counter
from typing import Any, Literal

from judging.errors import NoFigure
from judging.intervals import Interval, Rate, rate
from validation.schemas import Frozen

Z_95 = 1.959964
# Weak pull of both coefficients towards 0, so that data which length splits without a remainder
# still have an answer (a normal prior with variance 1 / RIDGE).
RIDGE = 0.01
MOST_STEPS = 100
STOP = 1e-10


class LengthBias(Frozen):
    """What a judge's decisions have to do with length.

    `longer`: the share of decisions for the longer answer, 0.5 without any bias (and without any
    merit that goes with length). `preferred`: how often the answer that stands first in the
    comparison is preferred. `preferred_at_equal_length`: the same, with length taken out.
    `per_spread`: change of the log odds per standard deviation of the length difference.
    """

    decisions: int
    longer: Rate | None
    preferred: Rate
    preferred_at_equal_length: float
    equal_length_interval: Interval
    per_spread: float
    per_spread_interval: Interval


class LengthDecisions:
    """Counts decisions by how much longer the one answer is and whether it won."""

    def __init__(self) -> None:
        self.counted: Counter[tuple[int, bool]] = Counter()

    def add(self, length_difference: int, winner: Literal["one", "other"]) -> None:
        """One decision; `length_difference` is the one's length minus the other's, characters."""
        self.counted[length_difference, winner == "one"] += 1

    def bias(self) -> LengthBias:
        """The figures. Raises NoFigure where nothing was decided."""
        decisions = self.counted.total()
        if not decisions:
            raise NoFigure("no decision was made, so nothing can be said of length")
        uneven = sum(count for (apart, _), count in self.counted.items() if apart)
        longer = sum(n for (apart, won), n in self.counted.items() if apart and won == (apart > 0))
        won = sum(count for (_, won), count in self.counted.items() if won)
        level, slope, spread_of_level, spread_of_slope = _fit(self.counted)
        return LengthBias(
            decisions=decisions,
            longer=rate(longer, uneven) if uneven else None,
            preferred=rate(won, decisions),
            preferred_at_equal_length=_logistic(level),
            equal_length_interval=Interval(
                low=_logistic(level - Z_95 * spread_of_level),
                high=_logistic(level + Z_95 * spread_of_level),
            ),
            per_spread=slope,
            per_spread_interval=Interval(
                low=slope - Z_95 * spread_of_slope, high=slope + Z_95 * spread_of_slope
            ),
        )


def _fit(counted: Counter[tuple[int, bool]]) -> tuple[float, float, float, float]:
    """Logistic regression of the win on tanh of the length difference in standard deviations.

    Level, slope and their standard errors. Dubois et al. 2024, "Length-controlled AlpacaEval",
    without its terms for models and instructions.
    """
    import numpy as np

    apart = np.array([difference for difference, _ in counted], dtype=float)
    won = np.array([1.0 if win else 0.0 for _, win in counted])
    counts = np.array(list(counted.values()), dtype=float)
    spread = math.sqrt(float((counts * apart**2).sum() / counts.sum())) or 1.0
    inputs = np.column_stack([np.ones_like(apart), np.tanh(apart / spread)])
    pull = RIDGE * np.eye(2)
    beta = np.zeros(2)
    bend: Any = pull
    for _ in range(MOST_STEPS):
        chance = 1 / (1 + np.exp(-inputs @ beta))
        slope = inputs.T @ (counts * (won - chance)) - pull @ beta
        bend = (inputs * (counts * chance * (1 - chance))[:, None]).T @ inputs + pull
        step = np.linalg.solve(bend, slope)
        beta = beta + np.clip(step, -2.0, 2.0)
        if float(np.abs(step).max()) < STOP:
            break
    errors = np.sqrt(np.diag(np.linalg.inv(bend)))
    return float(beta[0]), float(beta[1]), float(errors[0]), float(errors[1])


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value))
