import pytest

from datagen.agents import examiner_view, heard_by_patient
from datagen.cues import find_orders, leaves, says_goodbye, split_results, word_results
from datagen.examination import Examination, OtherTest, results_by_answer, results_by_name
from datagen.prompting import read_prompt, render
from judging.wording import first_mention
from tests.datagen.conftest import LIBRARY
from validation.schemas import Message

CHEST = {
    "en": next(c for c in LIBRARY if c.case_id == "en-chest-tightness-office"),
    "zh": next(c for c in LIBRARY if c.case_id == "zh-chest-oppression-driver"),
}

ORDERS = [
    ("en", "I'd like to do an ECG and take your blood pressure."),
    ("en", "Let me listen to your chest, please."),
    ("en", "That sounds hard. May I check your temperature?"),
    ("en", "Please take your temperature now."),
    ("zh", "我先给您做个心电图，量一下血压。"),
    ("zh", "让我按一下您的肚子。"),
    ("zh", "需要做一个尿妊娠试验和B超。"),
    ("zh", "您先量个体温，好吗？"),
]
NO_ORDERS = [
    ("en", "Have you had an ECG before?"),
    ("en", "If it gets worse, we'll do an ECG."),
    ("en", "Is your blood pressure usually high?"),
    ("en", "Did you take your temperature at home?"),
    ("en", "I want to check one thing: is the pain in your chest?"),
    ("zh", "您以前做过心电图吗？"),
    ("zh", "我想看看，您胸口还疼吗？"),
    ("zh", "如果疼得厉害，我们就做心电图。"),
    ("zh", "您平时血压怎么样？"),
    ("zh", "您量过体温没有？"),
]


@pytest.mark.parametrize(("language", "text"), ORDERS)
def test_an_order_is_told_from_other_talk(language, text):
    assert find_orders(text, language)


@pytest.mark.parametrize(("language", "text"), NO_ORDERS)
def test_questions_of_before_and_plans_for_later_order_nothing(language, text):
    assert find_orders(text, language) == ()


@pytest.mark.parametrize("case", LIBRARY, ids=lambda c: c.case_id)
def test_the_questions_of_a_case_order_nothing(case):
    assert [f.question for f in case.facts if find_orders(f.question, case.language)] == []


@pytest.mark.parametrize(("language", "text"), [ORDERS[0], ORDERS[4]])
def test_what_is_ordered_by_name_is_found_and_nothing_more(language, text):
    case = CHEST[language]
    found = results_by_name(text, examiner_view(case))
    assert found == tuple((f.name, f.result) for f in case.findings[:2])


@pytest.mark.parametrize(
    ("language", "text", "told"),
    [
        ("en", "Let me check your temperature.", ("Temperature", "not available at the moment")),
        ("zh", "我给您量一下体温。", ("体温", "暂时没有结果")),
    ],
)
def test_a_known_test_that_the_case_does_not_hold_is_not_available(language, text, told):
    assert results_by_name(text, examiner_view(CHEST[language])) == (told,)


@pytest.mark.parametrize(("language", "normal"), [("en", "nothing abnormal"), ("zh", "未见异常")])
def test_a_models_pick_takes_its_words_from_the_case(language, normal):
    view = examiner_view(CHEST[language])
    others = (OtherTest(name="X", answer="normal"),)
    found = results_by_answer(Examination(findings=(2, 2), others=others), view)
    assert found == ((view.findings[1].name, view.findings[1].result), ("X", normal))


@pytest.mark.parametrize("number", [0, 99])
def test_a_pick_of_a_finding_that_is_none_cannot_be_used(number):
    view = examiner_view(CHEST["en"])
    assert results_by_answer(Examination(findings=(number,), others=()), view) is None


@pytest.mark.parametrize("case", LIBRARY, ids=lambda c: c.case_id)
def test_results_can_be_told_from_the_patients_words(case):
    results = word_results(tuple((f.name, f.result) for f in case.findings), case.language)
    message = Message(role="user", content=f"{results} {case.opening}")
    assert split_results(message, case.language) == (results, case.opening)
    assert split_results(Message(role="user", content=case.opening), case.language) == (
        "",
        case.opening,
    )


@pytest.mark.parametrize("case", LIBRARY, ids=lambda c: c.case_id)
def test_the_examiner_sees_findings_and_nothing_else_of_the_case(case):
    view = examiner_view(case)
    text = render(read_prompt(case.language, "chat", "examiner"), view=view, order="ECG")
    assert all(f.result in text for f in case.findings)
    findings = " ".join(f"{f.name} {f.result}" for f in case.findings)
    unseen = [n for n in case.diagnosis.names if not first_mention(findings, (n,))]
    assert first_mention(text, (case.diagnosis.name, *unseen)) is None
    hidden = [case.history, case.complaint, case.title, case.disposition.advice]
    assert not [t for t in (*hidden, *(f.statement for f in case.facts)) if t in text]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_patient_hears_results_from_the_doctors_side(language):
    results = word_results((("ECG", "x"),), language)
    said = ("Hello.", "Let me do an ECG.", f"{results} Is it bad?")
    roles = ("user", "assistant", "user")
    talk = tuple(Message(role=r, content=c) for r, c in zip(roles, said, strict=True))
    heard = heard_by_patient(talk, language)
    assert [m.content for m in heard] == ["Hello.", f"Let me do an ECG. {results}", "Is it bad?"]


@pytest.mark.parametrize(
    ("language", "text", "gone"),
    [
        ("en", "I have to go now, sorry.", True),
        ("en", "I'm leaving now.", True),
        ("en", "I have to go to the toilet often.", False),
        ("zh", "我得走了。", True),
        ("zh", "我先挂了，谢谢。", True),
        ("zh", "我走路就喘。", False),
    ],
)
def test_a_patient_who_goes_is_told_from_one_who_stays(language, text, gone):
    assert leaves(text, language) is gone


@pytest.mark.parametrize(
    ("language", "text", "bye"),
    [
        ("en", "Goodbye!", True),
        ("en", "By now it is gone.", False),
        ("zh", "再见，医生。", True),
        ("zh", "再说说。", False),
    ],
)
def test_a_goodbye_is_heard(language, text, bye):
    assert says_goodbye(text, language) is bye
