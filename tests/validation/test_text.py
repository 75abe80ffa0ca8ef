import pytest

from validation.text import han_share, latin_share, normalised, repeated_share, width


def test_width_case_and_spaces_do_not_matter_in_comparison() -> None:
    assert normalised("  Ｈello\n\tWORLD ") == "hello world"
    assert normalised("头痛，３天") == "头痛,3天"


@pytest.mark.parametrize(
    ("text", "expected"), [("", 0), ("abc", 3), ("头痛", 4), ("CT检查", 6), ("café", 4)]
)
def test_a_chinese_character_is_two_wide(text: str, expected: int) -> None:
    assert width(text) == expected


def test_shares_are_of_letters_alone() -> None:
    assert han_share("头痛 ab 12 ！") == 0.5
    assert latin_share("头痛 ab 12 ！") == 0.5
    assert han_share("12 !") == latin_share("12 !") == 0.0


def test_a_sentence_said_three_times_is_two_thirds_repeats() -> None:
    once = "one two three four five six"
    assert repeated_share(once, 4) == 0.0
    # 18 words have 15 4-grams; 6 of them begin at distinct places of the sentence.
    assert repeated_share(f"{once} {once} {once}", 4) == pytest.approx(1 - 6 / 15)
    assert repeated_share("one", 4) == 0.0
