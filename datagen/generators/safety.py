"""Safety dialogues: what must be answered with care, and a check that it was.

A person (role `patient`) writes in a situation of `safety.yaml`, the assistant (role `doctor`)
answers under that kind's guidance, one to three turns; rules decide whether the answers are safe.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field

from datagen.cases import LOADER
from datagen.generators.alarm import ALARM_FILE, read_alarm_words
from datagen.generators.asking import Asker, Unfit
from datagen.generators.generator import Generator, GeneratorSettings, Ground, Item, deal, places
from datagen.generators.text_checks import (
    TextLimits,
    out_of_bounds,
    refuse_faulty,
    refused,
    truncated,
)
from datagen.generators.topics import Worded
from datagen.speaking import LineSettings
from judging.claims import first_urged
from judging.speech import MODELS_SPEECH
from judging.wording import first_mention, plain_text
from validation.schemas import Conversation, Frozen, Language, Message, NonBlank

KIND = "safety"
VERSION = 1
SAFETY_FILE = Path(__file__).with_name("safety.yaml")
RuleName = Literal["urges_help", "names_help", "declines", "alternative", "no_new_amount"]
# "20 tablets", "500 mg", "twenty pills", "十片": how much of a drug.
AMOUNT = re.compile(
    r"(?<![\w.])(?:\d+(?:[.,]\d+)?|half|one|two|three|four|five|six|seven|eight|nine|ten|twelve"
    r"|fifteen|twenty|thirty|forty|fifty|sixty|hundred)[\s-]?"
    r"(?:mg|milligrams?|g|grams?|mcg|µg|micrograms?|ml|millilit\w+|units?|iu|tablets?|pills?"
    r"|capsules?|ampoules?|patches|boxes|packs?|strips?)\b"
    r"|[\d一二两三四五六七八九十百半]+\s?(?:毫克|微克|克(?!服)|毫升|单位|片|粒|颗|支|盒|板|瓶)",
    re.IGNORECASE,
)
SPEAKS_AS_MODEL = re.compile(r"\bAI\b|model|人工智能|模型", re.IGNORECASE)


class SafetyKind(Frozen):
    """One kind of danger: how it is answered, how the person goes on, and the rules."""

    name: NonBlank
    rules: Annotated[tuple[RuleName, ...], Field(min_length=1)]
    answer: dict[Language, NonBlank]
    goes_on: dict[Language, NonBlank]
    situations: Annotated[tuple[Worded, ...], Field(min_length=1)]


class Safety(Frozen):
    """What stands in the file."""

    resources: dict[Language, NonBlank]
    tones: tuple[Worded, ...]
    kinds: tuple[SafetyKind, ...]

    def kind(self, name: str) -> SafetyKind:
        """The kind of that name."""
        return next(kind for kind in self.kinds if kind.name == name)


@cache
def read_safety() -> Safety:
    """All of the file, in its order."""
    return Safety.model_validate(yaml.load(SAFETY_FILE.read_text(encoding="utf-8"), Loader=LOADER))


class SafetySettings(GeneratorSettings):
    """How dialogues go.

    `max_turns`: of the person; each number up to it is as frequent. `person`, `answer`: bounds
    of their messages.
    """

    kind: Literal["safety"] = "safety"
    max_turns: Annotated[int, Field(ge=1, le=6)] = 3
    person: TextLimits = TextLimits(min_width=8, max_width=1200)
    answer: TextLimits = TextLimits(min_width=60, max_width=2400)
    line: LineSettings = LineSettings(temperature=0.8, max_tokens=700)


class SafetyItem(Item):
    """One dialogue: its kind, situation, tone, and how many turns the person has."""

    kind: NonBlank
    situation: Worded
    tone: Worded
    turns: int


def items(settings: SafetySettings, ground: Ground) -> Sequence[SafetyItem]:
    """Every situation once a round, with tones and lengths in deals of their own."""
    found = read_safety()
    every = [(kind.name, one) for kind in found.kinds for one in kind.situations]
    made = []
    for language, place in places(settings.rows, ground):
        names = (KIND, settings.seed, language)
        kind, situation = deal(every, place, *names, "situation")
        made.append(
            SafetyItem(
                language=language,
                place=place,
                kind=kind,
                situation=situation,
                tone=deal(found.tones, place, *names, "tone"),
                turns=deal(range(1, settings.max_turns + 1), place, *names, "turns"),
            )
        )
    return made


async def make(settings: SafetySettings, item: SafetyItem, asker: Asker) -> Sequence[Conversation]:
    """Let the two write in turns, then check the answers.

    Raises Unfit (`unsafe_answer` where a rule is broken), FaultyCompletion and what ends a run.
    """
    kind = read_safety().kind(item.kind)
    talk: tuple[Message, ...] = ()
    for turn in range(item.turns):
        talk += (await _person(settings, item, kind, talk, turn, asker),)
        talk += (await _answer(settings, item, kind, talk, turn, asker),)
    broken = next(broken_rules(talk, kind, item.language), None)
    if broken:
        said = "\n\n".join(message.content for message in talk)
        raise Unfit("unsafe_answer", broken, said)
    record = Conversation(
        language=item.language,
        source=asker.source(KIND, VERSION),
        case_id=f"{item.language}-safety-{item.situation.name.replace('_', '-')}",
        messages=talk,
        persona=f"{item.kind}/{item.tone.name}",
        sample_index=item.place,
    )
    return [record]


def broken_rules(talk: Sequence[Message], kind: SafetyKind, language: Language) -> Iterator[str]:
    """What the answers of a talk do against the rules of its kind, in words."""
    answers = [message.content for message in talk if message.role == "assistant"]
    for answer in answers:
        match = MODELS_SPEECH.search(answer.replace("’", "'"))
        if match and SPEAKS_AS_MODEL.search(match.group()):
            yield f"an answer speaks as a model: {match.group().strip()!r}"
    for name in kind.rules:
        if found := RULES[name](talk, answers, language):
            yield f"{name}: {found}"


Rule = Callable[[Sequence[Message], Sequence[str], Language], str | None]


def urges_help(talk: Sequence[Message], answers: Sequence[str], language: Language) -> str | None:
    """The first answer sends the person to emergency help, without an "if"."""
    if first_urged(answers[0], read_alarm_words().emergency[language]):
        return None
    return "the first answer urges no emergency help"


def names_help(talk: Sequence[Message], answers: Sequence[str], language: Language) -> str | None:
    """Some answer names emergency help or a crisis line."""
    if any(first_mention(answer, read_alarm_words().emergency[language]) for answer in answers):
        return None
    return "no answer names emergency help or a crisis line"


def declines(talk: Sequence[Message], answers: Sequence[str], language: Language) -> str | None:
    """Some answer says that the request is not met."""
    if any(first_mention(answer, read_alarm_words().decline[language]) for answer in answers):
        return None
    return "no answer declines the request"


def alternative(talk: Sequence[Message], answers: Sequence[str], language: Language) -> str | None:
    """Some answer offers something in its place."""
    if any(first_mention(answer, read_alarm_words().alternative[language]) for answer in answers):
        return None
    return "no answer says what can be done instead"


def no_new_amount(
    talk: Sequence[Message], answers: Sequence[str], language: Language
) -> str | None:
    """No answer names an amount of a drug that the person has not named first."""
    told = plain_text(" ".join(message.content for message in talk if message.role == "user"))
    for answer in answers:
        for match in AMOUNT.finditer(plain_text(answer)):
            if match.group() not in told:
                return f"an answer names an amount, {match.group()!r}"
    return None


RULES: dict[RuleName, Rule] = {
    "urges_help": urges_help,
    "names_help": names_help,
    "declines": declines,
    "alternative": alternative,
    "no_new_amount": no_new_amount,
}


async def _person(
    settings: SafetySettings,
    item: SafetyItem,
    kind: SafetyKind,
    talk: Sequence[Message],
    turn: int,
    asker: Asker,
) -> Message:
    prompt = asker.prompt(
        "safety_person",
        situation=item.situation.words(item.language),
        tone=item.tone.words(item.language),
        goes_on=kind.goes_on[item.language],
        talk=talk,
    )
    said = await asker.text("patient", f"person {turn}", [prompt])
    refuse_faulty(
        said, item.language, settings.person, "the person's message", but=(truncated, refused)
    )
    return Message(role="user", content=said)


async def _answer(
    settings: SafetySettings,
    item: SafetyItem,
    kind: SafetyKind,
    talk: Sequence[Message],
    turn: int,
    asker: Asker,
) -> Message:
    system = asker.prompt(
        "safety_answer",
        guidance=kind.answer[item.language],
        resources=read_safety().resources[item.language],
        no_amounts="no_new_amount" in kind.rules,
    )
    messages = (Message(role="system", content=system), *talk)
    said = await asker.text("doctor", f"answer {turn}", messages)
    # Declining is what some of these answers are for, and a later turn may be short.
    but = (refused,) if turn == 0 else (refused, out_of_bounds)
    refuse_faulty(said, item.language, settings.answer, "the answer", but=but)
    return Message(role="assistant", content=said)


GENERATOR = Generator(
    settings=SafetySettings,
    version=VERSION,
    roles=("patient", "doctor"),
    prompts=("safety_person", "safety_answer"),
    writes=(Conversation,),
    items=items,
    make=make,
    word_lists=(SAFETY_FILE, ALARM_FILE),
    uses_cases=False,
)
