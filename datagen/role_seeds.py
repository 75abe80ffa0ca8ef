"""Role seeds of others as personas: what a text says of a manner is kept, the rest left out.

A seed is a JSON line with one text, `system_prompt`, in labelled parts (as MedicalGPT's). Who
the patient is and what is wrong comes from the case, so the seed's own name, age and illness
would contradict it.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal

import yaml

from datagen.errors import PersonaError
from datagen.personas import Persona
from validation.schemas import Frozen, Language, NonBlank, Quarantined
from validation.text import LETTER, han_share

FILE = Path(__file__).with_name("role_seeds.yaml")
FIELD = "system_prompt"
MOST_CHINESE = 0.5
SENTENCE = re.compile(r"[^。！？!?；;\n]+[。！？!?；;]*")
QUOTED = re.compile(r"[“\"「][^”\"」]*[”\"」]|（[^）]*）|\([^)]*\)")
MARKS = re.compile(r"[*#`_]+|(?:^|(?<=\s))(?:[-•]|\d+\.)\s+", re.MULTILINE)
# "李阿姨对…" is about the person who plays the role.
NAMED = re.compile(
    r"^[\u4e00-\u9fff]{1,3}?(?:先生|女士|小姐|阿姨|奶奶|爷爷|大爷|大姐|大嫂|老师|教授|老板|司机|学生|大学生|小朋友|阿伯|老太|叔叔|姑娘|小伙|小弟|婶|总)(?=[^，。]{2})"
)
THIRD_PERSON = re.compile(r"[他她]")
Part = Literal["manner", "speech", "job", "illness", "other"]


class _Words(Frozen):
    labels: dict[Part, tuple[NonBlank, ...]]
    clinicians: dict[NonBlank, tuple[NonBlank, ...]]
    case_words: dict[Language, tuple[NonBlank, ...]]
    texts: dict[Language, dict[NonBlank, NonBlank]]


class _Unusable(ValueError):
    def __init__(self, fault: str, detail: str) -> None:
        super().__init__(detail)
        self.fault = fault


def import_role_seeds(path: Path) -> Iterator[Persona | Quarantined]:
    """Every line of a file of seeds: a persona, or the line with what is wrong with it.

    Faults: `not_json`, `unknown_layout` (no text under `system_prompt`), `no_parts` (nothing is
    labelled), `no_manner` (no part says how somebody is or speaks, apart from illness and life).
    Raises PersonaError where the file is not there.
    """
    if not path.is_file():
        raise PersonaError(f"{path} is not there: name a file of role seeds that exists")
    seen: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        name, origin = f"{path.stem}-{number}", f"{path.name}:{number}"
        try:
            persona = read_seed(_text(line), name)
            said = next(iter(persona.manner.values()))
            if said in seen:
                raise _Unusable("duplicate", f"the same manner as {seen[said]}, which is kept")
            seen[said] = name
            yield persona
        except _Unusable as unusable:
            yield Quarantined(raw=line, fault=unusable.fault, detail=str(unusable), origin=origin)


def read_seed(text: str, persona_id: str) -> Persona:
    """The persona of one seed's text. Raises ValueError where it holds no manner."""
    parts = _parts(text)
    if not parts:
        raise _Unusable("no_parts", "nothing in the text is labelled, such as `性格特点：…`")
    words = _words()
    language: Language = "zh" if han_share(text) >= MOST_CHINESE else "en"
    # A patient who is a doctor by profession stays a patient.
    job = "" if "illness" in parts else _job(text, parts.get("job", ""))
    said = {name: _kept(parts.get(name, ""), language) for name in ("manner", "speech")}
    if not any(said.values()):
        raise _Unusable("no_manner", "no part says how somebody is or speaks, illness apart")
    texts = words.texts[language]
    lines = [texts[job]] if job else []
    lines += [f"{texts[name]}{kept}" for name, kept in said.items() if kept]
    manner = ("" if language == "zh" else " ").join(lines)
    seat: Literal["patient", "clinician"] = "clinician" if job else "patient"
    return Persona(persona_id=persona_id, manner={language: manner}, seat=seat)


def _text(line: str) -> str:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise _Unusable("not_json", f"the line is not JSON: {error}") from None
    text = row.get(FIELD) if isinstance(row, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise _Unusable("unknown_layout", f"the line has no text under `{FIELD}`")
    return text


def _parts(text: str) -> dict[str, str]:
    """The text's parts by what they are; parts of one kind one after another."""
    plain = MARKS.sub("", text)
    pieces = _label_pattern().split(plain)
    kinds = {label: kind for kind, labels in _words().labels.items() for label in labels}
    parts: dict[str, str] = {}
    for label, content in zip(pieces[1::2], pieces[2::2], strict=True):
        kind = kinds[label.lower()]
        parts[kind] = f"{parts.get(kind, '')}\n{content.strip()}".strip()
    return parts


def _job(text: str, job: str) -> str:
    """`nurse` or `doctor` where the seed is for one, else nothing."""
    first = MARKS.sub("", text).strip().splitlines()[0]
    named = job or (first if re.search(r"你是|您是|you are", first, re.IGNORECASE) else "")
    for kind, words in _words().clinicians.items():
        if any(word in named.lower() for word in words):
            return kind
    return ""


def _kept(part: str, language: Language) -> str:
    """The sentences of a part that hold for any case, said to the one who plays it."""
    forbidden = _words().case_words[language]
    kept = []
    for sentence in SENTENCE.findall(QUOTED.sub("", part)):
        said = THIRD_PERSON.sub("您", NAMED.sub("您", sentence.strip())).strip("，, ")
        if len(LETTER.findall(said)) > 1 and not any(word in said.lower() for word in forbidden):
            kept.append(_closed(said, language).replace("你", "您"))
    return ("" if language == "zh" else " ").join(dict.fromkeys(kept))


def _closed(sentence: str, language: Language) -> str:
    bare = sentence.rstrip("。！？!?；;.，, ")
    return bare + ("。" if language == "zh" else ".")


@cache
def _label_pattern() -> re.Pattern[str]:
    every = (label for labels in _words().labels.values() for label in labels)
    longest = sorted(every, key=len, reverse=True)
    return re.compile(
        rf"(?:^|(?<=[\s。；;]))({'|'.join(map(re.escape, longest))})[ \t]*[:：]",
        re.IGNORECASE | re.MULTILINE,
    )


@cache
def _words() -> _Words:
    return _Words.model_validate(yaml.safe_load(FILE.read_text(encoding="utf-8")))
