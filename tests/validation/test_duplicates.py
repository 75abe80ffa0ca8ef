import pytest

from tests.validation.builders import ENGLISH, pair, said, talk
from validation.duplicates import content_digest, split_duplicates
from validation.reading import Loaded
from validation.schemas import Conversation, PreferencePair


@pytest.mark.parametrize(
    "copy",
    [
        talk(sample_index=3, case_id="en-other", persona="shy"),
        talk(*(f"  {text.upper()}\n" for text in ENGLISH)),
        talk("Ｍy head has been hurting since yesterday.", ENGLISH[1].replace(" ", "\u3000")),
    ],
)
def test_talks_that_read_the_same_are_copies(copy: Conversation) -> None:
    assert content_digest(copy) == content_digest(talk())


@pytest.mark.parametrize(
    "other",
    [
        talk(ENGLISH[0], f"{ENGLISH[1]} Yes?"),
        talk(*ENGLISH, ENGLISH[0], "Go on."),
        talk(messages=said(*ENGLISH, first="assistant")),
        talk(tools=[{"type": "function"}]),
        talk(" ".join(ENGLISH), "Yes"),
    ],
)
def test_talks_that_differ_in_words_or_speakers_are_no_copies(other: Conversation) -> None:
    assert content_digest(other) != content_digest(talk())


def test_a_pair_is_a_copy_only_when_all_three_parts_are() -> None:
    assert content_digest(pair(margin=0.5, case_id="en-x")) == content_digest(pair())
    assert content_digest(pair(rejected="Nothing to worry about.")) != content_digest(pair())
    swapped = pair(chosen="It is nothing, go home.", rejected=ENGLISH[1])
    assert content_digest(swapped) != content_digest(pair())


def test_the_first_copy_stays_and_the_others_name_it() -> None:
    rows = [
        Loaded(talk(sample_index=0), "a:1"),
        Loaded(talk(sample_index=1), "a:2"),
        Loaded(talk("My foot hurts.", "Which one?"), "a:3"),
        Loaded(talk(sample_index=2), "b:1"),
    ]
    kept, copies = split_duplicates(rows)
    assert [row.origin for row in kept] == ["a:1", "a:3"]
    assert [row.origin for row, _ in copies] == ["a:2", "b:1"]
    for _, fault in copies:
        assert fault.name == "duplicate"
        assert rows[0].record.record_id in fault.detail
        assert "a:1" in fault.detail


def test_pairs_are_compared_with_pairs() -> None:
    rows: list[Loaded[PreferencePair]] = [Loaded(pair(), "a:1"), Loaded(pair(margin=0.1), "a:2")]
    kept, copies = split_duplicates(rows)
    assert len(kept) == len(copies) == 1
