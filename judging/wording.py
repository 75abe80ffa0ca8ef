"""Whether a text says something: words and phrases in English and Chinese."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from functools import lru_cache

from validation.text import normalised

SENTENCE_ENDS = tuple(".!?…。！？")
CLOSING_MARKS = "\"'”’）)」』*"
QUESTION = re.compile(r"[?？]")
WORD_START = r"(?<![a-z0-9])"
NUMBER_START = r"(?<![./:])"
NUMBER_END = r"(?![0-9/%]|[.:][0-9]| ?(?:mmhg|bpm|beats)| ?(?:次|毫米))"


def first_mention(text: str, phrases: Iterable[str]) -> str | None:
    """The first of the phrases that stands in the text, or None.

    Case, typographic apostrophes and spacing do not matter. A Latin phrase begins at a word's
    beginning ("rash" is not in "crash") and may end inside one ("vomit" is in "vomiting"). A
    number is a whole one, and no part of a measurement ("120" is not in "120/80").
    """
    plain = plain_text(text)
    return next((phrase for phrase in phrases if _pattern(phrase).search(plain)), None)


def mentions(plain: str, phrase: str) -> Iterator[tuple[int, int]]:
    """Start and end of every place of a plain text where the phrase stands."""
    return (match.span() for match in _pattern(phrase).finditer(plain))


# The checks of a talk ask for the same few lines over a hundred times.
@lru_cache(maxsize=4096)
def plain_text(text: str) -> str:
    """Normalised for comparison: NFKC, lower case, single spaces, straight apostrophes."""
    return normalised(text).replace("’", "'").replace("‘", "'")


# A library of 130 cases has about 5,000 phrases; compiling one takes a tenth of a millisecond.
@lru_cache(maxsize=1 << 15)
def _pattern(phrase: str) -> re.Pattern[str]:
    plain = plain_text(phrase)
    before = WORD_START if plain[:1].isascii() else ""
    if plain[:1].isdigit():
        before += NUMBER_START
    after = NUMBER_END if plain[-1:].isdigit() else ""
    return re.compile(before + re.escape(plain) + after)


def similarity(one: str, other: str) -> float:
    """How alike two texts are, 0 to 1 (Ratcliff and Obershelp, over characters)."""
    return SequenceMatcher(None, plain_text(one), plain_text(other), autojunk=False).ratio()


def alike(one: str, other: str, least: float) -> bool:
    """Whether `similarity` reaches `least`; its cheap upper bounds are asked first."""
    first, second = plain_text(one), plain_text(other)
    whole = len(first) + len(second)
    if not whole:
        return least <= 1.0
    # Bounds before the matcher is built, which takes longer than they do.
    if 2 * min(len(first), len(second)) / whole < least:
        return False
    if 2 * (_characters(first) & _characters(second)).total() / whole < least:
        return False
    return SequenceMatcher(None, first, second, autojunk=False).ratio() >= least


@lru_cache(maxsize=4096)
def _characters(plain: str) -> Counter[str]:
    return Counter(plain)


def count_questions(text: str) -> int:
    """How many question marks the text holds, of either script."""
    return len(QUESTION.findall(text))


def ends_properly(text: str) -> bool:
    """Whether the last sentence is closed by its mark."""
    return text.rstrip().rstrip(CLOSING_MARKS).endswith(SENTENCE_ENDS)
