"""Record checks: each one a function that names the first thing wrong, or finds nothing.

`CONVERSATION_CHECKS` and `PREFERENCE_CHECKS` are the registries, in running order: cheap
and structural first, so that a row falls under the fault which explains the others.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

from pydantic import Field

from validation.message_checks import (
    MESSAGE_CHECKS,
    MessageCheck,
    MessageSettings,
    chat_template_tokens,
    leftover_role_label,
    unreadable_characters,
    without_words,
)
from validation.schemas import (
    Conversation,
    Fault,
    Message,
    NonBlank,
    Passage,
    PreferencePair,
    Problem,
)
from validation.text import normalised, width


class CheckSettings(MessageSettings):
    """Thresholds of the checks.

    `tolerated_faults`: faults found by the generator that do not keep a conversation out;
    all others do. `sides`: whose turns may be learnt, the doctor's or the patient's. Counts of
    messages leave a system message out; widths are characters, Chinese ones counted twice.
    """

    tolerated_faults: tuple[NonBlank, ...] = ()
    sides: tuple[Literal["doctor", "patient"], ...] = ("doctor", "patient")
    min_messages: Annotated[int, Field(ge=2)] = 2
    max_messages: Annotated[int, Field(ge=2)] = 80
    repeated_turn_min_width: Annotated[int, Field(ge=1)] = 20
    min_margin: Annotated[float, Field(ge=0.0)] = 0.0
    min_agreement: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0


ProblemCheck = Callable[[Problem, CheckSettings], Fault | None]
ConversationCheck = Callable[[Conversation, CheckSettings], Fault | None]
PreferenceCheck = Callable[[PreferencePair, CheckSettings], Fault | None]


def check_conversation(talk: Conversation, settings: CheckSettings) -> Fault | None:
    """The first fault of a conversation, or None."""
    for check in CONVERSATION_CHECKS:
        if fault := check(talk, settings):
            return fault
    return None


def check_preference(pair: PreferencePair, settings: CheckSettings) -> Fault | None:
    """The first fault of a preference pair, or None."""
    for check in PREFERENCE_CHECKS:
        if fault := check(pair, settings):
            return fault
    return None


def check_problem(problem: Problem, settings: CheckSettings) -> Fault | None:
    """The first fault of a problem, or None."""
    for check in PROBLEM_CHECKS:
        if fault := check(problem, settings):
            return fault
    return None


def check_passage(passage: Passage, settings: CheckSettings) -> Fault | None:
    """The first fault of a passage, or None: those of a message that an assistant would write.

    Its length is not bounded above; training cuts it into pieces.
    """
    message = Message(role="assistant", content=passage.text)
    longest = max(settings.max_width, width(passage.text))
    unbounded = settings.model_copy(update={"max_width": longest})
    if fault := _first_message_fault((message,), passage, unbounded, MESSAGE_CHECKS):
        return fault.model_copy(update={"message_index": None})
    return None


def problem_out_of_shape(problem: Problem, settings: CheckSettings) -> Fault | None:
    """The prompt of a problem ends with the question."""
    if fault := _not_started_by_user(problem.prompt):
        return fault
    if fault := _not_ended_by(problem.prompt, ("user",), "prompt_not_ended_by_user"):
        return fault
    return _out_of_turn(problem.prompt)


def answer_not_among_choices(problem: Problem, settings: CheckSettings) -> Fault | None:
    """A choice has two different choices at least, and the answer is one of them."""
    if not problem.choices and problem.verifier != "choice":
        return None
    distinct = {normalised(one) for one in problem.choices}
    if len(distinct) < max(2, len(problem.choices)) or problem.answer not in problem.choices:
        detail = f"answer {problem.answer!r} of choices {list(problem.choices)}"
        return Fault(name="answer_not_among_choices", detail=detail)
    return None


def problem_message_fault(problem: Problem, settings: CheckSettings) -> Fault | None:
    """What is asked passes every check of a message."""
    return _first_message_fault(problem.prompt, problem, settings, MESSAGE_CHECKS)


def generator_found_fault(talk: Conversation, settings: CheckSettings) -> Fault | None:
    """What the generator's own checks found keeps a talk out, under the name they gave it."""
    blocking = (fault for fault in talk.faults if fault.name not in settings.tolerated_faults)
    return next(blocking, None)


def other_side(talk: Conversation, settings: CheckSettings) -> Fault | None:
    """A talk teaches one speaker; a data set may want the other one."""
    if talk.side in settings.sides:
        return None
    return Fault(name="other_side", detail=f"got {talk.side}; allowed: {list(settings.sides)}")


def too_few_messages(talk: Conversation, settings: CheckSettings) -> Fault | None:
    """A talk needs a question and an answer at least."""
    count = len(_after_system(talk.messages))
    if count >= settings.min_messages:
        return None
    detail = f"{count} messages besides the system's, at least {settings.min_messages} needed"
    return Fault(name="too_few_messages", detail=detail)


def too_many_messages(talk: Conversation, settings: CheckSettings) -> Fault | None:
    """A talk without end is a loop of two agents."""
    count = len(_after_system(talk.messages))
    if count <= settings.max_messages:
        return None
    detail = f"{count} messages besides the system's, at most {settings.max_messages} allowed"
    return Fault(name="too_many_messages", detail=detail)


def not_started_by_user(talk: Conversation, settings: CheckSettings) -> Fault | None:
    """The patient speaks first, after at most one system message."""
    return _not_started_by_user(talk.messages)


def roles_out_of_turn(talk: Conversation, settings: CheckSettings) -> Fault | None:
    """User and assistant take turns; a tool answers an assistant's call, then it goes on."""
    return _out_of_turn(talk.messages)


def not_ended_by_assistant(talk: Conversation, settings: CheckSettings) -> Fault | None:
    """The doctor has the last word: there is something to learn from each patient's turn."""
    return _not_ended_by(talk.messages, ("assistant",), "not_ended_by_assistant")


def message_fault(talk: Conversation, settings: CheckSettings) -> Fault | None:
    """Everything that can be wrong with one message (`MESSAGE_CHECKS`)."""
    return _first_message_fault(talk.messages, talk, settings, MESSAGE_CHECKS)


def repeated_turn(talk: Conversation, settings: CheckSettings) -> Fault | None:
    """The same speaker does not say the same long thing twice."""
    seen: dict[tuple[str, str], int] = {}
    for index, message in enumerate(talk.messages):
        said = normalised(message.content)
        if message.role == "tool" or width(said) < settings.repeated_turn_min_width:
            continue
        earlier = seen.setdefault((message.role, said), index)
        if earlier != index:
            detail = f"message {index} says again what message {earlier} says"
            return Fault(name="repeated_turn", detail=detail, message_index=index)
    return None


def pair_out_of_shape(pair: PreferencePair, settings: CheckSettings) -> Fault | None:
    """The prompt ends before the doctor speaks, both completions begin and end with the doctor."""
    if fault := _not_started_by_user(pair.prompt):
        return fault
    if fault := _not_ended_by(pair.prompt, ("user", "tool"), "prompt_not_ended_by_user"):
        return fault
    for name, completion in (("chosen", pair.chosen), ("rejected", pair.rejected)):
        if completion[0].role != "assistant" or completion[-1].role != "assistant":
            detail = f"{name} goes from {completion[0].role} to {completion[-1].role}"
            return Fault(name="completion_not_by_assistant", detail=detail)
        if fault := _out_of_turn(pair.prompt + completion):
            return fault
    return None


def pair_too_many_messages(pair: PreferencePair, settings: CheckSettings) -> Fault | None:
    """Prompt and chosen completion together are no longer than a talk may be."""
    count = len(_after_system(pair.prompt + pair.chosen))
    if count <= settings.max_messages:
        return None
    detail = f"{count} messages of prompt and chosen, at most {settings.max_messages} allowed"
    return Fault(name="too_many_messages", detail=detail)


def chosen_equals_rejected(pair: PreferencePair, settings: CheckSettings) -> Fault | None:
    """Two completions that read the same teach nothing."""
    if _said(pair.chosen) != _said(pair.rejected):
        return None
    detail = "chosen and rejected are the same but for case and spaces"
    return Fault(name="chosen_equals_rejected", detail=detail)


def margin_too_small(pair: PreferencePair, settings: CheckSettings) -> Fault | None:
    """The judge saw a difference that is large enough."""
    if pair.margin >= settings.min_margin:
        return None
    detail = f"margin {pair.margin:g}, at least {settings.min_margin:g} needed"
    return Fault(name="margin_too_small", detail=detail)


def judges_disagree(pair: PreferencePair, settings: CheckSettings) -> Fault | None:
    """Enough of the judgements agree."""
    if pair.agreement >= settings.min_agreement:
        return None
    detail = f"agreement {pair.agreement:g}, at least {settings.min_agreement:g} needed"
    return Fault(name="judges_disagree", detail=detail)


def prompt_or_chosen_fault(pair: PreferencePair, settings: CheckSettings) -> Fault | None:
    """What the model is asked and what it should say pass every check of a message."""
    return _first_message_fault(pair.prompt + pair.chosen, pair, settings, MESSAGE_CHECKS)


def rejected_fault(pair: PreferencePair, settings: CheckSettings) -> Fault | None:
    """A rejected completion may be bad (that is its use), but must be a doctor's words.

    A length, a wrong language or a web address may be what is wrong with it; debris of
    the generator (labels, template tokens, broken characters) would be what is learnt.
    """
    if fault := _first_message_fault(pair.rejected, pair, settings, REJECTED_CHECKS):
        detail = f"rejected: {fault.detail}"
        return fault.model_copy(update={"detail": detail, "message_index": None})
    return None


REJECTED_CHECKS: tuple[MessageCheck, ...] = (
    without_words,
    unreadable_characters,
    chat_template_tokens,
    leftover_role_label,
)
CONVERSATION_CHECKS: tuple[ConversationCheck, ...] = (
    other_side,
    generator_found_fault,
    too_few_messages,
    too_many_messages,
    not_started_by_user,
    roles_out_of_turn,
    not_ended_by_assistant,
    message_fault,
    repeated_turn,
)
PROBLEM_CHECKS: tuple[ProblemCheck, ...] = (
    problem_out_of_shape,
    answer_not_among_choices,
    problem_message_fault,
)
PREFERENCE_CHECKS: tuple[PreferenceCheck, ...] = (
    pair_out_of_shape,
    pair_too_many_messages,
    chosen_equals_rejected,
    margin_too_small,
    judges_disagree,
    prompt_or_chosen_fault,
    rejected_fault,
)


def _after_system(messages: Sequence[Message]) -> Sequence[Message]:
    return messages[1:] if messages[0].role == "system" else messages


def _not_started_by_user(messages: Sequence[Message]) -> Fault | None:
    talk = _after_system(messages)
    if talk and talk[0].role == "user":
        return None
    got = talk[0].role if talk else "nothing"
    detail = f"begins with {got}; allowed: user, after at most one system message"
    return Fault(name="not_started_by_user", detail=detail, message_index=len(messages) - len(talk))


def _not_ended_by(messages: Sequence[Message], roles: tuple[str, ...], name: str) -> Fault | None:
    if messages[-1].role in roles:
        return None
    detail = f"ends with {messages[-1].role}; allowed: {' or '.join(roles)}"
    return Fault(name=name, detail=detail, message_index=len(messages) - 1)


def _out_of_turn(messages: Sequence[Message]) -> Fault | None:
    for index in range(1, len(messages)):
        before, now = messages[index - 1], messages[index]
        allowed = _next_roles(before)
        if now.role not in allowed:
            detail = f"{now.role} after {before.role}; allowed: {' or '.join(allowed)}"
            return Fault(name="roles_out_of_turn", detail=detail, message_index=index)
    return None


def _next_roles(message: Message) -> tuple[str, ...]:
    if message.role == "assistant":
        return ("tool",) if message.tool_calls else ("user",)
    return {"system": ("user",), "user": ("assistant",), "tool": ("assistant", "tool")}[
        message.role
    ]


def _first_message_fault(
    messages: Sequence[Message],
    record: Conversation | PreferencePair | Problem | Passage,
    settings: CheckSettings,
    checks: tuple[MessageCheck, ...],
) -> Fault | None:
    """Check by check, not message by message: the order of the checks is what explains."""
    for check in checks:
        for index, message in enumerate(messages):
            if fault := check(message, record.language, settings):
                return fault.model_copy(update={"message_index": index})
    return None


def _said(messages: Sequence[Message]) -> list[tuple[str, str, str]]:
    return [(m.role, normalised(m.content), repr(m.tool_calls)) for m in messages]
