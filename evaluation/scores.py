"""What each model scored: means with intervals, and how far training moved its preferences."""

from collections.abc import Mapping, Sequence

from evaluation import shares, statistics
from evaluation.errors import EmptyBenchmark
from evaluation.items import METRICS, Item, Metric, has_metric, of_metric, paired
from evaluation.scorers import implicit_reward_margin
from validation.schemas import Frozen

ALL = "all"


class Range(Frozen):
    """A confidence interval, as JSON."""

    low: float
    high: float


class ScoreLine(Frozen):
    """The mean of one metric of one model, over all items or those of one language.

    `interval`: clustered either way, Wilson's for shares, t on the standard error else; absent
    where there are too few clusters for one.
    """

    model: str
    benchmark: str
    metric: str
    language: str
    items: int
    clusters: int
    mean: float
    standard_error: float | None
    interval: Range | None
    chance: float | None


class RewardLine(Frozen):
    """The share of pairs where a model prefers the chosen completion more than the base does."""

    model: str
    against: str
    items: int
    share: float
    mean_margin_nats: float
    interval: Range


def score_lines(evaluations: Mapping[str, Sequence[Item]]) -> tuple[ScoreLine, ...]:
    """Every model's mean of every metric, over all items and per language."""
    lines = []
    for metric in METRICS:
        for model, items in evaluations.items():
            rows = of_metric(items, metric)
            if not rows:
                continue
            lines.append(score(model, metric, ALL, rows))
            for language in sorted({row.language for row in rows}):
                own = [row for row in rows if row.language == language]
                lines.append(score(model, metric, language, own))
    return tuple(lines)


def score(model: str, metric: Metric, language: str, rows: Sequence[Item]) -> ScoreLine:
    """The mean of one metric over some items. Raises EmptyBenchmark for none."""
    if not rows:
        raise EmptyBenchmark(f"{metric.benchmark}/{metric.name}: no item to average")
    values, clusters = [row.value for row in rows], [row.cluster for row in rows]
    several = len(set(clusters)) > 1
    interval: statistics.Interval | None = None
    if metric.binary:
        interval = shares.clustered_wilson_interval(values, clusters)
    elif several:
        interval = statistics.t_interval(values, clusters)
    return ScoreLine(
        model=model,
        benchmark=metric.benchmark,
        metric=metric.name,
        language=language,
        items=len(rows),
        clusters=len(set(clusters)),
        mean=statistics.mean(values),
        standard_error=(statistics.clustered_standard_error(values, clusters) if several else None),
        interval=as_range(interval),
        chance=metric.chance,
    )


def implicit_rewards(evaluations: Mapping[str, Sequence[Item]]) -> tuple[RewardLine, ...]:
    """For each later model, how often its own probabilities moved towards the chosen side."""
    metric = next(m for m in METRICS if m.name == "margin_nats")
    names = [name for name, items in evaluations.items() if has_metric(items, metric)]
    lines = []
    for model in names[1:]:
        rows = paired(metric, model, names[0], evaluations)
        margins = [implicit_reward_margin(_of_sums(new), _of_sums(old)) for new, old in rows]
        moved = [float(margin > 0) for margin in margins]
        clusters = [new.cluster for new, _ in rows]
        lines.append(
            RewardLine(
                model=model,
                against=names[0],
                items=len(rows),
                share=statistics.mean(moved),
                mean_margin_nats=statistics.mean(margins),
                interval=_known(shares.clustered_wilson_interval(moved, clusters)),
            )
        )
    return tuple(lines)


def as_range(interval: statistics.Interval | None) -> Range | None:
    """An interval as JSON, or nothing."""
    return _known(interval) if interval else None


def _of_sums(item: Item) -> float:
    return float(str(item.detail["margin_of_sums"]))


def _known(interval: statistics.Interval) -> Range:
    return Range(low=interval.low, high=interval.high)
