"""Checks of a written text, whatever it is for: `TEXT_CHECKS`, in the order in which they run."""

import re
from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from datagen.generators.asking import Unfit
from judging.speech import MODELS_SPEECH
from judging.wording import ends_properly
from validation.schemas import Fault, Frozen, Language
from validation.text import (
    EMAIL,
    LETTER,
    PHONE,
    ROLE_LABEL,
    TEMPLATE_TOKEN,
    URL,
    han_share,
    latin_share,
    repeated_share,
    width,
)

Share = Annotated[float, Field(ge=0.0, le=1.0)]

REFUSAL = re.compile(
    r"^\W*(?:I(?:'m| am) (?:really |very )?sorry,? but I|I (?:cannot|can't|can not|won't)"
    r" (?:provide|assist|help|answer|create|write|comply|fulfil)|As an AI\b)"
    r"|^\W*(?:很?抱歉|对不起|不好意思)[，,。 ]?(?:我|这)[^。]{0,10}(?:无法|不能|没办法)"
    r"|^\W*(?:我)?(?:无法|不能)(?:提供|回答|协助|满足)",
    re.IGNORECASE,
)
# A teacher's references cannot be looked up here, and most that models write do not exist.
CITATION = re.compile(
    r"\bet al\b|\bdoi\b|\bPMID\b|\bISBN\b"
    r"|\(\s*[A-Z][\w'’-]+(?: (?:and|&) [A-Z][\w'’-]+)?,? (?:19|20)\d\d"
    r"|\[\d{1,3}(?:\s*[,-]\s*\d{1,3})*\]"
    r"|\b(?:Lancet|NEJM|JAMA|BMJ|Cochrane|New England Journal)\b"
    r"|\baccording to (?:a|one) (?:19|20)\d\d (?:study|trial|review|guideline)"
    r"|(?:19|20)\d\d年(?:的)?(?:一项)?[^。，]{0,12}(?:研究|试验|指南|共识)"
    r"|《[^》]{2,40}》[^。]{0,8}(?:19|20)\d\d|参考文献|等人[^。]{0,6}(?:报道|研究)",
)
PLACEHOLDER = re.compile(
    r"\[(?:insert|your|name|date|patient|drug|number)\b[^\]]*\]|\bTODO\b|\bTBD\b|\bXXX+\b"
    r"|lorem ipsum|某某|（此处|【(?:插入|填写|姓名|日期)|×{3,}",
    re.IGNORECASE,
)


class TextLimits(Frozen):
    """Bounds of one text. Widths are characters, Chinese ones counted twice.

    `max_repeated_share` of the triples of words may have stood in the text before.
    """

    min_width: Annotated[int, Field(ge=1)] = 1
    max_width: Annotated[int, Field(ge=1)] = 8000
    max_repeated_share: Share = 0.35
    min_han_share_zh: Share = 0.6
    min_latin_share_en: Share = 0.9


TextCheck = Callable[[str, Language, TextLimits], Fault | None]


def empty(text: str, language: Language, limits: TextLimits) -> Fault | None:
    """A text says something."""
    if LETTER.search(text):
        return None
    return Fault(name="empty", detail=f"no word in {text[:40]!r}")


def refused(text: str, language: Language, limits: TextLimits) -> Fault | None:
    """The teacher did the work, and does not speak as a model."""
    plain = text.replace("’", "'")
    if match := REFUSAL.search(plain) or MODELS_SPEECH.search(plain):
        return Fault(name="refused", detail=f"says {match.group().strip()[:60]!r}")
    return None


def wrong_language(text: str, language: Language, limits: TextLimits) -> Fault | None:
    """The text is in its language."""
    if language == "zh":
        found, least = han_share(text), limits.min_han_share_zh
    else:
        found, least = latin_share(text), limits.min_latin_share_en
    if found >= least:
        return None
    detail = f"{found:.0%} of its letters are of language {language}, {least:.0%} needed"
    return Fault(name="wrong_language", detail=detail)


def out_of_bounds(text: str, language: Language, limits: TextLimits) -> Fault | None:
    """The text is neither a stub nor an essay."""
    size = width(text)
    if size < limits.min_width:
        return Fault(name="too_short", detail=f"{size} wide, at least {limits.min_width} needed")
    if size > limits.max_width:
        return Fault(name="too_long", detail=f"{size} wide, at most {limits.max_width} allowed")
    return None


def truncated(text: str, language: Language, limits: TextLimits) -> Fault | None:
    """The last sentence is finished."""
    if ends_properly(text):
        return None
    return Fault(name="truncated", detail=f"breaks off: …{text.rstrip()[-30:]}")


def looping(text: str, language: Language, limits: TextLimits) -> Fault | None:
    """The text does not say the same thing over and over."""
    found = repeated_share(text, 4 if language == "zh" else 3)
    if found <= limits.max_repeated_share:
        return None
    return Fault(name="loop", detail=f"{found:.0%} of its word groups are repeats")


def debris(text: str, language: Language, limits: TextLimits) -> Fault | None:
    """No labels of a transcript, no template tokens, nothing left to be filled in."""
    for pattern in (ROLE_LABEL, TEMPLATE_TOKEN, PLACEHOLDER):
        if match := pattern.search(text):
            return Fault(name="debris", detail=f"{match.group().strip()!r} stands in it")
    return None


def citation(text: str, language: Language, limits: TextLimits) -> Fault | None:
    """No references: nobody can look up what a model invents."""
    if match := CITATION.search(text):
        return Fault(name="invented_citation", detail=f"cites {match.group().strip()[:60]!r}")
    return None


def contact(text: str, language: Language, limits: TextLimits) -> Fault | None:
    """No addresses and no telephone numbers but the short ones of emergencies."""
    for pattern in (EMAIL, URL, PHONE):
        if match := pattern.search(text):
            return Fault(name="contact_details", detail=f"{match.group()[:3]}… stands in it")
    return None


TEXT_CHECKS: tuple[TextCheck, ...] = (
    empty,
    refused,
    wrong_language,
    out_of_bounds,
    truncated,
    looping,
    debris,
    citation,
    contact,
)


def text_fault(
    text: str, language: Language, limits: TextLimits, but: tuple[TextCheck, ...] = ()
) -> Fault | None:
    """The first fault of a text; the checks in `but` are left out."""
    found = (check(text, language, limits) for check in TEXT_CHECKS if check not in but)
    return next((fault for fault in found if fault), None)


def refuse_faulty(
    text: str, language: Language, limits: TextLimits, what: str, but: tuple[TextCheck, ...] = ()
) -> str:
    """The text as it is. Raises Unfit where a check finds a fault; `what` names the text."""
    if fault := text_fault(text, language, limits, but):
        raise Unfit(fault.name, f"{what}: {fault.detail}", text)
    return text
