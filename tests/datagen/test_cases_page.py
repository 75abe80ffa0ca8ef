import re
from pathlib import Path

import pytest

from tests.datagen.conftest import LIBRARY

PAGE = Path(__file__).parents[2] / "docs" / "cases.md"
ROWS = dict(re.findall(r"^\| ((?:en|zh)-[a-z0-9-]+) \| (.*) \|$", PAGE.read_text(), re.MULTILINE))


def test_the_page_lists_exactly_the_cases_of_the_library_in_order():
    assert list(ROWS) == [case.case_id for case in LIBRARY]


@pytest.mark.parametrize("case", LIBRARY, ids=lambda c: c.case_id)
def test_the_row_of_a_case_says_what_the_case_says(case):
    specialty, urgency, patient, sources = ROWS[case.case_id].split(" | ")
    assert (specialty, urgency) == (case.specialty, case.disposition.urgency)
    assert patient.endswith(case.patient.sex)
    assert sources == "; ".join(case.sources)


def test_both_languages_have_a_dozen_cases_or_more():
    for language in ("en", "zh"):
        assert sum(case.language == language for case in LIBRARY) >= 12
