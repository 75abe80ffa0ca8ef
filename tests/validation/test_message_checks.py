import pytest
from hypothesis import given
from hypothesis import strategies as st

from validation.message_checks import MESSAGE_CHECKS, MessageSettings
from validation.schemas import Fault, Language, Message

LONG_ENGLISH = "The pain began two days ago and it is worse when I climb the stairs."
LONG_CHINESE = "疼痛是两天前开始的，爬楼梯的时候会加重，休息以后能好一些。"


def check(
    text: str,
    language: Language = "en",
    role: str = "user",
    settings: MessageSettings | None = None,
) -> Fault | None:
    message = Message.model_validate({"role": role, "content": text})
    found = (check(message, language, settings or MessageSettings()) for check in MESSAGE_CHECKS)
    return next((fault for fault in found if fault), None)


@pytest.mark.parametrize(
    ("text", "language", "fault"),
    [
        ("...", "en", "empty_message"),
        ("\u200b", "zh", "empty_message"),
        ("I feel\x07 ill.", "en", "control_character"),
        ("I feel \ufffd ill.", "en", "control_character"),
        ("The fiancÃ© has a fever.", "en", "mojibake"),
        ("It doesnâ€™t hurt.", "en", "mojibake"),
        ("锟斤拷疼了两天。", "zh", "mojibake"),
        ("ä½\xa0å¥½ I am ill", "en", "mojibake"),
        ("Since Monday.<|im_end|>", "en", "template_token"),
        ("[INST] Since Monday.", "en", "template_token"),
        ("Doctor: How long?", "en", "role_label"),
        ("I see.\nPatient : Two days.", "en", "role_label"),
        ("**Doctor:** How long?", "en", "role_label"),
        ("Since Monday. Patient: It hurts.", "en", "role_label"),
        ("医生：多久了？", "zh", "role_label"),
        ("两天了。患者: 很疼。", "zh", "role_label"),
        (LONG_ENGLISH, "zh", "language_mismatch"),
        (LONG_CHINESE, "en", "language_mismatch"),
        ("Боль началась два дня назад и усиливается.", "en", "language_mismatch"),
        ("Боль началась два дня назад и усиливается.", "zh", "language_mismatch"),
        ("I do not know what it is. " * 4, "en", "looping_text"),
        ("我不知道怎么回事。" * 4, "zh", "looping_text"),
        ("See https://example.org/a for more.", "en", "url"),
        ("请看www.example.com的说明", "zh", "url"),
        ("more at example.co.uk today", "en", "url"),
        ("Write to a.b@example.org please.", "en", "email"),
        ("邮箱abc@qq.com联系", "zh", "email"),
        ("Call me on (212) 555-0187 tonight.", "en", "phone_number"),
        ("Ring 020 7946 0958.", "en", "phone_number"),
        ("Call +44 20 7946 0958.", "en", "phone_number"),
        ("我的电话13812345678请回电", "zh", "phone_number"),
        ("电话：010-62345678。", "zh", "phone_number"),
        ("咨询热线400-820-8820。", "zh", "phone_number"),
    ],
)
def test_a_bad_message_falls_under_its_fault(text: str, language: Language, fault: str) -> None:
    found = check(text, language)
    assert found is not None
    assert found.name == fault
    assert found.detail


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Yes.", "en"),
        ("嗯。", "zh"),
        ("39.5", "en"),
        (LONG_ENGLISH, "en"),
        (LONG_CHINESE, "zh"),
        ("His blood pressure was 120/80, then 145/95, pulse 110.", "en"),
        ("Call 911 or 999 now.", "en"),
        ("请立即拨打120。", "zh"),
        ("Please see your doctor: it may be serious.", "en"),
        ("Family history. Mother: diabetes; father: none.", "en"),
        ("The blood sugar was 5.5 mmol/L on 2024-03-15 at 09:00.", "en"),
        ("我做了CT和MRI检查，HbA1c是7.2%，还在吃metformin和aspirin。", "zh"),
        ("我叔叔说：医生很好。", "zh"),
        ("Take 500 mg, then 1000 mg.\n\n1. Morning\n2. Evening", "en"),
        ("It is 37.8 °C – café, naïve, Ménière’s disease.", "en"),
        ("身份是教师，1985年生，体重65公斤，心率每分钟102次。", "zh"),
        ("No, no, no, it does not hurt.", "en"),
        ("He weighs 10.25 kg and takes 2.5 ml twice a day.", "en"),
    ],
)
def test_a_good_message_passes(text: str, language: Language) -> None:
    assert check(text, language) is None


def test_lengths_have_bounds_and_a_chinese_character_counts_twice() -> None:
    settings = MessageSettings(min_width=4, max_width=20, min_assistant_width=6)
    assert check("头痛", "zh", settings=settings) is None
    for text, role, fault in (
        ("ill", "user", "message_too_short"),
        ("Well,", "assistant", "message_too_short"),
        ("疼" * 11, "user", "message_too_long"),
    ):
        found = check(text, "zh", role, settings)
        assert found is not None
        assert found.name == fault
    assert check("疼痛三天了", "zh", settings=settings) is None


def test_public_contacts_may_stand() -> None:
    settings = MessageSettings(public_contacts=("1-800-222-1222", "nhs.uk"))
    text = "Ring poison control at 1-800-222-1222 or look at www.nhs.uk/conditions."
    assert check(text) is not None
    assert check(text, settings=settings) is None
    assert check(f"{text} Or call me: 212-555-0187.", settings=settings) is not None


def test_a_contact_is_not_repeated_in_the_detail() -> None:
    found = check("我的电话13812345678请回电", "zh")
    assert found is not None
    assert "3812345678" not in found.detail


def test_what_a_tool_returns_is_no_speech_but_holds_no_contacts() -> None:
    found = check("Doctor: 13812345678", role="tool")
    assert found is not None
    assert found.name == "phone_number"
    assert (
        check('{"result": "见下文，两种药物可以一起服用，没有相互作用的报告。"}', role="tool")
        is None
    )


def test_a_tool_may_return_nothing() -> None:
    assert check("{}", role="tool") is None


def test_what_a_system_message_says_of_roles_is_no_label() -> None:
    assert check("Doctor: asks. Patient: answers.", role="system") is None


@given(st.text(min_size=1).filter(str.strip), st.sampled_from(["en", "zh"]))
def test_no_text_makes_a_check_fail(text: str, language: Language) -> None:
    fault = check(text, language)
    assert fault is None or fault.name
