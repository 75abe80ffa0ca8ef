"""Checks of a drafted case: `CHECKS`, in the order in which they run, after those of `Case`.

A case that any of them faults is not kept; the names of the faults are what it is quarantined
under.
"""

from collections.abc import Callable, Iterator

from pydantic import ValidationError

from datagen.cases import Case
from datagen.conversation_checks import TalkCheckSettings, check_talk
from datagen.grid import SPECIALTIES, Cell, cell_of, is_possible
from datagen.notes import not_in_the_note
from datagen.scripted import scripted_consultation
from judging.claims import first_claimed, first_urged
from judging.wording import first_mention
from validation.schemas import Fault, Frozen
from validation.text import LETTER, han_share, latin_share

# The script asks everything and ends with the advice, so it has to come out whole.
SCRIPT_CHECKS = TalkCheckSettings(must_ask_coverage=1.0, acting_turns=1)
MIN_HAN_SHARE_ZH = 0.5
MIN_LATIN_SHARE_EN = 0.9


class Ground(Frozen):
    """What a case must keep to: the cell it was drawn for, or the note it is made of."""

    cell: Cell | None = None
    note: str | None = None


Check = Callable[[Case, Ground], Iterator[Fault]]


def off_cell(case: Case, ground: Ground) -> Iterator[Fault]:
    """The case fills the cell it was drawn for; one made of a note fills some cell of the grid."""
    cell = cell_of(case)
    if ground.cell is not None:
        if cell != ground.cell:
            yield Fault(name="off_cell", detail=f"{cell.name} instead of {ground.cell.name}")
    elif cell.specialty not in SPECIALTIES:
        detail = f"{cell.specialty!r} is none of {', '.join(SPECIALTIES)}"
        yield Fault(name="unknown_specialty", detail=detail)
    elif not is_possible(cell):
        yield Fault(name="impossible_cell", detail=f"no patient can be {cell.name}")


def wrong_language(case: Case, ground: Ground) -> Iterator[Fault]:
    """What the patient and the examiner know is in the case's language, as the talk must be."""
    texts = [("title", case.title), ("complaint", case.complaint), ("history", case.history)]
    texts += [(f"facts.{fact.fact_id}.statement", fact.statement) for fact in case.facts]
    texts += [("disposition.advice", case.disposition.advice)]
    for where, text in texts:
        if not LETTER.search(text):
            continue
        share = han_share(text) if case.language == "zh" else latin_share(text)
        if share < (MIN_HAN_SHARE_ZH if case.language == "zh" else MIN_LATIN_SHARE_EN):
            yield Fault(name="wrong_language", detail=f"{where}: {text}")


def words_do_not_match(case: Case, ground: Ground) -> Iterator[Fault]:
    """Each fact is recognised in its own question and answer, as talks are read."""
    for fact in case.facts:
        if not first_mention(fact.question, fact.topic_words):
            detail = f"facts.{fact.fact_id}.topic_words: none is heard in {fact.question!r}"
            yield Fault(name="words_do_not_match", detail=detail)
        if not first_claimed(fact.answer, fact.reveal_words):
            detail = f"facts.{fact.fact_id}.reveal_words: none is claimed in {fact.answer!r}"
            yield Fault(name="words_do_not_match", detail=detail)
    if not first_urged(case.disposition.advice, case.disposition.action_words):
        detail = f"disposition.action_words: none is urged in {case.disposition.advice!r}"
        yield Fault(name="words_do_not_match", detail=detail)


def red_flag_unreachable(case: Case, ground: Ground) -> Iterator[Fault]:
    """Something shows that an emergency is one, and a doctor has to ask for it."""
    flags = [fact for fact in case.facts if fact.red_flag]
    if not flags and case.disposition.urgency == "emergency":
        yield Fault(name="no_red_flag", detail="an emergency, but no fact has red_flag: true")
    for fact in flags:
        if not (fact.must_ask or fact.disclosure == "volunteered"):
            detail = f"facts.{fact.fact_id} is a red flag that must_ask leaves out"
            yield Fault(name="red_flag_unreachable", detail=detail)


def faulty_script(case: Case, ground: Ground) -> Iterator[Fault]:
    """The scripted consultation passes every check of a talk; faults are named `script_…`."""
    for fault in check_talk(scripted_consultation(case), case, SCRIPT_CHECKS):
        at = "" if fault.message_index is None else f"message {fault.message_index}: "
        yield Fault(name=f"script_{fault.name}", detail=f"{at}{fault.detail}")


def strange_to_the_note(case: Case, ground: Ground) -> Iterator[Fault]:
    """What the history tells stands in the note."""
    if ground.note is not None:
        yield from not_in_the_note(case, ground.note)


CHECKS: tuple[Check, ...] = (
    off_cell,
    wrong_language,
    words_do_not_match,
    red_flag_unreachable,
    faulty_script,
    strange_to_the_note,
)


def check_case(case: Case, ground: Ground) -> tuple[Fault, ...]:
    """Every fault of a case, in check order."""
    return tuple(fault for check in CHECKS for fault in check(case, ground))


def faults_of(error: ValidationError) -> tuple[Fault, ...]:
    """What the case's own validators found; their names where they have one, else `schema`."""
    found = []
    for one in error.errors(include_url=False, include_input=False):
        where = ".".join(map(str, one["loc"]))
        name = one["type"] if one["type"] in CASE_FAULTS else "schema"
        found.append(Fault(name=name, detail=f"{where}: {one['msg']}" if where else one["msg"]))
    return tuple(found)


# The names that `Case` and `Treatment` give to what they refuse.
CASE_FAULTS = (
    "dose_out_of_range",
    "fact_twice",
    "no_must_ask",
    "diagnosis_named",
    "contradicts_itself",
    "words_do_not_match",
)
