import pytest
from hypothesis import given
from hypothesis import strategies as st

from judging.claims import first_claimed, first_urged, statements

URGED = [
    ("This may be a heart attack. I'm calling an ambulance now.", "ambulance"),
    ("Do not hesitate to call 999.", "999"),
    ("Don't drive yourself, call an ambulance.", "ambulance"),
    ("Call 999 now, and if he faints, lay him down.", "999"),
    ("Go at once to the emergency department.", "emergency"),
    ("Don't wait to see if it settles, call 999 now.", "999"),
    ("Call 999 now even if it settles.", "999"),
    ("You need an ambulance and I'll see if a nurse is free.", "ambulance"),
    ("Regardless of whether it settles, call 999.", "999"),
    ("可能是心梗，您别动，我马上叫120。", "120"),
    ("您主要是心脏缺血，马上叫120。", "120"),
    ("听我的话，马上去急诊。", "急诊"),
    ("即使不疼了也要去急诊。", "急诊"),
    ("别拖了马上去急诊。", "急诊"),
    ("今天就去急诊，要是更疼就打电话。", "急诊"),
]
NOT_URGED = [
    ("You do not need an ambulance; take paracetamol.", "ambulance"),
    ("No ambulance is needed.", "ambulance"),
    ("An ambulance won't be needed.", "ambulance"),
    ("This is not an emergency.", "emergency"),
    ("Rest. If it gets worse, call 999.", "999"),
    ("Rest, and call 999 if you faint.", "999"),
    ("不用去急诊，回家歇着。", "急诊"),
    ("没必要急着看急诊。", "急诊"),
    ("先歇着，要是更疼，马上去急诊。", "急诊"),
    ("疼得厉害的话就打120。", "120"),
]
CLAIMED = [
    ("My chest hurts and I do feel clammy.", "clammy"),
    ("No, no blood.", "no blood"),
    ("I'm not sure, but his belly is swollen.", "belly is swollen"),
    ("还没好，头疼得要炸。", "头疼得要炸"),
    ("没有头晕。", "没有头晕"),
]
DENIED = [
    ("He is not drowsy at all.", "drowsy"),
    ("I don't think his belly is swollen.", "belly is swollen"),
    ("No chest pain.", "chest pain"),
    ("She never coughed up some blood.", "coughed up some blood"),
    ("没有老流鼻血，也没有刷牙出血。", "老流鼻血"),
    ("没觉得头疼得要炸。", "头疼得要炸"),
]


@pytest.mark.parametrize(("text", "word"), URGED)
def test_an_action_that_is_advised_as_it_stands_is_urged(text, word):
    assert first_urged(text, (word,)) == word


@pytest.mark.parametrize(("text", "word"), NOT_URGED)
def test_an_action_that_is_denied_or_depends_on_a_condition_is_not_urged(text, word):
    assert first_urged(text, (word,)) is None


@pytest.mark.parametrize(("text", "phrase"), CLAIMED)
def test_what_is_said_is_claimed_also_where_the_phrase_is_a_denial_itself(text, phrase):
    assert first_claimed(text, (phrase,)) == phrase


@pytest.mark.parametrize(("text", "phrase"), DENIED)
def test_what_is_denied_is_not_claimed(text, phrase):
    assert first_claimed(text, (phrase,)) is None


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        ("It is bad. Any fever?", ["it is bad."]),
        ("It is the lungs, right?", ["it is the lungs"]),
        ("Has anyone in your family, like your mother, had cancer?", []),
        ("If the scan is clear, we wait. It was 38.5 today.", [" it was 38.5 today."]),
        ("We wait until the scan is done.", []),
        ("您主要是血压偏高。", ["您主要是血压偏高。"]),
        ("先查一查是不是阑尾炎。", []),
        ("这是阑尾炎，您发烧吗？", ["这是阑尾炎"]),
        ("您平时血压正常吗？血压不低。", ["血压不低。"]),
        ("要是化验正常，就回家。", []),
        ("有没有发烧，咳过血吗？", []),
    ],
)
def test_questions_and_conditions_state_nothing(text, stated):
    assert list(statements(text)) == stated


@given(st.text(), st.text(min_size=1).filter(str.strip))
def test_any_text_can_be_read(text, phrase):
    assert first_claimed(text, (phrase,)) in (None, phrase)
    assert first_urged(text, (phrase,)) in (None, phrase)
    assert all(isinstance(sentence, str) for sentence in statements(text))
