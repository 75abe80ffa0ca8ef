"""Tool-call dialogues: a clinic's assistant books, looks up, orders, asks first, or just answers.

The person is the role `patient`, the assistant `doctor`. Tools are simulated (deterministic);
calls must fit their schemas and the situation, and the last answer must use what came back.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Literal

from pydantic import Field, JsonValue

from artifacts.digest import canonical_json
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
from datagen.generators.simulated_tools import (
    TOOLS_FILE,
    Drug,
    Situation,
    answer,
    drug_table,
    find_drug,
    misfit,
    read_clinic,
    schemas,
)
from datagen.generators.text_checks import TextLimits, refuse_faulty, truncated
from datagen.speaking import LineSettings
from judging.wording import count_questions
from validation.schemas import Conversation, Frozen, Message, ToolCall

KIND = "tool_use"
VERSION = 1
MOST_STEPS = 6
DAYS_AHEAD = 60
WORDS_ALONE = ("interval", "caution", "given_for")
NUMBER = re.compile(r"\d+(?:[:.]\d+)?")


class ToolUseSettings(GeneratorSettings):
    """How tool dialogues go.

    `today`: the day on which they take place; wanted days are within two months of it.
    `person`, `answer`: bounds of what is said.
    """

    kind: Literal["tool_use"] = "tool_use"
    today: date = date(2026, 12, 1)
    person: TextLimits = TextLimits(min_width=8, max_width=1000)
    answer: TextLimits = TextLimits(min_width=16, max_width=2400)
    line: LineSettings = LineSettings(temperature=0.7, max_tokens=700)


class ToolUseItem(Item):
    """One dialogue: the situation, its values, and the call that it should lead to."""

    situation: Situation
    told: str
    expected: dict[str, str]
    today: date
    case: Case = Field(exclude=True)
    drugs: tuple[Drug, ...] = Field(exclude=True)


class Step(Frozen):
    """The assistant's next step: a call (`arguments` is JSON text of an object), or words."""

    action: Literal["call", "say"]
    tool: str = ""
    arguments: str = ""
    text: str = ""


@dataclass
class Dialogue:
    """A dialogue as it goes on."""

    messages: list[Message] = field(default_factory=list)
    results: list[dict[str, JsonValue]] = field(default_factory=list)

    @property
    def spoken(self) -> list[str]:
        """What the assistant has said so far."""
        return [m.content for m in self.messages if m.role == "assistant" and not m.tool_calls]


def items(settings: ToolUseSettings, ground: Ground) -> Sequence[ToolUseItem]:
    """Situations in turns; their values are drawn, complaints come from the cases."""
    clinic, drugs, made = read_clinic(), drug_table(ground.cases), []
    for language, place in places(settings.rows, ground):
        names = (KIND, settings.seed, language)
        situation = deal(clinic.situations, place, *names, "situation")
        case = deal(ground.cases_in(language), place, *names, "case")
        days = 1 + int(DAYS_AHEAD * share(*names, "day", place))
        drug = deal(_named_in(drugs, language), place, *names, "drug")
        values = {
            "department": deal(clinic.departments[language], place, *names, "department"),
            "date": str(settings.today + timedelta(days=days)),
            "drug": drug,
            "test": deal(clinic.tests, place, *names, "test").words(language),
            "urgency": deal(clinic.urgencies[language], place, *names, "urgency"),
            "complaint": case.complaint,
        }
        wanted = {
            "book_appointment": ("department", "date"),
            "look_up_drug": ("drug",),
            "order_test": ("test", "urgency"),
        }.get(situation.tool, ())
        made.append(
            ToolUseItem(
                language=language,
                place=place,
                situation=situation,
                told=situation.words(language).format(**values),
                expected={name: values[name] for name in wanted},
                today=settings.today,
                case=case,
                drugs=drugs,
            )
        )
    return made


async def make(
    settings: ToolUseSettings, item: ToolUseItem, asker: Asker
) -> Sequence[Conversation]:
    """Let person and assistant go on until the assistant has answered, then check it.

    Raises Unfit, FaultyCompletion and what ends a run.
    """
    talk = Dialogue()
    talk.messages.append(await _person(settings, item, talk, asker))
    for number in range(MOST_STEPS):
        step = await _step(item, talk, number, asker)
        if step.action == "call":
            _call(item, talk, step)
            continue
        said = step.text.strip()
        refuse_faulty(said, item.language, settings.answer, "the assistant's answer")
        talk.messages.append(Message(role="assistant", content=said))
        if not _must_go_on(item, talk):
            break
        talk.messages.append(await _person(settings, item, talk, asker))
    refuse_wrong_course(item, talk)
    system = asker.prompt("tools_system", today=item.today)
    record = Conversation(
        language=item.language,
        source=asker.source(KIND, VERSION),
        case_id=item.case.case_id,
        messages=(Message(role="system", content=system), *talk.messages),
        tools=schemas(item.language),
        persona=item.situation.name,
        sample_index=item.place,
    )
    return [record]


def refuse_wrong_course(item: ToolUseItem, talk: Dialogue) -> None:
    """Raise Unfit where the dialogue did not do what its situation asks for."""
    calls, mode = len(talk.results), item.situation.mode
    fault = None
    if talk.messages[-1].role != "assistant" or talk.messages[-1].tool_calls:
        fault = ("no_end", f"no answer after {MOST_STEPS} steps")
    elif mode == "no_call" and calls:
        fault = ("needless_call", "a tool was called though none serves")
    elif mode != "no_call" and not calls:
        fault = ("no_call", f"{item.situation.tool} was not called")
    elif mode == "missing" and talk.messages[1].tool_calls:
        fault = ("called_too_early", "a needed argument was not known, and was not asked for")
    elif calls and not _uses(talk.spoken[-1], talk.results[-1]):
        fault = ("result_not_used", f"the answer holds nothing of {talk.results[-1]}")
    if fault:
        raise Unfit(*fault, _plain(talk))


def _must_go_on(item: ToolUseItem, talk: Dialogue) -> bool:
    """Whether the person should answer: a question was asked before the tool could be called."""
    if item.situation.mode != "missing" or talk.results:
        return False
    return len(talk.spoken) <= 2 and count_questions(talk.spoken[-1]) > 0


def _call(item: ToolUseItem, talk: Dialogue, step: Step) -> None:
    """Make a call. Raises Unfit where it does not fit the schema or the situation."""
    arguments = _arguments(step, talk)
    if wrong := misfit(step.tool, arguments, item.language):
        raise Unfit("bad_tool_call", wrong, _plain(talk))
    if item.situation.mode != "no_call":
        if step.tool != item.situation.tool:
            detail = f"calls {step.tool}, {item.situation.tool} was due"
            raise Unfit("wrong_tool", detail, _plain(talk))
        for name, value in item.expected.items():
            got = str(arguments["name" if name == "drug" else name])
            if not _same(name, value, got, item.drugs):
                raise Unfit("wrong_argument", f"{name} is {got!r}, not {value!r}", _plain(talk))
    result = answer(step.tool, arguments, item.language, item.drugs)
    call = ToolCall(name=step.tool, arguments=arguments)
    talk.messages.append(Message(role="assistant", content="", tool_calls=(call,)))
    talk.messages.append(Message(role="tool", content=canonical_json(result)))
    talk.results.append(result)


def _arguments(step: Step, talk: Dialogue) -> dict[str, JsonValue]:
    try:
        arguments = json.loads(step.arguments)
    except ValueError as error:
        raise Unfit("bad_tool_call", f"arguments are no JSON: {error}", _plain(talk)) from None
    if not isinstance(arguments, dict):
        raise Unfit("bad_tool_call", "arguments are no JSON object", _plain(talk))
    return arguments


def _same(name: str, wanted: str, got: str, drugs: Sequence[Drug]) -> bool:
    if name == "drug":
        return find_drug(got, drugs) == find_drug(wanted, drugs)
    return got == wanted


def _uses(said: str, result: dict[str, JsonValue]) -> bool:
    """Whether an answer holds a figure of the tool's result, or none is in it to be held."""
    told = {name: value for name, value in result.items() if name not in WORDS_ALONE}
    figures = set(NUMBER.findall(canonical_json(told)))
    return not figures or bool(figures & set(NUMBER.findall(said)))


def _named_in(drugs: Sequence[Drug], language: str) -> tuple[str, ...]:
    """The names of the drugs in a language; cases know theirs in one only."""
    names = (drug.en if language == "en" else drug.zh for drug in drugs)
    return tuple(name for name in names if name.isascii() == (language == "en"))


def _plain(talk: Dialogue) -> str:
    return "\n".join(
        f"[{m.role}] {m.content or [call.model_dump() for call in m.tool_calls]}"
        for m in talk.messages
    )


async def _person(
    settings: ToolUseSettings, item: ToolUseItem, talk: Dialogue, asker: Asker
) -> Message:
    prompt = asker.prompt("tools_person", situation=item.told, talk=talk.messages)
    said = await asker.text("patient", f"person {len(talk.messages)}", [prompt])
    refuse_faulty(said, item.language, settings.person, "the person's message", but=(truncated,))
    return Message(role="user", content=said)


async def _step(item: ToolUseItem, talk: Dialogue, number: int, asker: Asker) -> Step:
    prompt = asker.prompt(
        "tools_step",
        system=asker.prompt("tools_system", today=item.today),
        tools=json.dumps(schemas(item.language), ensure_ascii=False, indent=1),
        talk=talk.messages,
    )
    return await asker.value("doctor", f"step {number}", [prompt], Step)


GENERATOR = Generator(
    settings=ToolUseSettings,
    version=VERSION,
    roles=("patient", "doctor"),
    prompts=("tools_person", "tools_step", "tools_system"),
    writes=(Conversation,),
    items=items,
    make=make,
    word_lists=(TOOLS_FILE,),
)
