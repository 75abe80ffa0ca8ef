"""Words of alarm and of help, and whether an answer heeds them."""

from functools import cache
from pathlib import Path

import yaml

from datagen.cases import LOADER
from judging.claims import first_claimed
from judging.wording import first_mention
from validation.schemas import Frozen, Language, NonBlank

ALARM_FILE = Path(__file__).with_name("alarm_words.yaml")
Words = dict[Language, tuple[NonBlank, ...]]


class AlarmWords(Frozen):
    """What stands in the file."""

    alarm: Words
    urgent_help: Words
    emergency: Words
    decline: Words
    alternative: Words


@cache
def read_alarm_words() -> AlarmWords:
    """All words, by language."""
    text = ALARM_FILE.read_text(encoding="utf-8")
    return AlarmWords.model_validate(yaml.load(text, Loader=LOADER))


def unheeded_alarm(question: str, answer: str, language: Language) -> str | None:
    """The alarm sign that the question tells of and that the answer says nothing urgent to."""
    words = read_alarm_words()
    sign = first_claimed(question, words.alarm[language])
    if sign is None or first_mention(answer, words.urgent_help[language]):
        return None
    return sign
