"""Intervals of shares: how far a share of so many items may lie from the true one."""

import math
from statistics import NormalDist

from judging.errors import NoFigure
from validation.schemas import Frozen


class Interval(Frozen):
    """A confidence interval."""

    low: float
    high: float


class Rate(Frozen):
    """A share of counted items, with its interval."""

    successes: int
    total: int
    value: float
    interval: Interval


def rate(successes: int, total: int, confidence: float = 0.95) -> Rate:
    """A share with Wilson's interval. Raises NoFigure for a total of 0."""
    interval = wilson_interval(successes, total, confidence)
    return Rate(successes=successes, total=total, value=successes / total, interval=interval)


def wilson_interval(successes: int, total: int, confidence: float = 0.95) -> Interval:
    """The interval of a share (Wilson 1927), sound for few items and for 0 and 1.

    Raises NoFigure for a total of 0.
    """
    if total <= 0:
        raise NoFigure("a share of nothing has no value and no interval")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = successes / total
    scale = 1 + z**2 / total
    centre = (share + z**2 / (2 * total)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == total else min(1.0, centre + half)
    return Interval(low=low, high=high)
