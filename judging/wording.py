"""Whether a text says something: words and phrases in English and Chinese."""

import re
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
    """Whether `similarity` reaches `least`, found the short way."""
    return Likeness(other).reaches(one, least)


class Likeness:
    """One text held against many by `similarity`, at a fraction of its cost."""

    def __init__(self, text: str) -> None:
        self._plain = plain_text(text)
        self._matcher = SequenceMatcher(None, "", "", autojunk=False)
        self._counted = False
        self._places: dict[str, int] = {}
        for place, character in enumerate(self._plain):
            self._places[character] = self._places.get(character, 0) | 1 << place

    def reaches(self, other: str, least: float) -> bool:
        """Whether `similarity(other, text)` reaches `least`.

        Lengths bound it, then the longest common subsequence, of which the matching blocks are
        one: found bit by bit (Crochemore et al. 2001). Few pairs get as far as the blocks.
        """
        plain = plain_text(other)
        both = len(plain) + len(self._plain)
        if not both or 2 * min(len(plain), len(self._plain)) < least * both:
            return not both
        if 2 * self._common(plain) < least * both:
            return False
        if not self._counted:
            self._matcher.set_seq2(self._plain)
            self._counted = True
        self._matcher.set_seq1(plain)
        return self._matcher.ratio() >= least

    def _common(self, plain: str) -> int:
        """The length of the longest common subsequence."""
        full = (1 << len(self._plain)) - 1
        unmatched = full
        for character in plain:
            hit = unmatched & self._places.get(character, 0)
            unmatched = ((unmatched + hit) | (unmatched - hit)) & full
        return len(self._plain) - unmatched.bit_count()


def count_questions(text: str) -> int:
    """How many question marks the text holds, of either script."""
    return len(QUESTION.findall(text))


def ends_properly(text: str) -> bool:
    """Whether the last sentence is closed by its mark."""
    return text.rstrip().rstrip(CLOSING_MARKS).endswith(SENTENCE_ENDS)
