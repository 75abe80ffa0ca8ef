import pytest
from hypothesis import given
from hypothesis import strategies as st

from judging.wording import Likeness, alike, first_mention, similarity


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("He was vomiting.", "vomit"),
        ("It’s not there.", "it's not"),
        ("Call 999!", "999"),
        ("It was 38.6 °C.", "38.6"),
        ("马上打120。", "120"),
        ("血糖2.6 mmol/L。", "2.6"),
        ("吃了两片654-2。", "654"),
    ],
)
def test_a_phrase_is_found_whatever_its_case_and_ending(text, phrase):
    assert first_mention(text, (phrase,)) == phrase


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("The car crash.", "rash"),
        ("In 1999 it began.", "999"),
        ("血压120/80，没事。", "120"),
        ("血压168/120。", "120"),
        ("心率120次。", "120"),
        ("Your pulse is 112 bpm.", "112"),
        ("Your pressure is 112 mmHg.", "112"),
        ("It was 38.65.", "38.6"),
    ],
)
def test_neither_the_inside_of_a_word_nor_a_part_of_a_measurement_is_the_phrase(text, phrase):
    assert first_mention(text, (phrase,)) is None


@given(
    st.text(alphabet="ab 痛", max_size=12),
    st.text(alphabet="ab 痛", max_size=12),
    st.sampled_from([0.5, 0.6, 0.75, 0.9, 1.0]),
)
def test_the_short_ways_to_unlikeness_agree_with_the_similarity(one, other, least):
    assert alike(one, other, least) == (similarity(one, other) >= least)


WORDS = st.lists(
    st.sampled_from(["the", "pain", "is", "in", "my", "chest", "胸口", "疼", "了", "Pain!"]),
    max_size=12,
).map(" ".join)


@given(text=WORDS, other=WORDS, least=st.sampled_from([0.3, 0.6, 0.85, 1.0]))
def test_likeness_says_what_similarity_says(text, other, least):
    assert Likeness(text).reaches(other, least) is (similarity(other, text) >= least)
