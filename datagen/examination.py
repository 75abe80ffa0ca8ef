"""The examiner: what a doctor orders is answered from the case's findings, never with more.

Results stand at the head of the patient's next turn, in brackets. Data sets alternate user and
assistant, every chat template has both, and a deployed doctor gets results as the user's text;
a tool's message would need a tool that is declared, called and rendered by each template.
"""

import re
from typing import Literal

from datagen.agents import ExaminerView
from datagen.cues import OrderedTest, find_orders, read_cues
from judging.wording import first_mention
from validation.schemas import Frozen, NonBlank

Results = tuple[tuple[str, str], ...]
# "Pulse and blood pressure", "血压和脉搏", "痰分子检测（Xpert）" hold several names.
NAME_PARTS = re.compile(r"[、，,;；/（）()]|\band\b|\bwith\b|\bafter\b|\bon\b|[和与及]")
# What says nothing of which examination a name means.
COMMON = re.compile(
    r"\b(?:examinations?|measurements?|tests?|scores?|state|general|full|the|questionnaire|function)\b"
    r"|查体|检查|测定|化验|触诊|试验|量表|就诊时",
    re.IGNORECASE,
)
LEAST_PART = {"en": 3, "zh": 2}


class OtherTest(Frozen):
    """Something that was ordered and that the case does not hold."""

    name: NonBlank
    answer: Literal["normal", "not_available"]


class Examination(Frozen):
    """An examiner's answer: the numbers of the findings that were ordered, and what else was."""

    findings: tuple[int, ...]
    others: tuple[OtherTest, ...]


def is_order(text: str, view: ExaminerView) -> bool:
    """Whether a doctor's turn may order something: only then is an examiner asked."""
    return bool(find_orders(text, view.language))


def results_by_name(text: str, view: ExaminerView) -> Results:
    """The findings whose names stand in the orders of a turn; a known test else not available.

    Without a model nobody can say that what the case does not hold is normal.
    """
    orders = " ".join(find_orders(text, view.language))
    if not orders:
        return ()
    cues = read_cues(view.language)
    ordered = [test for test in cues.tests if first_mention(orders, test.words)]
    found: dict[str, str] = {}
    for finding in view.findings:
        named = first_mention(orders, _parts(finding.name, view))
        if named or any(first_mention(finding.name, test.words) for test in ordered):
            found[finding.name] = finding.result
    for test in ordered:
        if any(first_mention(name, test.words) for name in found):
            continue
        holder = next((f for f in view.findings if first_mention(f.result, test.words)), None)
        if holder is not None:
            found[holder.name] = holder.result
        elif not _is_part_of_another(test, ordered):
            found[test.name] = cues.not_available
    return tuple(found.items())


def results_by_answer(answer: Examination, view: ExaminerView) -> Results | None:
    """The results that an examiner's answer picks; None where it names a finding that is none.

    Words of results come from the case, never from the model.
    """
    cues = read_cues(view.language)
    if any(not 1 <= number <= len(view.findings) for number in answer.findings):
        return None
    picked = (view.findings[number - 1] for number in dict.fromkeys(answer.findings))
    found = {finding.name: finding.result for finding in picked}
    for other in answer.others:
        words = cues.normal if other.answer == "normal" else cues.not_available
        found.setdefault(other.name.strip(), words)
    return tuple(found.items())


def _is_part_of_another(test: OrderedTest, ordered: list[OrderedTest]) -> bool:
    """A chest X-ray is no examination of the chest."""
    return test.kind == "part" and any(one.kind == "picture" for one in ordered)


def _parts(name: str, view: ExaminerView) -> tuple[str, ...]:
    parts = (COMMON.sub(" ", part).strip() for part in NAME_PARTS.split(name))
    least = LEAST_PART[view.language]
    return tuple(" ".join(part.split()) for part in parts if len(part) >= least)
