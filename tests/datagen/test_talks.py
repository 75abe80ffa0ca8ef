import asyncio
import json

import pytest

from datagen.access import open_cast
from datagen.agents import patient_view
from datagen.cases import Treatment
from datagen.conversation_checks import TalkCheckSettings, check_talk
from datagen.meter import Meter
from datagen.personas import Persona, read_personas
from datagen.planning import Direction
from datagen.scripted import scripted_consultation
from datagen.sides import patient_side
from datagen.simulation import Ask, StopSettings, TalkSettings
from datagen.speaking import Speaker
from datagen.talks import make_talk, settle, talk_roles
from tests.datagen.conftest import LIBRARY, ScriptPlayer, case_of
from tests.fake_llm import FakeLLM
from tests.structured_replies import asked_shape
from validation.checks import CheckSettings, check_conversation
from validation.schemas import Conversation, Fault, Message

LANGUAGES = ("en", "zh")
KNOWS_THE_TALK = ("You know nothing but what is said in this talk", "除了这次谈话里说到的")
PATIENT = ("You play a patient", "您在问诊训练中扮演")
NOTE = ("An earlier try at this talk", "这段谈话先前有一次")
CRITIC = {"remarks", "score"}


def who(body):
    if shape := asked_shape(body):
        return {
            frozenset({"remarks", "score"}): "critic",
            frozenset({"findings", "others"}): "examiner",
            frozenset({"agenda", "order", "mood"}): "planner",
            frozenset({"lines"}): "polisher",
        }[shape]
    system = body["messages"][0]["content"]
    return "doctor" if any(rest in system for rest in KNOWS_THE_TALK) else "patient"


def noted(body):
    return any(note in body["messages"][0]["content"] for note in NOTE)


def all_text(body):
    return json.dumps(body, ensure_ascii=False)


def make(access, server, case, settings, style="chat", checks=None, clinician=None):
    async def run():
        asked = access(server.base_url, style, max_attempts=2, timeout_seconds=5)
        ask = Ask(case=case, persona=read_personas()[0], sample_index=0, clinician=clinician)
        roles = talk_roles(settle(settings, asked, None))
        async with open_cast(asked, roles, Meter()) as cast:
            return await make_talk(ask, settings, checks or TalkCheckSettings(), Speaker(cast))

    return asyncio.run(run())


def turns(case, **fields):
    return TalkSettings(doctor_turns=len(case.facts) + 1, **fields)


def played(replies, player=None):
    """Replies by who is asked; the case's script for everyone else, and where one is None."""
    script = player or ScriptPlayer()

    def reply(body):
        own = replies.get(who(body))
        said = own(body) if own else None
        return script(body) if said is None else said

    return reply


def critique(*remarks, score=4):
    fields = ("fault", "message_index", "sentence", "serious")
    told = [dict(zip(fields, remark, strict=True)) for remark in remarks]
    return json.dumps({"remarks": told, "score": score}, ensure_ascii=False)


# The critic


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_critic_sees_the_whole_case_and_its_verdict_is_stored(access, language):
    case = case_of(language)
    answer = critique(("unnatural", 2, "Stiff.", False))
    with FakeLLM(played({"critic": lambda body: answer})) as server:
        talk = make(access, server, case, turns(case))
        (asked,) = [r.body for r in server.requests if who(r.body) == "critic"]
    text = asked["messages"][0]["content"]
    for hidden in (case.diagnosis.name, case.disposition.advice, *case.contraindications):
        assert hidden in text
    assert all(f.result in text for f in case.findings)
    assert all(message.content in text for message in talk.messages)
    assert talk.verdict.score == 4
    assert talk.verdict.model == "fake"
    assert [remark.fault for remark in talk.verdict.remarks] == ["unnatural"]
    assert talk.faults == ()
    assert talk.repairs == 0


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_serious_remark_is_a_fault_where_it_cannot_be_repaired(access, language):
    case = case_of(language)
    answer = critique(("unsafe_advice", None, "No safety net.", True), score=1)
    with FakeLLM(played({"critic": lambda body: answer})) as server:
        talk = make(access, server, case, turns(case, repairs=0))
    assert talk.faults == (Fault(name="unsafe_advice", detail="critic: No safety net."),)


def test_a_remark_on_a_message_that_is_none_is_about_the_whole_talk(access):
    case = case_of("en")
    answer = critique(("unnatural", 77, "Stiff.", True))
    with FakeLLM(played({"critic": lambda body: answer})) as server:
        talk = make(access, server, case, turns(case, repairs=0))
    assert talk.faults[0].message_index is None


def test_a_critic_who_gives_no_verdict_leaves_a_fault_that_says_so(access):
    case = case_of("en")
    with FakeLLM(played({"critic": lambda body: "All is well."})) as server:
        talk = make(access, server, case, turns(case))
        asked = [r for r in server.requests if who(r.body) == "critic"]
    assert [fault.name for fault in talk.faults] == ["not_criticised"]
    assert talk.verdict is None
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("style", "examiner", "critic", "repairs"),
    [("chat", "model", True, 1), ("transcript", "findings", False, 0)],
)
def test_the_style_decides_what_the_settings_leave_open(access, style, examiner, critic, repairs):
    settled = settle(TalkSettings(), access("http://127.0.0.1:9/v1", style), None)
    assert (settled.examiner, settled.critic, settled.repairs) == (examiner, critic, repairs)
    own = TalkSettings(examiner="off", critic=not critic, repairs=3)
    assert settle(own, access("http://127.0.0.1:9/v1", style), None) == own


# Repairs


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_repair_keeps_the_good_prefix_and_buys_only_what_follows(access, language):
    case = case_of(language)
    leak = {"en": "It is my {}, I am sure.", "zh": "我肯定这是{}。"}[language]
    leak = leak.format(case.diagnosis.names[0])
    place = 4

    def patient(body):
        at_place = len(body["messages"]) == 2 + place
        return leak if at_place and not noted(body) else None

    with FakeLLM(played({"patient": patient})) as server:
        talk = make(access, server, case, turns(case))
        spoken = [r.body for r in server.requests if who(r.body) in ("doctor", "patient")]
    assert talk.messages == scripted_consultation(case).messages
    assert talk.repairs == 1
    assert talk.faults == ()
    count = len(talk.messages)
    assert len(spoken) == count + (count - place)
    redrawn = spoken[count:]
    assert who(redrawn[0]) == "patient"
    assert noted(redrawn[0])
    assert leak not in all_text(redrawn)
    # Nobody's note names what that one may not know.
    system = redrawn[0]["messages"][0]["content"]
    assert not [n for n in case.diagnosis.names if n.lower() in system.lower()]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_critics_words_reach_neither_speaker(access, language):
    case = case_of(language)
    secret = f"It is {case.diagnosis.name}."

    def critic(body):
        return critique(("red_flag_not_acted_on", 3, secret, True), score=1)

    with FakeLLM(played({"critic": critic})) as server:
        talk = make(access, server, case, turns(case))
        spoken = [r.body for r in server.requests if who(r.body) in ("doctor", "patient")]
        critics = [r.body for r in server.requests if who(r.body) == "critic"]
    redrawn = spoken[len(talk.messages) :]
    assert len(redrawn) == len(talk.messages) - 3
    assert [noted(b) for b in redrawn] == [who(b) == "doctor" for b in redrawn]
    assert not any(secret in all_text(body) for body in spoken)
    assert len(critics) == 2
    assert [f.name for f in talk.faults] == ["red_flag_not_acted_on"]


def test_a_talk_that_the_rules_send_to_repair_is_not_read_by_the_critic_before(access):
    case = case_of("en")

    def patient(body):
        return None if noted(body) or len(body["messages"]) < 4 else "And then it was like"

    with FakeLLM(played({"patient": patient})) as server:
        make(access, server, case, turns(case))
        asked = [who(r.body) for r in server.requests]
    assert asked.count("critic") == 1


def test_what_was_not_asked_gets_turns_for_asking_again(access):
    case = case_of("en")
    idle = "I see. What else would you tell me?"

    def doctor(body):
        closing = "Ask nothing more" in body["messages"][0]["content"]
        return None if closing or noted(body) else f"{idle} {len(body['messages'])}?"

    def patient(body):
        opening = len(body["messages"]) == 2
        return None if opening or noted(body) else f"Nothing that matters, {len(body['messages'])}."

    checks = TalkCheckSettings(must_ask_coverage=1.0, alike=1.0, loop_share=1.0)
    with FakeLLM(played({"doctor": doctor, "patient": patient})) as server:
        talk = make(access, server, case, turns(case, critic=False), checks=checks)
    asked = [m.content for m in talk.messages if m.role == "assistant"]
    missed = sum(fact.must_ask for fact in case.facts)
    assert talk.repairs == 1
    assert sum(idle in text for text in asked) == max(0, len(case.facts) - missed)


def test_what_is_still_faulty_after_its_repairs_is_kept_with_its_faults(access):
    case = case_of("en")
    with FakeLLM(played({"patient": lambda body: "And then it was like"})) as server:
        talk = make(access, server, case, turns(case, repairs=2, critic=False, opening="case"))
    assert talk.repairs == 2
    assert "truncated" in {fault.name for fault in talk.faults}


@pytest.mark.parametrize("settings", [{}, {"method": "plan_play_polish"}])
def test_a_repaired_talk_is_made_again_out_of_the_journal(access, settings):
    case = case_of("zh")

    def patient(body):
        return None if noted(body) or len(body["messages"]) != 6 else "我觉得这个情况是从"

    with FakeLLM(played({"patient": patient})) as server:
        first = make(access, server, case, turns(case, **settings))
        bought = len(server.requests)
        again = make(access, server, case, turns(case, **settings))
        assert len(server.requests) == bought
    assert first == again
    assert first.repairs == 1


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_fault_has_words_of_its_own_for_its_speaker(language):
    doctors = ("must_ask_missed", "wrong_dose", "loop", "unsafe_advice", "red_flag_not_acted_on")
    patients = ("diagnosis_leaked", "contradiction", "truncated", "role_swap")
    direction = Direction(doctor_faults=doctors, patient_faults=patients)
    doctor = direction.note("doctor", language).splitlines()
    patient = direction.note("patient", language).splitlines()
    assert len({*doctor[1:]}) == len(doctors)
    assert len({*patient[1:]}) == len(patients)
    assert len(direction.note("doctor", language, closing=True).splitlines()) == len(doctor) - 1
    assert Direction(doctor_faults=("too_short",)).note("doctor", language, closing=True) == ""


# The doctor's view


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_doctors_prompts_hold_nothing_of_the_case_also_when_repaired_and_planned(
    access, language
):
    case = case_of(language)
    remark = ("unsafe_advice", 1, case.diagnosis.name, True)
    replies = {"critic": lambda body: critique(remark)}
    with FakeLLM(played(replies)) as server:
        make(access, server, case, turns(case, method="plan_play_polish"))
        systems = {
            r.body["messages"][0]["content"] for r in server.requests if who(r.body) == "doctor"
        }
    assert len(systems) >= 3
    known = [case.diagnosis.name, case.complaint, case.history, case.title, case.opening]
    known += [f.statement for f in case.facts] + [f.result for f in case.findings]
    known += [f.question for f in case.facts] + [f.answer for f in case.facts]
    for system in systems:
        assert not [text for text in (*known, *case.diagnosis.names) if text in system]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_clinician_of_ones_own_takes_the_doctors_seat(access, language):
    case = case_of(language)
    manner = {"en": "You are a nurse on night duty.", "zh": "您是值夜班的护士。"}[language]
    nurse = Persona(persona_id="nurse", manner={language: manner}, seat="clinician")
    with FakeLLM(ScriptPlayer()) as server:
        talk = make(access, server, case, turns(case, critic=False), clinician=nurse)
        bodies = [r.body for r in server.requests]
    assert talk.persona == f"{read_personas()[0].persona_id} with nurse"
    assert all((manner in all_text(b)) is (who(b) == "doctor") for b in bodies)


# The examiner


def chest(language):
    name = {"en": "en-chest-tightness-office", "zh": "zh-chest-oppression-driver"}[language]
    return next(case for case in LIBRARY if case.case_id == name)


ORDER = {"en": "Let me do an ECG.", "zh": "我先给您做个心电图。"}


def ordering(language, place=3):
    def doctor(body):
        closing = any(w in body["messages"][0]["content"] for w in ("Ask nothing more", "不再提问"))
        return ORDER[language] if len(body["messages"]) == 1 + place and not closing else None

    return doctor


@pytest.mark.parametrize("examiner", ["model", "findings"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_an_order_brings_its_result_into_the_talk(access, language, examiner):
    case = chest(language)
    settings = turns(case, examiner=examiner, critic=False, repairs=0, min_doctor_turns=1)
    with FakeLLM(played({"doctor": ordering(language)})) as server:
        talk = make(access, server, case, settings)
        asked = [r.body for r in server.requests]
    finding = case.findings[0]
    assert talk.messages[3].content == ORDER[language]
    told = talk.messages[4].content
    assert finding.result.rstrip("。.") in told
    assert not [f.result for f in case.findings[1:] if f.result in told]
    assert [m.role for m in talk.messages[3:6]] == ["assistant", "user", "assistant"]
    doctors = [b for b in asked if who(b) == "doctor"]
    assert doctors[2]["messages"][-1]["content"] == told
    patients = [b for b in asked if who(b) == "patient"]
    assert finding.result.rstrip("。.") in patients[2]["messages"][-1]["content"]
    own = [m["content"] for m in patients[-1]["messages"] if m["role"] == "assistant"]
    assert not [text for text in own if finding.result in text]
    assert [who(b) for b in asked].count("examiner") == (examiner == "model")
    assert not [f for f in talk.faults if f.name in ("unordered_result", "role_swap")]


def test_the_examiner_is_told_the_order_and_no_diagnosis(access):
    case = chest("en")
    with FakeLLM(played({"doctor": ordering("en")})) as server:
        make(access, server, case, turns(case, critic=False, repairs=0))
        (asked,) = [r.body for r in server.requests if who(r.body) == "examiner"]
    text = all_text(asked)
    assert ORDER["en"] in text
    hidden = [case.diagnosis.name, case.opening, case.history, *case.diagnosis.names]
    assert not [one for one in hidden if one.lower() in text.lower()]


def test_an_examiner_who_cannot_be_understood_is_replaced_by_the_names(access):
    case = chest("en")
    replies = {"doctor": ordering("en"), "examiner": lambda body: "It looks bad."}
    with FakeLLM(played(replies)) as server:
        talk = make(access, server, case, turns(case, critic=False, repairs=0))
    assert case.findings[0].result in talk.messages[4].content


def test_without_an_examiner_an_order_brings_nothing(access):
    case = chest("en")
    settings = turns(case, examiner="off", critic=False, repairs=0)
    with FakeLLM(played({"doctor": ordering("en")})) as server:
        talk = make(access, server, case, settings)
    assert case.findings[0].result not in talk.messages[4].content


@pytest.mark.parametrize(
    ("language", "mark"), [("en", "[Examination results: "), ("zh", "【检查结果：")]
)
def test_results_that_a_patient_makes_up_are_taken_off(access, language, mark):
    case = case_of(language)
    end = {"en": "] ", "zh": "】"}[language]
    script = ScriptPlayer()

    def patient(body):
        return f"{mark}ECG{end}{script(body)}"

    with FakeLLM(played({"patient": patient})) as server:
        talk = make(access, server, case, turns(case, critic=False, repairs=0))
    assert talk.messages == scripted_consultation(case).messages


# How a talk ends


@pytest.mark.parametrize(
    ("language", "bye"), [("en", "Goodbye, and take care."), ("zh", "再见，您多保重。")]
)
@pytest.mark.parametrize("stops", [True, False])
def test_a_talk_is_cut_when_both_have_said_goodbye(access, language, bye, stops):
    case = case_of(language)

    def doctor(body):
        return f"{case.facts[0].question} {bye}" if len(body["messages"]) == 4 else None

    def patient(body):
        return bye if len(body["messages"]) == 6 else None

    stop = StopSettings(goodbye=stops)
    settings = turns(case, stop=stop, critic=False, repairs=0)
    with FakeLLM(played({"doctor": doctor, "patient": patient})) as server:
        talk = make(access, server, case, settings)
    assert (len(talk.messages) == 4) is stops
    assert talk.messages[-1].role == "assistant"


@pytest.mark.parametrize(
    ("language", "leaving"), [("en", "Sorry, I have to go now."), ("zh", "不好意思，我得走了。")]
)
@pytest.mark.parametrize("stops", [True, False])
def test_a_patient_who_leaves_gets_the_advice_and_no_more(access, language, leaving, stops):
    case = case_of(language)

    def patient(body):
        return leaving if len(body["messages"]) == 4 else None

    stop = StopSettings(leaving=stops)
    with FakeLLM(played({"patient": patient})) as server:
        talk = make(access, server, case, turns(case, stop=stop, critic=False, repairs=0))
    assert (len(talk.messages) == 4) is stops
    assert talk.messages[-1].content == case.disposition.advice


def test_a_doctor_who_orders_has_not_ended_the_talk(access):
    case = chest("en")
    settings = turns(case, min_doctor_turns=1, critic=False, repairs=0)
    with FakeLLM(played({"doctor": ordering("en", place=1)})) as server:
        talk = make(access, server, case, settings)
    assert talk.messages[1].content == ORDER["en"]
    assert len(talk.messages) == 2 * len(case.facts) + 2


# Plan and polish


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_plan_directs_both_players_and_the_talk_is_polished(access, language):
    case = case_of(language)
    polish = {"en": "Well, {}", "zh": "嗯，{}"}[language]
    mood = {"en": "You grow impatient.", "zh": "您越来越不耐烦。"}[language]
    plan = json.dumps({"agenda": ["family", "alarm_signs"], "order": [3, 1], "mood": mood})
    said = [m.content for m in scripted_consultation(case).messages]
    lines = json.dumps({"lines": [polish.format(text) for text in said]})
    replies = {"planner": lambda body: plan, "polisher": lambda body: lines}
    settings = turns(case, method="plan_play_polish", critic=False, repairs=0)
    with FakeLLM(played(replies)) as server:
        talk = make(access, server, case, settings)
        asked = [r.body for r in server.requests]
    assert [m.content for m in talk.messages] == [polish.format(text) for text in said]
    assert talk.source.startswith("simulated-planned/")
    assert who(asked[0]) == "planner"
    assert who(asked[-1]) == "polisher"
    patient = next(b for b in asked if who(b) == "patient")["messages"][0]["content"]
    doctor = next(b for b in asked if who(b) == "doctor")["messages"][0]["content"]
    assert mood in patient
    assert mood not in doctor
    family = {"en": "illness in the family", "zh": "家里人的病"}[language]
    assert family in doctor
    assert case.diagnosis.name not in all_text(asked[0])


@pytest.mark.parametrize("spoil", ["too_few", "cut", "numbers", "no_json"])
def test_a_polish_that_does_not_serve_is_left_out(access, spoil):
    case = next(
        c
        for c in LIBRARY
        if any(ch.isdigit() for m in scripted_consultation(c).messages for ch in m.content)
    )
    said = [m.content for m in scripted_consultation(case).messages]
    lines = {
        "too_few": said[1:],
        "cut": [said[0][:-4], *said[1:]],
        "numbers": ["".join(c for c in text if not c.isdigit()) for text in said],
        "no_json": None,
    }[spoil]
    answer = "Here you are." if lines is None else json.dumps({"lines": lines})
    settings = turns(case, method="plan_play_polish", critic=False, repairs=0)
    with FakeLLM(played({"polisher": lambda body: answer})) as server:
        talk = make(access, server, case, settings)
    assert [m.content for m in talk.messages] == said


# The patient's side


@pytest.mark.parametrize("case", LIBRARY, ids=lambda c: c.case_id)
def test_a_talk_from_the_patients_side_passes_validation(case):
    talk = scripted_consultation(case)
    view = patient_view(case, read_personas()[0])
    swapped = patient_side(talk, view)
    assert check_conversation(swapped, CheckSettings()) is None
    assert [m.role for m in swapped.messages[:3]] == ["system", "user", "assistant"]
    learnt = [m.content for m in swapped.messages if m.role == "assistant"]
    assert learnt == [m.content for m in talk.messages if m.role == "user"]
    assert all(fact.statement in swapped.messages[0].content for fact in case.facts)
    assert case.diagnosis.name not in swapped.messages[0].content
    assert swapped.side == "patient"
    assert swapped.record_id != talk.record_id


def test_the_patients_side_keeps_the_patients_faults_at_their_new_places():
    case = case_of("en")
    talk = scripted_consultation(case)
    faults = (
        Fault(name="contradiction", message_index=2),
        Fault(name="must_ask_missed"),
        Fault(name="truncated", message_index=len(talk.messages) - 1),
    )
    fields = talk.model_dump(exclude={"record_id"}) | {"faults": faults}
    faulty = Conversation.model_validate(fields)
    swapped = patient_side(faulty, patient_view(case, read_personas()[0]))
    assert swapped.faults == (Fault(name="contradiction", message_index=4),)
    assert swapped.messages[4].content == talk.messages[2].content


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_dose_out_of_range_and_an_unordered_result_are_faults_of_a_talk(language):
    case = case_of(language)
    treatment = Treatment(
        drug="X",
        dose=10,
        unit="mg",
        route="r",
        doses_a_day=1,
        least_dose=5,
        most_dose=10,
        most_a_day=10,
        source="s",
    )
    case = case.model_copy(update={"treatments": (treatment,)})
    dose = {"en": "Take X 20 mg today.", "zh": "今天吃X 20毫克。"}[language]
    told = {"en": "Your ECG shows an infarct.", "zh": "您的心电图显示有问题。"}[language]
    results = {"en": "[Examination results: ECG: bad] Oh.", "zh": "【检查结果：心电图：坏】啊？"}
    said = [m.content for m in scripted_consultation(case).messages]

    def found(*contents):
        roles = ("user", "assistant")
        messages = [Message(role=roles[i % 2], content=c) for i, c in enumerate(contents)]
        talk = Conversation(
            language=language, source="t", case_id=case.case_id, messages=tuple(messages)
        )
        names = ("wrong_dose", "unordered_result")
        return [(f.name, f.message_index) for f in check_talk(talk, case) if f.name in names]

    assert found(said[0], dose) == [("wrong_dose", 1)]
    assert found(said[0], told) == [("unordered_result", 1)]
    assert found(said[0], ORDER[language], results[language], told) == []
    assert found(said[0], said[1], results[language], dose) == [
        ("wrong_dose", 3),
        ("unordered_result", 2),
    ]
