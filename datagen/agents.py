"""What each agent sees: the patient its own facts, the doctor the talk alone."""

from datagen.cases import Case, Disclosure
from datagen.personas import Persona
from validation.schemas import Frozen, Language, Message, NonBlank

SEX = {"en": {"female": "female", "male": "male"}, "zh": {"female": "女", "male": "男"}}
MONTHS_A_YEAR = 12


class KnownFact(Frozen):
    """A fact as the patient knows it, and how easily it comes out."""

    statement: NonBlank
    disclosure: Disclosure


class PatientView(Frozen):
    """All that the patient agent is told: nothing of diagnosis, findings or what must be asked."""

    language: Language
    speaker: NonBlank
    age: NonBlank
    sex: NonBlank
    occupation: NonBlank
    complaint: NonBlank
    history: NonBlank
    facts: tuple[KnownFact, ...]
    manner: NonBlank


class DoctorView(Frozen):
    """All that the doctor agent is told: what was said."""

    language: Language
    talk: tuple[Message, ...]


def patient_view(case: Case, persona: Persona) -> PatientView:
    """What the patient of a case knows, with the manner of a persona."""
    return PatientView(
        language=case.language,
        speaker=case.patient.speaker,
        age=_age(case.patient.age_years, case.language),
        sex=SEX[case.language][case.patient.sex],
        occupation=case.patient.occupation,
        complaint=case.complaint,
        history=case.history,
        facts=tuple(KnownFact(statement=f.statement, disclosure=f.disclosure) for f in case.facts),
        manner=persona.manner[case.language],
    )


def doctor_view(language: Language, talk: tuple[Message, ...]) -> DoctorView:
    """The talk alone."""
    return DoctorView(language=language, talk=talk)


def _age(years: float, language: Language) -> str:
    """An age as people say it: in months below two years."""
    months = round(years * MONTHS_A_YEAR)
    if years >= 2:
        return f"{years:g} years old" if language == "en" else f"{years:g}岁"
    return f"{months} months old" if language == "en" else f"{months}个月大"
