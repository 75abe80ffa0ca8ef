"""The page: what the template shows, worked out of the scorecard, the data and the lineage."""

import json
from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from evaluation import statistics
from evaluation.comparison import Comparison
from evaluation.items import METRICS, Metric
from evaluation.material import SPLITS, Curve, DataShown, Replies
from evaluation.plots import Node, line_chart, lineage_graph, nice_ticks, scale_around
from evaluation.provenance import Name, StepLine
from evaluation.scorecard import Scorecard
from evaluation.scores import ALL, ScoreLine
from evaluation.wording import (
    TEMPLATES,
    Words,
    change_text,
    headline,
    number_text,
    p_text,
    range_text,
    score_text,
    seconds_text,
    sentence,
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
        baseline = 0.5 if curve.metric == "rewards/accuracies" else None
        svg = line_chart(curve.points, title, say["step"], baseline)
        charts.append({"title": title, "svg": svg})
    return {"charts": charts}


def data_section(data: DataShown, words: Words) -> Row:
    """What came in, was kept and fell, with examples."""
    report = data.report
    names = words["data"]["kinds"]
    flow = [
        {
            "name": names.get(kind, kind),
            "rows_in": tally.rows_in,
            "kept": tally.accepted,
            "fell": tally.quarantined,
            "kept_share": round(100 * tally.accepted / max(tally.rows_in, 1), 2),
        }
        for kind, tally in report.kinds.items()
    ]
    most = max(report.total.faults.values(), default=1)
    faults = [
        {"name": name, "count": count, "share": round(100 * count / most, 2)}
        for name, count in report.total.faults.items()
    ]
    examples = [
        {"fault": fault, **example.model_dump()}
        for fault, rows in report.examples.items()
        for example in rows[:1]
    ]
    splits = [
        {
            "name": words["data"]["tables"][table],
            "cells": [_split_cell(sizes[split], words) for split in SPLITS if split in sizes],
        }
        for table, sizes in report.splits.items()
    ]
    return {"data": data, "flow": flow, "faults": faults, "examples": examples, "splits": splits}


def step_section(steps: Sequence[StepLine], words: Words) -> Row:
    """Time and cost of each step, and their sums."""
    say = words["cost"]
    longest = max((step.build_seconds for step in steps), default=0.0) or 1.0
    rows = [
        {
            "name": step.name,
            "status": say[step.status] if step.status else say["unknown"],
            "run": say["unknown"] if step.run_seconds is None else seconds_text(step.run_seconds),
            "build": seconds_text(step.build_seconds),
            "share": round(100 * step.build_seconds / longest, 2),
            "tokens": " · ".join(f"{n:,} {say['tokens'][name]}" for name, n in step.tokens.items()),
            "cost": f"{step.cost_usd:.4f}" if step.cost_usd else say["unknown"],
            "reason": "" if step.status == "reused" else step.reason,
        }
        for step in steps
    ]
    known = [step.run_seconds for step in steps if step.run_seconds is not None]
    totals = {
        "run": seconds_text(sum(known)) if known else say["unknown"],
        "build": seconds_text(sum(step.build_seconds for step in steps)),
        "cost": f"{sum(step.cost_usd for step in steps):.4f}",
    }
    return {"steps": rows, "totals": totals}


def lineage_section(
    steps: Sequence[StepLine],
    edges: Sequence[tuple[Name, Name]],
    words: Words,
) -> Row:
    """The graph of artifacts, and each one's settings."""
    nodes = [Node(f"{s.kind}/{s.key}", s.name, f"{s.kind}/{s.key[:8]}", s.depth) for s in steps]
    named = [("/".join(source), "/".join(target)) for source, target in edges]
    lines = [
        {
            **step.model_dump(),
            "settings_text": json.dumps(step.settings, ensure_ascii=False, indent=1),
        }
        for step in sorted(steps, key=lambda step: step.depth)
    ]
    graph = lineage_graph(nodes, named, words["sections"]["lineage"])
    return {"graph": graph, "lineage": lines}


def method_section(words: Words) -> Row:
    """How the figures were made."""
    values = {"few": statistics.FEW_CLUSTERS, "resamples": f"{statistics.RESAMPLES:,}"}
    return {"method": [text.format(**values) for text in words["method"].values()]}


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
        size = f"{counted.items} {named['item']}, {counted.clusters} {named['cluster']}"
        rows.append(
            {
                "sub": language != ALL,
                "name": name
                if language == ALL
                else f"{words['languages'][language]} · {counted.items} {named['item']}",
                "note": f"{words['metrics'][metric.name]} · {size}",
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
    binary = size_text(first, 0.0, words).endswith(words["units"]["points"])
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
                "text": _signed(row.improvement * factor, 1 if binary else 3),
            }
        )
    return {
        "name": words["benchmarks"][first.benchmark]["name"],
        "unit": f"{words['differences']['improvement']}, {unit}",
        "zero": scale.percent(0.0),
        "rows": bars,
        "ticks": [{"place": scale.percent(t), "text": f"{round(t * factor, 6):g}"} for t in ticks],
    }


def _number_cells(row: Comparison, words: Words) -> list[str]:
    named = words["benchmarks"][row.benchmark]["name"]
    place = (row.benchmark, row.metric)
    least = row.minimum_detectable
    return [
        f"{named}: {words['metrics'][row.metric]}",
        f"{row.model} – {row.against}",
        str(row.items),
        str(row.clusters),
        change_text(row, row.difference, words),
        range_text(*place, row.interval),
        row.test,
        p_text(row.p_value),
        p_text(row.p_adjusted),
        number_text(*place, least) if least is not None else "–",
        f"{row.gained} / {row.lost}" if row.test.startswith("mcnemar") else "–",
    ]


def _split_cell(size: Any, words: Words) -> Row:
    text = words["data"]["rows_cases"].format(rows=size.rows, cases=size.cases)
    languages = (f"{words['languages'][n]} {own.rows}" for n, own in size.languages.items())
    return {"text": text, "languages": ", ".join(languages)}


def _signed(value: float, digits: int) -> str:
    sign = "−" if value < 0 else "+" if value else ""
    return f"{sign}{abs(value):.{digits}f}"
