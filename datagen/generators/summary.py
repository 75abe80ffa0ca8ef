"""Summaries: a consultation in, a clinical note out, as in MTS-Dialog (Ben Abacha et al. 2023).

The talks are the scripted consultations of the library and, where a run has made some, its
simulated ones without faults. The note may hold nothing that the talk does not.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, PositiveInt

from artifacts.digest import digest_json
from datagen.cases import LOADER
from datagen.files import read_conversations
from datagen.generators.asking import Asker, Unfit
from datagen.generators.generator import Generator, GeneratorSettings, Ground, Item, deal
from datagen.generators.note_checks import invented_drug, invented_number, missing_section
from datagen.generators.simulated_tools import TOOLS_FILE, drug_table
from datagen.generators.text_checks import TextLimits, refuse_faulty, truncated
from datagen.scripted import scripted_consultation
from datagen.speaking import LineSettings
from validation.schemas import Conversation, Frozen, Language, Message, NonBlank
from validation.text import width

KIND = "summary"
VERSION = 1
SUMMARIES_FILE = Path(__file__).with_name("summaries.yaml")


class FormWords(Frozen):
    """A form in one language: what it is called, its sections, and what goes into them."""

    title: NonBlank
    sections: Annotated[tuple[NonBlank, ...], Field(min_length=2)]
    hint: NonBlank


class Form(Frozen):
    """A form of note, in every language."""

    name: NonBlank
    en: FormWords
    zh: FormWords

    def words(self, language: Language) -> FormWords:
        """The form in a language."""
        return self.en if language == "en" else self.zh


class Summaries(Frozen):
    """What stands in the file. `drug_endings`: of international names, by which drugs show."""

    forms: tuple[Form, ...]
    drug_endings: dict[Language, tuple[NonBlank, ...]]


@cache
def read_summaries() -> Summaries:
    """All of the file, in its order."""
    text = SUMMARIES_FILE.read_text(encoding="utf-8")
    return Summaries.model_validate(yaml.load(text, Loader=LOADER))


class SummarySettings(GeneratorSettings):
    """How notes are made.

    `rows`: at most; each talk is summed up once in each form. `max_talk_width`: longer talks
    are passed over. `most_alike` is measured on the notes. `note`: bounds of a note.
    """

    kind: Literal["summary"] = "summary"
    most_alike: Annotated[float, Field(gt=0.0, le=1.0)] = 0.95
    max_talk_width: PositiveInt = 6000
    note: TextLimits = TextLimits(min_width=150, max_width=5000, max_repeated_share=0.5)
    line: LineSettings = LineSettings(temperature=0.3, max_tokens=1200)


class SummaryItem(Item):
    """One note: its talk, its form, and the drugs that are known by name."""

    form: NonBlank
    talk: Conversation = Field(exclude=True)
    drugs: tuple[NonBlank, ...] = Field((), exclude=True)

    @property
    def identity(self) -> tuple[object, ...]:
        """The talk and the form: a note is not bought again where talks are added before it."""
        return (self.talk.record_id, self.form)


def items(settings: SummarySettings, ground: Ground) -> Sequence[SummaryItem]:
    """Talk after talk, languages in turns; then all of them again in the next form."""
    drugs = tuple(name for drug in drug_table(ground.cases) for name in drug.names)
    queues = [_of_language(settings, ground, language, drugs) for language in ground.languages]
    made: list[SummaryItem] = []
    while queues and len(made) < settings.rows:
        for queue in tuple(queues):
            item = next(queue, None)
            if item is None:
                queues.remove(queue)
            elif len(made) < settings.rows:
                made.append(item)
    return made


def _of_language(
    settings: SummarySettings,
    ground: Ground,
    language: Language,
    drugs: tuple[str, ...],
) -> Iterator[SummaryItem]:
    """All notes that can be made in a language, in their order."""
    talks = list(islice(_talks(settings, ground, language), settings.rows))
    forms, place = read_summaries().forms, 0
    for number in range(len(forms)):
        for talk in talks:
            first = int(digest_json([KIND, settings.seed, talk.record_id])[:8], 16)
            form = forms[(first + number) % len(forms)]
            yield SummaryItem(
                language=language, place=place, form=form.name, talk=talk, drugs=drugs
            )
            place += 1


def _talks(settings: SummarySettings, ground: Ground, language: Language) -> Iterator[Conversation]:
    """Scripted talks in a shuffled deal, then simulated ones without faults, none too long."""
    cases = ground.cases_in(language)
    for place in range(len(cases)):
        talk = scripted_consultation(deal(cases, place, KIND, settings.seed, language))
        if _talk_width(talk) <= settings.max_talk_width:
            yield talk
    if ground.talks is not None:
        for talk in read_conversations(ground.talks):
            fits = _talk_width(talk) <= settings.max_talk_width
            if talk.language == language and not talk.faults and fits:
                yield talk


def _talk_width(talk: Conversation) -> int:
    return sum(width(message.content) for message in talk.messages)


async def make(
    settings: SummarySettings, item: SummaryItem, asker: Asker
) -> Sequence[Conversation]:
    """Ask for one note and check it. Raises Unfit, FaultyCompletion and what ends a run."""
    found = read_summaries()
    form = next(form for form in found.forms if form.name == item.form).words(item.language)
    spoken = [m for m in item.talk.messages if m.role in ("user", "assistant")]
    lines = [Message(role=m.role, content=" ".join(m.content.split())) for m in spoken]
    request = asker.prompt("summary_request", form=form, talk=lines)
    system = Message(role="system", content=asker.prompt("summary_note", form=form))
    messages = (system, Message(role="user", content=request))
    note = await asker.text("teacher", "note", messages)
    # Notes are written in catchwords; a note that was cut off is the endpoint's fault `truncated`.
    refuse_faulty(note, item.language, settings.note, "the note", but=(truncated,))
    said = "\n".join(line.content for line in lines)
    endings = found.drug_endings[item.language]
    fault = (
        missing_section(note, form.sections)
        or invented_number(note, said)
        or invented_drug(note, said, item.language, item.drugs, endings)
    )
    if fault:
        raise Unfit(fault.name, fault.detail, f"{said}\n\n{note}")
    record = Conversation(
        language=item.language,
        source=asker.source(KIND, VERSION),
        case_id=item.talk.case_id,
        license=item.talk.license,
        messages=(
            Message(role="user", content=request),
            Message(role="assistant", content=note),
        ),
        persona=f"{item.form}/{item.talk.persona}",
        sample_index=item.place,
    )
    return [record]


def note_of(record: Conversation) -> str:
    """What is compared: the notes, for one talk may stand in several records."""
    return record.messages[-1].content


GENERATOR = Generator(
    settings=SummarySettings,
    version=VERSION,
    roles=("teacher",),
    prompts=("summary_request", "summary_note"),
    writes=(Conversation,),
    items=items,
    make=make,
    word_lists=(SUMMARIES_FILE, TOOLS_FILE),
    uses_talks=True,
    gist=note_of,
)
