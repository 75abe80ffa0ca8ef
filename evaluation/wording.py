"""The report's own words, in the reader's language, and the sentences made of them."""

from pathlib import Path
from typing import Any

import yaml

from evaluation.comparison import Comparison
from evaluation.items import BINARY
from evaluation.scorecard import Scorecard
from evaluation.scores import Range, ScoreLine
from validation.schemas import Language

TEMPLATES = Path(__file__).with_name("templates")
Words = dict[str, Any]


def read_words(language: Language) -> Words:
    """The words of a language; both languages have the same keys."""
    path = TEMPLATES / f"words.{language}.yaml"
    words: Words = yaml.safe_load(path.read_text(encoding="utf-8"))
    return words


def headline(card: Scorecard, words: Words) -> str:
    """The verdict on the last model in one sentence."""
    say = words["headline"]
    if len(card.models) == 1:
        return str(say["alone"].format(model=card.models[0]))
    labels = [c.verdict for c in card.last_against_first()]
    numbers = {label: labels.count(label) for label in ("better", "worse", "noise")}
    names = {"model": card.models[-1], "against": card.models[0], "count": len(labels)}
    if numbers["noise"] == len(labels):
        return str(say["all_noise"].format(**names))
    parts = [say[label].format(number=n, **names) for label, n in numbers.items() if n]
    return str(say["start"].format(**names) + say["join"].join(parts) + say["stop"])


def sentence(card: Scorecard, comparison: Comparison, words: Words) -> str:
    """What a comparison says, in plain words: better, worse, or noise and why."""
    say = words["verdict"]
    old, new = (
        card.score(name, comparison.benchmark, comparison.metric)
        for name in (comparison.against, comparison.model)
    )
    values = {
        "model": comparison.model,
        "against": comparison.against,
        "benchmark": words["benchmarks"][comparison.benchmark]["name"],
        "old": score_text(old),
        "new": score_text(new),
        "change": change_text(comparison, comparison.difference, words),
        "items": comparison.items,
        "clusters": comparison.clusters,
        "p": _equal(p_text(comparison.p_adjusted)),
    }
    parts = [say[comparison.verdict].format(**values)]
    if comparison.verdict == "noise":
        parts.append(say["because"][comparison.reason].format(**values))
        if comparison.reason != "too_few_clusters":
            parts.append(_least(comparison, words))
    return str(say["gap"]).join(parts)


def _least(comparison: Comparison, words: Words) -> str:
    """The smallest difference that would be found, or that none would."""
    say = words["verdict"]
    if comparison.minimum_detectable is None:
        return str(say["none_findable"])
    least = size_text(comparison, comparison.minimum_detectable, words)
    return str(say["least"].format(least=least))


def score_text(line: ScoreLine) -> str:
    """A score as people read it: a share in per cent, a loss with three decimals."""
    return number_text(line.benchmark, line.metric, line.mean)


def number_text(benchmark: str, metric: str, value: float) -> str:
    """A value of a metric as people read it."""
    if (benchmark, metric) in BINARY:
        return f"{100 * value:.1f}\u00a0%"
    return _with_minus(f"{value:.3f}")


def range_text(benchmark: str, metric: str, interval: Range | None) -> str:
    """An interval of a score as people read it; empty where there is none."""
    if interval is None:
        return ""
    if (benchmark, metric) in BINARY:
        return f"{100 * interval.low:.1f} – {100 * interval.high:.1f}"
    return _with_minus(f"{interval.low:.3f} – {interval.high:.3f}")


def change_range_text(comparison: Comparison, words: Words) -> str:
    """The interval of an improvement, each end with its sign; empty where there is none."""
    if comparison.interval is None:
        return ""
    ends = (comparison.interval.low, comparison.interval.high)
    return str(words["differences"]["to"]).join(signed_text(comparison, end) for end in ends)


def signed_text(comparison: Comparison, value: float) -> str:
    """A difference with its sign, if any of its digits that are shown is not 0."""
    text = _digits(comparison, abs(value))
    if not text.strip("0."):
        return text
    return ("−" if value < 0 else "+") + text


def change_text(comparison: Comparison, value: float, words: Words) -> str:
    """A difference with its sign and unit."""
    return f"{signed_text(comparison, value)} {_unit(comparison, words)}"


def size_text(comparison: Comparison, value: float, words: Words) -> str:
    """The size of a difference with its unit: points of a hundred, or nats."""
    return f"{_digits(comparison, value)} {_unit(comparison, words)}"


def p_text(value: float | None) -> str:
    """A p value; very small ones as a bound."""
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def seconds_text(seconds: float) -> str:
    """A duration: `0.4 s`, `38 s`, `4 min 05 s`, `2 h 10 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _with_minus(text: str) -> str:
    """A minus that cannot be taken for the dash of a range."""
    return text.replace("-", "−")


def _digits(comparison: Comparison, value: float) -> str:
    if (comparison.benchmark, comparison.metric) in BINARY:
        return f"{100 * value:.1f}"
    return f"{value:.3f}"


def _unit(comparison: Comparison, words: Words) -> str:
    binary = (comparison.benchmark, comparison.metric) in BINARY
    return str(words["units"]["points" if binary else "nats"])


def _equal(figure: str) -> str:
    """`= 0.018`, `< 0.001`: as it stands in a sentence."""
    return figure if figure.startswith("<") else f"= {figure}"
