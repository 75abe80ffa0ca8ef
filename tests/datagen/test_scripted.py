import pytest

from datagen.conversation_checks import TalkCheckSettings, check_talk
from datagen.scripted import (
    script,
    scripted_consultation,
    scripted_messages,
    worked_example,
    worked_examples,
)
from tests.datagen.conftest import LIBRARY


@pytest.mark.parametrize("case", LIBRARY, ids=lambda c: c.case_id)
def test_the_scripted_consultation_of_every_case_passes_every_check(case):
    strict = TalkCheckSettings(must_ask_coverage=1.0, acting_turns=1)
    assert check_talk(scripted_consultation(case), case, strict) == ()


@pytest.mark.parametrize("case", LIBRARY, ids=lambda c: c.case_id)
def test_a_worked_example_is_of_another_case_in_the_same_language(case):
    example = worked_example(case, LIBRARY, 3)
    shown = next(c for c in LIBRARY if c.opening == example[0].content)
    assert shown.case_id != case.case_id
    assert shown.language == case.language
    assert len(example) == 8
    assert example == worked_example(case, tuple(reversed(LIBRARY)), 3)


def test_a_case_without_company_has_no_worked_example():
    assert worked_example(LIBRARY[0], LIBRARY[:1]) == ()


def test_the_scripted_talk_asks_for_every_fact_and_ends_with_the_advice():
    case = LIBRARY[0]
    messages = scripted_messages(case)
    assert len(messages) == 2 * len(case.facts) + 2
    assert messages[-1].content == case.disposition.advice


@pytest.mark.parametrize("questions", [None, 0, 3])
def test_the_examples_of_a_library_are_those_of_its_cases(questions):
    examples = worked_examples(LIBRARY, questions)
    assert set(examples) == {case.case_id for case in LIBRARY}
    for case in LIBRARY:
        others = [c for c in LIBRARY if c.language == case.language and c != case]
        scripts = [script(c, questions) for c in sorted(others, key=lambda c: c.case_id)]
        shortest = min(scripts, key=lambda s: sum(len(line.content) for line in s))
        assert examples[case.case_id] == shortest
