"""Speech that gives a role away: what only a doctor, or only a patient, would say."""

import re

from validation.schemas import Language
from validation.text import ROLE_LABEL

# Labels of the transcripts that base models continue; elsewhere they may be honest headings.
TRANSCRIPT_LABEL = re.compile(
    r"(?:^|[\n.!?。！？])\s*(?P<label>doctor (?:asks|advises)|fact|case|医生(?:问|建议)|事实|病例)"
    r" ?[:：]",
    re.IGNORECASE,
)
# What a doctor may well have without being ill ("I have a few more questions").
DOCTORS_THINGS = (
    r"(?!(?:[\w-]+ ){0,3}(?:questions?|ideas?|plans?|suspicions?|concerns?|feeling|hunch|look"
    r"|points?|words?|notes?|theory|sense|duty|things?|leaflet|colleagues?|patients?)\b)"
)
DOCTORS_SPEECH: dict[Language, re.Pattern[str]] = {
    "en": re.compile(
        r"\b(?:do|did|have|are|were|is|was|has|does) (?:you|your|he|she)\b[^.?!]{0,60}"
        r"\b(?:pain|symptoms?|fever|nausea|medications?|medicines?|allerg\w+|cough|headaches?|rash"
        r"|smoke|drink|vomit\w*|bleeding|blood pressure)\b[^.?!]*\?"
        r"|\bhow long (?:have|has) (?:you|he|she)\b"
        r"|\bwhat brings you (?:here|in)\b|\bhow (?:can|may) I help you\b"
        r"|\bwhat seems to be the (?:problem|trouble|matter)\b"
        r"|\bI (?:recommend|prescribe|advise|suggest) (?:that )?you\b"
        r"|\bI(?:'m| am) (?:a|your|the) doctor\b|\byou should (?:see|go|take|call|rest|drink)\b",
        re.IGNORECASE,
    ),
    "zh": re.compile(
        r"(?:您|你)(?:有没有|是否|平时|以前|最近|哪里)[^。？！]{0,15}"
        r"(?:疼|痛|发烧|发热|过敏|吃药|不舒服|咳|病史|症状)[^。！]*[？?吗]"
        r"|(?:哪里|哪儿|怎么)不舒服[？?]|有什么(?:可以|能)帮(?:助)?(?:您|你)"
        r"|(?:您|你)[^。？！]{0,6}多久了|建议(?:您|你)|我是(?:您的|你的)?医生|我给(?:您|你)开"
    ),
}
PATIENTS_SPEECH: dict[Language, re.Pattern[str]] = {
    "en": re.compile(
        r"\bI(?:'ve| have) (?:been having|been feeling|had (?:an?|this|the|pain)\b)"
        rf"|\bI(?:'ve got| have got| have) an? {DOCTORS_THINGS}|\bI(?:'ve| have) got this\b"
        r"|\bI(?:'m| am) (?:feeling|having|in pain|worried about my|pregnant)\b"
        r"|\bmy (?:pain|chest|head|stomach|belly|tummy|leg|arm|knee|back|eye|symptoms|husband"
        r"|wife|baby|son|daughter|doctor)\b",
        re.IGNORECASE,
    ),
    "zh": re.compile(
        r"我(?:的)?(?:头(?![一次回])|肚子|胸口|嗓子|腿|膝盖|后背|眼睛)"
        r"|我(?:最近|昨天|这几天).{0,6}[疼痛晕]|我家(?:孩子|宝宝)|我老[公婆]"
    ),
}

MODELS_SPEECH = re.compile(
    r"\bas an? (?:AI|artificial intelligence|(?:large )?language model)\b"
    r"|\bI(?:'m| am) (?:just |only )?an? (?:AI|(?:large )?language model)\b"
    r"|\bI(?: can(?:no|')t|(?:'m| am) (?:not able|unable) to) (?:assist|help|comply)"
    r"(?: you)? with (?:that|this|your request)\b"
    r"|\bhere(?:'s| is) (?:the|a) (?:rewritten|rewrite|revised|flawed)\b"
    r"|作为(?:一个|一名|一款)?(?:AI|人工智能|(?:大)?语言模型)|我(?:只)?是(?:一个|一名)?(?:AI|人工智能|语言模型)"
    r"|(?:抱歉|对不起)[^。！？]{0,8}(?:无法|不能)(?:满足|提供|完成|协助|回答|按照)|改写后的(?:句子|回应|话)",
    re.IGNORECASE,
)


def find_outside_words(text: str) -> re.Match[str] | None:
    """What nobody in the room would say: a label, or a model speaking as a model; or None."""
    plain = text.replace("’", "'")
    patterns = (ROLE_LABEL, TRANSCRIPT_LABEL, MODELS_SPEECH)
    return next((match for p in patterns if (match := p.search(plain))), None)
