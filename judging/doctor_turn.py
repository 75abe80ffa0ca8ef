"""A rule-based rubric for one turn of a doctor who is taking a history.

It sees plain values: the talk so far, the candidate, and what of the case can be asked. What
the criteria are called, weigh and mean stands in `rubrics/doctor_turn.yaml`.
Rules see form and topic; whether the turn is wise is for judges who understand it.
"""

import re
from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from judging.claims import first_claimed, first_urged, statements
from judging.errors import RubricError
from judging.rubric import Criterion, Judgement, Score
from judging.rubric_files import read_rubric
from judging.speech import PATIENTS_SPEECH, find_outside_words
from judging.wording import count_questions, ends_properly, first_mention, similarity
from validation.schemas import Frozen, Language, Message, NonBlank
from validation.text import han_share, latin_share, repeated_share, width

RUBRIC_NAME = "doctor_turn"
REPEATED = 0.8
MIN_WIDTH = 12
GOOD_WIDTH = 220
MOST_WIDTH = 500
LOOP_GRAM = 3
FINDINGS = {
    "en": re.compile(
        r"\b(?:your|the) (blood (?:pressure|test|glucose|sugar)|x-?ray|scan|ecg|test|results?|mri"
        r"|ct)\b[^.?!]{0,30}\b(?:is|are|was|were|shows?|showed|came back)\b",
        re.IGNORECASE,
    ),
    "zh": re.compile(
        r"(检查结果|化验单?|血压|血糖|心电图|片子|CT|B超|彩超)"
        r"[^。？！]{0,8}(?:显示|提示|正常|偏高|偏低|是\d)",
        re.IGNORECASE,
    ),
}


class Topic(Frozen):
    """One thing the case holds: the words of asking for it, and those of having told it.

    `questions`: how many it takes to get it out of the patient, as far as the words show.
    """

    name: NonBlank
    asked_by: tuple[NonBlank, ...]
    told_by: tuple[NonBlank, ...]
    questions: Annotated[int, Field(ge=1)] = 1


class DoctorTurn(Frozen):
    """A candidate in its context.

    `history` ends with the patient. `topics` are all that the case holds, `diagnosis_names`
    what should not be said while still asking, `action_words` what the last turn must advise.
    `closing`: whether this is the turn that ends the talk.
    """

    language: Language
    history: tuple[Message, ...]
    candidate: NonBlank
    topics: tuple[Topic, ...] = ()
    diagnosis_names: tuple[NonBlank, ...] = ()
    action_words: tuple[NonBlank, ...] = ()
    closing: bool = False


Verdict = tuple[float, str]
Rule = Callable[[DoctorTurn], Verdict | None]


def right_language(turn: DoctorTurn) -> Verdict | None:
    """The turn is in the talk's language."""
    if turn.language == "zh":
        share = han_share(turn.candidate)
        return (1.0, "") if share >= 0.5 else (0.0, f"{share:.0%} of the letters are Chinese")
    share = latin_share(turn.candidate)
    return (1.0, "") if share >= 0.9 else (0.0, f"{share:.0%} of the letters are Latin")


def one_question(turn: DoctorTurn) -> Verdict | None:
    """While asking, exactly one question; a patient answers the last of several."""
    if turn.closing:
        return None
    count = count_questions(turn.candidate)
    if count == 1:
        return 1.0, ""
    return (0.0, "asks nothing") if count == 0 else (0.5, f"asks {count} questions at once")


def new_topic(turn: DoctorTurn) -> Verdict | None:
    """While asking, the question touches something of the case that has not come out yet."""
    if turn.closing or not turn.topics:
        return None
    touched = [t for t in turn.topics if first_mention(turn.candidate, t.asked_by)]
    if not touched:
        return 0.3, "touches nothing of the case"
    if any(not _came_out(topic, turn.history) for topic in touched):
        return 1.0, ""
    return 0.0, f"asks again for {touched[0].name}"


def acts(turn: DoctorTurn) -> Verdict | None:
    """The last turn says what to do."""
    if not turn.closing or not turn.action_words:
        return None
    word = first_urged(turn.candidate, turn.action_words)
    return (1.0, f"advises {word}") if word else (0.0, "does not advise the action that is due")


def no_repetition(turn: DoctorTurn) -> Verdict | None:
    """The turn says nothing that was said already, and does not loop."""
    said = [m.content for m in turn.history]
    if any(similarity(turn.candidate, earlier) >= REPEATED for earlier in said):
        return 0.0, "repeats an earlier turn"
    if repeated_share(turn.candidate, LOOP_GRAM) > 0.3:
        return 0.0, "repeats itself"
    return 1.0, ""


def stays_doctor(turn: DoctorTurn) -> Verdict | None:
    """The doctor speaks as the doctor, and for nobody else."""
    if find_outside_words(turn.candidate):
        return 0.0, "writes a label, or speaks as a model"
    match = PATIENTS_SPEECH[turn.language].search(turn.candidate)
    return (0.0, f"speaks as a patient: {match.group()!r}") if match else (1.0, "")


def no_invented_finding(turn: DoctorTurn) -> Verdict | None:
    """No result of a test or examination that nobody has told; to ask for one is no invention."""
    for sentence in statements(turn.candidate):
        match = FINDINGS[turn.language].search(sentence)
        if match and not any(first_mention(m.content, (match.group(1),)) for m in turn.history):
            return 0.0, f"tells a finding that nobody gave: {match.group()!r}"
    return 1.0, ""


def no_early_diagnosis(turn: DoctorTurn) -> Verdict | None:
    """While still asking, none states a diagnosis that was not named; to ask after one is fair."""
    if turn.closing:
        return None
    name = first_mention(" ".join(statements(turn.candidate)), turn.diagnosis_names)
    if name and not any(first_mention(m.content, (name,)) for m in turn.history):
        return 0.0, f"names {name!r} before the history is taken"
    return 1.0, ""


def good_length(turn: DoctorTurn) -> Verdict | None:
    """Long enough to say something, short enough to be understood (Chinese counts twice)."""
    size = width(turn.candidate)
    most = MOST_WIDTH if turn.closing else GOOD_WIDTH
    if size < MIN_WIDTH:
        return 0.0, f"only {size} characters wide"
    return (1.0, "") if size <= most else (max(0.0, 2.0 - size / most), f"{size} characters wide")


def whole_sentence(turn: DoctorTurn) -> Verdict | None:
    """The turn ends where a sentence ends."""
    return (1.0, "") if ends_properly(turn.candidate) else (0.0, "breaks off")


RULES: tuple[Rule, ...] = (
    right_language,
    one_question,
    new_topic,
    acts,
    no_repetition,
    stays_doctor,
    no_invented_finding,
    no_early_diagnosis,
    good_length,
    whole_sentence,
)


def doctor_turn_rules() -> tuple[tuple[Criterion, Rule], ...]:
    """The rubric's criteria that rules score, each with its rule, in the rubric's order.

    Raises RubricError where the file and the rules do not name the same.
    """
    criteria = read_rubric(RUBRIC_NAME).graded_by("rule")
    by_name = {rule.__name__: rule for rule in RULES}
    if (named := {criterion.name for criterion in criteria}) != set(by_name):
        raise RubricError(
            f"the rubric '{RUBRIC_NAME}' and the rules of judging/doctor_turn.py differ in "
            f"{sorted(named ^ set(by_name))}: every criterion with `grader: rule` needs its rule"
        )
    return tuple((criterion, by_name[criterion.name]) for criterion in criteria)


def judge_doctor_turn(turn: DoctorTurn) -> Judgement:
    """Score a candidate by every rule that applies to its place in the talk."""
    scores = []
    for criterion, rule in doctor_turn_rules():
        verdict = rule(turn)
        if verdict is not None:
            scores.append(Score(criterion=criterion, value=verdict[0], reason=verdict[1]))
    return Judgement(scores=tuple(scores))


def _came_out(topic: Topic, history: tuple[Message, ...]) -> bool:
    """Told by the patient, or asked for by the doctor as often as it takes."""
    asked = [m for m in history if m.role != "user" and first_mention(m.content, topic.asked_by)]
    told = any(m.role == "user" and first_claimed(m.content, topic.told_by) for m in history)
    return told or len(asked) >= topic.questions
