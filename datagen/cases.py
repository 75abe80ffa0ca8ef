"""Cases: the hidden truth of a consultation, and where the library of them is read.

A case is a YAML file under `datagen/library/<language>/`. The patient agent sees what
the patient knows, the doctor agent nothing but the talk, the checks everything. Wordings
(`question`, `answer`, `advice` …) let a consultation be rendered without any model.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import Field, PositiveFloat, ValidationError, model_validator

from validation.schemas import Frozen, Language, NonBlank

# libyaml's safe loader is eight times as fast; not every build of PyYAML has it.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
LIBRARY = Path(__file__).parent / "library"

Urgency = Literal["emergency", "urgent", "soon", "routine", "self_care"]
Disclosure = Literal["volunteered", "asked", "asked_twice", "concealed"]
Sex = Literal["female", "male"]


class CaseError(ValueError):
    """A case file cannot be used; the message names the file, the field and the remedy."""


class Patient(Frozen):
    """Who the patient is. `speaker` is who talks, where that is not the patient."""

    age_years: Annotated[float, Field(ge=0, le=110)]
    sex: Sex
    occupation: NonBlank
    speaker: NonBlank = "patient"


class Fact(Frozen):
    """One thing the patient knows, and how it comes out.

    `topic_words`: lower-case words, any of which in a doctor's turn means that the fact
    was asked for. `reveal_words`: any of which in a patient's turn means it was told.
    `statement` is the fact in the third person; `question` and `answer` are a doctor's
    and a patient's wording. `contradiction_words`: phrases of a patient's turn that
    cannot be true if this fact is (may be empty).
    """

    fact_id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    statement: NonBlank
    disclosure: Disclosure
    topic_words: Annotated[tuple[NonBlank, ...], Field(min_length=1)]
    reveal_words: Annotated[tuple[NonBlank, ...], Field(min_length=1)]
    contradiction_words: tuple[NonBlank, ...] = ()
    question: NonBlank
    answer: NonBlank
    must_ask: bool = False
    red_flag: bool = False


class Finding(Frozen):
    """What an examination or a test shows, once the doctor asks for it."""

    name: NonBlank
    result: NonBlank


class Diagnosis(Frozen):
    """The diagnosis; `names` are all wordings that would give it away."""

    name: NonBlank
    names: Annotated[tuple[NonBlank, ...], Field(min_length=1)]


class Treatment(Frozen):
    """A drug as it may be given to this patient, and the range its dose must keep to.

    Amounts are in `unit`: `dose` is one dose, `least_dose` to `most_dose` what `source` allows
    for one, `most_a_day` the most within 24 hours.
    """

    drug: NonBlank
    dose: PositiveFloat
    unit: Literal["mg", "microgram", "g", "mL", "unit"]
    route: NonBlank
    doses_a_day: PositiveFloat
    least_dose: PositiveFloat
    most_dose: PositiveFloat
    most_a_day: PositiveFloat
    source: NonBlank

    @model_validator(mode="after")
    def _within_the_range(self) -> Self:
        if not self.least_dose <= self.dose <= self.most_dose:
            raise ValueError(
                f"{self.drug}: a dose of {self.dose:g} {self.unit} is outside its range "
                f"{self.least_dose:g} to {self.most_dose:g} {self.unit}"
            )
        if self.dose * self.doses_a_day > self.most_a_day * (1 + 1e-9):
            raise ValueError(
                f"{self.drug}: {self.doses_a_day:g} times {self.dose:g} {self.unit} a day is more "
                f"than {self.most_a_day:g} {self.unit}"
            )
        return self


class Disposition(Frozen):
    """Where the patient should go.

    `advice` is the doctor's closing wording, with the safety net. `action_words`: any of
    which in a doctor's turn means that the right action was advised.
    """

    urgency: Urgency
    advice: NonBlank
    action_words: Annotated[tuple[NonBlank, ...], Field(min_length=1)]


class Case(Frozen):
    """The whole truth of one consultation."""

    case_id: Annotated[str, Field(pattern=r"^(en|zh)-[a-z0-9-]+$")]
    language: Language
    title: NonBlank
    specialty: NonBlank
    patient: Patient
    complaint: NonBlank
    opening: NonBlank
    history: NonBlank
    facts: Annotated[tuple[Fact, ...], Field(min_length=5)]
    findings: Annotated[tuple[Finding, ...], Field(min_length=1)]
    diagnosis: Diagnosis
    differential: Annotated[tuple[NonBlank, ...], Field(min_length=2)]
    contraindications: tuple[NonBlank, ...] = ()
    treatments: tuple[Treatment, ...] = ()
    disposition: Disposition
    sources: Annotated[tuple[NonBlank, ...], Field(min_length=1)]
    license: NonBlank = "Apache-2.0"

    @model_validator(mode="after")
    def _sound(self) -> Self:
        names = [fact.fact_id for fact in self.facts]
        if len(set(names)) != len(names):
            raise ValueError(f"fact_id given twice in {names}: give each fact its own name")
        if not any(fact.must_ask for fact in self.facts):
            raise ValueError("no fact has must_ask: true; mark what a doctor must ask")
        if not self.case_id.startswith(f"{self.language}-"):
            raise ValueError(f"case_id {self.case_id!r} must begin with '{self.language}-'")
        known_to_patient = [self.complaint, self.opening, self.history]
        for fact in self.facts:
            known_to_patient += [fact.statement, fact.answer]
        for text in known_to_patient:
            for name in self.diagnosis.names:
                if name.lower() in text.lower():
                    raise ValueError(
                        f"the diagnosis {name!r} stands in what the patient knows: {text!r}"
                    )
        for fact in self.facts:
            _need_one_of(fact.topic_words, fact.question, f"facts.{fact.fact_id}.topic_words")
            _need_one_of(fact.reveal_words, fact.answer, f"facts.{fact.fact_id}.reveal_words")
            for phrase in fact.contradiction_words:
                if phrase.lower() in fact.answer.lower():
                    raise ValueError(f"facts.{fact.fact_id}: {phrase!r} contradicts its own answer")
        _need_one_of(
            self.disposition.action_words, self.disposition.advice, "disposition.action_words"
        )
        return self


def _need_one_of(words: tuple[str, ...], text: str, where: str) -> None:
    if not any(word.lower() in text.lower() for word in words):
        raise ValueError(f"{where}: none of {list(words)} stands in {text!r}")


def read_case(path: Path) -> Case:
    """Read one case file.

    Raises CaseError naming the file and each field at fault.
    """
    try:
        return Case.model_validate(yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER))
    except yaml.YAMLError as error:
        raise CaseError(f"{path}: not YAML: {error}") from error
    except ValidationError as error:
        lines = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'case'}: {e['msg']}" for e in error.errors()
        )
        raise CaseError(f"{path}: {lines}") from error


def read_library(folder: Path = LIBRARY, language: Language | None = None) -> tuple[Case, ...]:
    """All cases of a folder, ordered by case_id.

    Raises CaseError where the folder holds none, or two cases carry one id.
    """
    pattern = f"{language or '*'}/*.yaml"
    cases = sorted((read_case(p) for p in folder.glob(pattern)), key=lambda c: c.case_id)
    if not cases:
        raise CaseError(f"no case files {pattern} under {folder}: add one, or name another folder")
    ids = [case.case_id for case in cases]
    if twice := sorted({i for i in ids if ids.count(i) > 1}):
        raise CaseError(f"case_id used twice under {folder}: {twice}")
    return tuple(cases)
