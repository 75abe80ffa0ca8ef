"""What the judgements of pairs say of the judges: flips, agreement, errors found, length.

All of it is counted line by line, so the report can work it out again from `judgements.jsonl`.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Literal, TypeVar

from pydantic import JsonValue

from artifacts.digest import digest_json
from datagen.assessment import RULE_JUDGE, JudgementLine
from judging.agreement import Agreement, Ratings, agreement
from judging.detection import Detection, Detections, Found
from judging.errors import NoFigure
from judging.intervals import Interval, Rate, rate
from judging.length_bias import LengthBias, LengthDecisions

ValueT = TypeVar("ValueT")
Side = Literal["candidate", "against", "tie"]
DIGITS = 4
ALL = "all judges"


class JudgeFigures:
    """Counts judgements, the lines of one place at a time."""

    def __init__(self) -> None:
        self._compared: Counter[str] = Counter()
        self._flipped: Counter[str] = Counter()
        self._shown: Counter[str] = Counter()
        self._took_first: Counter[str] = Counter()
        self._length: defaultdict[str, LengthDecisions] = defaultdict(LengthDecisions)
        self._detected: defaultdict[str, Detections] = defaultdict(Detections)
        self._by_rule: defaultdict[str, Detections] = defaultdict(Detections)
        self._places: dict[str, int] = {}
        self._verdicts = Ratings()
        self._scores = Ratings()
        self._with_rules = Ratings()

    def add(self, lines: Sequence[JudgementLine]) -> None:
        """Count the judgements of one place."""
        for line in lines:
            # Whether other candidates carry errors is not known.
            if line.errors is not None and line.method == "typed_error":
                self._add_errors(line)
        comparisons = [line for line in lines if line.kind == "comparison"]
        by_judge = {
            judge: tuple(own) for judge, own in groupby(comparisons, key=lambda line: line.judge)
        }
        winners = {judge: self._add_comparison(judge, own) for judge, own in by_judge.items()}
        if winners:
            blinded = {name: _blinded(side, comparisons[0]) for name, side in winners.items()}
            self._verdicts.add(self._by_place(blinded))
            self._add_rules(lines, comparisons[0], tuple(winners.values()))
        self._add_scores([line for line in lines if line.kind == "grade"])

    def summary(self) -> dict[str, JsonValue]:
        """The figures for a manifest; None where there is no data for one.

        Intervals are 95 %: Wilson's for shares, the bootstrap's for agreement.
        """
        compared, shown = self._compared.total(), self._shown.total()
        judges = sorted({*self._compared, *self._detected} - {ALL})
        return {
            "comparisons": compared,
            "flip_rate": _rate(self._flipped.total(), compared),
            "first_preferred": _rate(self._took_first.total(), shown),
            "agreement": {
                "verdicts_raw": _figure(lambda: _agreement(self._verdicts, "raw")),
                "verdicts_kappa": _figure(self._kappa_of_two),
                "verdicts_alpha": _figure(lambda: _agreement(self._verdicts, "alpha")),
                "scores_alpha": _figure(
                    lambda: _told_agreement(agreement(self._scores, "alpha", "interval"))
                ),
                "with_rules_raw": _figure(lambda: _agreement(self._with_rules, "raw")),
                "with_rules_kappa": _figure(lambda: _agreement(self._with_rules, "kappa")),
            },
            "errors_found": _figure(lambda: _told_detection(self._detected[ALL].figures())),
            "errors_found_by_rule_too": _figure(
                lambda: _told_detection(self._by_rule[ALL].figures())
            ),
            "length_bias": _figure(lambda: _told_bias(self._length[ALL].bias())),
            "by_judge": {judge: self._of_judge(judge) for judge in judges},
        }

    def _of_judge(self, judge: str) -> dict[str, JsonValue]:
        return {
            "comparisons": self._compared[judge],
            "flip_rate": _rate(self._flipped[judge], self._compared[judge]),
            "first_preferred": _rate(self._took_first[judge], self._shown[judge]),
            "errors_found": _figure(lambda: _told_detection(self._detected[judge].figures())),
            "length_bias": _figure(lambda: _told_bias(self._length[judge].bias())),
        }

    def _kappa_of_two(self) -> JsonValue:
        return _agreement(self._verdicts.pair(0, 1), "kappa") if len(self._places) == 2 else None

    def _by_place(self, by_judge: Mapping[str, str]) -> list[str | None]:
        """The ratings of a unit; every judge has its place, also where others were drawn."""
        for judge in by_judge:
            self._places.setdefault(judge, len(self._places))
        unit: list[str | None] = [None] * len(self._places)
        for judge, rating in by_judge.items():
            unit[self._places[judge]] = rating
        return unit

    def _add_errors(self, line: JudgementLine) -> None:
        for name in (ALL, line.judge):
            self._detected[name].add(line.errors or (), line.carries)
            if line.carries_by_rule or not line.carries:
                self._by_rule[name].add(line.errors or (), line.carries)

    def _add_comparison(self, judge: str, orders: Sequence[JudgementLine]) -> Side:
        verdicts = {line.verdict for line in orders}
        self._compared[judge] += 1
        self._flipped[judge] += len(verdicts) > 1
        for line in orders:
            if line.verdict != "tie":
                self._shown[judge] += 1
                first = "candidate" if line.order == "candidate_first" else "against"
                self._took_first[judge] += line.verdict == first
        winner: Side = "tie"
        if verdicts in ({"candidate"}, {"against"}):
            winner = "candidate" if "candidate" in verdicts else "against"
            apart = orders[0].characters - orders[0].against_characters
            for name in (ALL, judge):
                self._length[name].add(apart, "one" if winner == "candidate" else "other")
        return winner

    def _add_rules(
        self, lines: Sequence[JudgementLine], compared: JudgementLine, winners: Sequence[Side]
    ) -> None:
        """What the rules' scores prefer beside what most judges prefer."""
        totals = {line.candidate: line.total for line in lines if line.judge == RULE_JUDGE}
        one, other = totals.get(compared.candidate), totals.get(compared.against)
        if one is None or other is None:
            return
        lead = winners.count("candidate") - winners.count("against")
        sides = [_side(one - other), _side(lead)]
        self._with_rules.add([_blinded(side, compared) for side in sides])

    def _add_scores(self, grades: Sequence[JudgementLine]) -> None:
        """One unit for each criterion of each candidate, rated by every judge model."""
        by_criterion: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        for line in grades:
            if line.judge != RULE_JUDGE:
                for criterion, value in line.scores.items():
                    by_criterion[line.candidate, criterion].append(value)
        for values in by_criterion.values():
            self._scores.add(values)


class PairFigures:
    """Counts the pairs that are kept."""

    def __init__(self) -> None:
        self.by_method: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.verified: Counter[str] = Counter()
        self._longer = self._uneven = self._apart = self._pairs = 0

    def add(self, method: str, fault_type: str, verified: str, length_difference: int) -> None:
        """One pair."""
        self.by_method[method][fault_type] += 1
        self.verified[verified] += 1
        self._pairs += 1
        self._apart += length_difference
        self._uneven += length_difference != 0
        self._longer += length_difference > 0

    def summary(self) -> dict[str, JsonValue]:
        """The figures for a manifest; None where there is no data for one."""
        return {
            "pairs_by_method": {
                method: dict(sorted(types.items()))
                for method, types in sorted(self.by_method.items())
            },
            "verified": dict(sorted(self.verified.items())),
            "chosen_longer": _rate(self._longer, self._uneven),
            "length_difference_characters": (
                round(self._apart / self._pairs, DIGITS) if self._pairs else None
            ),
        }


def judge_figures(lines: Iterable[JudgementLine]) -> dict[str, JsonValue]:
    """The figures of a whole file of judgements, in its order."""
    figures = JudgeFigures()
    for _, own in groupby(lines, key=lambda line: (line.origin, line.method)):
        figures.add(tuple(own))
    return figures.summary()


def _blinded(side: Side, line: JudgementLine) -> str:
    """A verdict by a name that tells nothing of which answer was chosen.

    The chosen one stands first in every comparison; with that known, judges who always prefer
    it would agree by chance alone, and no kappa could be told.
    """
    if side == "tie":
        return side
    swapped = int(digest_json(["blind", line.origin, line.method])[:2], 16) % 2 == 1
    return "a" if (side == "candidate") != swapped else "b"


def _side(lead: float) -> Side:
    return "candidate" if lead > 0 else "against" if lead < 0 else "tie"


def _figure(work: Callable[[], JsonValue]) -> JsonValue:
    """A figure, or None where there is no data for it."""
    try:
        return work()
    except NoFigure:
        return None


def _agreement(ratings: Ratings, figure: Literal["raw", "kappa", "alpha"]) -> JsonValue:
    return _told_agreement(agreement(ratings, figure))


def _told_agreement(found: Agreement) -> JsonValue:
    told: dict[str, JsonValue] = {"value": round(found.value, DIGITS), "units": found.units}
    return told | ({"interval": _told_interval(found.interval)} if found.interval else {})


def _rate(successes: int, total: int) -> JsonValue:
    return _told_rate(rate(successes, total)) if total else None


def _told_rate(found: Rate | None) -> JsonValue:
    if found is None:
        return None
    return {
        "value": round(found.value, DIGITS),
        "interval": _told_interval(found.interval),
        "of": found.total,
    }


def _told_interval(interval: Interval) -> JsonValue:
    return [round(interval.low, DIGITS), round(interval.high, DIGITS)]


def _told_detection(found: Detection) -> JsonValue:
    by_type: Mapping[str, Found] = {"overall": found.overall} | found.by_type
    told: dict[str, JsonValue] = {
        name: {"precision": _told_rate(one.precision), "recall": _told_rate(one.recall)}
        for name, one in by_type.items()
    }
    return told | {"none_named": _told_rate(found.none_named)}


def _told_bias(found: LengthBias) -> JsonValue:
    return {
        "decisions": found.decisions,
        "longer_preferred": _told_rate(found.longer),
        "chosen_preferred": _told_rate(found.preferred),
        "chosen_preferred_at_equal_length": {
            "value": round(found.preferred_at_equal_length, DIGITS),
            "interval": _told_interval(found.equal_length_interval),
        },
        "log_odds_per_spread_of_length": {
            "value": round(found.per_spread, DIGITS),
            "interval": _told_interval(found.per_spread_interval),
        },
    }
