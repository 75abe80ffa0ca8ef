import pytest

from datagen.generators.note_checks import (
    drugs_named,
    invented_drug,
    invented_number,
    missing_section,
    numbers_said,
)
from datagen.generators.simulated_tools import drug_table
from datagen.generators.summary import SummarySettings, read_summaries
from datagen.generators.text_checks import text_fault, truncated
from datagen.scripted import scripted_messages
from tests.datagen.conftest import LIBRARY


@pytest.mark.parametrize(
    ("talk", "numbers"),
    [
        ("It began three days ago, 38.5 at most.", {"3", "38.5"}),
        ("Twenty-five minutes, twice", {"25", "2"}),
        ("二十五分钟，两次，38.5度", {"25", "2", "38.5"}),
        ("十二个小时", {"12"}),
        ("三个半小时", {"3", ".5"}),
        ("一百二十", {"120"}),
    ],
)
def test_numbers_are_read_as_digits_and_as_words(talk, numbers):
    assert numbers <= numbers_said(talk)


def test_a_number_that_nobody_said_is_found_and_list_numbers_are_none():
    talk = "I have had it for three days, temperature 38.5."
    assert invented_number("Fever of 38.5 °C for 3 days.\n1. Rest\n2. Fluids", talk) is None
    assert invented_number("Wakes at 03:00, 0.5 h.", "I wake at three for half an hour") is None
    assert "39" in invented_number("Fever of 39 °C.", talk).detail
    assert invented_number("发热38.5度3天，最高39度", "烧了三天，38.5度").name == "invented_number"


@pytest.mark.parametrize(
    ("note", "language", "named"),
    [
        ("Takes ramipril, Metoprolol and warfarin.", "en", ["warfarin", "metoprolol"]),
        ("On omeprazole; no penicillin.", "en", ["omeprazole", "penicillin"]),
        ("服用阿托伐他汀和华法林。", "zh", ["华法林", "他汀"]),
    ],
)
def test_drugs_show_by_name_and_by_ending(note, language, named):
    found = drugs_named(
        note, language, ("warfarin", "华法林"), ("olol", "prazole", "cillin", "他汀")
    )
    assert found == named


def test_a_drug_that_nobody_named_is_found():
    names, endings = ("ibuprofen",), ("cillin",)
    assert invented_drug("No amoxicillin.", "I took amoxicillin", "en", names, endings) is None
    assert invented_drug("Took ibuprofen.", "a painkiller", "en", names, endings) is not None


def test_sections_must_stand_in_their_order_at_the_beginning_of_lines():
    sections = ("Subjective", "Plan")
    assert missing_section("Subjective: a\n**Plan**: b", sections) is None
    assert missing_section("Plan: b\nSubjective: a", sections) is not None
    assert missing_section("Subjective: the plan: b", sections) is not None
    assert missing_section("主诉：a\n现病史：b", ("主诉", "现病史")) is None


# As a careful clinician would write them from the scripted talks of these cases.
NOTES = {
    "en-night-toilet-trips": (
        ("Subjective", "Objective", "Assessment", "Plan"),
        """Subjective: Nocturia 4 times a night for 1 year with hesitancy, weak stream and
terminal dribbling. Denies haematuria and dysuria. Never in retention, no nocturnal enuresis.
Denies back pain, leg weakness and weight loss. Takes an over-the-counter antihistamine
sleeping tablet every night (his wife does not know). Drinks 2 pints of beer and 3 mugs of tea
most evenings. Worst is daytime exhaustion ("shattered"). Not unusually thirsty.
Objective: none reported.
Assessment: Probable prostate enlargement; nothing in the history to suggest cancer.
Plan: Stop the sleeping tablets, reduce evening fluids, keep a bladder diary. Review in 4 weeks.
Same-day help if blood is seen or urine cannot be passed.""",
    ),
    "zh-winter-morning-headache": (
        ("主诉", "现病史", "既往史", "用药与过敏史", "初步考虑与处理"),
        """主诉：晨起头痛、双腿发软伴呕吐1次。
现病史：睡前无不适，今晨6时醒来即头痛。昨夜屋内生煤炉取暖，门窗紧闭。同屋老伴也有头晕、恶心，家中的猫萎靡、叫不起来。\
如厕时晕倒1次，时间不详。有胸闷、心慌，否认胸痛。否认一侧肢体无力及言语不清。家中报警器因嫌吵上周自行拔除，不愿让儿子知道。
既往史：未提及。
用药与过敏史：未提及。
初步考虑与处理：考虑一氧化碳中毒。立即吸氧，呼叫120送有高压氧的医院，老伴同查。原房间暂不居住。\
如出现意识模糊、抽搐或胸痛，立即告知。""",
    ),
}


@pytest.mark.parametrize("case_id", NOTES)
def test_a_careful_clinicians_note_holds_to_its_talk(case_id):
    case = next(case for case in LIBRARY if case.case_id == case_id)
    sections, note = NOTES[case_id]
    talk = "\n".join(message.content for message in scripted_messages(case))
    names = [name for drug in drug_table(LIBRARY) for name in drug.names]
    endings = read_summaries().drug_endings[case.language]
    assert missing_section(note, sections) is None
    assert invented_number(note, talk) is None
    assert invented_drug(note, talk, case.language, names, endings) is None
    assert text_fault(note, case.language, SummarySettings().note, but=(truncated,)) is None
    worse = note + (" Took ibuprofen." if case.language == "en" else "服用布洛芬。")
    assert invented_drug(worse, talk, case.language, names, endings) is not None
