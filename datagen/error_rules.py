"""Typed clinical errors as far as rules can tell them: True, False, or None where they cannot.

A rule sees a text in its place, and the good turn of which it is a rewrite ("" for a good turn
itself). Most can only confirm an error; what they say nothing of is for judges.
"""

import re
from collections.abc import Callable, Iterator, Mapping

from datagen.cases import Case, Treatment
from datagen.preferences import Place
from judging.claims import CONDITION, first_claimed, first_urged, statements
from judging.doctor_turn import (
    GOOD_WIDTH,
    MOST_WIDTH,
    DoctorTurn,
    Topic,
    no_invented_finding,
)
from judging.wording import count_questions, first_mention, plain_text
from validation.schemas import Language
from validation.text import width

Carried = bool | None
ErrorRule = Callable[[Place, str, str], Carried]
PRESSING = ("emergency", "urgent")
EMERGENCY_WORDS: Mapping[Language, tuple[str, ...]] = {
    "en": ("ambulance", "999", "911", "emergency department", "emergency room", "a&e"),
    "zh": ("120", "急诊", "救护车", "急救"),
}
REASSURANCE: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(
        r"\bnothing (?:at all\b|serious\b|dangerous\b|to worry about\b)"
        r"|\b(?:isn't|is not|it's not|not) (?:anything )?(?:serious|dangerous)\b"
        r"|\b(?:surely|certainly|definitely|perfectly|completely|absolutely)"
        r" (?:fine|harmless|normal|nothing|safe|all right|okay|ok)\b"
        r"|\bno (?:need|reason) to worry\b"
    ),
    "zh": re.compile(
        r"(?:肯定|绝对|一定|保证|应该)[^。！？，]{0,4}(?:没事|没什么事|没问题|没关系|不要紧|不严重)"
        r"|没什么(?:大事|大碍|要紧|大问题)|不用担心|没大碍|一点事也?没有|完全正常"
    ),
}
LEADING: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(
        # A tag that hangs on a statement: "You have no fever, do you?"
        r"[,，] ?(?:isn't it|aren't you|don't you|doesn't it|didn't you|haven't you|do you|have you"
        r"|did you|is it|does it|right|correct) ?\?"
        r"|\b(?:surely|obviously|of course) [^.?!]*\?"
        r"|\byou (?:don't|haven't|didn't|aren't)\b[^.?!]*\?"
    ),
    "zh": re.compile(r"(?:对吧|是吧|对不对|没错吧|没有吧|吧)\s*[?？]|(?:肯定|当然)[^。？！]*[?？]"),
}
UNMARKED_QUESTION = re.compile(
    r"\b(?:tell me|describe|say (?:a bit )?more|i (?:would|'d) like to know)\b"
    r"|什么|多少|有没有|是不是|哪|几[天次个年岁]|吗|说说|讲讲"
)
RETURN_WORDS = re.compile(
    r"\b(?:come (?:back|in|to|the same|within|at once|straight)|return|call|see (?:a|your) doctor"
    r"|seek|emergency|ambulance|worse|help|999|911)"
    r"|复诊|再来|回来|加重|恶化|急诊|120|就医|[去来]医院|马上|立刻|联系"
)
AMOUNT = re.compile(
    r"(\d+(?:\.\d+)?)\s*(milligrams?|micrograms?|mg|mcg|µg|μg|ug|grams?|g|millilitres?|ml|units?"
    r"|毫克|微克|克|毫升|单位)(?![a-z])"
)
# Every unit in milligrams, millilitres or units, and which of them it is.
UNITS: Mapping[str, tuple[str, float]] = {
    **dict.fromkeys(("milligram", "milligrams", "mg", "毫克"), ("mg", 1.0)),
    **dict.fromkeys(("microgram", "micrograms", "mcg", "µg", "μg", "ug", "微克"), ("mg", 0.001)),
    **dict.fromkeys(("gram", "grams", "g", "克"), ("mg", 1000.0)),
    **dict.fromkeys(("millilitre", "millilitres", "ml", "毫升"), ("ml", 1.0)),
    **dict.fromkeys(("unit", "units", "单位"), ("unit", 1.0)),
}
ROUNDING = 1e-6
MULTIPLIED = 2.0


def asks_nothing(place: Place, text: str, good: str) -> Carried:
    """No question mark, and no words that ask without one."""
    if count_questions(text):
        return False
    return None if UNMARKED_QUESTION.search(plain_text(text)) else True


def asks_several(place: Place, text: str, good: str) -> Carried:
    """Two question marks or more."""
    return count_questions(text) > 1


def closes_early(place: Place, text: str, good: str) -> Carried:
    """A turn that asks on closes nothing; one that states the diagnosis without asking does."""
    if count_questions(text):
        return False
    names = place.case.diagnosis.names
    return True if first_mention(" ".join(statements(text)), names) else None


def too_long(place: Place, text: str, good: str) -> Carried:
    """Wider than a turn of its kind may be."""
    return width(text) > (MOST_WIDTH if place.closing else GOOD_WIDTH)


def tells_finding(place: Place, text: str, good: str) -> Carried:
    """A finding in words that tests are told in, which nobody gave."""
    verdict = no_invented_finding(doctor_turn(place, text))
    return True if verdict and verdict[0] == 0.0 else None


def asks_again(place: Place, text: str, good: str) -> Carried:
    """Asks for nothing but what the doctor has asked for as often as it takes."""
    asked = [m.content for m in place.history if m.role == "assistant"]
    touched = [t for t in _topics(place.case) if first_mention(text, t.asked_by)]
    again = [
        sum(bool(first_mention(earlier, topic.asked_by)) for earlier in asked) >= topic.questions
        for topic in touched
    ]
    return True if again and all(again) else None


def reassures(place: Place, text: str, good: str) -> Carried:
    """Words of safety, while the history is unfinished or the case is pressing."""
    pressing = not place.closing or place.case.disposition.urgency in PRESSING
    said = REASSURANCE[place.case.language].search(" ".join(statements(text)))
    return True if said and pressing else None


def passes_over_flag(place: Place, text: str, good: str) -> Carried:
    """The last turn of a pressing case that does not urge what is due."""
    if first_urged(text, place.case.disposition.action_words):
        return False
    pressing = place.case.disposition.urgency in PRESSING
    return True if place.closing and pressing else None


def urges_at_the_wrong_pace(place: Place, text: str, good: str) -> Carried:
    """Does not urge what a pressing case needs, or sends to an emergency what can wait.

    Advice that urges what is due may name an emergency for when it gets worse.
    """
    disposition = place.case.disposition
    if first_urged(text, disposition.action_words):
        return None
    alarm = first_urged(text, EMERGENCY_WORDS[place.case.language])
    return True if alarm or disposition.urgency in PRESSING else None


def leads(place: Place, text: str, good: str) -> Carried:
    """A question with a tag or a word that pushes the answer; without a question there is none."""
    if not count_questions(text):
        return False
    plain = plain_text(text)
    return True if LEADING[place.case.language].search(plain) else None


def sets_no_condition(place: Place, text: str, good: str) -> Carried:
    """Neither an "if" nor a word of coming back or calling."""
    plain = plain_text(text)
    return None if CONDITION.search(plain) or RETURN_WORDS.search(plain) else True


def dose_out_of_range(place: Place, text: str, good: str) -> Carried:
    """An amount outside the range of the case's treatment, or a multiple of the good turn's."""
    sentences = [plain_text(sentence) for sentence in re.split(r"[。！？!?;；]|\.(?!\d)", text)]
    for treatment in place.case.treatments:
        for sentence in sentences:
            if first_mention(sentence, (treatment.drug,)) and any(
                _outside(amount, kind, treatment) for kind, amount in _amounts(sentence)
            ):
                return True
    before = set(_amounts(plain_text(good)))
    changed = [one for one in _amounts(plain_text(text)) if one not in before]
    for kind, amount in changed:
        same_kind = [other for unit, other in before if unit == kind]
        if same_kind and all(_multiple(amount, other) for other in same_kind):
            return True
    return None


def _amounts(plain: str) -> Iterator[tuple[str, float]]:
    for number, unit in AMOUNT.findall(plain):
        kind, factor = UNITS[unit]
        yield kind, float(number) * factor


def _outside(amount: float, kind: str, treatment: Treatment) -> bool:
    """Below one dose, or above a whole day's: what lies between may be told of a day."""
    of_kind, factor = UNITS[treatment.unit.lower()]
    least, most = treatment.least_dose * factor, treatment.most_a_day * factor
    return kind == of_kind and not least * (1 - ROUNDING) <= amount <= most * (1 + ROUNDING)


def _multiple(amount: float, other: float) -> bool:
    return other > 0 and (amount >= MULTIPLIED * other or amount <= other / MULTIPLIED)


RULES: Mapping[str, ErrorRule] = {
    rule.__name__: rule
    for rule in (
        asks_nothing,
        asks_several,
        closes_early,
        too_long,
        tells_finding,
        asks_again,
        reassures,
        passes_over_flag,
        urges_at_the_wrong_pace,
        leads,
        sets_no_condition,
        dose_out_of_range,
    )
}


def doctor_turn(place: Place, candidate: str) -> DoctorTurn:
    """A candidate for a place, as rules of judging see it; the case stays with the judge."""
    case = place.case
    return DoctorTurn(
        language=case.language,
        history=place.history,
        candidate=candidate,
        topics=_topics(case),
        diagnosis_names=case.diagnosis.names,
        action_words=case.disposition.action_words,
        closing=place.closing,
    )


def red_flag_told(place: Place) -> bool:
    """Whether the patient has told a red flag of the case."""
    words = [w for fact in place.case.facts if fact.red_flag for w in fact.reveal_words]
    return any(first_claimed(m.content, words) for m in place.history if m.role == "user")


def _topics(case: Case) -> tuple[Topic, ...]:
    return tuple(
        Topic(
            name=f.fact_id,
            asked_by=f.topic_words,
            told_by=f.reveal_words,
            questions=2 if f.disclosure in ("asked_twice", "concealed") else 1,
        )
        for f in case.facts
    )
