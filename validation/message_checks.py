"""Checks of one message: `MESSAGE_CHECKS` in running order.

Tool messages carry data, not speech: the checks of speech pass over them.
"""

from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from validation.schemas import Fault, Frozen, Language, Message, NonBlank
from validation.text import (
    CONTROL,
    EMAIL,
    LETTER,
    MOJIBAKE,
    PHONE,
    ROLE_LABEL,
    TEMPLATE_TOKEN,
    TOKEN,
    URL,
    first_contact,
    han_share,
    latin_share,
    repeated_share,
    width,
)

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]


class MessageSettings(Frozen):
    """Thresholds of the checks of one message.

    Widths are characters, Chinese ones counted twice. A message with fewer letters than
    `language_min_letters` is in any language. `max_repeated_share` of `loop_gram`-grams
    (words, or Chinese characters) may have stood earlier in the same message.
    `public_contacts`: telephone numbers and sites that may stand in a text as they are.
    """

    min_width: Positive = 1
    max_width: Positive = 8000
    min_assistant_width: Positive = 2
    language_min_letters: Positive = 20
    min_han_share_zh: Share = 0.2
    min_latin_share_en: Share = 0.8
    loop_gram: Positive = 4
    loop_min_grams: Positive = 9
    max_repeated_share: Share = 0.5
    public_contacts: tuple[NonBlank, ...] = ()


MessageCheck = Callable[[Message, Language, MessageSettings], Fault | None]


def without_words(message: Message, language: Language, settings: MessageSettings) -> Fault | None:
    """A message says something: dots, dashes and invisible characters are not words."""
    if message.role == "tool" or message.tool_calls or TOKEN.search(message.content):
        return None
    return Fault(name="empty_message", detail=f"{message.role} says {message.content[:20]!r}")


def too_short(message: Message, language: Language, settings: MessageSettings) -> Fault | None:
    """A message has a least length, a doctor's one its own."""
    if message.role in ("tool", "system") or message.tool_calls:
        return None
    least = settings.min_assistant_width if message.role == "assistant" else settings.min_width
    if (found := width(message.content.strip())) >= least:
        return None
    detail = f"{message.role} says {message.content!r}, {found} wide; at least {least} needed"
    return Fault(name="message_too_short", detail=detail)


def too_long(message: Message, language: Language, settings: MessageSettings) -> Fault | None:
    """A message has a greatest length."""
    if (found := width(message.content)) <= settings.max_width:
        return None
    detail = f"{message.role}'s message is {found} wide; at most {settings.max_width} allowed"
    return Fault(name="message_too_long", detail=detail)


def unreadable_characters(
    message: Message, language: Language, settings: MessageSettings
) -> Fault | None:
    """No control characters, and no text that was decoded with the wrong encoding."""
    if match := CONTROL.search(message.content):
        detail = f"character U+{ord(match.group()):04X} at position {match.start()}"
        return Fault(name="control_character", detail=detail)
    if match := MOJIBAKE.search(message.content):
        detail = f"{match.group()!r} at position {match.start()}: decoded with a wrong encoding"
        return Fault(name="mojibake", detail=detail)
    return None


def chat_template_tokens(
    message: Message, language: Language, settings: MessageSettings
) -> Fault | None:
    """No tokens of a chat template: a tokenizer would read them as the end of a turn."""
    if match := TEMPLATE_TOKEN.search(message.content):
        detail = f"{match.group()!r} at position {match.start()}"
        return Fault(name="template_token", detail=detail)
    return None


def leftover_role_label(
    message: Message, language: Language, settings: MessageSettings
) -> Fault | None:
    """No "Doctor:" or "患者：" of a transcript within what one of them says."""
    if message.role in ("system", "tool"):
        return None
    if match := ROLE_LABEL.search(message.content):
        detail = f"{match['label']!r} and a colon at position {match.start('label')}"
        return Fault(name="role_label", detail=detail)
    return None


def wrong_language(message: Message, language: Language, settings: MessageSettings) -> Fault | None:
    """A message is in the record's language, by its share of Chinese or Latin letters."""
    text = message.content
    if message.role == "tool" or len(LETTER.findall(text)) < settings.language_min_letters:
        return None
    if language == "zh":
        share, least, script = han_share(text), settings.min_han_share_zh, "Chinese"
    else:
        share, least, script = latin_share(text), settings.min_latin_share_en, "Latin"
    if share >= least:
        return None
    detail = f"{script} letters {share:.0%} in a record of language {language}, {least:.0%} needed"
    return Fault(name="language_mismatch", detail=detail)


def looping_text(message: Message, language: Language, settings: MessageSettings) -> Fault | None:
    """A message does not go round in circles."""
    if message.role == "tool":
        return None
    tokens = len(TOKEN.findall(message.content))
    if tokens - settings.loop_gram + 1 < settings.loop_min_grams:
        return None
    share = repeated_share(message.content, settings.loop_gram)
    if share <= settings.max_repeated_share:
        return None
    detail = f"{share:.0%} of its {settings.loop_gram}-grams are repeats"
    return Fault(name="looping_text", detail=detail)


def contact_details(
    message: Message, language: Language, settings: MessageSettings
) -> Fault | None:
    """No web address, e-mail address or telephone number of someone."""
    for name, pattern in (("email", EMAIL), ("url", URL), ("phone_number", PHONE)):
        if found := first_contact(pattern, message.content, settings.public_contacts):
            detail = f"{found[:2]}… ({len(found)} characters) in what {message.role} says"
            return Fault(name=name, detail=detail)
    return None


MESSAGE_CHECKS: tuple[MessageCheck, ...] = (
    without_words,
    too_short,
    too_long,
    unreadable_characters,
    chat_template_tokens,
    leftover_role_label,
    wrong_language,
    looping_text,
    contact_details,
)
