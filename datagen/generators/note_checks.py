"""Whether a note holds to the talk it is made of, as far as sections, numbers and drugs show."""

import re
from collections.abc import Iterable, Sequence

from validation.schemas import Fault, Language
from validation.text import normalised

DIGITS = re.compile(r"\d+(?:[.,]\d+)?")
LIST_NUMBER = re.compile(r"^\s*[(（]?\d{1,2}[.)、）](?!\d)\s*", re.MULTILINE)
SMALL = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen"),
    *("sixteen", "seventeen", "eighteen", "nineteen"),
)
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
ENGLISH = {word: n for n, word in enumerate(SMALL)} | {w: 20 + 10 * n for n, w in enumerate(TENS)}
ENGLISH |= {"once": 1, "twice": 2, "a": 1, "an": 1, "dozen": 12, "hundred": 100}
ENGLISH |= {"couple": 2, "fortnight": 2, "quarter": 15}
ENGLISH |= {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5}
ENGLISH_WORD = re.compile(r"[a-z]+")
CHINESE = {c: n for n, c in enumerate("零一二三四五六七八九")} | {"两": 2, "俩": 2, "〇": 0}
CHINESE_NUMBER = re.compile(r"[零〇一二两俩三四五六七八九十百半]+")


def missing_section(note: str, sections: Sequence[str]) -> Fault | None:
    """Every section is there, on a line of its own, in its order."""
    after = 0
    for section in sections:
        heading = re.compile(rf"^[#*\s]*{re.escape(section)}[*\s]*[:：]", re.MULTILINE | re.I)
        found = heading.search(note, after)
        if found is None:
            return Fault(name="missing_section", detail=f"{section!r} is absent or out of order")
        after = found.end()
    return None


def invented_number(note: str, talk: str) -> Fault | None:
    """Every number of the note stands in the talk, as digits or as a word."""
    said = numbers_said(talk)
    for number in DIGITS.findall(normalised(LIST_NUMBER.sub("", note))):
        if _bare(number) not in said:
            return Fault(name="invented_number", detail=f"{number} stands nowhere in the talk")
    return None


def invented_drug(
    note: str, talk: str, language: Language, names: Iterable[str], endings: Iterable[str]
) -> Fault | None:
    """Every drug that the note names was named in the talk.

    Drugs are known by name, or by the ending of their international name.
    """
    said = normalised(talk)
    for drug in drugs_named(note, language, names, endings):
        if drug not in said:
            return Fault(name="invented_drug", detail=f"{drug!r} was not named in the talk")
    return None


def drugs_named(
    text: str, language: Language, names: Iterable[str], endings: Iterable[str]
) -> list[str]:
    """The drugs that a text names, lower case, each once."""
    plain = normalised(text)
    found = [name for name in map(normalised, names) if _stands_in(name, plain)]
    ending = "|".join(map(re.escape, endings))
    before = r"\b[a-z]{2,}" if language == "en" else r""
    after = r"\b" if language == "en" else ""
    found += [match.group() for match in re.finditer(f"{before}(?:{ending}){after}", plain)]
    return list(dict.fromkeys(found))


def numbers_said(talk: str) -> set[str]:
    """All numbers of a talk as digits: "three", "38.5", "十二", "twenty-five"."""
    plain = normalised(talk)
    found = {"0", *map(_bare, DIGITS.findall(plain))}
    words = ENGLISH_WORD.findall(plain)
    for before, word in zip(["", *words], words, strict=False):
        if word in ENGLISH:
            found.add(str(ENGLISH[word]))
            if before in TENS and ENGLISH[word] < 10:
                found.add(str(ENGLISH[before] + ENGLISH[word]))
        if word == "half":
            found |= {".5", "1.5", "30"}
    for match in CHINESE_NUMBER.findall(plain):
        found |= _chinese(match)
    return found


def _bare(number: str) -> str:
    """A number without leading zeros ("03:00" is three o'clock), its point a point."""
    return number.replace(",", ".").lstrip("0") or "0"


def _chinese(text: str) -> set[str]:
    """The values a run of Chinese numerals may stand for: itself, and each numeral alone."""
    values = {str(CHINESE[c]) for c in text if c in CHINESE}
    if "半" in text:
        values |= {".5", "1.5", "30"}
    hundreds, mark, rest = text.rpartition("百")
    total = (CHINESE.get(hundreds[-1:], 1) * 100) if mark else 0
    tens, mark, ones = rest.rpartition("十")
    if mark:
        total += CHINESE.get(tens[-1:], 1) * 10
    total += CHINESE.get(ones[-1:], 0)
    return values | {str(total)}


def _stands_in(name: str, plain: str) -> bool:
    if name.isascii():
        return re.search(rf"\b{re.escape(name)}\b", plain) is not None
    return name in plain
