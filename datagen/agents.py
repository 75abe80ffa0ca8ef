"""What each agent sees: the patient its facts, the doctor the talk, the examiner the findings.

The critic sees the whole case and the whole talk, and speaks to nobody in it.
"""

from datagen.cases import Case, Disclosure, Finding
from datagen.cues import split_results
from datagen.personas import Persona, clinician_manner
from judging.wording import first_mention
from validation.schemas import Frozen, Language, Message, NonBlank

SEX = {"en": {"female": "female", "male": "male"}, "zh": {"female": "女", "male": "男"}}
MONTHS_A_YEAR = 12
WEEKS_A_YEAR = 52.18


class KnownFact(Frozen):
    """A fact as the patient knows it, how easily it comes out, and by which words."""

    statement: NonBlank
    disclosure: Disclosure
    asked_by: tuple[NonBlank, ...]
    told_by: tuple[NonBlank, ...]


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
    """All that the doctor agent is told: what was said, and what kind of clinician it is."""

    language: Language
    talk: tuple[Message, ...]
    manner: str = ""


class ExaminerView(Frozen):
    """All that the examiner is told: what examinations and tests show, and no more of the case."""

    language: Language
    findings: tuple[Finding, ...]


def patient_view(case: Case, persona: Persona) -> PatientView:
    """What the patient of a case knows, with the manner of a persona."""
    return PatientView(
        language=case.language,
        speaker=case.patient.speaker,
        age=age_words(case.patient.age_years, case.language),
        sex=SEX[case.language][case.patient.sex],
        occupation=case.patient.occupation,
        complaint=case.complaint,
        history=case.history,
        facts=tuple(
            KnownFact(
                statement=fact.statement,
                disclosure=fact.disclosure,
                asked_by=fact.topic_words,
                told_by=fact.reveal_words,
            )
            for fact in case.facts
        ),
        manner=persona.manner[case.language],
    )


def doctor_view(
    language: Language, talk: tuple[Message, ...], clinician: Persona | None = None
) -> DoctorView:
    """The talk alone, with the manner of a clinician's persona where there is one."""
    return DoctorView(language=language, talk=talk, manner=clinician_manner(clinician, language))


def examiner_view(case: Case) -> ExaminerView:
    """The findings of a case."""
    return ExaminerView(language=case.language, findings=case.findings)


def heard_by_patient(talk: tuple[Message, ...], language: Language) -> tuple[Message, ...]:
    """The talk as the patient hears it: results are told by the doctor's side, not by itself."""
    heard: list[Message] = []
    for message in talk:
        results, words = split_results(message, language)
        if results and heard:
            before = heard[-1]
            told = f"{before.content} {results}"
            heard[-1] = Message(role=before.role, content=told)
            message = Message(role="user", content=words or results)
        heard.append(message)
    return tuple(heard)


def recall(view: PatientView, talk: tuple[Message, ...]) -> KnownFact | None:
    """What comes to the patient's mind now; None where there is nothing (more) to tell.

    The fact that the doctor's last turn asks for, if it may come out (`asked_twice` and
    `concealed` ones need a second question); else the next that was not told, first those
    that patients volunteer, going on with every line even where the words of telling were
    unheard of. Very small models cannot choose among many facts themselves.
    """
    asked = talk[-1].content if talk and talk[-1].role == "assistant" else ""
    for fact in view.facts:
        if first_mention(asked, fact.asked_by) and _may_come_out(fact, talk):
            return fact
    easy = [fact for fact in view.facts if fact.disclosure == "volunteered"]
    easy += [fact for fact in view.facts if fact.disclosure == "asked"]
    answers = max(0, sum(m.role == "user" for m in talk) - 1)
    start = answers % len(easy) if easy else 0
    untold = (fact for fact in easy[start:] + easy[:start] if not _told(fact, talk))
    return next(untold, None)


def _may_come_out(fact: KnownFact, talk: tuple[Message, ...]) -> bool:
    if fact.disclosure in ("volunteered", "asked"):
        return True
    questions = [m.content for m in talk if m.role == "assistant"]
    return sum(bool(first_mention(text, fact.asked_by)) for text in questions) > 1


def _told(fact: KnownFact, talk: tuple[Message, ...]) -> bool:
    return any(first_mention(m.content, fact.told_by) for m in talk if m.role == "user")


def age_words(years: float, language: Language) -> str:
    """An age as people say it: in months below two years, in weeks below three months."""
    months, weeks = round(years * MONTHS_A_YEAR), round(years * WEEKS_A_YEAR)
    if years >= 2:
        return f"{years:g} years old" if language == "en" else f"{years:g}岁"
    if months >= 3:
        return f"{months} months old" if language == "en" else f"{months}个月大"
    return f"{weeks} weeks old" if language == "en" else f"{weeks}周大"
