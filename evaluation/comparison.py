"""Each later model against earlier ones, on the same items."""

from collections.abc import Mapping, Sequence

from evaluation import statistics
from evaluation.items import METRICS, Benchmark, Item, Metric, has_metric, paired
from evaluation.scores import Range, as_range
from evaluation.statistics import Label, Reason
from validation.schemas import Frozen


class Comparison(Frozen):
    """One model against an earlier one on the same items.

    `difference` is model minus `against`; `improvement` the same, turned so that more is
    better, and `interval` its confidence interval. `gained` and `lost` count the items of a
    binary metric that changed sides. `p_adjusted` is Holm's over all primary comparisons, or
    over all secondary ones.
    """

    model: str
    against: str
    benchmark: Benchmark
    metric: str
    primary: bool
    items: int
    clusters: int
    difference: float
    improvement: float
    interval: Range | None
    test: str
    p_value: float | None
    p_adjusted: float | None
    minimum_detectable: float | None
    gained: int
    lost: int
    verdict: Label
    reason: Reason


def compare(evaluations: Mapping[str, Sequence[Item]], seed: int = 0) -> tuple[Comparison, ...]:
    """Each later model with the first and with the one before it, on every metric.

    evaluations: model → items, in the order in which the models were made.
    Raises MismatchedItems where two models did not see the same items.
    """
    names = list(evaluations)
    pairs = []
    for index, model in enumerate(names[1:], start=1):
        pairs += [(model, against) for against in dict.fromkeys((names[0], names[index - 1]))]
    raw = [
        _compare_pair(metric, model, against, evaluations, seed)
        for metric in METRICS
        if all(has_metric(items, metric) for items in evaluations.values())
        for model, against in pairs
    ]
    adjusted: dict[int, float] = {}
    for primary in (True, False):
        family = [i for i, c in enumerate(raw) if c.primary == primary and c.p_value is not None]
        corrected = statistics.holm([raw[i].p_value or 0.0 for i in family])
        adjusted |= dict(zip(family, corrected, strict=True))
    return tuple(_judged(c, adjusted.get(i)) for i, c in enumerate(raw))


def _compare_pair(
    metric: Metric,
    model: str,
    against: str,
    evaluations: Mapping[str, Sequence[Item]],
    seed: int,
) -> Comparison:
    rows = paired(metric, model, against, evaluations)
    sign = 1.0 if metric.higher_is_better else -1.0
    gains = [sign * (new.value - old.value) for new, old in rows]
    clusters = [new.cluster for new, _ in rows]
    gained, lost = (
        (sum(g > 0 for g in gains), sum(g < 0 for g in gains)) if metric.binary else (0, 0)
    )
    groups = len(set(clusters))
    interval, p_value, least, test = None, None, None, "none"
    if groups > 1:
        few = groups < statistics.FEW_CLUSTERS
        test, p_value = _test(metric, gains, clusters, seed)
        interval = (
            statistics.t_interval(gains, clusters)
            if few
            else statistics.bootstrap_interval(gains, clusters, seed)
        )
        error = statistics.clustered_standard_error(gains, clusters)
        if metric.binary:
            error = max(error, statistics.discordance_error(gained + lost, len(gains)))
        least = statistics.minimum_detectable_effect(error, groups)
    return Comparison(
        model=model,
        against=against,
        benchmark=metric.benchmark,
        metric=metric.name,
        primary=metric.primary,
        items=len(rows),
        clusters=groups,
        difference=sign * statistics.mean(gains),
        improvement=statistics.mean(gains),
        interval=as_range(interval),
        test=test,
        p_value=p_value,
        p_adjusted=None,
        minimum_detectable=least,
        gained=gained,
        lost=lost,
        verdict="noise",
        reason="too_few_clusters",
    )


def _test(
    metric: Metric, gains: Sequence[float], clusters: Sequence[str], seed: int
) -> tuple[str, float]:
    """The test's name and p; for shares the larger of McNemar's (items) and the clusters'."""
    few = len(set(clusters)) < statistics.FEW_CLUSTERS
    name = "t" if few else "sign_flip"
    p_value = (
        statistics.t_test_p(gains, clusters)
        if few
        else statistics.sign_flip_p(gains, clusters, seed)
    )
    if not metric.binary:
        return name, p_value
    exact = statistics.mcnemar_p(sum(g > 0 for g in gains), sum(g < 0 for g in gains))
    return f"mcnemar+{name}", max(exact, p_value)


def _judged(comparison: Comparison, p_adjusted: float | None) -> Comparison:
    shown = comparison.interval
    interval = statistics.Interval(shown.low, shown.high) if shown else None
    judged = statistics.verdict(comparison.improvement, interval, p_adjusted)
    update = {"p_adjusted": p_adjusted, "verdict": judged.label, "reason": judged.reason}
    return comparison.model_copy(update=update)
