"""How well a judge finds errors that are known to be there: precision and recall by type."""

from collections import Counter
from collections.abc import Iterable

from judging.errors import NoFigure
from judging.intervals import Rate, rate
from validation.schemas import Frozen


class Found(Frozen):
    """Precision and recall of one type of error, or of all.

    `precision`: of the namings, those that were right (None: it was never named). `recall`: of
    the turns that carry the error, those in which it was named (None: no turn carries it).
    """

    precision: Rate | None
    recall: Rate | None


class Detection(Frozen):
    """By type and overall; `none_named`: of the turns without an error, those left unaccused."""

    overall: Found
    by_type: dict[str, Found]
    none_named: Rate | None


class Detections:
    """Counts what a judge named against what is known to be there."""

    def __init__(self) -> None:
        self.turns = 0
        self._right: Counter[str] = Counter()
        self._carried: Counter[str] = Counter()
        self._named: Counter[str] = Counter()
        self._clean = 0
        self._left_alone = 0

    def add(self, named: Iterable[str], carried: str = "") -> None:
        """One turn: the types that the judge named, and the one that it carries (none: "").

        Any other type that is named counts as wrong, also where one error brings another along.
        """
        every = set(named)
        self.turns += 1
        self._named.update(every)
        if carried:
            self._carried[carried] += 1
            self._right[carried] += carried in every
            return
        self._clean += 1
        self._left_alone += not every

    def figures(self) -> Detection:
        """The figures. Raises NoFigure where no turn was judged."""
        if not self.turns:
            raise NoFigure("no turn was judged for errors, so there is no precision and no recall")
        types = sorted({*self._carried, *self._named})
        return Detection(
            overall=_found(self._right.total(), self._named.total(), self._carried.total()),
            by_type={
                name: _found(self._right[name], self._named[name], self._carried[name])
                for name in types
            },
            none_named=rate(self._left_alone, self._clean) if self._clean else None,
        )


def _found(right: int, named: int, carried: int) -> Found:
    return Found(
        precision=rate(right, named) if named else None,
        recall=rate(right, carried) if carried else None,
    )
