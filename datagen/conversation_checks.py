"""Checks of a finished talk against its case: `CHECKS`, in the order in which they run.

A check is a pure function that returns every fault it sees. Results of examinations at the head
of a patient's turn are the examiner's words, and held against no patient. Faults are stored on the
record; which of them keep a talk out of a data set is for validation to say.
"""

from collections.abc import Callable, Iterator
from typing import Annotated

from pydantic import Field

from datagen.cases import Case, Fact
from datagen.cues import find_orders, read_cues, split_results
from datagen.dosage import find_wrong_doses
from judging.claims import first_claimed, first_urged, statements
from judging.speech import DOCTORS_SPEECH, PATIENTS_SPEECH, find_outside_words
from judging.wording import Likeness, ends_properly, first_mention
from validation.schemas import Conversation, Fault, Frozen, Language, Message
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
        words = _words(message, talk)
        if not LETTER.search(words):
            continue
        if case.language == "zh":
            right = han_share(words) >= settings.min_han_share_zh
        else:
            right = latin_share(words) >= settings.min_latin_share_en
        if not right:
            yield Fault(name="wrong_language", detail=message.content, message_index=index)


def truncated(talk: Conversation, case: Case, settings: TalkCheckSettings) -> Iterator[Fault]:
    """Every turn ends where a sentence ends, and is no essay; few words of a patient may do."""
    for index, message in enumerate(talk.messages):
        few_words = message.role == "user" and width(_words(message, talk)) < SHORT_WIDTH
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
        if match := outside or foreign[case.language].search(_words(message, talk)):
            who = "patient" if message.role == "user" else "doctor"
            detail = f"the {who} says {match.group().strip()!r}"
            yield Fault(name="role_swap", detail=detail, message_index=index)


def loop(talk: Conversation, case: Case, settings: TalkCheckSettings) -> Iterator[Fault]:
    """No turn says again what was said, and none turns in circles; short answers may recur."""
    said = [_words(message, talk) for message in talk.messages]
    for index, words in enumerate(said):
        if repeated_share(words, settings.loop_gram) > settings.loop_share:
            yield Fault(name="loop", detail="turns in circles", message_index=index)
            continue
        if width(words) < SHORT_WIDTH:
            continue
        likeness = Likeness(words)
        for earlier, before in enumerate(said[:index]):
            if likeness.reaches(before, settings.alike):
                detail = f"says message {earlier} again"
                yield Fault(name="loop", detail=detail, message_index=index)
                break


def diagnosis_leaked(
    talk: Conversation, case: Case, settings: TalkCheckSettings
) -> Iterator[Fault]:
    """The patient never names a diagnosis that neither doctor nor results have named before."""
    told: set[str] = set()
    for index, message in enumerate(talk.messages):
        results, words = split_results(message, case.language)
        told |= {n for n in case.diagnosis.names if first_mention(results, (n,))}
        named = {n for n in case.diagnosis.names if first_mention(words, (n,))}
        if message.role == "assistant":
            told |= named
        elif leaked := sorted(named - told):
            detail = f"the patient says {leaked[0]!r}"
            yield Fault(name="diagnosis_leaked", detail=detail, message_index=index)


def contradiction(talk: Conversation, case: Case, settings: TalkCheckSettings) -> Iterator[Fault]:
    """The patient says nothing that cannot be true in this case."""
    for index, message in _said_by(talk, "user"):
        for fact in case.facts:
            if phrase := first_claimed(_words(message, talk), fact.contradiction_words):
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
    missed = missed_must_asks(talk, case)
    coverage = 1.0 - len(missed) / len(wanted)
    if coverage < settings.must_ask_coverage:
        detail = f"{coverage:.0%} came out; missed: {', '.join(missed)}"
        yield Fault(name="must_ask_missed", detail=detail)


def wrong_dose(talk: Conversation, case: Case, settings: TalkCheckSettings) -> Iterator[Fault]:
    """The doctor gives no dose outside the range that the case states for the drug."""
    for index, message in _said_by(talk, "assistant"):
        for detail in find_wrong_doses(message.content, case.treatments):
            yield Fault(name="wrong_dose", detail=detail, message_index=index)


def unordered_result(
    talk: Conversation, case: Case, settings: TalkCheckSettings
) -> Iterator[Fault]:
    """No result is told that nobody ordered, or that nobody has told before."""
    cues = read_cues(case.language)
    for index, message in enumerate(talk.messages):
        if message.role == "user":
            results, _ = split_results(message, case.language)
            before = talk.messages[index - 1].content if index else ""
            if results and not find_orders(before, case.language):
                yield Fault(name="unordered_result", detail=results, message_index=index)
            continue
        for sentence in statements(message.content):
            match = cues.told_results.search(sentence)
            earlier = talk.messages[:index]
            if match and not any(_tells_of(match.group(1), one, case.language) for one in earlier):
                detail = f"the doctor tells {match.group()!r}, which nobody has told"
                yield Fault(name="unordered_result", detail=detail, message_index=index)


CHECKS: tuple[Check, ...] = (
    empty_turn,
    wrong_language,
    truncated,
    role_swap,
    loop,
    diagnosis_leaked,
    contradiction,
    wrong_dose,
    unordered_result,
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


def missed_must_asks(talk: Conversation, case: Case) -> tuple[str, ...]:
    """The must-ask facts that neither came out nor were asked for, by fact_id."""
    wanted = (fact for fact in case.facts if fact.must_ask)
    return tuple(fact.fact_id for fact in wanted if not _came_out(fact, talk))


def _tells_of(test: str, message: Message, language: Language) -> bool:
    """Whether a turn names a test, or results are told at its head."""
    return bool(split_results(message, language)[0] or first_mention(message.content, (test,)))


def _words(message: Message, talk: Conversation) -> str:
    """What a speaker said, without the results at its head."""
    return split_results(message, talk.language)[1] or message.content


def _said_by(talk: Conversation, role: str) -> Iterator[tuple[int, Message]]:
    return ((i, m) for i, m in enumerate(talk.messages) if m.role == role)


def _came_out(fact: Fact, talk: Conversation) -> bool:
    """Told by the patient, or asked for before the last turn: advice asks for nothing."""
    words = (_words(message, talk) for _, message in _said_by(talk, "user"))
    told = any(first_claimed(text, fact.reveal_words) for text in words)
    last = len(talk.messages) - 1
    asked = (m.content for i, m in _said_by(talk, "assistant") if i != last)
    return told or any(first_mention(text, fact.topic_words) for text in asked)
