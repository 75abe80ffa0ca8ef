"""Which corners of medicine the talks come from: counts by specialty, urgency, age and sex."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from evaluation.errors import MissingInput
from validation.schemas import Frozen

URGENCIES = ("emergency", "urgent", "soon", "routine", "self_care")
SEXES = ("female", "male")
# First age that no longer belongs to the band, in years.
AGE_BANDS: tuple[tuple[str, float], ...] = (
    ("infant", 1),
    ("child", 12),
    ("adolescent", 18),
    ("adult", 40),
    ("middle", 65),
    ("older", 200),
)


class CaseFacts(Frozen):
    """What of a case the coverage looks at."""

    case_id: str
    language: str
    specialty: str
    urgency: str
    age_band: str
    sex: str


class Coverage(Frozen):
    """Talks by specialty → urgency, and by age band → sex; `cases` are those with a talk."""

    cases: int
    specialty_by_urgency: dict[str, dict[str, int]] = Field(default_factory=dict)
    age_by_sex: dict[str, dict[str, int]] = Field(default_factory=dict)
    languages: dict[str, int] = Field(default_factory=dict)


def age_band(years: float) -> str:
    """The band of an age."""
    return next(name for name, end in AGE_BANDS if years < end)


def read_case_facts(path: Path) -> dict[str, CaseFacts]:
    """The cases of a `cases.jsonl`, by case_id. Raises MissingInput where it is absent."""
    if not path.is_file():
        raise MissingInput(f"{path} is not there: generate the conversations again")
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        case: Mapping[str, Any] = json.loads(line)
        found[case["case_id"]] = CaseFacts(
            case_id=case["case_id"],
            language=case["language"],
            specialty=case["specialty"],
            urgency=case["disposition"]["urgency"],
            age_band=age_band(case["patient"]["age_years"]),
            sex=case["patient"]["sex"],
        )
    return found


def coverage_of(case_ids: Iterable[str], cases: Mapping[str, CaseFacts]) -> Coverage:
    """The coverage of talks, given by their cases; rows and columns in a fixed order.

    Raises MissingInput where a talk's case is unknown.
    """
    talks = Counter(case_ids)
    if strangers := sorted(set(talks) - set(cases)):
        raise MissingInput(f"talks of cases that are not there: {strangers[:5]}")
    by_specialty: dict[str, Counter[str]] = {}
    by_age: dict[str, Counter[str]] = {}
    languages: Counter[str] = Counter()
    for case_id, number in talks.items():
        case = cases[case_id]
        by_specialty.setdefault(case.specialty, Counter())[case.urgency] += number
        by_age.setdefault(case.age_band, Counter())[case.sex] += number
        languages[case.language] += number
    return Coverage(
        cases=len(talks),
        specialty_by_urgency={
            name: {u: by_specialty[name][u] for u in URGENCIES} for name in sorted(by_specialty)
        },
        age_by_sex={
            name: {s: by_age[name][s] for s in SEXES} for name, _ in AGE_BANDS if name in by_age
        },
        languages=dict(sorted(languages.items())),
    )
