"""Replies of a fake teacher that plays the scripted consultation of whatever case it sees."""

from typing import Any

from datagen.cases import Case, read_library
from tests.fake_llm import Body
from tests.structured_replies import structured_reply

CASES = read_library()
POOR_EVERY = 4
POOR = {
    "en": ("All right, go on.", "I see, that is a pity.", "Fine, tell me more about this."),
    "zh": ("好的，您接着说。", "嗯，这样啊，真不容易。", "知道了，再说说吧。"),
}


def scripted_reply(body: Body) -> str:
    """The next line of the case's script; doctor lines of some seeds are poor on purpose."""
    if (shaped := structured_reply(body)) is not None:
        return shaped
    messages: list[dict[str, Any]] = body["messages"]
    system = messages[0]["content"]
    patient_case = next((case for case in CASES if case.complaint in system), None)
    if patient_case is not None:
        return _patient(patient_case, messages)
    opening = messages[1]["content"]
    case = next(case for case in CASES if case.opening == opening)
    return _doctor(case, messages, body.get("seed") or 0)


def _patient(case: Case, messages: list[dict[str, Any]]) -> str:
    asked = messages[-1]["content"]
    turn = sum(message["role"] == "assistant" for message in messages)
    if turn == 0:
        return case.opening
    unasked = case.facts[-1 - (turn % 2)].answer
    return next((f.answer for f in case.facts if f.question == asked), unasked)


def _doctor(case: Case, messages: list[dict[str, Any]], seed: int) -> str:
    turn = sum(message["role"] == "assistant" for message in messages)
    system = messages[0]["content"]
    if "last turn" in system or "最后一次" in system:
        return case.disposition.advice
    if seed % POOR_EVERY == 0:
        poor = POOR[case.language]
        return poor[seed // POOR_EVERY % len(poor)]
    return case.facts[turn % len(case.facts)].question
