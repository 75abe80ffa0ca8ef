"""Checks of a finished talk against its case: `CHECKS`, in the order in which they run.

A check is a pure function that returns every fault it sees. Faults are stored on the
record; which of them keep a talk out of a data set is for validation to say.
"""

from collections.abc import Callable, Iterator
from typing import Annotated

from pydantic import Field

from datagen.cases import Case, Fact
from judging.claims import first_claimed, first_urged
from judging.speech import DOCTORS_SPEECH, PATIENTS_SPEECH, find_outside_words
from judging.wording import alike, ends_properly, first_mention
from validation.schemas import Conversation, Fault, Frozen, Message
from validation.text import LETTER, han_share, latin_share, repeated_share, width

Share = Annotated[float, Field(ge=0.0, le=1.0)]

SHORT_WIDTH = 16


class TalkCheckSettings(Frozen):
    """Thresholds. `must_ask_coverage`: share of the must-ask facts that came out or were asked.

    Widths are characters, Chinese ones counted twice. `acting_turns`: among how many last
    turns of the doctor the due action must stand, in emergency and urgent cases.
    """

    min_doctor_turns: Annotated[int, Field(ge=1)] = 2
    min_letters: Annotated[int, Field(ge=1)] = 1
    max_width: Annotated[int, Field(ge=1)] = 1200
    must_ask_coverage: Share = 0.5
    acting_turns: Annotated[int, Field(ge=1)] = 2
    alike: Share = 0.85
    loop_gram: Annotated[int, Field(ge=1)] = 3
    loop_share: Share = 0.4
    min_han_share_zh: Share = 0.5
    min_latin_share_en: Share = 0.9


Check = Callable[[Conversation, Case, TalkCheckSettings], Iterator[Fault]]


def empty_turn(talk: Conversation, case: Case, settings: TalkCheckSettings) -> Iterator[Fault]:
    """Every turn says something: dots and dashes are no words."""
    for index, message in enumerate(talk.messages):
        if len(LETTER.findall(message.content)) < settings.min_letters:
            yield Fault(name="empty_turn", detail=repr(message.content), message_index=index)


def wrong_language(talk: Conversation, case: Case, settings: TalkCheckSettings) -> Iterator[Fault]:
    """Every turn is in the case's language."""
    for index, message in enumerate(talk.messages):
        if not LETTER.search(message.content):
            continue
        if case.language == "zh":
            right = han_share(message.content) >= settings.min_han_share_zh
        else:
            right = latin_share(message.content) >= settings.min_latin_share_en
        if not right:
            yield Fault(name="wrong_language", detail=message.content, message_index=index)


def truncated(talk: Conversation, case: Case, settings: TalkCheckSettings) -> Iterator[Fault]:
    """Every turn ends where a sentence ends, and is no essay; few words of a patient may do."""
    for index, message in enumerate(talk.messages):
        few_words = message.role == "user" and width(message.content) < SHORT_WIDTH
        if not (few_words or ends_properly(message.content)):
            detail = f"breaks off: …{message.content[-30:]}"
            yield Fault(name="truncated", detail=detail, message_index=index)
        elif (size := width(message.content)) > settings.max_width:
            yield Fault(name="too_long", detail=f"{size} characters wide", message_index=index)


def role_swap(talk: Conversation, case: Case, settings: TalkCheckSettings) -> Iterator[Fault]:
    """The patient does not examine or advise, the doctor does not complain, nobody is a model."""
    for index, message in enumerate(talk.messages):
        foreign = DOCTORS_SPEECH if message.role == "user" else PATIENTS_SPEECH
        outside = find_outside_words(message.content)
        if match := outside or foreign[case.language].search(message.content):
            who = "patient" if message.role == "user" else "doctor"
            detail = f"the {who} says {match.group().strip()!r}"
            yield Fault(name="role_swap", detail=detail, message_index=index)


def loop(talk: Conversation, case: Case, settings: TalkCheckSettings) -> Iterator[Fault]:
    """No turn says again what was said, and none turns in circles; short answers may recur."""
    for index, message in enumerate(talk.messages):
        if repeated_share(message.content, settings.loop_gram) > settings.loop_share:
            yield Fault(name="loop", detail="turns in circles", message_index=index)
            continue
        if width(message.content) < SHORT_WIDTH:
            continue
        for earlier, said in enumerate(talk.messages[:index]):
            if alike(said.content, message.content, settings.alike):
                detail = f"says message {earlier} again"
                yield Fault(name="loop", detail=detail, message_index=index)
                break


def diagnosis_leaked(
    talk: Conversation, case: Case, settings: TalkCheckSettings
) -> Iterator[Fault]:
    """The patient never names a diagnosis that the doctor has not named before."""
    told: set[str] = set()
    for index, message in enumerate(talk.messages):
        named = {n for n in case.diagnosis.names if first_mention(message.content, (n,))}
        if message.role == "assistant":
            told |= named
        elif leaked := sorted(named - told):
            detail = f"the patient says {leaked[0]!r}"
            yield Fault(name="diagnosis_leaked", detail=detail, message_index=index)


def contradiction(talk: Conversation, case: Case, settings: TalkCheckSettings) -> Iterator[Fault]:
    """The patient says nothing that cannot be true in this case."""
    for index, message in _said_by(talk, "user"):
        for fact in case.facts:
            if phrase := first_claimed(message.content, fact.contradiction_words):
                detail = f"{phrase!r} contradicts {fact.fact_id}: {fact.statement}"
                yield Fault(name="contradiction", detail=detail, message_index=index)


def too_short(talk: Conversation, case: Case, settings: TalkCheckSettings) -> Iterator[Fault]:
    """The doctor had enough turns for a history."""
    turns = len(list(_said_by(talk, "assistant")))
    if turns < settings.min_doctor_turns:
        detail = f"{turns} doctor turns, at least {settings.min_doctor_turns} are wanted"
        yield Fault(name="too_short", detail=detail)


def ends_with_patient(
    talk: Conversation, case: Case, settings: TalkCheckSettings
) -> Iterator[Fault]:
    """The doctor has the last word."""
    if talk.messages[-1].role != "assistant":
        last = len(talk.messages) - 1
        yield Fault(name="ends_with_patient", detail="no advice follows", message_index=last)


def red_flag_not_acted_on(
    talk: Conversation, case: Case, settings: TalkCheckSettings
) -> Iterator[Fault]:
    """In an emergency or urgent case the doctor ends by urging the action that is due."""
    if case.disposition.urgency not in ("emergency", "urgent"):
        return
    last = [m.content for _, m in _said_by(talk, "assistant")][-settings.acting_turns :]
    if not any(first_urged(text, case.disposition.action_words) for text in last):
        detail = f"{case.disposition.urgency}: none of {list(case.disposition.action_words)}"
        yield Fault(name="red_flag_not_acted_on", detail=detail)


def must_ask_missed(talk: Conversation, case: Case, settings: TalkCheckSettings) -> Iterator[Fault]:
    """Enough of what must be asked was asked for, or told."""
    wanted = [fact for fact in case.facts if fact.must_ask]
    missed = [fact.fact_id for fact in wanted if not _came_out(fact, talk)]
    coverage = 1.0 - len(missed) / len(wanted)
    if coverage < settings.must_ask_coverage:
        detail = f"{coverage:.0%} came out; missed: {', '.join(missed)}"
        yield Fault(name="must_ask_missed", detail=detail)


CHECKS: tuple[Check, ...] = (
    empty_turn,
    wrong_language,
    truncated,
    role_swap,
    loop,
    diagnosis_leaked,
    contradiction,
    too_short,
    ends_with_patient,
    red_flag_not_acted_on,
    must_ask_missed,
)


def check_talk(
    talk: Conversation, case: Case, settings: TalkCheckSettings | None = None
) -> tuple[Fault, ...]:
    """Every fault of a talk, in check order."""
    settings = settings or TalkCheckSettings()
    return tuple(fault for check in CHECKS for fault in check(talk, case, settings))


def with_faults(talk: Conversation, case: Case, settings: TalkCheckSettings) -> Conversation:
    """The talk with what the checks found stored on it, under its new record_id."""
    faults = check_talk(talk, case, settings)
    return Conversation.model_validate(
        talk.model_dump(exclude={"record_id"}) | {"faults": [f.model_dump() for f in faults]}
    )


def _said_by(talk: Conversation, role: str) -> Iterator[tuple[int, Message]]:
    return ((i, m) for i, m in enumerate(talk.messages) if m.role == role)


def _came_out(fact: Fact, talk: Conversation) -> bool:
    """Told by the patient, or asked for before the last turn: advice asks for nothing."""
    told = any(first_claimed(m.content, fact.reveal_words) for _, m in _said_by(talk, "user"))
    last = len(talk.messages) - 1
    asked = (m.content for i, m in _said_by(talk, "assistant") if i != last)
    return told or any(first_mention(text, fact.topic_words) for text in asked)
