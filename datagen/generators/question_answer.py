"""Single questions and answers: self-instruct, evolution of difficulty, checked answers.

Questions are drawn from examples (Wang et al. 2023, self-instruct), some are made harder step
by step (Xu et al. 2023, Evol-Instruct), and a failed evolution leaves the question as it was.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field

from datagen.cases import LOADER
from datagen.generators.alarm import ALARM_FILE, unheeded_alarm
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
from datagen.generators.text_checks import TextLimits, refuse_faulty, text_fault, truncated
from datagen.generators.topics import (
    TOPICS_FILE,
    Audience,
    Suited,
    Worded,
    read_topics,
    topic_id,
)
from endpoints.errors import FaultyCompletion
from judging.wording import first_mention, similarity
from validation.schemas import Conversation, Frozen, Language, Message, NonBlank

KIND = "question_answer"
VERSION = 1
QUESTIONS_FILE = Path(__file__).with_name("questions.yaml")
EXAMPLES = 3
SAME_QUESTION = 0.95
# Words of the task itself, which a failed evolution lets slip into the question.
TASK_WORDS: dict[Language, tuple[str, ...]] = {
    "en": ("rewritten", "original question", "the given question", "evolved", "new question:"),
    "zh": ("改写", "原问题", "原来的问题", "新问题：", "给定的问题"),
}


class Seed(Frozen):
    """A question that was written by hand, and who asks it."""

    audience: NonBlank
    text: NonBlank


class Questions(Frozen):
    """What stands in the file."""

    seeds: dict[Language, tuple[Seed, ...]]
    evolutions: tuple[Worded, ...]


@cache
def read_questions() -> Questions:
    """All of the file, in its order."""
    text = QUESTIONS_FILE.read_text(encoding="utf-8")
    return Questions.model_validate(yaml.load(text, Loader=LOADER))


class QuestionAnswerSettings(GeneratorSettings):
    """How questions are made.

    `max_evolutions`: steps by which a question may be made harder; each number of steps from
    none on is drawn equally often. `question`, `answer`: bounds of the two texts.
    """

    kind: Literal["question_answer"] = "question_answer"
    max_evolutions: Annotated[int, Field(ge=0, le=6)] = 2
    question: TextLimits = TextLimits(min_width=12, max_width=1200)
    answer: TextLimits = TextLimits(min_width=120, max_width=5000)


class QuestionItem(Item):
    """One question to ask: who asks what sort of question about which topic, and examples."""

    topic: Worded
    audience: Audience
    kind: Suited
    examples: tuple[NonBlank, ...]
    evolutions: tuple[Worded, ...] = ()


def items(settings: QuestionAnswerSettings, ground: Ground) -> Sequence[QuestionItem]:
    """Topics, readers and sorts of questions, each in a shuffled deal of its own."""
    found, made = read_topics(), []
    for language, place in places(settings.rows, ground):
        names = (KIND, settings.seed, language)
        audience = deal(found.audiences, place, *names, "audience")
        kinds = [kind for kind in found.kinds if kind.suits_whom(audience)]
        steps = int((settings.max_evolutions + 1) * share(*names, "evolutions", place))
        made.append(
            QuestionItem(
                language=language,
                place=place,
                topic=deal(found.topics, place, *names, "topic"),
                audience=audience,
                kind=deal(kinds, place, *names, "kind"),
                examples=_examples(audience, ground, language, place, names),
                evolutions=tuple(
                    deal(read_questions().evolutions, place + step, *names, "evolution")
                    for step in range(steps)
                ),
            )
        )
    return made


async def make(
    settings: QuestionAnswerSettings, item: QuestionItem, asker: Asker
) -> Sequence[Conversation]:
    """Draw a question, make it harder, answer it, check the answer.

    Raises Unfit, FaultyCompletion and what ends a run.
    """
    question = await _draw_question(settings, item, asker)
    done: list[str] = []
    for step, evolution in enumerate(item.evolutions):
        harder = await _evolved(settings, question, evolution, step, item, asker)
        if harder is not None:
            question = harder
            done.append(evolution.name)
    answer = await _answer(settings, question, item, asker)
    steps = f"/{'+'.join(done)}" if done else ""
    record = Conversation(
        language=item.language,
        source=asker.source(KIND, VERSION),
        case_id=topic_id(item.topic, item.language),
        messages=(
            Message(role="user", content=question),
            Message(role="assistant", content=answer),
        ),
        persona=f"{item.audience.name}/{item.kind.name}{steps}",
        sample_index=item.place,
    )
    return [record]


def evolution_fault(before: str, after: str, language: Language, limits: TextLimits) -> str | None:
    """Why an evolution failed, or None: the elimination of Evol-Instruct, by rules.

    It adds nothing, is no proper question, or lets words of the task slip in.
    """
    if fault := text_fault(after, language, limits):
        return fault.name
    if similarity(before, after) >= SAME_QUESTION:
        return "adds_nothing"
    if word := first_mention(after, TASK_WORDS[language]):
        return f"speaks_of_the_task ({word})"
    return None


async def _draw_question(settings: QuestionAnswerSettings, item: QuestionItem, asker: Asker) -> str:
    prompt = asker.prompt(
        "qa_question",
        topic=item.topic.words(item.language),
        audience=item.audience.words(item.language),
        kind=item.kind.words(item.language),
        examples=item.examples,
    )
    drawn = _bare(await asker.text("teacher", "question", [prompt]))
    refuse_faulty(drawn, item.language, settings.question, "the question", but=(truncated,))
    if word := first_mention(drawn, TASK_WORDS[item.language]):
        raise Unfit("speaks_of_the_task", f"the question says {word!r}", drawn)
    if any(similarity(drawn, example) >= SAME_QUESTION for example in item.examples):
        raise Unfit("copied_example", "the question is one of its examples", drawn)
    return drawn


async def _evolved(
    settings: QuestionAnswerSettings,
    question: str,
    evolution: Worded,
    step: int,
    item: QuestionItem,
    asker: Asker,
) -> str | None:
    """The harder question; None where the evolution failed."""
    prompt = asker.prompt(
        "qa_evolve",
        question=question,
        evolution=evolution.words(item.language),
        audience=item.audience.words(item.language),
    )
    try:
        after = _bare(await asker.text("teacher", f"evolution {step}", [prompt]))
    except FaultyCompletion:
        return None
    fault = evolution_fault(question, after, item.language, settings.question)
    return None if fault else after


async def _answer(
    settings: QuestionAnswerSettings, question: str, item: QuestionItem, asker: Asker
) -> str:
    system = asker.prompt(
        "qa_answer", audience=item.audience.words(item.language), lay=item.audience.lay
    )
    messages = (Message(role="system", content=system), Message(role="user", content=question))
    answer = await asker.text("doctor", "answer", messages)
    refuse_faulty(answer, item.language, settings.answer, "the answer")
    if similarity(question, answer) >= SAME_QUESTION:
        raise Unfit("echo", "the answer says the question again", answer)
    if item.audience.lay and (sign := unheeded_alarm(question, answer, item.language)):
        detail = f"the question tells of {sign!r}, and the answer says nothing of urgent help"
        raise Unfit("no_safety_note", detail, f"{question}\n\n{answer}")
    return answer


def _examples(
    audience: Audience, ground: Ground, language: Language, place: int, names: tuple[object, ...]
) -> tuple[str, ...]:
    """Seed questions of the same sort of reader; for lay ones, a case's opening among them."""
    lay = {one.name for one in read_topics().audiences if one.lay}
    seeds = read_questions().seeds[language]
    alike = [seed.text for seed in seeds if (seed.audience in lay) == audience.lay]
    chosen = [deal(alike, EXAMPLES * place + i, *names, "seed", audience.lay) for i in range(3)]
    if audience.lay:
        chosen[-1] = deal(ground.cases_in(language), place, *names, "opening").opening
    return tuple(dict.fromkeys(chosen))


def _bare(text: str) -> str:
    """A question without the quotes or the label that models put around it."""
    label, mark, rest = text.partition(":")
    if mark and label.strip("#* ").casefold() in ("question", "q", "new question"):
        text = rest
    label, mark, rest = text.partition("：")
    if mark and label.strip("#* ") in ("问题", "问", "新问题"):
        text = rest
    return text.strip().strip('"“”「」').strip()


GENERATOR = Generator(
    settings=QuestionAnswerSettings,
    version=VERSION,
    roles=("teacher", "doctor"),
    prompts=("qa_question", "qa_evolve", "qa_answer"),
    writes=(Conversation,),
    items=items,
    make=make,
    word_lists=(TOPICS_FILE, QUESTIONS_FILE, ALARM_FILE),
)
