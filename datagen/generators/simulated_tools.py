"""The tools of a clinic's assistant: their schemas, and answers that follow from the arguments.

Nothing is booked anywhere: free slots and order numbers come from digests, drugs from a table
and from the treatments of the library's cases.
"""

import re
from collections.abc import Sequence
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import JsonValue

from artifacts.digest import digest_json
from datagen.cases import LOADER, Case, Treatment
from datagen.generators.topics import Worded
from validation.schemas import Frozen, Language, NonBlank
from validation.text import normalised

TOOLS_FILE = Path(__file__).with_name("tools.yaml")
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
FULL_DAYS_IN = 4  # one day of so many has no free slot
ADULT_YEARS = 18
TIMES = {"1": "once", "2": "twice"}
NOT_AT_HOME = re.compile(r"[(（]|loading|first|bolus|负荷|首剂|首日|评估|排除|核对")
Mode = Literal["complete", "missing", "no_call"]


class Parameter(Frozen):
    """One argument of a tool."""

    kind: Literal["text", "date", "department", "test", "urgency"]
    required: bool
    en: NonBlank
    zh: NonBlank


class Tool(Worded):
    """A tool; its wording is its description."""

    parameters: dict[NonBlank, Parameter]


class Test(Worded):
    """A test that can be ordered."""

    __test__ = False  # no test of pytest's

    sample_en: NonBlank
    sample_zh: NonBlank
    fasting: bool
    hours: int


class Drug(Frozen):
    """A drug of the table.

    `names`: by which it can be looked up; `given_for`: what the dose is for, where it holds for
    that alone.
    """

    names: tuple[NonBlank, ...]
    en: NonBlank
    zh: NonBlank
    dose: NonBlank
    every_en: NonBlank
    every_zh: NonBlank
    most_a_day: NonBlank
    caution_en: NonBlank
    caution_zh: NonBlank
    given_for: str = ""


class Situation(Worded):
    """Why somebody writes to the clinic; the wording has places for values."""

    tool: str
    mode: Mode


class Clinic(Frozen):
    """What stands in the file."""

    departments: dict[Language, tuple[NonBlank, ...]]
    tests: tuple[Test, ...]
    urgencies: dict[Language, tuple[NonBlank, ...]]
    drugs: tuple[Drug, ...]
    case_caution: dict[Language, NonBlank]
    tools: tuple[Tool, ...]
    situations: tuple[Situation, ...]


@cache
def read_clinic() -> Clinic:
    """All of the file, in its order."""
    return Clinic.model_validate(yaml.load(TOOLS_FILE.read_text(encoding="utf-8"), Loader=LOADER))


def schemas(language: Language) -> tuple[dict[str, JsonValue], ...]:
    """The tools as chat templates take them: functions with JSON schemas, worded in a language."""
    return tuple(
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.words(language),
                "parameters": {
                    "type": "object",
                    "properties": {
                        name: _schema(parameter, language)
                        for name, parameter in tool.parameters.items()
                    },
                    "required": [n for n, p in tool.parameters.items() if p.required],
                    "additionalProperties": False,
                },
            },
        }
        for tool in read_clinic().tools
    )


def misfit(name: str, arguments: dict[str, JsonValue], language: Language) -> str | None:
    """What is wrong with a call under the tool's schema, in words; None where it fits."""
    tool = next((tool for tool in read_clinic().tools if tool.name == name), None)
    if tool is None:
        return f"there is no tool {name!r}"
    if unknown := sorted(set(arguments) - set(tool.parameters)):
        return f"{name} has no argument {unknown[0]!r}"
    for key, parameter in tool.parameters.items():
        if key not in arguments:
            if parameter.required:
                return f"{name} needs {key!r}"
            continue
        value, allowed = arguments[key], _choices(parameter, language)
        if not isinstance(value, str) or not value.strip():
            return f"{key} must be a text that says something, got {value!r}"
        if allowed and value not in allowed:
            return f"{key} must be one of {list(allowed)}, got {value!r}"
        if parameter.kind == "date" and not _is_day(value):
            return f"{key} must be a day as YYYY-MM-DD, got {value!r}"
    return None


def answer(
    name: str, arguments: dict[str, JsonValue], language: Language, drugs: Sequence[Drug]
) -> dict[str, JsonValue]:
    """What a tool says to a call that fits its schema; the same for the same arguments."""
    if name == "book_appointment":
        return _book(str(arguments["department"]), str(arguments["date"]))
    if name == "order_test":
        return _order(str(arguments["test"]), str(arguments["urgency"]), language)
    drug = find_drug(str(arguments["name"]), drugs)
    if drug is None:
        return {"status": "not_found", "name": str(arguments["name"])}
    english = language == "en"
    told: dict[str, JsonValue] = {"given_for": drug.given_for} if drug.given_for else {}
    return told | {
        "status": "found",
        "name": drug.en if english else drug.zh,
        "usual_adult_dose": drug.dose,
        "interval": drug.every_en if english else drug.every_zh,
        "most_in_24_hours": drug.most_a_day,
        "caution": drug.caution_en if english else drug.caution_zh,
    }


def find_drug(name: str, drugs: Sequence[Drug]) -> Drug | None:
    """The drug of that name, in either language; None where the table lacks it."""
    wanted = normalised(name)
    return next((d for d in drugs if wanted in {normalised(n) for n in d.names}), None)


def drug_table(cases: Sequence[Case]) -> tuple[Drug, ...]:
    """The table's own drugs, and those that adults of the library take by mouth.

    A dose of a case holds for its diagnosis, which the entry names; single doses of emergencies
    and infusions are no answer to somebody who asks at a desk, and stay out.
    """
    clinic = read_clinic()
    drugs = list(clinic.drugs)
    for case in cases:
        for one in case.treatments if case.patient.age_years >= ADULT_YEARS else ():
            if find_drug(one.drug, drugs) or not _taken_at_home(one):
                continue
            unit, least, most = one.unit, one.least_dose, one.most_dose
            times = f"{one.doses_a_day:g}"
            least_told = f"{least:g} {unit} to " if least < most else ""
            drugs.append(
                Drug(
                    names=(one.drug,),
                    en=one.drug,
                    zh=one.drug,
                    dose=f"{least_told}{most:g} {unit}",
                    every_en=f"{TIMES.get(times, f'{times} times')} a day",
                    every_zh=f"每日{times}次",
                    most_a_day=f"{one.most_a_day:g} {unit}",
                    given_for=case.diagnosis.name,
                    caution_en=clinic.case_caution["en"],
                    caution_zh=clinic.case_caution["zh"],
                )
            )
    return tuple(drugs)


def _taken_at_home(treatment: Treatment) -> bool:
    """Whether it is taken by mouth day by day: no brackets, no first or loading dose."""
    text = f"{treatment.drug} {treatment.route}"
    by_mouth = treatment.route == "oral" or treatment.route.startswith("口服")
    return by_mouth and not NOT_AT_HOME.search(text)


def _book(department: str, day: str) -> dict[str, JsonValue]:
    if _number("full", department, day) % FULL_DAYS_IN:
        return {"status": "booked", "department": department, "date": day, "time": _time(day, 0)}
    later = [date.fromisoformat(day) + timedelta(days=n) for n in (1, 2)]
    free: list[JsonValue] = [{"date": str(d), "time": _time(str(d), 0)} for d in later]
    return {"status": "full", "department": department, "date": day, "free": free}


def _order(test: str, urgency: str, language: Language) -> dict[str, JsonValue]:
    clinic = read_clinic()
    found = next(one for one in clinic.tests if one.words(language) == test)
    urgent = urgency == clinic.urgencies[language][-1]
    return {
        "status": "ordered",
        "order": f"T{_number('order', test, urgency) % 9000 + 1000}",
        "sample": found.sample_en if language == "en" else found.sample_zh,
        "fasting": found.fasting,
        "result_within_hours": max(1, found.hours // 2) if urgent else found.hours,
    }


def _time(day: str, place: int) -> str:
    minutes = 8 * 60 + 10 * (_number("slot", day, place) % 54)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _number(*names: object) -> int:
    return int(digest_json([*map(str, names)])[:8], 16)


def _is_day(value: str) -> bool:
    if not DAY.fullmatch(value):
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def _choices(parameter: Parameter, language: Language) -> tuple[str, ...]:
    clinic = read_clinic()
    return {
        "department": clinic.departments[language],
        "test": tuple(test.words(language) for test in clinic.tests),
        "urgency": clinic.urgencies[language],
    }.get(parameter.kind, ())


def _schema(parameter: Parameter, language: Language) -> dict[str, JsonValue]:
    schema: dict[str, JsonValue] = {
        "type": "string",
        "description": parameter.en if language == "en" else parameter.zh,
    }
    if choices := _choices(parameter, language):
        schema["enum"] = list(choices)
    if parameter.kind == "date":
        schema["format"] = "date"
    return schema
