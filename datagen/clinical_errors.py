"""Typed clinical errors: what they are, and which can occur in a turn."""

from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import model_validator

from artifacts.digest import digest_json
from datagen.cases import Treatment
from datagen.error_rules import RULES, Carried, red_flag_told
from datagen.preferences import Place
from judging.grading import ErrorType
from validation.schemas import Frozen, Language, NonBlank

ERRORS_FILE = Path(__file__).with_name("clinical_errors.yaml")


class ClinicalError(Frozen):
    """A typed error; the head of `clinical_errors.yaml` says what each field means."""

    name: NonBlank
    stage: Literal["asking", "closing", "any"]
    needs: tuple[Literal["red_flag_told", "contraindications"], ...] = ()
    harmful: bool = False
    keeps_length: bool = True
    shows: tuple[Literal["red_flags", "contraindications", "treatments"], ...] = ()
    rule: str | None = None
    writes: dict[Language, NonBlank]
    describes: dict[Language, NonBlank]

    @model_validator(mode="after")
    def _has_its_rule(self) -> "ClinicalError":
        if self.rule is not None and self.rule not in RULES:
            raise ValueError(
                f"{self.name}: there is no rule '{self.rule}'; there are {list(RULES)}"
            )
        return self

    @property
    def type(self) -> ErrorType:
        """The error as judges are told of it."""
        return ErrorType(name=self.name, describes=self.describes)

    def carried(self, place: Place, text: str, good: str = "") -> Carried:
        """Whether a text carries it, by its rule; None where no rule can tell."""
        return RULES[self.rule](place, text, good) if self.rule else None

    def occurs(self, place: Place) -> bool:
        """Whether it can be written into this turn, which does not carry it yet."""
        needed = {
            "red_flag_told": lambda: red_flag_told(place),
            "contraindications": lambda: bool(place.case.contraindications),
        }
        return (
            self.stage in ("closing" if place.closing else "asking", "any")
            and all(needed[need]() for need in self.needs)
            and not self.carried(place, place.said)
        )


class Shown(Frozen):
    """What of a case the writer of an error is told."""

    red_flags: tuple[str, ...] = ()
    contraindications: tuple[str, ...] = ()
    treatments: tuple[Treatment, ...] = ()


@cache
def read_clinical_errors() -> tuple[ClinicalError, ...]:
    """All typed errors, in the file's order."""
    entries = yaml.safe_load(ERRORS_FILE.read_text(encoding="utf-8"))["errors"]
    return tuple(ClinicalError.model_validate(entry) for entry in entries)


def error_for(place: Place, seed: int) -> ClinicalError:
    """The typed error of a place: always the same one, of those that can occur there."""
    fitting = [error for error in read_clinical_errors() if error.occurs(place)]
    name = digest_json(["error", seed, place.talk.record_id, place.turn])
    return fitting[int(name[:8], 16) % len(fitting)]


def shown_to_writer(error: ClinicalError, place: Place) -> Shown | None:
    """What of the case helps to write the error; None where nothing does, or there is none."""
    case = place.case
    every = Shown(
        red_flags=tuple(fact.statement for fact in case.facts if fact.red_flag),
        contraindications=case.contraindications,
        treatments=case.treatments,
    )
    shown = Shown(**{name: getattr(every, name) for name in error.shows})
    return shown if shown != Shown() else None
