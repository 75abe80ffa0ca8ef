"""Arithmetic with doses, out of a case's treatments: whose numbers are drawn, and the answers."""

import math
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Literal

import yaml
from pydantic import PositiveFloat, PositiveInt

from artifacts.digest import digest_json
from datagen.cases import LOADER, Case, Treatment, Urgency
from judging.wording import first_mention
from validation.schemas import Frozen, Language, NonBlank

WORDS_FILE = Path(__file__).with_name("problems.yaml")
Asks = Literal["daily_total", "course_units", "dose_volume", "course_volume", "most_doses"]
Unit = Literal["mg", "microgram", "g", "mL", "unit"]

# What one tablet or capsule may hold; a drawn one makes one to four of them a dose.
STRENGTHS = (1, 2.5, 5, 10, 15, 20, 25, 40, 50, 75, 100, 150, 200, 250, 300, 400, 500, 1000)
MOST_UNITS_A_DOSE = 4
# Milligrams in 5 mL of a liquid.
CONCENTRATIONS = (5, 15, 25, 50, 100, 120, 125, 200, 250)
LEAST_VOLUME_ML, MOST_VOLUME_ML = 1.0, 20.0
OLDEST_FOR_LIQUIDS_YEARS = 14
# Short where there are several doses a day: those drugs are mostly for an illness that passes.
DAYS_OF_ONE_DOSE, DAYS_OF_SEVERAL = (7, 14, 28), (3, 4, 5, 6)
MOST_DOSES_A_DAY, MOST_DOSES_ALLOWED = 6, 12
SCALES: dict[Unit, tuple[tuple[Unit, float], ...]] = {
    "mg": (("mg", 1.0), ("g", 1e-3)),
    "microgram": (("microgram", 1.0), ("mg", 1e-3)),
    "g": (("g", 1.0), ("mg", 1e3)),
    "mL": (("mL", 1.0),),
    "unit": (("unit", 1.0),),
}
Words = dict[Language, tuple[NonBlank, ...]]


class ProblemWords(Frozen):
    """What stands in the file."""

    urgencies: dict[Language, dict[Urgency, NonBlank]]
    taken: Words
    swallowed: Words
    not_regular: Words
    lasting: Words
    doubt: dict[Language, tuple[str, ...]]
    qualifies: dict[Language, tuple[str, ...]]
    causes: dict[Language, tuple[str, ...]]


@cache
def read_problem_words() -> ProblemWords:
    """All of the file."""
    text = WORDS_FILE.read_text(encoding="utf-8")
    return ProblemWords.model_validate(yaml.load(text, Loader=LOADER))


class DoseQuestion(Frozen):
    """One sum: what is asked, its numbers (absent where it needs none), and the answer.

    `dose` is in `unit`, and so are `strength` (one tablet), `in_5_ml` and `most_a_day`. The
    answer of a `daily_total` is in `answer_unit`, of volumes in mL, else a count. `taken` doses
    have been taken of those that are allowed.
    """

    asks: Asks
    drug: NonBlank
    route: NonBlank
    dose: PositiveFloat
    unit: Unit
    doses_a_day: PositiveInt
    answer: PositiveFloat
    answer_unit: Unit | None = None
    strength: PositiveFloat | None = None
    in_5_ml: PositiveFloat | None = None
    days: PositiveInt | None = None
    most_a_day: PositiveFloat | None = None
    taken: int = 0


def dose_questions(case: Case, seed: int, each: int) -> list[DoseQuestion]:
    """Up to `each` sums of every sort on every treatment that is taken regularly.

    Which numbers they have follows from the seed, the case and the sum alone.
    """
    made: list[DoseQuestion] = []
    for treatment in case.treatments:
        if not _is_regular(treatment, case.language):
            continue
        every = [one for one in _sums(treatment, case) if _clean(one.answer)]
        for asks in dict.fromkeys(one.asks for one in every):
            of_sort = [one for one in every if one.asks == asks]
            of_sort.sort(key=lambda one: digest_json([seed, case.case_id, one.model_dump()]))
            made += of_sort[:each]
    return made


def figure(value: float) -> str:
    """A number as it is written in a problem: no zeros at its end, no exponent."""
    return f"{value:.4f}".rstrip("0").rstrip(".")


def _sums(treatment: Treatment, case: Case) -> Iterator[DoseQuestion]:
    """Every sum that the numbers of a treatment allow."""
    per_day = int(treatment.doses_a_day)
    for dose in _doses(treatment):
        known = DoseQuestion(
            asks="daily_total",
            drug=_name(treatment),
            route=_leading(treatment.route),
            dose=dose,
            unit=treatment.unit,
            doses_a_day=per_day,
            answer=dose * per_day,
        )
        if per_day > 1:
            yield from _daily_totals(known)
            yield from _allowances(known, treatment.most_a_day)
        if not _starts(treatment.route, read_problem_words().swallowed[case.language]):
            continue
        days = () if _lasts(treatment, case.language) else _courses(per_day)
        yield from _units(known, days)
        if case.patient.age_years < OLDEST_FOR_LIQUIDS_YEARS:
            yield from _volumes(known, days)


def _daily_totals(known: DoseQuestion) -> Iterator[DoseQuestion]:
    for unit, scale in SCALES[known.unit]:
        total = round(known.dose * known.doses_a_day * scale, 9)
        yield known.model_copy(update={"answer": total, "answer_unit": unit})


def _allowances(known: DoseQuestion, most_a_day: float) -> Iterator[DoseQuestion]:
    allowed = math.floor(most_a_day / known.dose + 1e-9)
    if not 2 <= allowed <= MOST_DOSES_ALLOWED:
        return
    for taken in range(allowed):
        changes = {"asks": "most_doses", "most_a_day": most_a_day, "taken": taken}
        yield known.model_copy(update={**changes, "answer": float(allowed - taken)})


def _units(known: DoseQuestion, days: Sequence[int]) -> Iterator[DoseQuestion]:
    for strength, course in product(STRENGTHS, days):
        count = known.dose / strength
        if known.unit == "mL" or not 1 <= count <= MOST_UNITS_A_DOSE or count % 1:
            continue
        changes = {"asks": "course_units", "strength": float(strength), "days": course}
        answer = count * known.doses_a_day * course
        yield known.model_copy(update={**changes, "answer": answer})


def _volumes(known: DoseQuestion, days: Sequence[int]) -> Iterator[DoseQuestion]:
    if known.unit != "mg":
        return
    for concentration in CONCENTRATIONS:
        volume = round(5 * known.dose / concentration, 9)
        if not LEAST_VOLUME_ML <= volume <= MOST_VOLUME_ML or not _clean(volume, 1):
            continue
        liquid = known.model_copy(update={"in_5_ml": float(concentration)})
        yield liquid.model_copy(update={"asks": "dose_volume", "answer": volume})
        for course in days:
            answer = round(volume * known.doses_a_day * course, 9)
            changes = {"asks": "course_volume", "days": course}
            yield liquid.model_copy(update={**changes, "answer": answer})


def _doses(treatment: Treatment) -> list[float]:
    """The usual dose and the ends of its range, where a whole day of them is allowed."""
    every = {treatment.least_dose, treatment.dose, treatment.most_dose}
    most = treatment.most_a_day * (1 + 1e-9)
    return sorted(dose for dose in every if dose * treatment.doses_a_day <= most)


def _courses(doses_a_day: int) -> tuple[int, ...]:
    return DAYS_OF_ONE_DOSE if doses_a_day == 1 else DAYS_OF_SEVERAL


def _is_regular(treatment: Treatment, language: Language) -> bool:
    words, told = read_problem_words(), _told(treatment)
    return (
        treatment.doses_a_day in range(1, MOST_DOSES_A_DAY + 1)
        and _starts(treatment.route, words.taken[language])
        and first_mention(told, words.not_regular[language]) is None
    )


def _lasts(treatment: Treatment, language: Language) -> bool:
    """Whether the treatment says itself how long it lasts, so that no other length fits."""
    return first_mention(_told(treatment), read_problem_words().lasting[language]) is not None


def _told(treatment: Treatment) -> str:
    return f"{treatment.drug}; {treatment.route}; {treatment.source}"


def _starts(route: str, words: Sequence[str]) -> bool:
    return route.lower().startswith(tuple(words))


def _name(treatment: Treatment) -> str:
    return _leading(treatment.drug)


def _leading(text: str) -> str:
    """A text up to the first bracket or comma: remarks stand behind these."""
    for mark in "(（,，;；":
        text = text.partition(mark)[0]
    return text.strip()


def _clean(value: float, places: int = 2) -> bool:
    return abs(round(value, places) - value) < 1e-9
