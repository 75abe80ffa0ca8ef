"""What a generator is, and what all of them share.

To add one: write `<kind>.py` with a `GeneratorSettings` that has `kind: Literal["<kind>"]`, an
`Item`, the functions `items` and `make`, and a `GENERATOR` of them; put its prompts at
`prompts/<language>/chat/<kind>_….j2` in both languages; add its settings to `AnyGenerator` and
its GENERATOR to `GENERATORS` in `catalogue.py`. The step, the duplicates, the counts, the task
and the flow are there already (`building.py`).

`items` lists what shall be made (`places` numbers it): an item must not depend on how many rows
are asked for, so that one more row buys only itself. `make` asks an `Asker` (every request
follows from the settings and the item) and returns records, or raises `Unfit` where a check
finds a fault.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, PositiveInt

from artifacts.digest import digest_json
from datagen.access import AgentRole
from datagen.cases import Case
from datagen.generators.asking import Asker
from datagen.speaking import LineSettings
from validation.schemas import (
    Conversation,
    Frozen,
    Language,
    Passage,
    PreferencePair,
    Problem,
    Record,
)

OptionT = TypeVar("OptionT")


class GeneratorSettings(Frozen):
    """What every generator can be told.

    `rows`: items that are begun, in all languages together; those at fault are quarantined.
    `languages`: those of them that the endpoints can talk in. `most_alike`: a record whose
    gist shares more of its word triples with an earlier one (Jaccard) is a duplicate; 1.0 keeps
    all but exact copies. `library`: another folder of cases; what it holds counts, not where
    it stands.
    """

    rows: PositiveInt = 100
    languages: Annotated[tuple[Language, ...], Field(min_length=1)] = ("en", "zh")
    most_alike: Annotated[float, Field(gt=0.0, le=1.0)] = 0.6
    line: LineSettings = LineSettings(temperature=0.8, max_tokens=1200)
    seed: int = 0
    library: Path | None = Field(None, json_schema_extra={"result_neutral": True})


class Item(Frozen):
    """One thing to make: the language it is made in, and its number within that language."""

    language: Language
    place: int

    @property
    def identity(self) -> tuple[object, ...]:
        """What its requests follow from, beside settings and language."""
        return (self.place,)


@dataclass(frozen=True)
class Ground:
    """What items are made of: languages that are wanted and spoken, cases in these, and talks.

    `talks` is the folder of the conversations' artifact, where there is one.
    """

    languages: tuple[Language, ...]
    cases: tuple[Case, ...] = ()
    talks: Path | None = None

    def cases_in(self, language: Language) -> tuple[Case, ...]:
        """The cases of one language, in order of case_id."""
        return tuple(case for case in self.cases if case.language == language)


Items = Callable[[Any, Ground], Sequence[Item]]
Make = Callable[[Any, Any, Asker], Awaitable[Sequence[Record]]]


def gist_of(record: Record) -> str:
    """What of a record is compared to find near-duplicates: the first thing that is asked or said.

    The text of a passage; the user's first message of everything else.
    """
    if isinstance(record, Passage):
        return record.text
    assert isinstance(record, Conversation | PreferencePair | Problem)
    messages = record.messages if isinstance(record, Conversation) else record.prompt
    return next(message.content for message in messages if message.role == "user")


@dataclass(frozen=True)
class Generator:
    """A kind of generator.

    Raise `version` whenever its records change for equal settings and inputs. `roles`: those
    that are asked. `prompts`: names of its prompt files. `writes`: types of its records.
    `word_lists`: YAML files that decide what it makes. `uses_cases`, `uses_talks`: what of the
    ground it wants.
    """

    settings: type[GeneratorSettings]
    version: int
    roles: tuple[AgentRole, ...]
    prompts: tuple[str, ...]
    writes: tuple[type[Record], ...]
    items: Items
    make: Make
    word_lists: tuple[Path, ...] = ()
    uses_cases: bool = True
    uses_talks: bool = False
    gist: Callable[[Any], str] = gist_of


def places(rows: int, ground: Ground) -> Iterator[tuple[Language, int]]:
    """Language and number of every item: languages take turns, so that any number is balanced."""
    for index in range(rows):
        place, language = divmod(index, len(ground.languages))
        yield ground.languages[language], place


def deal(options: Sequence[OptionT], place: int, *names: object) -> OptionT:
    """The option at a place of an endless deal: every round holds each option once, shuffled.

    The order of a round follows from `names` and the number of the round alone.
    """
    number, within = divmod(place, len(options))
    return options[_order(len(options), number, tuple(map(str, names)))[within]]


def share(*names: object) -> float:
    """A number from 0 up to 1 that follows from the names alone."""
    return int(digest_json([*map(str, names)])[:13], 16) / 16**13


@lru_cache(maxsize=512)
def _order(count: int, number: int, names: tuple[str, ...]) -> tuple[int, ...]:
    """The order of one round of a deal."""
    return tuple(sorted(range(count), key=lambda i: digest_json([*names, number, i])))
