"""Each later model against earlier ones, on the same items."""

from collections.abc import Mapping, Sequence

from evaluation import shares, statistics
from evaluation.items import BINARY, METRICS, Benchmark, Item, Metric, has_metric, paired
from evaluation.scores import Range, as_range
from evaluation.statistics import Interval, Label, Reason
from validation.schemas import Frozen

ALPHA = 0.05


class Comparison(Frozen):
    """One model against an earlier one on the same items.

    `difference` is model minus `against`; `improvement` the same, turned so that more is
    better, and `interval` its confidence interval, for this comparison alone. `gained` and
    `lost` count the items of a binary metric that changed sides. `p_adjusted` is Holm's over
    all primary comparisons, or over all secondary ones, and `minimum_detectable` counts them
    all as well; it is absent where no difference of any size would be found.
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
    standard_error: float | None
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
    Raises MismatchedItems where two models did not see the same items, one of them none of a
    metric included.
    """
    names = list(evaluations)
    pairs = []
    for index, model in enumerate(names[1:], start=1):
        pairs += [(model, against) for against in dict.fromkeys((names[0], names[index - 1]))]
    raw = [
        _compare_pair(metric, model, against, evaluations, seed)
        for metric in METRICS
        if any(has_metric(items, metric) for items in evaluations.values())
        for model, against in pairs
    ]
    judged: dict[int, Comparison] = {}
    for primary in (True, False):
        family = [i for i, c in enumerate(raw) if c.primary == primary and c.p_value is not None]
        corrected = statistics.holm([raw[i].p_value or 0.0 for i in family])
        for index, p_adjusted in zip(family, corrected, strict=True):
            judged[index] = _judged(raw[index], p_adjusted, ALPHA / len(family))
    return tuple(judged.get(i, c) for i, c in enumerate(raw))


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
    error, interval, p_value, test = None, None, None, "none"
    if groups > 1:
        error = statistics.clustered_standard_error(gains, clusters)
        interval = _interval(gains, clusters, seed)
        test, p_value = _test(metric, gains, clusters, seed)
        if metric.binary:
            interval = _wider(interval, shares.paired_interval(gained, lost, len(gains)))
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
        standard_error=error,
        interval=as_range(interval),
        test=test,
        p_value=p_value,
        p_adjusted=None,
        minimum_detectable=None,
        gained=gained,
        lost=lost,
        verdict="noise",
        reason="too_few_clusters",
    )


def _interval(gains: Sequence[float], clusters: Sequence[str], seed: int) -> Interval:
    if len(set(clusters)) < statistics.FEW_CLUSTERS:
        return statistics.t_interval(gains, clusters)
    return statistics.bootstrap_interval(gains, clusters, seed)


def _wider(by_clusters: Interval, by_items: Interval) -> Interval:
    """What either interval of a difference of shares holds, within what shares can differ by."""
    low, high = min(by_clusters.low, by_items.low), max(by_clusters.high, by_items.high)
    return Interval(max(-1.0, low), min(1.0, high))


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
    exact = shares.mcnemar_p(sum(g > 0 for g in gains), sum(g < 0 for g in gains))
    return f"mcnemar+{name}", max(exact, p_value)


def _judged(comparison: Comparison, p_adjusted: float, alpha: float) -> Comparison:
    """alpha: what p must not pass, uncorrected, where every other comparison is noise."""
    shown = comparison.interval
    interval = Interval(shown.low, shown.high) if shown else None
    judged = statistics.verdict(comparison.improvement, interval, p_adjusted, ALPHA)
    update = {
        "p_adjusted": p_adjusted,
        "minimum_detectable": _least_detectable(comparison, alpha),
        "verdict": judged.label,
        "reason": judged.reason,
    }
    return comparison.model_copy(update=update)


def _least_detectable(comparison: Comparison, alpha: float) -> float | None:
    """The least difference that every test of the comparison would find; None where none is."""
    groups, error = comparison.clusters, comparison.standard_error or 0.0
    if groups >= statistics.FEW_CLUSTERS and statistics.least_sign_flip_p(groups) > alpha:
        return None
    least = statistics.minimum_detectable_effect(error, groups, alpha)
    if (comparison.benchmark, comparison.metric) not in BINARY:
        return least
    discordant = comparison.gained + comparison.lost
    by_items = shares.least_detectable_share(discordant, comparison.items, alpha)
    if by_items is None or max(least, by_items) > 1.0:
        return None
    return max(least, by_items)
