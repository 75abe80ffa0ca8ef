"""Doses in a doctor's words, held against the ranges of a case's treatments.

Rules over numbers and units near a drug's name; concentrations and doses by weight are passed
over, and so is a number whose drug is not clear.
"""

import re
from collections.abc import Iterator, Sequence

from datagen.cases import Treatment
from judging.claims import CLAUSE_START, DENIED_BEFORE, NOT_DUE_BEFORE, QUESTION_END, SENTENCE
from judging.wording import mentions, plain_text

AMOUNT = re.compile(
    r"(?<![\d.])(?P<number>\d+(?:\.\d+)?)\s?(?:-|–|~|to|至|到)?\s?(?P<more>\d+(?:\.\d+)?)?\s?"
    r"(?P<unit>mg|milligrams?|mcg|µg|μg|micrograms?|grams?|g|ml|millilitres?|units?|iu"
    r"|毫克|微克|克|毫升|单位)(?![a-z])"
)
# "250 mg/5 ml", "10 mg/kg", "10 mg per kilogram", "每公斤10毫克": no dose by themselves.
NO_DOSE_AFTER = re.compile(r"^\s?(?:/|per (?:kg|kilo)|each (?:kg|kilo)|每(?:公斤|千克|毫升))")
NO_DOSE_BEFORE = re.compile(r"/\s?$|每(?:公斤|千克|毫升)[^，。]{0,4}$")
A_DAY_AFTER = re.compile(
    r"^[^.,;，。；]{0,14}?(?:\b(?:a|per|each|in (?:a|one|any|24)) ?(?:day|24 hours|hours)\b"
    r"|daily|/day|in total)"
    r"|^[^，。；]{0,6}?(?:/天|/日|一天总|每天总)"
)
A_DAY_BEFORE = re.compile(
    r"\b(?:daily (?:maximum|limit|total)|maximum daily|in 24 hours|in a day|total)\b[^.;]{0,20}$"
    r"|(?:总量|一天|每天|每日|全天|24小时)[^。；]{0,6}?(?:不超过|不能超过|最多|总共|至多)[^。；]{0,4}$"
)
TIMES_A_DAY = re.compile(
    r"\b(?P<en>once|twice|one|two|three|four|five|six|seven|eight|\d+)(?: times)?"
    r" (?:a|per|each) day\b"
    r"|(?:每天|每日|一天|一日|日)(?P<zh>[一二两三四五六七八\d]+)次"
)
COUNTS = {
    **{"once": 1, "one": 1, "twice": 2, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6},
    **{"seven": 7, "eight": 8, "一": 1, "二": 2, "两": 2, "三": 3, "四": 4, "五": 5, "六": 6},
    **{"七": 7, "八": 8},
}
# Millionths of a gram; volumes and units stand for themselves.
MICROGRAMS = {"microgram": 1.0, "mg": 1e3, "g": 1e6}
OTHER_UNITS = ("mL", "unit")
UNITS = {
    **dict.fromkeys(("mg", "milligram", "milligrams", "毫克"), "mg"),
    **dict.fromkeys(("mcg", "µg", "μg", "microgram", "micrograms", "微克"), "microgram"),
    **dict.fromkeys(("g", "gram", "grams", "克"), "g"),
    **dict.fromkeys(("ml", "millilitre", "millilitres", "毫升"), "mL"),
    **dict.fromkeys(("unit", "units", "iu", "单位"), "unit"),
}
# How far after its drug's name a dose may stand, in characters.
REACH = 40
OTHER_DRUG = re.compile(r"\bor\b|或者?")
TOLERANCE = 1e-6


def find_wrong_doses(text: str, treatments: Sequence[Treatment]) -> Iterator[str]:
    """What is wrong with each dose of a treatment's drug that the text gives out of its range."""
    if not treatments:
        return
    for sentence in SENTENCE.findall(plain_text(text)):
        if QUESTION_END.search(sentence):
            continue
        for match in AMOUNT.finditer(sentence):
            before, after = sentence[: match.start()], sentence[match.end() :]
            treatment = _drug_of(before, treatments)
            if treatment is None or _is_no_dose(before, after):
                continue
            if found := _out_of_range(match, before, after, treatment):
                yield found


def _out_of_range(
    match: re.Match[str], before: str, after: str, treatment: Treatment
) -> str | None:
    amounts = [
        _converted(float(number), match["unit"], treatment.unit)
        for number in (match["number"], match["more"])
        if number
    ]
    said = match.group().strip()
    drug, unit = treatment.drug, treatment.unit
    for amount in amounts:
        if amount is None:
            return None
        times = TIMES_A_DAY.search(after)
        if A_DAY_BEFORE.search(before) or (A_DAY_AFTER.search(after) and not times):
            if amount > treatment.most_a_day * (1 + TOLERANCE):
                return f"{drug} {said} a day; at most {treatment.most_a_day:g} {unit} a day"
            continue
        least, most = treatment.least_dose, treatment.most_dose
        if not least * (1 - TOLERANCE) <= amount <= most * (1 + TOLERANCE):
            return f"{drug} {said}; one dose is {least:g} to {most:g} {unit}"
        a_day = amount * _count(times)
        if a_day > treatment.most_a_day * (1 + TOLERANCE):
            return (
                f"{drug} {said} {times.group() if times else ''}; at most "
                f"{treatment.most_a_day:g} {unit} a day"
            )
    return None


def _drug_of(before: str, treatments: Sequence[Treatment]) -> Treatment | None:
    """The treatment whose name stands last before a number, near enough and with no "or"."""
    nearest: tuple[int, Treatment] | None = None
    for treatment in treatments:
        for name in _names(treatment.drug):
            for _, end in mentions(before, name):
                if nearest is None or end > nearest[0]:
                    nearest = (end, treatment)
    if nearest is None:
        return None
    between = before[nearest[0] :]
    return None if len(between) > REACH or OTHER_DRUG.search(between) else nearest[1]


def _names(drug: str) -> tuple[str, ...]:
    """A drug's name, and its parts where it holds a bracket: "布洛芬（混悬液）"."""
    parts = [part.strip() for part in re.split(r"[（）()/、]", drug)]
    return tuple(dict.fromkeys([drug, *(part for part in parts[:1] if part)]))


def _is_no_dose(before: str, after: str) -> bool:
    clause = CLAUSE_START.split(before)[-1]
    denied = DENIED_BEFORE.search(clause) or NOT_DUE_BEFORE.search(clause)
    return bool(denied or NO_DOSE_BEFORE.search(before) or NO_DOSE_AFTER.search(after))


def _converted(number: float, said: str, wanted: str) -> float | None:
    """The number in another unit; None where there is no way from one to the other."""
    unit = UNITS[said]
    if unit == wanted:
        return number
    if unit in OTHER_UNITS or wanted in OTHER_UNITS:
        return None
    return number * MICROGRAMS[unit] / MICROGRAMS[wanted]


def _count(times: re.Match[str] | None) -> int:
    if times is None:
        return 1
    word = times["en"] or times["zh"]
    return COUNTS.get(word) or (int(word) if word.isdigit() else 1)
