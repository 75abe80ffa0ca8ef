"""Passages for continued pretraining: teaching text on topics and on the library's cases."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from datagen.cases import Case
from datagen.generators.asking import Asker, Unfit
from datagen.generators.generator import (
    Generator,
    GeneratorSettings,
    Ground,
    Item,
    deal,
    places,
    share,
)
from datagen.generators.text_checks import TextLimits, refuse_faulty
from datagen.generators.topics import (
    TOPICS_FILE,
    Audience,
    Suited,
    Worded,
    read_topics,
    topic_id,
)
from datagen.speaking import LineSettings
from validation.schemas import Frozen, Passage
from validation.text import TOKEN, width

KIND = "passage"
VERSION = 1
CASE_FORMS = ("case_discussion", "clinical_reasoning", "explained_story")
MOST_TITLE_WIDTH = 120


class PassageSettings(GeneratorSettings):
    """`case_share`: of the passages are on a case of the library, the others on a topic.

    `max_list_share`: of the lines may be items of lists, so that a text explains.
    """

    kind: Literal["passage"] = "passage"
    case_share: Annotated[float, Field(ge=0.0, le=1.0)] = 0.4
    max_list_share: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    limits: TextLimits = TextLimits(min_width=900, max_width=7900)
    line: LineSettings = LineSettings(temperature=0.8, max_tokens=2400)


class PassageItem(Item):
    """One passage: its form, for whom, and what on (a case, or a topic)."""

    form: Suited
    audience: Audience
    topic: Worded | None = None
    case: Case | None = Field(None, exclude=True)


class Written(Frozen):
    """A passage as the teacher writes it."""

    title: str
    text: str


def items(settings: PassageSettings, ground: Ground) -> Sequence[PassageItem]:
    """Cases and topics in turns of a shuffled deal; cases take the forms that tell of one."""
    found, made = read_topics(), []
    for language, place in places(settings.rows, ground):
        names = (KIND, settings.seed, language)
        of_case = share(*names, "case", place) < settings.case_share
        audience = deal(found.audiences, place, *names, "audience")
        topic = None if of_case else deal(found.topics, place, *names, "topic")
        case = deal(ground.cases_in(language), place, *names, "case") if of_case else None
        made.append(
            PassageItem(
                language=language,
                place=place,
                form=deal(_forms(audience, of_case), place, *names, "form"),
                audience=audience,
                topic=topic,
                case=case,
            )
        )
    return made


async def make(settings: PassageSettings, item: PassageItem, asker: Asker) -> Sequence[Passage]:
    """Ask for one passage and check it. Raises Unfit, FaultyCompletion and what ends a run."""
    text = asker.prompt(
        "passage_text",
        form=item.form.words(item.language),
        audience=item.audience.words(item.language),
        topic=item.topic.words(item.language) if item.topic else "",
        case=item.case,
    )
    written = await asker.value("teacher", "text", [text], Written)
    body = written.text.strip()
    refuse_faulty(body, item.language, settings.limits, "the passage")
    _refuse_bare_lists(body, settings.max_list_share)
    title = " ".join(written.title.strip().strip('#*《》"').split())
    if not TOKEN.search(title) or width(title) > MOST_TITLE_WIDTH:
        raise Unfit("bad_title", f"the title {title[:60]!r} is no title", body)
    if item.case and item.case.case_id in body:
        raise Unfit("debris", f"the case's own name {item.case.case_id} stands in it", body)
    about = item.case.case_id if item.case else topic_id(item.topic or item.form, item.language)
    record = Passage(
        language=item.language,
        source=asker.source(KIND, VERSION),
        case_id=about,
        title=title,
        text=body,
    )
    return [record]


def _forms(audience: Audience, of_case: bool) -> list[Suited]:
    """The forms that suit a reader, and a case or a topic."""
    fitting = [form for form in read_topics().forms if form.suits_whom(audience)]
    if of_case:
        return [form for form in fitting if form.name in CASE_FORMS]
    return [form for form in fitting if form.name != "case_discussion"]


def _refuse_bare_lists(text: str, most: float) -> None:
    """A text explains in sentences; a list of catchwords teaches little."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    listed = [line for line in lines if line[:1] in "-*•·" or line[:2].rstrip(".、)）").isdigit()]
    if len(listed) > most * len(lines):
        detail = f"{len(listed)} of {len(lines)} lines are items of lists"
        raise Unfit("bare_list", detail, text)


GENERATOR = Generator(
    settings=PassageSettings,
    version=VERSION,
    roles=("teacher",),
    prompts=("passage_text",),
    writes=(Passage,),
    items=items,
    make=make,
    word_lists=(TOPICS_FILE,),
)
