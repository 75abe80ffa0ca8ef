"""Words by which a talk is steered: orders, results, goodbyes. The word list is a YAML file."""

import re
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BeforeValidator, ConfigDict

from judging.claims import CONDITION, QUESTION_END, SENTENCE
from judging.wording import plain_text
from validation.schemas import Frozen, Language, Message, NonBlank

FILE = Path(__file__).with_name("talk_cues.yaml")
Pattern = Annotated[re.Pattern[str], BeforeValidator(lambda text: re.compile(text, re.IGNORECASE))]


class ResultWords(Frozen):
    """How results stand at the head of a patient's turn."""

    opens: NonBlank
    is_: NonBlank
    between: NonBlank
    closes: NonBlank


class OrderedTest(Frozen):
    """Something a doctor may order, and the words for it."""

    name: NonBlank
    kind: Literal["part", "picture", "other"] = "other"
    words: tuple[NonBlank, ...]


class Cues(Frozen):
    """The words of one language."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    results: ResultWords
    normal: NonBlank
    not_available: NonBlank
    orders: tuple[Pattern, ...]
    asks_of_before: Pattern
    asks_leave: Pattern
    tests: tuple[OrderedTest, ...]
    farewell: Pattern
    leaving: Pattern
    told_results: Pattern


@cache
def read_cues(language: Language) -> Cues:
    """The words of a language."""
    content = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    entry = content[language] | {"told_results": content["told_results"][language]}
    results = dict(entry["results"])
    return Cues.model_validate(entry | {"results": results | {"is_": results.pop("is")}})


def find_orders(text: str, language: Language) -> tuple[str, ...]:
    """The sentences of a doctor's turn that order an examination or a test now.

    Neither "if it gets worse we'll do a scan" nor "have you had a scan?" is an order.
    """
    cues = read_cues(language)
    return tuple(
        sentence
        for sentence in SENTENCE.findall(plain_text(text))
        if any(pattern.search(sentence) for pattern in cues.orders)
        and not CONDITION.search(sentence)
        and not cues.asks_of_before.search(sentence)
        and (cues.asks_leave.search(sentence) or not QUESTION_END.search(sentence))
    )


def says_goodbye(text: str, language: Language) -> bool:
    """Whether a turn bids farewell."""
    return bool(read_cues(language).farewell.search(plain_text(text)))


def leaves(text: str, language: Language) -> bool:
    """Whether a patient says that they go, or will say no more."""
    return bool(read_cues(language).leaving.search(plain_text(text)))


def word_results(results: tuple[tuple[str, str], ...], language: Language) -> str:
    """Names and results as they stand at the head of a patient's turn; empty where none."""
    if not results:
        return ""
    words = read_cues(language).results
    told = words.between.join(f"{name}{words.is_}{result}" for name, result in results)
    # The end of the results is known by its mark alone.
    plain = told.replace(words.closes, " ").rstrip(" .。；;")
    return f"{words.opens}{plain}{words.closes}"


def split_results(message: Message, language: Language) -> tuple[str, str]:
    """The results at the head of a patient's turn (empty where none), and the patient's words."""
    words = read_cues(language).results
    text = message.content
    if message.role != "user" or not text.startswith(words.opens.strip()):
        return "", text
    results, mark, rest = text.partition(words.closes)
    return (results + mark, rest.strip()) if mark else ("", text)
