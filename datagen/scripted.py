"""The scripted consultation: a whole talk out of a case's own wordings, without any model.

It is the worked example of transcript prompts, the oracle of the checks, and the control
group of the report.
"""

from collections.abc import Sequence
from typing import Literal

from datagen.cases import Case
from validation.schemas import Conversation, Frozen, Message, NonBlank

SOURCE = "scripted/1"


class Line(Frozen):
    """One line of a script; a patient's answer carries the `fact` that it words."""

    role: Literal["user", "assistant"]
    content: NonBlank
    fact: str = ""


def script(case: Case, questions: int | None = None) -> tuple[Line, ...]:
    """Opening, each fact's question and answer in the case's order, the advice.

    `questions`: only the first so many facts are asked for (None: all).
    """
    lines = [Line(role="user", content=case.opening)]
    for fact in case.facts[:questions]:
        lines.append(Line(role="assistant", content=fact.question))
        lines.append(Line(role="user", content=fact.answer, fact=fact.statement))
    lines.append(Line(role="assistant", content=case.disposition.advice))
    return tuple(lines)


def scripted_messages(case: Case) -> tuple[Message, ...]:
    """The whole script of a case as messages."""
    return tuple(Message(role=line.role, content=line.content) for line in script(case))


def scripted_consultation(case: Case) -> Conversation:
    """The scripted consultation as a record."""
    return Conversation(
        language=case.language,
        source=SOURCE,
        case_id=case.case_id,
        license=case.license,
        messages=scripted_messages(case),
        persona="scripted",
    )


def worked_example(
    case: Case, library: Sequence[Case], questions: int | None = None
) -> tuple[Line, ...]:
    """The script that shows the form: of another case of the same language.

    The shortest one, so that prompts stay short and nearly all share one beginning, which
    servers keep in their prompt cache. Empty where the library holds no other case.
    """
    others = [c for c in library if c.case_id != case.case_id]
    return worked_examples([case, *others], questions)[case.case_id]


def worked_examples(
    library: Sequence[Case], questions: int | None = None
) -> dict[str, tuple[Line, ...]]:
    """The worked example of every case of a library, by case_id."""
    examples: dict[str, tuple[Line, ...]] = {}
    for language in {case.language for case in library}:
        cases = sorted((c for c in library if c.language == language), key=lambda c: c.case_id)
        scripts = {case.case_id: script(case, questions) for case in cases}
        shortest = sorted(scripts, key=lambda i: sum(len(line.content) for line in scripts[i]))
        for case_id in scripts:
            another = next((i for i in shortest[:2] if i != case_id), None)
            examples[case_id] = scripts[another] if another else ()
    return examples
