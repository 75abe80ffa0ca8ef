"""Personas: how somebody talks, apart from what is known: plain manners, composed ones, own ones.

Composed manners take one value of each of PatientSim's four axes (Kyung et al. 2025):
personality, language proficiency, recall of the medical history, cognitive confusion.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from itertools import product
from pathlib import Path
from typing import Annotated, Literal, get_args

import yaml
from pydantic import Field, NonNegativeFloat, ValidationError, model_validator

from artifacts.digest import digest_json
from datagen.errors import PersonaError
from validation.schemas import Frozen, Language, NonBlank

FILE = Path(__file__).with_name("personas.yaml")

Seat = Literal["patient", "clinician"]
Source = Literal["plain", "composed", "own"]
Personality = Literal[
    "neutral", "impatient", "overanxious", "distrustful", "overly_positive", "verbose"
]
Proficiency = Literal["basic", "intermediate", "advanced"]
Recall = Literal["low", "high"]
Confusion = Literal["normal", "high"]
AXES: dict[str, tuple[str, ...]] = {
    "personality": get_args(Personality),
    "proficiency": get_args(Proficiency),
    "recall": get_args(Recall),
    "confusion": get_args(Confusion),
}
# A sentence ends with its own mark in Chinese, and needs a space after it in English.
BETWEEN: dict[Language, str] = {"en": " ", "zh": ""}
UNIT_DIGITS = 13  # hexadecimal digits of a digest that make a number between 0 and 1


class Persona(Frozen):
    """A manner of talking, worded in one language or both.

    `seat`: who it is for. A clinician's `manner` also says what he or she is (a nurse, say).
    """

    persona_id: NonBlank
    manner: Annotated[dict[Language, NonBlank], Field(min_length=1)]
    seat: Seat = "patient"


class Axes(Frozen):
    """One value of each axis; `name` is the persona_id, such as `impatient-basic-low-normal`."""

    personality: Personality
    proficiency: Proficiency
    recall: Recall
    confusion: Confusion

    @property
    def name(self) -> str:
        """The values in the axes' order."""
        return "-".join((self.personality, self.proficiency, self.recall, self.confusion))

    @classmethod
    def of(cls, persona_id: str) -> "Axes | None":
        """The axes that a persona_id encodes; None for a plain or an own persona."""
        try:
            return cls.model_validate(dict(zip(AXES, persona_id.split("-"), strict=True)))
        except ValueError:
            return None


class _File(Frozen):
    personas: tuple[Persona, ...]
    axes: dict[NonBlank, dict[NonBlank, dict[Language, NonBlank]]]
    excluded: tuple[dict[NonBlank, NonBlank], ...]
    excluded_for_companions: tuple[dict[NonBlank, NonBlank], ...]


class PersonaSettings(Frozen):
    """How often which manner is drawn. Weights are relative; 0 leaves out.

    `plain`, `composed`, `own`: the kinds (own ones come from `files`, in JSON Lines). The axes:
    weights of their values for composed manners, those not named 1. `clinician_share`: the share
    of talks in which an own persona of the clinician's seat, if there is one, takes the doctor's.
    """

    plain: NonNegativeFloat = 1.0
    composed: NonNegativeFloat = 1.0
    own: NonNegativeFloat = 1.0
    personality: dict[Personality, NonNegativeFloat] = Field(default_factory=dict)
    proficiency: dict[Proficiency, NonNegativeFloat] = Field(default_factory=dict)
    recall: dict[Recall, NonNegativeFloat] = Field(default_factory=dict)
    confusion: dict[Confusion, NonNegativeFloat] = Field(default_factory=dict)
    clinician_share: Annotated[float, Field(ge=0.0, le=1.0)] = 1.0
    files: tuple[Path, ...] = Field((), json_schema_extra={"result_neutral": True})

    @model_validator(mode="after")
    def _something_is_left(self) -> "PersonaSettings":
        kinds = self.plain + self.composed + (self.own if self.files else 0.0)
        if not kinds:
            raise ValueError("no persona is left: give plain, composed or own a weight above 0")
        for axis, values in AXES.items():
            if self.composed and not any(getattr(self, axis).get(v, 1.0) for v in values):
                raise ValueError(
                    f"every value of {axis} weighs 0: raise one, or set composed: 0 to leave "
                    "composed personas out"
                )
        names = [path.name for path in self.files]
        if len(set(names)) < len(names):
            raise ValueError(f"two files of personas are called the same: {names}; rename one")
        return self


MIX = PersonaSettings()


def persona_files(settings: PersonaSettings) -> tuple[Path, ...]:
    """The files that decide what is drawn, own ones checked. Raises PersonaError."""
    read_own_personas(settings.files)
    return (FILE, *settings.files)


def read_personas() -> tuple[Persona, ...]:
    """The plain personas, in the file's order."""
    return _file().personas


def composed_personas() -> tuple[Persona, ...]:
    """Every combination of the axes' values that can be one person."""
    return tuple(persona for _, persona in _composed())


def read_own_personas(files: Sequence[Path]) -> tuple[Persona, ...]:
    """Own personas: JSON Lines of `persona_id`, `manner` by language and, if wished, `seat`.

    Raises PersonaError naming the file and line at fault, or a persona_id that is used twice.
    """
    every = [persona for path in files for persona in _read_own(path)]
    names = [p.persona_id for p in (*read_personas(), *composed_personas(), *every)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise PersonaError(f"persona_id used twice: {twice}; give each persona its own name")
    return tuple(every)


def draw_persona(
    case_id: str,
    sample_index: int,
    seed: int,
    settings: PersonaSettings = MIX,
    speaker: str = "patient",
) -> Persona:
    """The patient's persona of one talk: always the same one for the same talk and settings.

    `speaker`: the case's; whoever speaks for another is not given every manner. Raises
    PersonaError where the settings leave none for the case's language.
    """
    language = _language(case_id)
    weighted = [
        (persona, weight)
        for persona, weight in _weighted(settings, speaker)
        if weight and language in persona.manner
    ]
    if not weighted:
        raise PersonaError(
            f"generate.personas leaves no persona that talks in {language!r}: give plain or "
            "composed a weight, or add a persona of that language"
        )
    return _draw(weighted, ["persona", case_id, sample_index, seed])


def draw_clinician(
    case_id: str, sample_index: int, seed: int, settings: PersonaSettings = MIX
) -> Persona | None:
    """Who sits in the doctor's seat; None where no own persona does: the doctor as he is."""
    own = [persona for persona in _own(settings.files) if persona.seat == "clinician"]
    weighted = [(persona, 1.0) for persona in own if _language(case_id) in persona.manner]
    if not weighted or _unit(["seat", case_id, sample_index, seed]) >= settings.clinician_share:
        return None
    return _draw(weighted, ["clinician", case_id, sample_index, seed])


def clinician_manner(persona: Persona | None, language: Language) -> str:
    """What the doctor's prompt says of its role; empty for the doctor as he is."""
    return persona.manner[language] if persona else ""


def _weighted(settings: PersonaSettings, speaker: str) -> Iterator[tuple[Persona, float]]:
    """All patients' personas; the weight of a kind is shared by those of it."""
    unfit = () if speaker == "patient" else _file().excluded_for_companions
    composed = [
        (persona, weight)
        for axes, persona in _composed()
        if (weight := _weight(settings, axes)) and not _matches(axes, unfit)
    ]
    plain = [(persona, 1.0) for persona in read_personas()]
    own = [(persona, 1.0) for persona in _own(settings.files) if persona.seat == "patient"]
    for kind, members in (
        (settings.plain, plain),
        (settings.composed, composed),
        (settings.own, own),
    ):
        total = sum(weight for _, weight in members)
        yield from ((persona, kind * weight / total) for persona, weight in members)


def _draw(weighted: Sequence[tuple[Persona, float]], of: list[str | int]) -> Persona:
    place = _unit(of) * sum(weight for _, weight in weighted)
    for persona, weight in weighted:
        place -= weight
        if place < 0:
            return persona
    return weighted[-1][0]


def _unit(of: list[str | int]) -> float:
    return int(digest_json([*of])[:UNIT_DIGITS], 16) / 16.0**UNIT_DIGITS


def _weight(settings: PersonaSettings, axes: Axes) -> float:
    weight = 1.0
    for axis in AXES:
        weight *= getattr(settings, axis).get(getattr(axes, axis), 1.0)
    return weight


@cache
def _composed() -> tuple[tuple[Axes, Persona], ...]:
    values = product(*AXES.values())
    every = [Axes.model_validate(dict(zip(AXES, chosen, strict=True))) for chosen in values]
    return tuple(
        (axes, Persona(persona_id=axes.name, manner=_compose(axes)))
        for axes in every
        if not _matches(axes, _file().excluded)
    )


def _compose(axes: Axes) -> dict[Language, str]:
    texts = _file().axes
    return {
        language: between.join(texts[axis][getattr(axes, axis)][language] for axis in AXES)
        for language, between in BETWEEN.items()
    }


def _matches(axes: Axes, patterns: Sequence[Mapping[str, str]]) -> bool:
    return any(all(getattr(axes, a) == v for a, v in pattern.items()) for pattern in patterns)


def _language(case_id: str) -> Language:
    # A case's name begins with its language; `cases.Case` sees to it.
    return "zh" if case_id.startswith("zh-") else "en"


@cache
def _file() -> _File:
    return _File.model_validate(yaml.safe_load(FILE.read_text(encoding="utf-8")))


def _own(files: tuple[Path, ...]) -> tuple[Persona, ...]:
    return _own_as_of(files, tuple(p.stat().st_mtime_ns if p.is_file() else 0 for p in files))


@lru_cache(maxsize=4)
def _own_as_of(files: tuple[Path, ...], changed: tuple[int, ...]) -> tuple[Persona, ...]:
    """Read once for all talks of a step, and again once a file was changed."""
    return read_own_personas(files)


def _read_own(path: Path) -> Iterator[Persona]:
    if not path.is_file():
        raise PersonaError(f"{path} is not there: name a file of personas that exists")
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            yield Persona.model_validate_json(line)
        except ValidationError as error:
            hint = "; role seeds become personas by `medfactory personas`"
            wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise PersonaError(
                f"{path}:{number} is no persona: {wrong}{hint if 'system_prompt' in line else ''}"
            ) from error
