"""The page of the generation report: its sections, in the reader's language."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from evaluation import page
from evaluation.background import fault_name
from evaluation.coverage import SEXES, URGENCIES
from evaluation.generation import FaultLine, GenerationNumbers, StepCost
from evaluation.plots import bar_chart
from evaluation.talk_figures import TalkFigures
from evaluation.wording import TEMPLATES, Words, read_words, seconds_text
from validation.schemas import Language

Row = dict[str, Any]
# Lists of more kinds than these are cut on the page; generation.json holds all.
MOST_KINDS = 24


def generation_page(numbers: GenerationNumbers, language: Language) -> str:
    """The whole page as HTML."""
    words = read_generation_words(language)
    return page.render(
        "generation.html.j2",
        {
            "w": words,
            "html_language": page.HTML_LANGUAGES[language],
            **overview_section(numbers, words),
            **coverage_section(numbers, words),
            **figures_section(numbers, words),
            **fault_section(numbers, words),
            **pair_section(numbers, words),
            **cost_section(numbers.steps, words),
        },
    )


def read_generation_words(language: Language) -> Words:
    """The words of this page, with those of the evaluation's that both use."""
    own = Path(TEMPLATES / f"generation.{language}.yaml").read_text(encoding="utf-8")
    words: Words = yaml.safe_load(own)
    shared = read_words(language)
    return {name: shared[name] for name in ("faults", "languages", "talks")} | words


def overview_section(numbers: GenerationNumbers, words: Words) -> Row:
    """Four numbers that say most."""
    say = words["overview"]
    talks = sum(numbers.coverage.languages.values())
    sound = talks - numbers.talks_with_faults
    main = next((s for s in numbers.steps if s.step == "conversations"), None)
    cards = [
        (say["talks"], f"{talks:,}", _languages(numbers.coverage.languages, words)),
        (say["cases"], f"{numbers.coverage.cases:,}", say["cases_note"]),
        (say["sound"], _percent(sound / talks), say["sound_note"]),
    ]
    if main is not None:
        per = main.cost_usd / main.kept if main.kept else None
        price = words["none"] if per is None else f"${per:.4f}"
        cards.append((say["price"], price, say["price_note"].format(cost=f"{main.cost_usd:.4f}")))
    return {"cards": cards}


def coverage_section(numbers: GenerationNumbers, words: Words) -> Row:
    """Two heat maps."""
    say = words["coverage"]
    by_specialty = numbers.coverage.specialty_by_urgency
    by_age = numbers.coverage.age_by_sex
    return {
        "specialties": _heat(by_specialty, URGENCIES, say["specialties"]),
        "urgency_names": [say["urgencies"][name] for name in URGENCIES],
        "ages": _heat(by_age, SEXES, say["ages"]),
        "sex_names": [say["sexes"][name] for name in SEXES],
    }


def _heat(
    table: Mapping[str, Mapping[str, int]], columns: Sequence[str], names: Mapping[str, str]
) -> list[Row]:
    most = max((count for row in table.values() for count in row.values()), default=0) or 1
    return [
        {
            "name": names.get(name, name),
            "total": sum(row.values()),
            "cells": [
                {"count": row[column], "shade": round(100 * row[column] / most)}
                for column in columns
            ],
        }
        for name, row in table.items()
    ]


def figures_section(numbers: GenerationNumbers, words: Words) -> Row:
    """A table a language: a column a group of talks, a row a figure; and turns as bars."""
    say = words["figures"]
    tables = []
    for language in ("en", "zh"):
        groups = {name: by[language] for name, by in numbers.figures.items() if language in by}
        if not groups:
            continue
        rows = [
            {"name": say["rows"][name], "note": say["notes"].get(name, ""), "cells": cells}
            for name, cells in _figure_rows(list(groups.values())).items()
        ]
        charts = [
            {
                "name": say["groups"][name],
                "chart": bar_chart(
                    {str(n): count for n, count in one.lengths.doctor_turns.items()},
                    f"{say['groups'][name]}: {say['turns_chart']}",
                    say["turns_axis"],
                ),
            }
            for name, one in groups.items()
        ]
        first = next(iter(groups.values())).diversity
        tables.append(
            {
                "language": words["languages"][language],
                "groups": [say["groups"][name] for name in groups],
                "rows": rows,
                "charts": charts,
                "sample": say["sample"].format(talks=first.talks, tokens=f"{first.tokens:,}"),
            }
        )
    notes = [say["too_few"].format(group=say["groups"][name]) for name in numbers.too_few]
    if numbers.human_unusable:
        notes.append(say["unusable"].format(count=numbers.human_unusable))
    return {"tables": tables, "figure_notes": notes}


def _figure_rows(groups: Sequence[TalkFigures]) -> dict[str, list[str]]:
    rows: dict[str, list[str]] = {
        "talks": [f"{one.lengths.talks:,}" for one in groups],
        "doctor_turns": [f"{one.lengths.mean_doctor_turns:.1f}" for one in groups],
        "doctor_width": [f"{one.lengths.median_doctor_width:.0f}" for one in groups],
        "patient_width": [f"{one.lengths.median_patient_width:.0f}" for one in groups],
        "patient_share": [_percent(one.lengths.patient_share) for one in groups],
        "asks": [_percent(one.balance.asks) for one in groups],
        "both": [_percent(one.balance.both) for one in groups],
        "tells": [_percent(one.balance.tells) for one in groups],
        "questions": [
            "–"
            if one.balance.questions_per_asking_turn is None
            else f"{one.balance.questions_per_asking_turn:.2f}"
            for one in groups
        ],
    }
    for size in (1, 2, 3):
        rows[f"distinct_{size}"] = [
            f"{one.diversity.distinct[size]:.3f}" if size in one.diversity.distinct else "–"
            for one in groups
        ]
    rows["recurring"] = [_percent(one.diversity.recurring) for one in groups]
    rows["recurring_elsewhere"] = [_percent(one.diversity.recurring_elsewhere) for one in groups]
    return rows


def fault_section(numbers: GenerationNumbers, words: Words) -> Row:
    """Faults found in talks, rows that could not be made, rows that validation refused."""
    return {
        "talk_faults": _faults(numbers.talk_faults, words),
        "quarantined": _faults(numbers.quarantined, words),
        "dataset_faults": _bars(numbers.dataset_faults, words),
    }


def _faults(lines: Sequence[FaultLine], words: Words) -> list[Row]:
    most = max((line.rows for line in lines), default=1)
    return [
        {
            "name": fault_name(line.name, words),
            "count": line.rows,
            "share": round(100 * line.rows / most, 2),
            "examples": line.examples,
        }
        for line in lines[:MOST_KINDS]
    ]


def pair_section(numbers: GenerationNumbers, words: Words) -> Row:
    """Preference pairs: what is wrong with the rejected ones, and how far judges can be trusted."""
    summary = numbers.preferences
    fault_types = summary.get("fault_types")
    bars = _bars(fault_types, words) if isinstance(fault_types, dict) else []
    found = _at(summary, "judges.errors_found")
    return {
        "pairs": bars,
        "pair_figures": _pair_figures(summary, words),
        "detection": _detection(found, words) if isinstance(found, Mapping) else [],
        "judges": _judges(_at(summary, "judges.by_judge"), words),
    }


def _pair_figures(summary: Mapping[str, Any], words: Words) -> list[Row]:
    """The figures of the step's summary that the page has words for, where they have data."""
    rows = []
    for key, (name, note) in words["pairs"]["figures"].items():
        value = _at(summary, key)
        if value is not None and value != {}:
            rows.append({"name": name, "note": note, "value": _told(value, words)})
    return rows


def _detection(found: Mapping[str, Any], words: Words) -> list[Row]:
    """Precision and recall of the judges for each typed error that is known to be there."""
    none = words["none"]
    return [
        {
            "name": words["pairs"]["overall"] if name == "overall" else fault_name(name, words),
            "cells": [
                none if part.get(figure) is None else _told(part[figure], words)
                for figure in ("precision", "recall")
            ],
        }
        for name, part in found.items()
        if name != "none_named" and isinstance(part, Mapping)
    ]


def _judges(by_judge: Any, words: Words) -> list[Row]:
    if not isinstance(by_judge, Mapping):
        return []
    keys = ("flip_rate", "first_preferred", "length_bias.longer_preferred")
    return [
        {
            "name": judge,
            "cells": [
                words["none"] if (value := _at(own, key)) is None else _told(value, words)
                for key in keys
            ],
        }
        for judge, own in by_judge.items()
    ]


def _at(summary: Mapping[str, Any], key: str) -> Any:
    """The value at a dotted key; None where it is not there."""
    value: Any = summary
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _told(value: Any, words: Words) -> str:
    """A figure with its interval and what it rests on, counts by name, or a plain number."""
    if isinstance(value, Mapping) and "value" in value:
        text = f"{value['value']:.2f}"
        interval = value.get("interval")
        if interval:
            text += f" ({interval[0]:.2f}–{interval[1]:.2f})"
        count = value.get("of", value.get("units"))
        return f"{text}, n\u00a0=\u00a0{count:,}" if count is not None else text
    if isinstance(value, Mapping):
        return ", ".join(f"{_named(n, words)} {_told(inner, words)}" for n, inner in value.items())
    return f"{value:.2f}" if isinstance(value, float) else _named(value, words)


def _named(name: Any, words: Words) -> str:
    return str(words["pairs"]["names"].get(name, name))


def _bars(counts: Mapping[str, Any], words: Words) -> list[Row]:
    ordered = sorted(counts.items(), key=lambda item: (-int(item[1]), item[0]))
    most = max((int(count) for _, count in ordered), default=1)
    return [
        {"name": fault_name(n, words), "count": c, "share": round(100 * int(c) / most, 2)}
        for n, c in ordered[:MOST_KINDS]
    ]


def cost_section(steps: Sequence[StepCost], words: Words) -> Row:
    """What each step took, in all and per row that stands in the data set."""
    say = words["cost"]
    rows = []
    for step in steps:
        kept = step.made if step.kept is None else step.kept
        per = [
            f"{step.cost_usd / kept:.5f}" if kept else words["none"],
            seconds_text(step.seconds / kept) if kept else words["none"],
        ]
        retried = ", ".join(
            f"{fault_name(f'endpoint_{name}', words)} {count}"
            for name, count in step.retried.items()
        )
        rows.append(
            {
                "name": say["steps"].get(step.step, step.step.removeprefix("generated_")),
                "cells": [
                    f"{step.made:,}",
                    f"{step.quarantined:,}",
                    words["none"] if step.kept is None else f"{step.kept:,}",
                    f"{step.calls:,}",
                    f"{step.prompt_tokens:,}",
                    f"{step.completion_tokens:,}",
                    f"{step.cost_usd:.4f}",
                    seconds_text(step.seconds),
                    *per,
                ],
                "retried": retried,
            }
        )
    return {"costs": rows}


def _languages(languages: Mapping[str, int], words: Words) -> str:
    return " · ".join(f"{words['languages'][name]} {count:,}" for name, count in languages.items())


def _percent(share: float) -> str:
    return f"{100 * share:.0f}\u00a0%"
