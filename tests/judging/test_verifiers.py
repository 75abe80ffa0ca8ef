import pytest
from hypothesis import given
from hypothesis import strategies as st

from judging.errors import UnknownVerifier
from judging.verifiers import VERIFIERS, final_answer, verify
from validation.schemas import Message, Problem

CHOICES = ("Heart failure", "Heart failure with fever", "Gout", "Migraine")


def problem(answer, verifier, choices=(), language="en"):
    return Problem(
        language=language,
        source="test",
        case_id="c",
        prompt=(Message(role="user", content="?"),),
        answer=answer,
        choices=choices,
        verifier=verifier,
    )


@pytest.mark.parametrize(
    "completion",
    [
        "C",
        "c.",
        "(C)",
        "C. Gout",
        "**C**",
        "Gout.",
        "The answer is C.",
        "The answer is (C) Gout",
        "Final answer: C",
        "It could be A, since the legs swell. But no.\n#### C",
        "\\boxed{C}",
        "<think>A? Answer: A</think>Answer: C",
        "答案：C",
        "答案是C。",
        "综合考虑，故选C",
        "最终答案：Ｃ",
        "我认为选项C最合适",
        "I would choose option C here.",
        "Most likely gout, given the toe.",
    ],
)
def test_a_choice_is_found_by_letter_or_words(completion):
    found = verify(problem("Gout", "choice", CHOICES), completion)
    assert found.right
    assert found.answer == "Gout"
    assert found.value == 1.0


@pytest.mark.parametrize(
    "completion",
    [
        "A",
        "Answer: D",
        "Gout or migraine",
        "(A) or (C)",
        "I cannot tell.",
        "J",
        "",
        "Answer: A, C?",
    ],
)
def test_another_choice_two_choices_or_none_are_wrong(completion):
    assert not verify(problem("Gout", "choice", CHOICES), completion).right


def test_the_longer_of_two_names_is_meant_where_one_holds_the_other():
    long = problem("Heart failure with fever", "choice", CHOICES)
    assert verify(long, "This is heart failure with fever.").right
    assert not verify(problem("Heart failure", "choice", CHOICES), "heart failure with fever").right


@pytest.mark.parametrize(
    ("answer", "completion"),
    [
        ("2", "2"),
        ("2", "2 tablets"),
        ("1500", "That makes 1,500 mg a day."),
        ("2.5", "5 mg is twice 2.5, so #### 2.5 mL"),
        ("0.5", "½ is 1/2, so the answer is 1/2 tablet"),
        ("0.5", "Answer: half... = 0.5"),
        ("2", "每次2片，每天3次。答案：2片"),
        ("2", "答案是两片"),
        ("1.5", "答案：一片半"),
        ("12", "答案：十二"),
        ("1500", "最终答案：１５００毫克"),
        ("-3", "#### −3"),
        ("750", "250 × 3 = 750"),
    ],
)
def test_a_number_is_right_with_units_and_separators(answer, completion):
    assert verify(problem(answer, "number"), completion).right


@pytest.mark.parametrize("completion", ["", "none", "3", "Answer: 2.1", "#### 20", "2 then 3"])
def test_another_number_or_none_is_wrong(completion):
    assert not verify(problem("2", "number"), completion).right


@given(st.floats(0.01, 1e6, allow_nan=False))
def test_any_number_is_recognised_when_marked(value):
    text = f"{value:.6g}"
    if "e" in text:
        return
    assert verify(problem(text, "number"), f"So I think 7 things. Answer: {text} mg").right


@pytest.mark.parametrize(
    ("answer", "completion", "right"),
    [
        ("Troponin", "Answer: troponin.", True),
        ("肌钙蛋白", "答案：肌钙蛋白。", True),
        ("Troponin", "Answer: troponin and ECG", False),
    ],
)
def test_exact_words_need_the_very_words(answer, completion, right):
    assert verify(problem(answer, "exact"), completion).right is right


def test_contained_words_may_stand_among_others():
    assert verify(problem("troponin", "contains"), "Answer: ECG and Troponin").right
    assert not verify(problem("troponin", "contains"), "Answer: ECG").right


def test_an_unknown_verifier_lists_those_there_are():
    with pytest.raises(UnknownVerifier, match="choice, contains, exact, number"):
        verify(problem("x", "guess"), "x")
    with pytest.raises(UnknownVerifier, match="none of its choices"):
        verify(problem("x", "choice", CHOICES), "x")
    with pytest.raises(UnknownVerifier, match="not one number"):
        verify(problem("many", "number"), "x")


def test_the_last_mark_counts():
    assert final_answer("Answer: A. No wait.\nAnswer: B") == "B"
    assert set(VERIFIERS) == {"choice", "number", "exact", "contains"}
