from typing import Any

import pytest

from tests.validation.builders import CHINESE, ENGLISH, pair, said, talk
from validation.checks import (
    CONVERSATION_CHECKS,
    PREFERENCE_CHECKS,
    CheckSettings,
    check_conversation,
    check_preference,
)
from validation.schemas import Message, PreferencePair

QUESTION, ANSWER = ENGLISH


def system(text: str = "You are a doctor.") -> Message:
    return Message(role="system", content=text)


def test_good_talks_of_both_languages_pass() -> None:
    for record in (talk(), talk(language="zh"), talk(messages=(system(), *said(*ENGLISH)))):
        assert check_conversation(record, CheckSettings()) is None


@pytest.mark.parametrize(
    ("messages", "fault", "index"),
    [
        (said(QUESTION), "too_few_messages", None),
        ((system(), *said(QUESTION)), "too_few_messages", None),
        (said(*[QUESTION, ANSWER] * 41), "too_many_messages", None),
        (said(ANSWER, QUESTION, first="assistant"), "not_started_by_user", 0),
        ((system(), *said(ANSWER, QUESTION, first="assistant")), "not_started_by_user", 1),
        ((system(), system(), *said(*ENGLISH)), "not_started_by_user", 1),
        ((*said(*ENGLISH), *said(ANSWER, first="assistant")), "roles_out_of_turn", 2),
        ((*said(QUESTION), *said(*ENGLISH)), "roles_out_of_turn", 1),
        (said(QUESTION, ANSWER, "Yes, it does."), "not_ended_by_assistant", 2),
        (said(QUESTION, ANSWER, QUESTION, "Since when?"), "repeated_turn", 2),
        (said(QUESTION, ANSWER, "Yes.", f"  {ANSWER.upper()}"), "repeated_turn", 3),
        (said(QUESTION, ANSWER, "…", "Since when?"), "empty_message", 2),
        (said(QUESTION, "Doctor: Since when?"), "role_label", 1),
    ],
)
def test_a_talk_out_of_shape_falls_under_its_fault(
    messages: tuple[Message, ...], fault: str, index: int | None
) -> None:
    found = check_conversation(talk(messages=messages), CheckSettings())
    assert found is not None
    assert (found.name, found.message_index) == (fault, index)
    assert found.detail


def test_short_turns_may_be_said_twice() -> None:
    record = talk(QUESTION, ANSWER, "Yes.", "Since yesterday morning?", "Yes.", "Thank you.")
    assert check_conversation(record, CheckSettings()) is None


def test_a_tool_answers_a_call_and_the_doctor_goes_on() -> None:
    call = {"role": "assistant", "content": "", "tool_calls": [{"name": "lookup"}]}
    asked = Message.model_validate(call)
    result = Message(role="tool", content='{"interactions": []}')
    told = said("They go together well.", first="assistant")
    good = talk(messages=(*said(QUESTION), asked, result, *told))
    assert check_conversation(good, CheckSettings()) is None
    unanswered = talk(messages=(*said(QUESTION), asked, *told))
    found = check_conversation(unanswered, CheckSettings())
    assert found is not None
    assert found.name == "roles_out_of_turn"
    assert "tool" in found.detail


def test_the_generators_fault_comes_first_under_its_own_name() -> None:
    faults = [{"name": "diagnosis_leaked", "detail": "says migraine", "message_index": 0}]
    found = check_conversation(talk(QUESTION, faults=faults), CheckSettings())
    assert found is not None
    assert found.model_dump() == faults[0]


def test_tolerated_generator_faults_do_not_block_and_others_do() -> None:
    record = talk(faults=[{"name": "few_questions"}, {"name": "red_flag_missed"}])
    settings = CheckSettings(tolerated_faults=("few_questions",))
    found = check_conversation(record, settings)
    assert found is not None
    assert found.name == "red_flag_missed"
    both = CheckSettings(tolerated_faults=("few_questions", "red_flag_missed"))
    assert check_conversation(record, both) is None


def test_good_pairs_of_both_languages_pass() -> None:
    chinese = pair(CHINESE[0], CHINESE[1], "没事，回家吧。", language="zh")
    for record in (pair(), chinese, pair(prompt=ENGLISH[0], margin=0.0)):
        assert check_preference(record, CheckSettings()) is None


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"prompt": said(QUESTION, ANSWER)}, "prompt_not_ended_by_user"),
        ({"prompt": said(ANSWER, QUESTION, first="assistant")}, "not_started_by_user"),
        ({"prompt": (*said(QUESTION), *said(QUESTION))}, "roles_out_of_turn"),
        ({"chosen": said(QUESTION)}, "completion_not_by_assistant"),
        ({"rejected": said(ANSWER, QUESTION, first="assistant")}, "completion_not_by_assistant"),
        ({"rejected": said(f" {ANSWER.upper()} ", first="assistant")}, "chosen_equals_rejected"),
        ({"prompt": said(*[QUESTION, ANSWER] * 40, QUESTION)}, "too_many_messages"),
        ({"chosen": said("Write to me: dr@example.org", first="assistant")}, "email"),
        ({"rejected": said("医生：没事。", first="assistant")}, "role_label"),
        ({"rejected": said("Go home.<|im_end|>", first="assistant")}, "template_token"),
        ({"rejected": said("Go home\ufffd", first="assistant")}, "control_character"),
    ],
)
def test_a_pair_out_of_shape_falls_under_its_fault(changes: dict[str, Any], fault: str) -> None:
    found = check_preference(pair(**changes), CheckSettings())
    assert found is not None
    assert found.name == fault


@pytest.mark.parametrize(
    "rejected",
    ["没有关系，请您放心回家休息，过几天自己就会好起来的，真的没有任何问题。", "x " * 5000],
)
def test_a_rejected_completion_may_be_overlong_or_in_the_wrong_language(rejected: str) -> None:
    assert check_preference(pair(rejected=rejected), CheckSettings()) is None


def test_margin_and_agreement_have_thresholds() -> None:
    record = pair(margin=0.4, agreement=0.6)
    found = check_preference(record, CheckSettings(min_margin=0.5))
    assert found is not None
    assert found.name == "margin_too_small"
    found = check_preference(record, CheckSettings(min_agreement=0.7))
    assert found is not None
    assert found.name == "judges_disagree"


def test_the_registries_hold_each_check_once() -> None:
    for registry in (CONVERSATION_CHECKS, PREFERENCE_CHECKS):
        assert len(set(registry)) == len(registry)
        assert all(check.__doc__ for check in registry)


def test_fields_that_were_added_later_leave_the_names_of_older_rows_as_they_were() -> None:
    older = pair().record_id
    # The name that this row had before the fields were there.
    assert older == "247f9129f0a6580537039f4367611fba68e48474bc626d0afc5002922cdf867e"
    judged = pair(judges=("a",), flip_rate=0.5, length_difference=-3, verified="judge")
    assert judged.record_id != older
    assert PreferencePair.model_validate(judged.model_dump()) == judged


def test_a_talk_of_another_side_than_is_wanted_stays_out() -> None:
    patients = talk(side="patient")
    assert check_conversation(patients, CheckSettings()) is None
    only_doctors = CheckSettings(sides=("doctor",))
    fault = check_conversation(patients, only_doctors)
    assert fault is not None
    assert fault.name == "other_side"
    assert check_conversation(talk(), only_doctors) is None
