"""The scripted consultation: a whole talk out of a case's own wordings, without any model.

It is the worked example of transcript prompts, the oracle of the checks, and the control
group of the report.
"""

from collections.abc import Sequence

from datagen.cases import Case
from validation.schemas import Conversation, Message

SOURCE = "scripted/1"


def scripted_messages(case: Case, questions: int | None = None) -> tuple[Message, ...]:
    """Opening, each fact's question and answer in the case's order, the advice.

    `questions`: only the first so many facts are asked for (None: all).
    """
    messages = [Message(role="user", content=case.opening)]
    for fact in case.facts[:questions]:
        messages.append(Message(role="assistant", content=fact.question))
        messages.append(Message(role="user", content=fact.answer))
    messages.append(Message(role="assistant", content=case.disposition.advice))
    return tuple(messages)


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
) -> tuple[Message, ...]:
    """The scripted talk that shows the form: of another case of the same language.

    The shortest one, so that prompts stay short and nearly all share one beginning, which
    servers keep in their prompt cache. Empty where the library holds no other case.
    """
    others = [c for c in library if c.language == case.language and c.case_id != case.case_id]
    scripts = [scripted_messages(c, questions) for c in sorted(others, key=lambda c: c.case_id)]
    return min(scripts, key=lambda s: sum(len(m.content) for m in s), default=())
