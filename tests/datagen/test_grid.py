from collections import Counter
from itertools import islice

import pytest

from datagen.grid import (
    BAND_STARTS_YEARS,
    SPECIALTIES,
    Cell,
    age_band,
    cell_of,
    coverage,
    empty_cells,
    every_cell,
    is_possible,
)
from tests.datagen.conftest import LIBRARY, case_of

DRAWN = 60


def cell(specialty, age, sex="female", urgency="urgent"):
    return Cell(specialty=specialty, urgency=urgency, age_band=age, sex=sex)


@pytest.mark.parametrize("case", LIBRARY, ids=lambda c: c.case_id)
def test_every_case_of_the_library_stands_in_a_cell_of_the_grid(case):
    assert cell_of(case) in every_cell()


@pytest.mark.parametrize(
    ("years", "band"),
    [
        (0.0, "infant"),
        (0.99, "infant"),
        (1, "child"),
        (11.9, "child"),
        (12, "adolescent"),
        (18, "adult"),
        (39.5, "adult"),
        (40, "middle"),
        (64.9, "middle"),
        (65, "older"),
        (110, "older"),
    ],
)
def test_an_age_falls_into_its_band(years, band):
    assert age_band(years) == band


@pytest.mark.parametrize(
    "impossible",
    [
        cell("obstetrics", "adult", "male"),
        cell("obstetrics", "older"),
        cell("gynaecology", "middle", "male"),
        cell("paediatrics", "adult"),
        cell("paediatric surgery", "older"),
        cell("geriatrics", "child"),
        cell("psychiatry", "infant"),
        cell("vascular medicine", "child"),
        cell("sleep medicine", "adult", urgency="emergency"),
        cell("emergency medicine", "adult", urgency="routine"),
        cell("oncology", "adult", urgency="self_care"),
    ],
    ids=lambda c: c.name,
)
def test_a_cell_that_no_patient_fills_is_left_out(impossible):
    assert not is_possible(impossible)
    assert impossible not in every_cell()


def test_every_specialty_age_and_urgency_has_cells():
    for axis, values in (("specialty", SPECIALTIES), ("age_band", BAND_STARTS_YEARS)):
        assert {getattr(c, axis) for c in every_cell()} == set(values)
    assert is_possible(cell("obstetrics", "adolescent"))
    assert is_possible(cell("geriatrics", "older", "male"))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_cells_drawn_are_empty_and_different(language):
    drawn = list(islice(empty_cells(LIBRARY, language), DRAWN))
    taken = {cell_of(case) for case in LIBRARY if case.language == language}
    assert len(set(drawn)) == DRAWN
    assert not taken & set(drawn)


def test_draws_from_nothing_are_spread_over_all_axes():
    drawn = list(islice(empty_cells([], "en"), DRAWN))
    specialties = Counter(cell.specialty for cell in drawn)
    assert set(SPECIALTIES) - set(specialties) <= {"geriatrics"}  # a sixth of the others' cells
    assert max(specialties.values()) <= 3
    for axis, most_apart in (("urgency", 3), ("age_band", 5), ("sex", 6)):
        counts = Counter(getattr(cell, axis) for cell in drawn)
        assert max(counts.values()) - min(counts.values()) <= most_apart, (axis, counts)


def test_a_longer_draw_begins_like_a_shorter_one_and_the_seed_changes_it():
    long = list(islice(empty_cells(LIBRARY, "en"), 30))
    assert list(islice(empty_cells(tuple(reversed(LIBRARY)), "en"), 10)) == long[:10]
    assert list(islice(empty_cells(LIBRARY, "en", seed=1), 30)) != long
    assert list(islice(empty_cells(LIBRARY, "zh"), 30)) != long


def test_all_cells_come_in_the_end_but_those_that_have_a_case():
    case = case_of("en")
    drawn = list(empty_cells([case], "en"))
    assert set(drawn) == set(every_cell()) - {cell_of(case)}
    assert len(drawn) == len(every_cell()) - 1


def test_the_coverage_counts_cells_axes_and_what_is_beside_the_grid():
    case = case_of("en")
    odd = case.model_copy(update={"specialty": "astrology"})
    found = coverage([case, case, odd, case_of("zh")], "en")
    assert (found.filled, found.outside, found.cells) == (1, 1, len(every_cell()))
    assert found.specialty[case.specialty] == 2
    assert found.specialty["astrology"] == 1
    assert found.specialty["toxicology"] == 0
    assert found.sex[case.patient.sex] == 3
