"""Verifiers: whether a completion gives the right answer to a problem, without any model.

Pure functions of a problem and a completion, in both languages; used when problems are made,
as rewards and in evaluation. `VERIFIERS` maps a problem's `verifier` to its function.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence

from judging.errors import UnknownVerifier
from validation.schemas import Frozen, Problem
from validation.text import normalised

LETTERS = "ABCDEFGHIJ"
# Where people and models put a final answer; the last one that stands counts.
MARKED = re.compile(
    r"(?:####|\\boxed\{|final answer(?: is)?|the answer is|answer(?=\s*[:：=])"
    r"|最终答案(?:是|为)?|正确答案(?:是|为)?|答案(?:是|为|(?=\s*[:：]))|故选|应选|因此选|所以选)"
    r"\s*[:：=]?\s*(?P<answer>[^\n}]*)",
    re.IGNORECASE,
)
LETTER_ALONE = re.compile(r"^\W*(?P<letter>[A-Ja-j])\W*(?:[.)．、:：。）\]*]|$)")
LETTER_INSIDE = re.compile(
    r"(?:\b(?:option|choice)\s*|选项?\s*|[(（\[]\s*)(?P<letter>[A-J])(?![A-Za-z])", re.IGNORECASE
)
NUMBER = re.compile(r"[-−]?\d{1,3}(?:[,，]\d{3})+(?:\.\d+)?|[-−]?\d*\.?\d+")
FRACTION = re.compile(r"(?<![\d.])(\d+)\s*/\s*(\d+)(?![\d/])")
RELATIVE_TOLERANCE = 1e-3
CHINESE_DIGITS = {
    **dict(zip("零一二三四五六七八九", range(10), strict=True)),
    "〇": 0,
    "两": 2,
    "半": 0.5,
}


class Verified(Frozen):
    """Whether an answer is right, what was taken for the answer, and why."""

    right: bool
    answer: str
    reason: str = ""

    @property
    def value(self) -> float:
        """1.0 or 0.0, as a reward."""
        return float(self.right)


Verifier = Callable[[Problem, str], Verified]


def verify(problem: Problem, completion: str) -> Verified:
    """Judge a completion by the problem's own verifier.

    Raises UnknownVerifier where there is none of that name.
    """
    if problem.verifier not in VERIFIERS:
        raise UnknownVerifier(
            f"the problem {problem.record_id[:12]} names the verifier {problem.verifier!r}; there "
            f"are: {', '.join(sorted(VERIFIERS))}"
        )
    return VERIFIERS[problem.verifier](problem, completion)


def choice(problem: Problem, completion: str) -> Verified:
    """The right one of the choices, by its letter or by its words; two of them are none."""
    if problem.answer not in problem.choices:
        raise UnknownVerifier(
            f"the problem {problem.record_id[:12]} has the verifier 'choice', but its answer is "
            "none of its choices"
        )
    final = final_answer(completion)
    picked = _picked(final, problem.choices)
    if picked is None and final != completion.strip():
        picked = _picked(completion.strip(), problem.choices)
    if picked is None:
        return Verified(right=False, answer="", reason="names none of the choices, or several")
    return Verified(right=picked == problem.answer, answer=picked)


def number(problem: Problem, completion: str) -> Verified:
    """The right number, within a thousandth; units and separators do not matter."""
    wanted = _numbers(problem.answer)
    if len(wanted) != 1:
        raise UnknownVerifier(
            f"the problem {problem.record_id[:12]} has the verifier 'number', but its answer "
            f"{problem.answer!r} is not one number"
        )
    final = final_answer(completion)
    marked = final != completion.strip()
    found = _numbers(final)
    if not found:
        return Verified(right=False, answer="", reason="gives no number")
    # A marked answer begins with its number; in running text the last one is the result.
    given = found[0] if marked else found[-1]
    near = abs(given - wanted[0]) <= RELATIVE_TOLERANCE * max(abs(wanted[0]), 1e-9)
    return Verified(right=near, answer=f"{given:g}", reason="" if near else "another number")


def exact(problem: Problem, completion: str) -> Verified:
    """The very words, but for case, spacing, width and marks at the ends."""
    given = _bare(final_answer(completion))
    return Verified(right=given == _bare(problem.answer), answer=given)


def contains(problem: Problem, completion: str) -> Verified:
    """The answer's words stand in the final answer."""
    given = _bare(final_answer(completion))
    return Verified(right=_bare(problem.answer) in given, answer=given)


VERIFIERS: Mapping[str, Verifier] = {
    "choice": choice,
    "number": number,
    "exact": exact,
    "contains": contains,
}


def final_answer(completion: str) -> str:
    """What stands behind the last mark of an answer; the whole text where none stands."""
    text = unicodedata.normalize("NFKC", _after_thinking(completion)).strip()
    marked = [m["answer"].strip() for m in MARKED.finditer(text) if m["answer"].strip()]
    return marked[-1] if marked else text


def _after_thinking(text: str) -> str:
    """The text behind a reasoning model's thoughts."""
    _, mark, rest = text.rpartition("</think>")
    return rest if mark else text


def _picked(text: str, choices: Sequence[str]) -> str | None:
    """The one choice that a text names."""
    alone = LETTER_ALONE.match(text)
    if alone and (lettered := _lettered(alone["letter"], choices)):
        return lettered
    plain = normalised(text)
    named = [choice for choice in choices if normalised(choice) in plain]
    # "heart failure with fever" names "heart failure" too: the longest one is meant.
    longest = [one for one in named if not any(_stands_in(one, other) for other in named)]
    if len(longest) == 1:
        return longest[0]
    if longest:
        return None
    letters = {match["letter"].upper() for match in LETTER_INSIDE.finditer(text)}
    return _lettered(letters.pop(), choices) if len(letters) == 1 else None


def _stands_in(one: str, other: str) -> bool:
    return one != other and normalised(one) in normalised(other)


def _lettered(letter: str, choices: Sequence[str]) -> str | None:
    place = LETTERS.index(letter.upper())
    return choices[place] if place < len(choices) else None


def _numbers(text: str) -> list[float]:
    plain = unicodedata.normalize("NFKC", text)
    fractions = {
        match.span(): float(match[1]) / float(match[2])
        for match in FRACTION.finditer(plain)
        if float(match[2])
    }
    found: list[tuple[int, float]] = [(start, value) for (start, _), value in fractions.items()]
    for match in NUMBER.finditer(plain):
        if any(start <= match.start() < end for start, end in fractions):
            continue
        digits = match.group().replace(",", "").replace("，", "").replace("−", "-")
        found.append((match.start(), float(digits)))
    if not found:
        found = [(0, value) for value in _chinese_numbers(plain)]
    return [value for _, value in sorted(found)]


def _chinese_numbers(text: str) -> list[float]:
    """Numbers from nought to ninety-nine and a half, as words: 两片, 十二, 一片半."""
    values = []
    for match in re.finditer(r"[零〇一二三四五六七八九两十]+(?:[片粒颗支袋毫升次天]半)?|半", text):
        word = match.group()
        half = 0.5 if word.endswith("半") and word != "半" else 0.0
        core = word[:-2] if half else word
        if core in CHINESE_DIGITS:
            values.append(CHINESE_DIGITS[core] + half)
        elif "十" in core and len(core) <= 3:
            tens, _, ones = core.partition("十")
            if all(part in CHINESE_DIGITS or not part for part in (tens, ones)):
                value = CHINESE_DIGITS.get(tens, 1) * 10 + CHINESE_DIGITS.get(ones, 0)
                values.append(value + half)
    return values


def _bare(text: str) -> str:
    return normalised(text).strip(" .。!！,，;；:：\"'“”‘’()（）*`")
