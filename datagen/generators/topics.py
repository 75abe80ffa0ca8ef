"""Topics and audiences: what single questions and passages are about, and for whom."""

from functools import cache
from pathlib import Path
from typing import Literal

import yaml

from datagen.cases import LOADER
from validation.schemas import Frozen, Language, NonBlank

TOPICS_FILE = Path(__file__).with_name("topics.yaml")


class Worded(Frozen):
    """Something with a name that is worded in every language."""

    name: NonBlank
    en: NonBlank
    zh: NonBlank

    def words(self, language: Language) -> str:
        """Its wording in a language."""
        return self.en if language == "en" else self.zh


class Audience(Worded):
    """Who reads. `lay`: without medical training, so that alarm signs may be the reader's own."""

    lay: bool


class Suited(Worded):
    """A sort of question or a form of passage, and whom it suits."""

    suits: Literal["all", "lay", "staff"] = "all"

    def suits_whom(self, audience: Audience) -> bool:
        """Whether such a reader would ask for it."""
        return self.suits == "all" or (self.suits == "lay") == audience.lay


class Topics(Frozen):
    """What stands in the file: `kinds` are those of questions, `forms` those of passages."""

    topics: tuple[Worded, ...]
    audiences: tuple[Audience, ...]
    kinds: tuple[Suited, ...]
    forms: tuple[Suited, ...]


@cache
def read_topics() -> Topics:
    """All of the file, in its order."""
    return Topics.model_validate(yaml.load(TOPICS_FILE.read_text(encoding="utf-8"), Loader=LOADER))


def topic_id(topic: Worded, language: Language) -> str:
    """The `case_id` of what is made of a topic: all of it goes into one split."""
    return f"{language}-topic-{topic.name.replace('_', '-')}"
