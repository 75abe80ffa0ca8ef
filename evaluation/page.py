"""The page: the sections on what the models scored, and the template that all sections fill.

What the scores rest on (data, steps, lineage, method) is in `background.py`.
"""

from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from evaluation.comparison import Comparison
from evaluation.items import BINARY, METRICS, Metric
from evaluation.material import RANKING, Curve, Replies
from evaluation.plots import line_chart, nice_ticks, scale_around, tick_text
from evaluation.scorecard import Scorecard
from evaluation.scores import ALL, ScoreLine
from evaluation.wording import (
    TEMPLATES,
    Words,
    change_range_text,
    change_text,
    headline,
    p_text,
    range_text,
    score_text,
    sentence,
    signed_text,
    size_text,
)

Row = dict[str, Any]
HTML_LANGUAGES = {"en": "en", "zh": "zh-Hans"}


def render(template: str, values: Row) -> str:
    """The template filled in; everything is escaped but our own charts and styles."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    css = Markup((TEMPLATES / "report.css").read_text(encoding="utf-8"))
    return environment.get_template(template).render(css=css, **values)


def verdict_section(card: Scorecard, words: Words) -> Row:
    """The headline and a card for each main measure."""
    shown = []
    for comparison in card.last_against_first():
        name = words["benchmarks"][comparison.benchmark]
        place = (comparison.benchmark, comparison.metric)
        shown.append(
            {
                "label": comparison.verdict,
                "name": name["name"],
                "plain": name["plain"],
                "old": score_text(card.score(comparison.against, *place)),
                "new": score_text(card.score(comparison.model, *place)),
                "size": _counted(comparison, words),
                "sentence": sentence(card, comparison, words),
            }
        )
    return {"headline": headline(card, words), "verdicts": shown}


def score_section(card: Scorecard, words: Words) -> Row:
    """A row a measure, with rows per language below it; further measures apart."""
    rows: dict[bool, list[Row]] = {True: [], False: []}
    for metric in METRICS:
        if any((s.benchmark, s.metric) == (metric.benchmark, metric.name) for s in card.scores):
            rows[metric.primary] += _score_rows(card, metric, words)
    rewards = [
        words["scores"]["reward"].format(
            model=line.model,
            moved=round(line.share * line.items),
            items=line.items,
            share=f"{100 * line.share:.0f} %",
            interval=f"{100 * line.interval.low:.0f} – {100 * line.interval.high:.0f} %",
        )
        for line in card.implicit_rewards
    ]
    return {"primary_scores": rows[True], "secondary_scores": rows[False], "rewards": rewards}


def difference_section(card: Scorecard, words: Words) -> Row:
    """A forest plot a main measure, and a table of every comparison's numbers."""
    forests = []
    for metric in METRICS:
        place = (metric.benchmark, metric.name)
        rows = [c for c in card.comparisons if c.primary and (c.benchmark, c.metric) == place]
        if rows:
            forests.append(_forest(rows, words))
    numbers = [{"label": c.verdict, "cells": _number_cells(c, words)} for c in card.comparisons]
    return {"forests": forests, "numbers": numbers}


def training_section(curves: Sequence[Curve], words: Words) -> Row:
    """A chart a stage and metric."""
    say = words["training"]
    charts = []
    for curve in curves:
        title = f"{curve.stage} · {say[curve.metric]}"
        share = curve.metric == RANKING
        baseline, ends = (0.5, (0.0, 1.0)) if share else (None, ())
        svg = line_chart(curve.points, title, say["step"], baseline, ends)
        charts.append({"title": title, "svg": svg})
    return {"charts": charts}


def reply_section(replies: Sequence[Replies]) -> Row:
    """The models' words after the same prompts."""
    return {"replies": replies}


def _score_rows(card: Scorecard, metric: Metric, words: Words) -> list[Row]:
    lines = [s for s in card.scores if (s.benchmark, s.metric) == (metric.benchmark, metric.name)]
    whole = [line for line in lines if line.language == ALL]
    ends = [v for s in whole for v in ((s.interval.low, s.interval.high) if s.interval else ())]
    chance = [] if metric.chance is None else [metric.chance]
    scale = scale_around([*ends, *chance, *(line.mean for line in whole)])
    named = words["benchmarks"][metric.benchmark]
    name = named["name"] if metric.primary else f"{named['name']}: {words['metrics'][metric.name]}"
    rows = []
    for language in dict.fromkeys(line.language for line in lines):
        own = {line.model: line for line in lines if line.language == language}
        counted = next(iter(own.values()))
        rows.append(
            {
                "sub": language != ALL,
                "name": name
                if language == ALL
                else f"{words['languages'][language]} · {counted.items} {named['item']}",
                "note": f"{words['metrics'][metric.name]} · {_counted(counted, words)}",
                "chance": None if metric.chance is None else scale.percent(metric.chance),
                "cells": [_score_cell(own[m], scale) for m in card.models if m in own],
            }
        )
    # One language alone says what the first row says already.
    return rows if len(rows) > 2 else rows[:1]


def _score_cell(line: ScoreLine, scale: Any) -> Row:
    left = scale.percent(line.interval.low) if line.interval else None
    return {
        "text": score_text(line),
        "range": range_text(line.benchmark, line.metric, line.interval),
        "place": scale.percent(line.mean),
        "left": left,
        "width": round(scale.percent(line.interval.high) - left, 3) if line.interval else None,
    }


def _forest(rows: Sequence[Comparison], words: Words) -> Row:
    first = rows[0]
    ends = [v for c in rows for v in ((c.interval.low, c.interval.high) if c.interval else ())]
    scale = scale_around([0.0, *ends, *(c.improvement for c in rows)], least=0.01)
    binary = (first.benchmark, first.metric) in BINARY
    factor = 100 if binary else 1
    ticks = [tick / factor for tick in nice_ticks(scale.low * factor, scale.high * factor, 5)]
    unit = words["units"]["points" if binary else "nats"]
    bars = []
    for row in rows:
        left = scale.percent(row.interval.low) if row.interval else None
        right = scale.percent(row.interval.high) if row.interval else 0.0
        bars.append(
            {
                "label": row.verdict,
                "model": row.model,
                "against": row.against,
                "left": left,
                "width": None if left is None else round(right - left, 3),
                "point": scale.percent(row.improvement),
                "text": signed_text(row, row.improvement),
                "range": change_range_text(row, words),
            }
        )
    return {
        "name": words["benchmarks"][first.benchmark]["name"],
        "unit": f"{words['differences']['improvement']}{words['comma']}{unit}",
        "zero": scale.percent(0.0),
        "rows": bars,
        "ticks": [{"place": scale.percent(t), "text": tick_text(t * factor)} for t in ticks],
    }


def _number_cells(row: Comparison, words: Words) -> list[str]:
    named = words["benchmarks"][row.benchmark]["name"]
    least = row.minimum_detectable
    return [
        f"{named}: {words['metrics'][row.metric]}",
        f"{row.model} – {row.against}",
        str(row.items),
        str(row.clusters),
        change_text(row, row.difference, words),
        change_range_text(row, words),
        words["differences"]["tests"][row.test],
        p_text(row.p_value),
        p_text(row.p_adjusted),
        size_text(row, least, words) if least is not None else "–",
        f"{row.gained} / {row.lost}" if row.test.startswith("mcnemar") else "–",
    ]


def _counted(line: ScoreLine | Comparison, words: Words) -> str:
    """`6 consultations, 4 cases`: what was measured, and how many of it are independent."""
    named = words["benchmarks"][line.benchmark]
    parts = (f"{line.items} {named['item']}", f"{line.clusters} {named['cluster']}")
    return str(words["comma"]).join(parts)
