"""What a text claims or urges, as against what it denies, asks or makes depend on an "if".

Rules over words near a phrase, for English and Chinese alike; they see form, not meaning.
"""

import re
from collections.abc import Iterable, Iterator

from judging.wording import mentions, plain_text

# A point between two digits ends no sentence.
SENTENCE = re.compile(r"(?:[^.!?。！？;；\n]|\.(?=\d))+[.!?。！？;；\n]*")
CLAUSE_START = re.compile(r"[,，、:：]|\b(?:but|because|and|so|since|though|although)\b")
WAITING = r"(?! (?:hesitate|delay|wait|be afraid|worry)\b)"
DENIED_BEFORE = re.compile(
    rf"(?:\b(?:not|never|without|neither|nor|needn't)|n't){WAITING}(?: [\w'-]+){{0,5}} ?$"
    r"|\bno (?:need [\w' -]{0,25}|[\w'-]+ )?$"
    r"|(?:没有?|不是|不会|从不|从未|并未)[^，。！？；、]{0,2}$"
)
NOT_DUE_BEFORE = re.compile(
    r"(?:不用|不必|不需要|无需|没必要|用不着|不要|别)(?!拖|等|耽|犹豫|怕|担心)[^，。！？；、]{0,6}$"
)
NOT_DUE_AFTER = re.compile(
    r"^[\w' -]{0,20}?(?:\b(?:is|are|was|will)(?: not|n't)|won't)"
    r" (?:be )?(?:needed|necessary|required)"
    r"|^[^，。！？；、]{0,4}(?:没必要|不必要|不需要)"
)
# "Don't wait to see if it settles" and "even if it settles" set no condition; 主要是 is no 要是.
IF = r"(?<!even )(?<!see )\bif\b|\bunless\b|\bin case\b"
CONDITION = re.compile(
    rf"{IF}|\bshould (?:you|he|she|it|this|that|they)\b"
    r"|(?<!例)如果|(?<![主只需重首])要是|若(?!干)|假如|万一|一旦|(?<![我您你他她])的话"
)
CONDITION_AFTER = re.compile(rf"^(?:(?! and | but |, ?|[，;；]).){{0,30}}?(?:{IF})")
HYPOTHESIS = re.compile(r"\bwhether\b|(?<!at )\bonce\b|\buntil\b|是不是|是否")
LAST_CLAUSE = re.compile(r"(?:^|[,，])[^,，]*$")
QUESTION_END = re.compile(r"[?？]\W*$")
ASKED_FROM_THE_START = re.compile(
    r"^\W*(?:(?:and|but|so|well|now|okay|ok)\W+)?(?:any|am|is|are|was|were|do|does|did|has|have|had|can"
    r"|could|will|would|should|may|what|when|where|which|who|whose|why|how)\b"
    r"|有没有|有无|是否|是不是|会不会|能不能|有过|什么|多少|谁|哪"
)


def first_claimed(text: str, phrases: Iterable[str]) -> str | None:
    """The first of the phrases that the text says without denying it, or None.

    "He is not drowsy" does not claim "drowsy"; a phrase that is itself a denial ("no fever")
    is claimed where it stands.
    """
    plain = plain_text(text)
    for phrase in phrases:
        for before, _ in _surroundings(plain, phrase):
            if not DENIED_BEFORE.search(_clause(before)):
                return phrase
    return None


def first_urged(text: str, phrases: Iterable[str]) -> str | None:
    """The first of the phrases that the text urges as it stands, or None.

    "No ambulance is needed" denies it and "if it gets worse, call an ambulance" only sets a
    condition: neither urges the ambulance.
    """
    plain = plain_text(text)
    for phrase in phrases:
        for before, after in _surroundings(plain, phrase):
            clause = _clause(before)
            denied = DENIED_BEFORE.search(clause) or NOT_DUE_BEFORE.search(clause)
            conditional = CONDITION.search(before) or CONDITION_AFTER.search(after)
            if not (denied or conditional or NOT_DUE_AFTER.search(after)):
                return phrase
    return None


def statements(text: str) -> Iterator[str]:
    """What a text states: its sentences without questions, conditions and open matters.

    Of "it is the lungs, right?" and "it is the lungs, any fever?" the first clause is stated.
    """
    for sentence in SENTENCE.findall(plain_text(text)):
        if CONDITION.search(sentence) or HYPOTHESIS.search(sentence):
            continue
        if not QUESTION_END.search(sentence):
            yield sentence
        elif (stated := LAST_CLAUSE.sub("", sentence)) and not ASKED_FROM_THE_START.search(stated):
            yield stated


def _surroundings(plain: str, phrase: str) -> Iterator[tuple[str, str]]:
    """What stands before and after each mention of a phrase, within its sentence."""
    if next(mentions(plain, phrase), None) is None:
        return
    for sentence in SENTENCE.findall(plain):
        for start, end in mentions(sentence, phrase):
            yield sentence[:start], sentence[end:]


def _clause(before: str) -> str:
    """The part of a sentence from the last beginning of a clause on."""
    return CLAUSE_START.split(before)[-1]
