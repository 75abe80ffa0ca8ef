"""What can be seen in a text without understanding it; equal for Chinese and English."""

import re
import unicodedata
from collections.abc import Sequence

HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]")
LATIN = re.compile(r"[A-Za-z\u00aa\u00ba\u00c0-\u024f]")
LETTER = re.compile(r"[^\W\d_]")
SPACE = re.compile(r"\s+")
TOKEN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]|[^\W_]+")

# Controls but tab and line ends; the replacement character; private use; byte order mark.
CONTROL = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd\ufeff\ufff0-\ufffb\ufffe\uffff"
    r"\ue000-\uf8ff\U000f0000-\U0010fffd]"
)
# UTF-8 read as Latin-1 or Windows-1252 (é → Ã©, ’ → â€™, 你 → ä½), GBK debris.
MOJIBAKE = re.compile(
    r"[\u00c2\u00c3][\u0080-\u00bf\u20ac\u2122\u0152\u0153]"
    r"|\u00e2\u20ac[\u0090-\u00bf\u2018-\u201e\u2020-\u2022\u2026\u2122\u0153\u02dc]"
    r"|(?:[\u00e4-\u00e9][\u0080-\u00bf\u0152-\u0178\u2018-\u2122]{2}){2}"
    r"|锟斤拷|烫烫烫|屯屯屯|浣犲ソ|鐨勬槸"
)
# Whole words before a colon, where a line or a sentence begins.
ROLE_LABEL = re.compile(
    r"(?:^|[\n.!?。！？])[ \t\u3000]*[*_#\[【(（]*"
    r"(?P<label>doctor|physician|clinician|patient|examiner|nurse|user|assistant|human|system"
    r"|ai|bot|dr\.?"
    r"|医生|大夫|医师|患者|病人|护士|用户|助手|助理|系统|检查员)"
    r"[*_\]】)）]*[ \t]*[:：]",
    re.IGNORECASE,
)
TEMPLATE_TOKEN = re.compile(
    r"<\|[a-z_]{2,30}\|>|\[/?INST\]|<</?SYS>>|</?s>|<(?:bos|eos|pad|unk)>"
    r"|<(?:start|end)_of_turn>|</?think>|<｜[^｜]{1,30}｜>",
    re.IGNORECASE,
)
URL = re.compile(
    r"https?://\S+|(?<![A-Za-z0-9])www\.[A-Za-z0-9-]+\.\S+"
    r"|(?<![A-Za-z0-9@.-])[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*"
    r"\.(?:com|org|net|edu|gov|cn|uk|io|info)(?![A-Za-z0-9-])",
    re.IGNORECASE,
)
EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
# Digit look-arounds: a word boundary fails beside Chinese characters.
PHONE = re.compile(
    r"(?<![\d.])(?:"
    r"(?:\+?86[ -]?)?1[3-9]\d[ -]?\d{4}[ -]?\d{4}"
    r"|\(?0\d{2,3}\)?[ -]?\d{7,8}"
    r"|[48]00-\d{3,4}-?\d{3,4}"
    r"|(?:\+?1[ .-])?\(?[2-9]\d{2}\)?[ .-][2-9]\d{2}[ .-]\d{4}"
    r"|0\d{2,4}[ -]\d{3,4}[ -]?\d{3,4}"
    r"|\+\d{1,3}(?:[ -]?\d{2,4}){3,4}"
    r")(?!\d|\.\d)"
)


def normalised(text: str) -> str:
    """The text as duplicates are compared: NFKC, no case, single spaces."""
    return SPACE.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


def width(text: str) -> int:
    """Length in characters, where a Chinese one counts two: it says about as much."""
    return len(text) if text.isascii() else len(text) + len(HAN.findall(text))


def han_share(text: str) -> float:
    """The share of Chinese characters among letters; 0.0 where there are no letters."""
    return _share(HAN, text)


def latin_share(text: str) -> float:
    """The share of Latin letters among letters; 0.0 where there are no letters."""
    return _share(LATIN, text)


def repeated_share(text: str, size: int) -> float:
    """The share of n-grams (words, or single Chinese characters) that stood there before.

    0.0 for a text of fewer than two n-grams; a sentence said three times has about 2/3.
    """
    tokens = TOKEN.findall(text.lower())
    grams = [tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1)]
    return 1.0 - len(set(grams)) / len(grams) if len(grams) > 1 else 0.0


def first_contact(pattern: re.Pattern[str], text: str, public: Sequence[str]) -> str | None:
    """The first match of a contact pattern that contains none of the public contacts."""
    for match in pattern.finditer(text):
        if not any(contact in match.group() for contact in public):
            return match.group()
    return None


def _share(pattern: re.Pattern[str], text: str) -> float:
    letters = len(LETTER.findall(text))
    return len(pattern.findall(text)) / letters if letters else 0.0
