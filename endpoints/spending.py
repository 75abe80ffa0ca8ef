"""What the rest of a run would cost, from what its finished part has cost."""

import math

from endpoints.errors import BudgetExceeded, EndpointError


class NothingDone(EndpointError):
    """Nothing is finished yet, so there is no rate from which to tell what the rest costs."""


def remaining_usd(spent_usd: float, done: int, total: int) -> float:
    """What the rows that are left would cost, at the rate of those that are done.

    `spent_usd` is what this run paid in all, for unfinished rows too, so that the figure is
    rather too high than too low. Raises NothingDone where `done` is 0, ValueError where the
    numbers cannot be.
    """
    if not (math.isfinite(spent_usd) and spent_usd >= 0 and 0 <= done <= total):
        raise ValueError(f"spent {spent_usd!r}, done {done} of {total}: these cannot be")
    if done == 0:
        raise NothingDone(
            f"none of the {total} rows is finished, so what the rest would cost cannot be told; "
            f"${spent_usd:.4f} were spent on unfinished ones"
        )
    return spent_usd / done * (total - done)


def more_would_cost(spent_usd: float, done: int, total: int) -> str:
    """A sentence on what the rest would cost. Raises as `remaining_usd` does."""
    rest = remaining_usd(spent_usd, done, total)
    if done == total:
        return f"All {total} rows are finished."
    return (
        f"{done} of {total} rows are finished, for ${spent_usd:.4f}; the other {total - done} "
        f"would cost about ${rest:.4f} more at that rate (${spent_usd / done:.6f} a row, which "
        "includes what was begun and not finished)."
    )


def with_estimate(error: BudgetExceeded, spent_usd: float, done: int, total: int) -> BudgetExceeded:
    """The same error, that also says what more would cost, and which cap would do.

    `spent_usd`: what the run that counts `done` paid, journal rows it found included at their
    price (then finished rows of an earlier run count with what they cost).
    """
    try:
        rest = remaining_usd(spent_usd, done, total)
        sentence = more_would_cost(spent_usd, done, total)
    except NothingDone as nothing:
        text = str(nothing)
        rest, sentence = None, text[0].upper() + text[1:] + "."
    enough = (
        f" A cap of ${error.spent_usd + rest:.2f} would be about enough for these rows; "
        "what steps after this one buy comes on top."
        if rest is not None and error.spent_usd is not None and done < total
        else ""
    )
    return BudgetExceeded(
        f"{error} {sentence}{enough}",
        spent_usd=error.spent_usd,
        cap_usd=error.cap_usd,
        remaining_usd_estimate=rest,
    )
