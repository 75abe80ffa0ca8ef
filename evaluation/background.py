"""The page's sections on what the scores rest on: data, steps, lineage and method."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from evaluation import statistics
from evaluation.control import Group
from evaluation.material import SPLITS, DataShown
from evaluation.plots import Node, lineage_graph
from evaluation.provenance import Name, StepLine
from evaluation.wording import Words, seconds_text
from validation.schemas import Quarantined

Row = dict[str, Any]
SPEAKER = re.compile(r"^(user|assistant): ", re.MULTILINE)


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
        {"fault": fault, **example.model_dump(), "text": _readable(example.text, words)}
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
    return {
        "data": data,
        "flow": flow,
        "faults": faults,
        "examples": examples,
        "splits": splits,
        **_control(data.groups, words),
    }


def left_out_section(left_out: Sequence[Quarantined], words: Words) -> Row:
    """What was held out and yet measured on no model, and why, a sentence a table."""
    tables: dict[str, list[Quarantined]] = {}
    for row in left_out:
        tables.setdefault(row.origin.partition(":")[0], []).append(row)
    say = words["scores"]["left_out"]
    said = [
        say.format(count=len(rows), table=table, reason=rows[0].detail)
        for table, rows in tables.items()
    ]
    return {"left_out": said}


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


def _control(groups: Mapping[str, Group], words: Words) -> Row:
    """A column a group and a row a figure; and the faults that the kept talks have."""
    say = words["talks"]
    figures = {
        "talks": [str(group.talks) for group in groups.values()],
        "sound": [say["sound"].format(**group.model_dump()) for group in groups.values()],
        "turns": [f"{group.doctor_turns:.1f}" for group in groups.values()],
        "characters": [f"{group.doctor_characters:.0f}" for group in groups.values()],
        "asking": [f"{100 * group.asking:.0f}\u00a0%" for group in groups.values()],
    }
    tolerated = [
        say["tolerated"].format(fault=fault_name(name, words), count=count, talks=kept.talks)
        for kept in (groups[name] for name in groups if name == "kept")
        for name, count in kept.faults.items()
    ]
    return {
        "control_names": [say["groups"][name] for name in groups],
        "control_rows": [(say["figures"][name], cells) for name, cells in figures.items()],
        "tolerated": tolerated,
    }


def fault_name(name: str, words: Words) -> str:
    """A fault in the report's words; its own name where they have none."""
    return str(words["faults"].get(name, name.replace("_", " ")))


def _readable(text: str, words: Words) -> str:
    """A row that fell as lines with speakers; raw where it is no talk and no try at a pair."""
    who = {"user": words["talks"]["patient"], "assistant": words["talks"]["doctor"]}
    try:
        tried = json.loads(text)
        lines = [f"{line['role']}: {line['content']}" for line in tried["prompt"]]
        lines += [f"→ {answer}" for answer in tried["candidates"]]
    except (ValueError, TypeError, KeyError):
        lines = text.splitlines()
    return SPEAKER.sub(lambda match: f"{who[match[1]]}: ", "\n".join(lines))


def _split_cell(size: Any, words: Words) -> Row:
    text = words["data"]["rows_cases"].format(rows=size.rows, cases=size.cases)
    languages = (f"{words['languages'][n]} {own.rows}" for n, own in size.languages.items())
    return {"text": text, "languages": words["comma"].join(languages)}
