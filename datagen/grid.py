"""The grid over which the library of cases is spread: specialty × urgency × age band × sex.

Cells that no patient can fill are left out by `RULES`. `empty_cells` draws the others so that
no specialty, urgency, age band or sex gets ahead of the rest.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Literal, get_args

from artifacts.digest import digest_json
from datagen.cases import Case, Sex, Urgency
from validation.schemas import Frozen, Language, NonBlank

AgeBand = Literal["infant", "child", "adolescent", "adult", "middle", "older"]
URGENCIES: tuple[Urgency, ...] = get_args(Urgency)
SEXES: tuple[Sex, ...] = get_args(Sex)
# Each band begins at this age in years and ends where the next begins.
BAND_STARTS_YEARS: dict[AgeBand, float] = {
    "infant": 0,
    "child": 1,
    "adolescent": 12,
    "adult": 18,
    "middle": 40,
    "older": 65,
}
SPECIALTIES = (
    "allergy",
    "cardiology",
    "dentistry",
    "dermatology",
    "emergency medicine",
    "endocrinology",
    "gastroenterology",
    "general practice",
    "geriatrics",
    "gynaecology",
    "haematology",
    "infectious disease",
    "nephrology",
    "neurology",
    "obstetrics",
    "oncology",
    "ophthalmology",
    "orthopaedics",
    "otolaryngology",
    "paediatric surgery",
    "paediatrics",
    "psychiatry",
    "respiratory medicine",
    "rheumatology",
    "sleep medicine",
    "toxicology",
    "urology",
    "vascular medicine",
)
MINORS = ("infant", "child", "adolescent")


class Cell(Frozen):
    """One cell of the grid."""

    specialty: NonBlank
    urgency: Urgency
    age_band: AgeBand
    sex: Sex

    @property
    def name(self) -> str:
        """The cell in one word with slashes."""
        return f"{self.specialty}/{self.urgency}/{self.age_band}/{self.sex}"


Rule = Callable[[Cell], bool]


def men_in_womens_clinics(cell: Cell) -> bool:
    """Obstetrics and gynaecology see girls and women."""
    return cell.specialty in ("obstetrics", "gynaecology") and cell.sex == "male"


def pregnant_outside_fertile_years(cell: Cell) -> bool:
    """Obstetrics begins with adolescence and ends before old age."""
    return cell.specialty == "obstetrics" and cell.age_band in ("infant", "child", "older")


def adults_with_paediatricians(cell: Cell) -> bool:
    """Paediatrics and paediatric surgery end at 18 years."""
    return cell.specialty in ("paediatrics", "paediatric surgery") and cell.age_band not in MINORS


def young_with_geriatricians(cell: Cell) -> bool:
    """Geriatrics sees the old alone."""
    return cell.specialty == "geriatrics" and cell.age_band != "older"


def too_young_for_the_specialty(cell: Cell) -> bool:
    """What infants, or children too, are not seen for."""
    if cell.age_band == "infant":
        return cell.specialty in ("psychiatry", "sleep medicine", "vascular medicine")
    return cell.age_band == "child" and cell.specialty == "vascular medicine"


def never_so_urgent(cell: Cell) -> bool:
    """Sleep medicine knows no emergencies."""
    return cell.specialty == "sleep medicine" and cell.urgency == "emergency"


def never_so_mild(cell: Cell) -> bool:
    """Emergency medicine has no appointments, and nobody treats a tumour alone."""
    if cell.specialty == "emergency medicine":
        return cell.urgency in ("routine", "self_care")
    return cell.specialty == "oncology" and cell.urgency == "self_care"


# Each says of a cell that no patient can fill it.
RULES: tuple[Rule, ...] = (
    men_in_womens_clinics,
    pregnant_outside_fertile_years,
    adults_with_paediatricians,
    young_with_geriatricians,
    too_young_for_the_specialty,
    never_so_urgent,
    never_so_mild,
)


def is_possible(cell: Cell) -> bool:
    """Whether a patient can fill the cell."""
    return not any(rule(cell) for rule in RULES)


@cache
def every_cell() -> tuple[Cell, ...]:
    """All possible cells, in the order of the axes."""
    cells = (
        Cell(specialty=specialty, urgency=urgency, age_band=band, sex=sex)
        for specialty in SPECIALTIES
        for urgency in URGENCIES
        for band in BAND_STARTS_YEARS
        for sex in SEXES
    )
    return tuple(cell for cell in cells if is_possible(cell))


def age_band(age_years: float) -> AgeBand:
    """The band of an age."""
    return [band for band, start in BAND_STARTS_YEARS.items() if age_years >= start][-1]


def cell_of(case: Case) -> Cell:
    """The cell that a case fills (of a specialty of its own, one beside the grid)."""
    return Cell(
        specialty=case.specialty,
        urgency=case.disposition.urgency,
        age_band=age_band(case.patient.age_years),
        sex=case.patient.sex,
    )


class Coverage(Frozen):
    """How many cases stand where, in one language.

    `cells`, `filled`: possible cells, and those with a case. `outside`: cases whose cell is not
    of the grid. The others: cases by each axis, zeros told too.
    """

    cells: int
    filled: int
    outside: int
    specialty: dict[str, int]
    urgency: dict[str, int]
    age_band: dict[str, int]
    sex: dict[str, int]


def coverage(cases: Iterable[Case], language: Language) -> Coverage:
    """How a library covers the grid in one language."""
    filled = [cell_of(case) for case in cases if case.language == language]
    known = set(every_cell())

    def count(axis: str, values: Iterable[str]) -> dict[str, int]:
        found = Counter(getattr(cell, axis) for cell in filled)
        return {value: found[value] for value in dict.fromkeys((*values, *sorted(found)))}

    return Coverage(
        cells=len(known),
        filled=len(set(filled) & known),
        outside=sum(cell not in known for cell in filled),
        specialty=count("specialty", SPECIALTIES),
        urgency=count("urgency", URGENCIES),
        age_band=count("age_band", BAND_STARTS_YEARS),
        sex=count("sex", SEXES),
    )


def empty_cells(cases: Sequence[Case], language: Language, seed: int = 0) -> Iterator[Cell]:
    """The empty cells of a language, first those whose axes have the fewest cases.

    What was drawn counts as filled for the next draw; among equals a digest of the seed decides.
    The order depends on the cases' cells alone, and a longer draw begins like a shorter one.
    """
    taken = [cell_of(case) for case in cases if case.language == language]
    counts = Counter(value for cell in taken for value in _values(cell))
    left = sorted(
        set(every_cell()) - set(taken),
        key=lambda cell: digest_json(["cell", seed, language, cell.name]),
    )
    room = Counter(value for cell in every_cell() for value in _values(cell))
    while left:
        # Cases per cell of a value: axes with many values and with few weigh alike.
        nearest = min(left, key=lambda cell: sum(counts[v] / room[v] for v in _values(cell)))
        left.remove(nearest)
        counts.update(_values(nearest))
        yield nearest


def _values(cell: Cell) -> tuple[tuple[str, str], ...]:
    return (
        ("specialty", cell.specialty),
        ("urgency", cell.urgency),
        ("age_band", cell.age_band),
        ("sex", cell.sex),
    )
