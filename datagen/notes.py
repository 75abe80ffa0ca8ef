"""Clinical notes as the ground of cases: read from CSV or JSON Lines, and held against a case.

As in NoteChat (Wang et al. 2024) the note is the truth: what a case tells of the history must
stand in it, as far as numbers and drugs show.
"""

import csv
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, PositiveInt

from datagen.cases import Case, Sex
from datagen.errors import NotesError
from judging.wording import plain_text
from validation.schemas import Fault, Frozen, Language, NonBlank, Quarantined
from validation.text import han_share, normalised, width

DRUGS_FILE = Path(__file__).with_name("drug_names.yaml")
TEXT_COLUMNS = ("section_text", "note", "text")
FORMATS = (".csv", ".jsonl", ".ndjson")
MOST_CHINESE = 0.5

UNIT_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
)  # fmt: skip
TENS_WORDS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
ENGLISH_UNITS = {word: number for number, word in enumerate(UNIT_WORDS)}
ENGLISH_TENS = {word: 10 * number for number, word in enumerate(TENS_WORDS, start=2)}
CHINESE_DIGITS = {digit: number for number, digit in enumerate("零一二三四五六七八九")} | {"两": 2}
DIGITS = re.compile(r"\d+(?:\.\d+)?")
ENGLISH_NUMBER = re.compile(
    rf"\b(?:(?P<tens>{'|'.join(ENGLISH_TENS)})(?:[ -](?P<unit>{'|'.join(ENGLISH_UNITS)}))?"
    rf"|(?P<alone>{'|'.join(ENGLISH_UNITS)}))\b"
)
# Up to 99; a lone 一 is more often no number (一直, 一样), nor is "one" in English.
CHINESE_NUMBER = re.compile(
    r"(?P<tens>[二三四五六七八九]?十)(?P<unit>[一二三四五六七八九]?)|(?P<alone>[二三四五六七八九两])"
)
UNCOUNTED = 1.0
AGE = re.compile(
    r"(?P<number>\d+(?:\.\d+)?)[ -]*(?:(?P<years>years?[ -]old|y/?o\b|岁)"
    r"|(?P<months>months?[ -]old|个月大)|(?P<weeks>weeks?[ -]old|周大))"
)
AGE_UNITS_YEARS = {"years": 1.0, "months": 1 / 12, "weeks": 1 / 52.18}
# A patient is as old as the note says until the next birthday.
AGE_TOLERANCE_YEARS = 1.0
SEX_WORDS: dict[Sex, re.Pattern[str]] = {
    "female": re.compile(r"\b(?:she|her|female|woman|lady|girl|mrs|ms)\b|[女她]"),
    "male": re.compile(r"\b(?:he|his|him|male|man|gentleman|boy|mr)\b|男|他(?!们|人|院|的人)"),
}
HALF = {"half": 0.5, "半": 0.5}


class NotesFile(Frozen):
    """A file of clinical notes, and what its cases say of where they come from.

    `source` None: the file's name. `min_width`: notes of fewer characters (Chinese ones counted
    twice) hold no five facts and are not sent.
    """

    path: Annotated[Path, Field(json_schema_extra={"result_neutral": True})]
    license: NonBlank = "unknown"
    source: NonBlank | None = None
    min_width: PositiveInt = 300


class Note(Frozen):
    """One note, and where it stands."""

    text: NonBlank
    origin: NonBlank


def check_notes(file: NotesFile) -> None:
    """Raises NotesError where the file is not there or is of another kind."""
    if not file.path.is_file():
        raise NotesError(f"{file.path} is not there: name a file of notes that exists")
    if file.path.suffix.lower() not in FORMATS:
        raise NotesError(
            f"{file.path}: notes are read from {', '.join(FORMATS)}, with the text in a column "
            f"called {' or '.join(TEXT_COLUMNS)}"
        )


def read_notes(file: NotesFile, language: Language) -> Iterator[Note | Quarantined]:
    """Every row, as a note or with its fault.

    Faults: `not_json`, `no_text` (none of `TEXT_COLUMNS`), `wrong_language`, `note_too_short`,
    `duplicate`. Raises NotesError for the file as a whole.
    """
    check_notes(file)
    seen: dict[str, str] = {}
    for number, (raw, row) in enumerate(_rows(file.path), start=1):
        origin = f"{file.path.name}:{number}"
        text = _text_of(row)
        fault = _fault_of(row, text, file, language)
        if not fault and (earlier := seen.setdefault(normalised(text), origin)) != origin:
            fault = Fault(name="duplicate", detail=f"the same note as {earlier}")
        if fault:
            yield Quarantined(raw=raw, fault=fault.name, detail=fault.detail, origin=origin)
        else:
            yield Note(text=text, origin=origin)


def not_in_the_note(case: Case, note: str) -> Iterator[Fault]:
    """Numbers and drugs that the case's history tells and the note does not.

    Age and sex, complaint, opening, history and facts are held against the note; what the
    examiner finds is not.
    """
    yield from _another_patient(case, note)
    known, drugs = numbers(note), drug_names(note, case.language)
    told = [("complaint", case.complaint), ("opening", case.opening), ("history", case.history)]
    for fact in case.facts:
        told += [(f"facts.{fact.fact_id}", fact.statement), (f"facts.{fact.fact_id}", fact.answer)]
    said: set[str] = set()
    for where, text in told:
        strange = [f"{n:g}" for n in sorted(numbers(text) - known - {UNCOUNTED})]
        strange += sorted(drug_names(text, case.language) - drugs)
        for one in strange:
            detail = f"{where}: {one!r} does not stand in the note"
            if detail not in said:
                said.add(detail)
                yield Fault(name="not_in_the_note", detail=detail)


def _another_patient(case: Case, note: str) -> Iterator[Fault]:
    """An age that no age of the note is near to, a sex where the note speaks of the other alone."""
    plain = plain_text(note)
    ages = [
        float(match["number"]) * unit
        for match in AGE.finditer(plain)
        for name, unit in AGE_UNITS_YEARS.items()
        if match[name]
    ]
    age = case.patient.age_years
    if ages and not any(abs(age - one) < AGE_TOLERANCE_YEARS for one in ages):
        told = ", ".join(f"{one:.3g}" for one in ages)
        detail = f"patient.age_years: {age:g}, but the note says {told}"
        yield Fault(name="not_in_the_note", detail=detail)
    sexes = {sex for sex, words in SEX_WORDS.items() if words.search(plain)}
    if len(sexes) == 1 and case.patient.sex not in sexes:
        detail = f"patient.sex: {case.patient.sex}, but the note says {sexes.pop()}"
        yield Fault(name="not_in_the_note", detail=detail)


def numbers(text: str) -> frozenset[float]:
    """The numbers of a text, in digits or words of either language, up to 99 in words."""
    plain = plain_text(text)
    found = {float(match.group()) for match in DIGITS.finditer(plain)}
    for match in ENGLISH_NUMBER.finditer(plain):
        unit = match["unit"] or match["alone"] or ""
        found.add(ENGLISH_TENS.get(match["tens"] or "", 0) + float(ENGLISH_UNITS.get(unit, 0)))
    for match in CHINESE_NUMBER.finditer(plain):
        tens = match["tens"] or ""
        ten = 10.0 * CHINESE_DIGITS.get(tens[:1], 1) if tens else 0.0
        found.add(ten + CHINESE_DIGITS.get(match["unit"] or match["alone"] or "", 0))
    return frozenset(found | {value for word, value in HALF.items() if word in plain})


def drug_names(text: str, language: Language) -> frozenset[str]:
    """The drugs that a text names: known ones, and words that end like a drug."""
    words = _drugs()
    plain = plain_text(text)
    if language == "zh":
        ends = (end for end in words["endings"]["zh"] if end in plain)
        return frozenset({name for name in words["names"]["zh"] if name in plain} | set(ends))
    found = set(re.findall(r"[a-z]{4,}", plain))
    endings = tuple(words["endings"]["en"])
    drugs = {w for w in found if w in words["names"]["en"] or (len(w) > 6 and w.endswith(endings))}
    return frozenset(drugs - set(words["not_drugs"]["en"]))


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        if path.suffix.lower() == ".csv":
            for row in csv.DictReader(stream):
                yield json.dumps(row, ensure_ascii=False), row
            return
        for line in stream:
            if not line.strip():
                continue
            try:
                yield line.rstrip("\n"), json.loads(line)
            except ValueError:
                yield line.rstrip("\n"), None


def _text_of(row: Any) -> str:
    if not isinstance(row, dict):
        return ""
    texts = (row.get(column) for column in TEXT_COLUMNS)
    return next((text.strip() for text in texts if isinstance(text, str) and text.strip()), "")


def _fault_of(row: Any, text: str, file: NotesFile, language: Language) -> Fault | None:
    if row is None:
        return Fault(name="not_json", detail="the line is not JSON")
    if not text:
        return Fault(name="no_text", detail=f"no text in a column {' or '.join(TEXT_COLUMNS)}")
    if (han_share(text) >= MOST_CHINESE) != (language == "zh"):
        return Fault(name="wrong_language", detail=f"the note is not in {language!r}")
    if width(text) < file.min_width:
        detail = f"{width(text)} characters wide, at least {file.min_width} are wanted"
        return Fault(name="note_too_short", detail=detail)
    return None


@cache
def _drugs() -> dict[str, dict[str, list[str]]]:
    values: dict[str, dict[str, list[str]]] = yaml.safe_load(DRUGS_FILE.read_text("utf-8"))
    return values
