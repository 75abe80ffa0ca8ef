"""Cases: the hidden truth of a consultation, and where the library of them is read.

A case is a YAML file under `datagen/library/<language>/`. The patient agent sees what
the patient knows, the doctor agent nothing but the talk, the checks everything. Wordings
(`question`, `answer`, `advice` …) let a consultation be rendered without any model.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import Field, PositiveFloat, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from datagen.errors import DatagenError
from validation.schemas import Frozen, Language, NonBlank

# libyaml's safe loader is eight times as fast; not every build of PyYAML has it.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
LIBRARY = Path(__file__).parent / "library"
# What stands for the packaged library where folders are named.
PACKAGED = Path("packaged")

Urgency = Literal["emergency", "urgent", "soon", "routine", "self_care"]
Disclosure = Literal["volunteered", "asked", "asked_twice", "concealed"]
Sex = Literal["female", "male"]


class CaseError(DatagenError):
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


class Prescription(Frozen):
    """A drug as it is given to this patient, and the range its dose must keep to, unchecked.

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


class Treatment(Prescription):
    """A drug as it may be given to this patient: within its range, as pydantic sees to."""

    @model_validator(mode="after")
    def _within_the_range(self) -> Self:
        if not self.least_dose <= self.dose <= self.most_dose:
            raise _unsound(
                "dose_out_of_range",
                f"{self.drug}: a dose of {self.dose:g} {self.unit} is outside its range "
                f"{self.least_dose:g} to {self.most_dose:g} {self.unit}",
            )
        if self.dose * self.doses_a_day > self.most_a_day * (1 + 1e-9):
            raise _unsound(
                "dose_out_of_range",
                f"{self.drug}: {self.doses_a_day:g} times {self.dose:g} {self.unit} a day is more "
                f"than {self.most_a_day:g} {self.unit}",
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
    """The whole truth of one consultation.

    `reviewed`: True where a clinician approved it, False where a model drafted it and nobody
    did, None where a person wrote it.
    """

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
    reviewed: bool | None = None

    @model_validator(mode="after")
    def _sound(self) -> Self:
        names = [fact.fact_id for fact in self.facts]
        if len(set(names)) != len(names):
            raise _unsound("fact_twice", f"fact_id given twice in {names}: give each its own name")
        if not any(fact.must_ask for fact in self.facts):
            raise _unsound("no_must_ask", "no fact has must_ask: true; mark what must be asked")
        if not self.case_id.startswith(f"{self.language}-"):
            raise ValueError(f"case_id {self.case_id!r} must begin with '{self.language}-'")
        known_to_patient = [self.complaint, self.opening, self.history]
        for fact in self.facts:
            known_to_patient += [fact.statement, fact.answer]
        for text in known_to_patient:
            for name in self.diagnosis.names:
                if name.lower() in text.lower():
                    raise _unsound(
                        "diagnosis_named",
                        f"the diagnosis {name!r} stands in what the patient knows: {text!r}",
                    )
        for fact in self.facts:
            _need_one_of(fact.topic_words, fact.question, f"facts.{fact.fact_id}.topic_words")
            _need_one_of(fact.reveal_words, fact.answer, f"facts.{fact.fact_id}.reveal_words")
            for phrase in fact.contradiction_words:
                if phrase.lower() in fact.answer.lower():
                    raise _unsound(
                        "contradicts_itself",
                        f"facts.{fact.fact_id}: {phrase!r} contradicts its own answer",
                    )
        _need_one_of(
            self.disposition.action_words, self.disposition.advice, "disposition.action_words"
        )
        return self


def _need_one_of(words: tuple[str, ...], text: str, where: str) -> None:
    if not any(word.lower() in text.lower() for word in words):
        raise _unsound("words_do_not_match", f"{where}: none of {list(words)} stands in {text!r}")


def _unsound(fault: str, detail: str) -> PydanticCustomError:
    # The message is given apart: a case's own words may hold braces.
    return PydanticCustomError(fault, "{detail}", {"detail": detail})


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


LibraryChoice = Path | tuple[Path, ...] | None


def read_libraries(choice: LibraryChoice, language: Language | None = None) -> tuple[Case, ...]:
    """The cases of one folder, of several, or of the packaged library (None).

    Among several, `packaged` stands for the packaged library: `[packaged, my/cases]`. A folder
    without cases of the language is left out, as long as another has some. Raises CaseError
    where there is none at all, or where one case_id stands in two folders.
    """
    folders = (PACKAGED,) if choice is None else (choice,) if isinstance(choice, Path) else choice
    every: dict[str, tuple[Case, Path]] = {}
    for folder in dict.fromkeys(folders):
        place = LIBRARY if folder == PACKAGED else folder
        if len(folders) > 1 and place.is_dir() and not any(place.glob(f"{language or '*'}/*.yaml")):
            continue
        for case in read_library(place, language):
            if case.case_id in every:
                other = every[case.case_id][1]
                raise CaseError(f"case_id {case.case_id!r} stands under {other} and {folder}")
            every[case.case_id] = (case, folder)
    if not every:
        raise CaseError(f"no case under {', '.join(map(str, folders))}: add one")
    return tuple(every[name][0] for name in sorted(every))
