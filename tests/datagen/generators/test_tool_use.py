import json

import pytest

from datagen.cases import Treatment
from datagen.generators.generator import Ground
from datagen.generators.simulated_tools import answer, drug_table, misfit, read_clinic, schemas
from datagen.generators.tool_use import ToolUseSettings, items
from tests.datagen.conftest import LIBRARY
from validation.checks import CheckSettings, check_conversation
from validation.schemas import ToolCall

ROUND = len(read_clinic().situations)
SETTINGS = ToolUseSettings(rows=2 * ROUND, most_alike=0.95)
EVERY = items(SETTINGS, Ground(("en", "zh"), LIBRARY))
ASKS = {"en": "Gladly. Which one should it be?", "zh": "好的，请问您要的是哪一个？"}
EXPLAINS = {
    "en": "That is worth a word with your doctor, and there is nothing to book for it today.",
    "zh": "这件事下次可以跟医生提一句，今天不需要为它挂号。",
}
TELLS = {
    "en": "It is done, and this is what came back for you: {0}. Please keep it at hand.",
    "zh": "办好了，结果是这样的：{0}。请您记下来，到时候带上。",
}


def item_of(prompt):
    return next(item for item in EVERY if item.told in prompt)


def called(item, **changes):
    arguments = {("name" if k == "drug" else k): v for k, v in item.expected.items()} | changes
    text = json.dumps(arguments, ensure_ascii=False)
    return {"action": "call", "tool": item.situation.tool, "arguments": text, "text": ""}


def said(text):
    return {"action": "say", "tool": "", "arguments": "", "text": text}


def good_step(item, prompt):
    language, asked = item.language, ASKS[item.language]
    if (
        '{"'
        in (result := prompt.rsplit("Result of the tool: ", 1)[-1].rsplit("工具返回：", 1)[-1])[:2]
    ):
        figures = " ".join(str(v) for v in json.loads(result.split("\n")[0]).values())
        return said(TELLS[language].format(figures))
    if item.situation.mode == "no_call":
        return said(EXPLAINS[language])
    if item.situation.mode == "missing" and asked not in prompt:
        return said(asked)
    return called(item)


def play(step=good_step):
    def reply(body):
        prompt = body["messages"][0]["content"]
        item = item_of(prompt)
        if "action" in prompt:
            return json.dumps(step(item, prompt), ensure_ascii=False)
        again = {"en": "As I said. ", "zh": "就是我说的。"}[item.language]
        return (again if ASKS[item.language] in prompt else "") + item.told

    return reply


def test_every_situation_becomes_a_dialogue_that_validation_takes(generate):
    made = generate(SETTINGS, play())
    assert made.faults == {}
    assert len(made.records) == 2 * ROUND
    for record in made.records:
        assert check_conversation(record, CheckSettings()) is None
        assert record.tools == schemas(record.language)
        assert record.messages[0].role == "system"
        situation = next(s for s in read_clinic().situations if s.name == record.persona)
        calls = [call for m in record.messages for call in m.tool_calls]
        assert len(calls) == (situation.mode != "no_call")
        spoken_first = record.messages[2].content != ""
        assert spoken_first == (situation.mode != "complete")


def test_a_calls_arguments_are_those_of_the_situation_and_its_answer_is_the_tools(generate):
    made = generate(SETTINGS, play())
    drugs = drug_table(LIBRARY)
    for record in made.records:
        for before, message in zip(record.messages, record.messages[1:], strict=False):
            for call in before.tool_calls:
                assert isinstance(call, ToolCall)
                assert misfit(call.name, call.arguments, record.language) is None
                told = answer(call.name, call.arguments, record.language, drugs)
                assert json.loads(message.content) == told


def spoil(**changes):
    def step(item, prompt):
        made = good_step(item, prompt)
        return made | changes if made["action"] == "call" else made

    return step


def early(item, prompt):
    made = good_step(item, prompt)
    return called(item) if made["text"] == ASKS[item.language] else made


def idle(item, prompt):
    return said(EXPLAINS[item.language])


def needless(item, prompt):
    made = good_step(item, prompt)
    if item.situation.mode != "no_call" or "look_up_drug " in prompt or "paracetamol" in prompt:
        return made
    return called(item) | {"tool": "look_up_drug", "arguments": '{"name": "paracetamol"}'}


def mute_on_result(item, prompt):
    made = good_step(item, prompt)
    is_told = made["action"] == "say" and made["text"].startswith(("It is done", "办好了"))
    return said(EXPLAINS[item.language]) if is_told else made


def other_day(item, prompt):
    made = good_step(item, prompt)
    if made["action"] == "call" and item.situation.tool == "book_appointment":
        return called(item, date="2030-01-01")
    return made


def endless(item, prompt):
    return called(item) if item.situation.mode == "complete" else good_step(item, prompt)


@pytest.mark.parametrize(
    ("step", "faults"),
    [
        (spoil(tool="call_a_taxi"), {"bad_tool_call"}),
        (spoil(arguments='{"colour": "red"}'), {"bad_tool_call"}),
        (spoil(arguments="soon"), {"bad_tool_call"}),
        (spoil(arguments="[1]"), {"bad_tool_call"}),
        (
            spoil(tool="look_up_drug", arguments='{"name": "aspirin"}'),
            {"wrong_tool", "wrong_argument"},
        ),
        (other_day, {"wrong_argument"}),
        (early, {"called_too_early"}),
        (idle, {"no_call"}),
        (needless, {"needless_call"}),
        (mute_on_result, {"result_not_used"}),
        (endless, {"no_end"}),
    ],
)
def test_a_dialogue_that_goes_wrong_is_quarantined_under_its_fault(generate, step, faults):
    made = generate(SETTINGS, play(step))
    assert set(made.faults) == faults


@pytest.mark.parametrize(
    ("name", "arguments", "wrong"),
    [
        ("book_appointment", {"department": "neurology", "date": "2026-12-09"}, None),
        ("book_appointment", {"department": "neurology", "date": "2026-02-31"}, "a day"),
        ("book_appointment", {"department": "neurology", "date": "tomorrow"}, "a day"),
        ("book_appointment", {"department": "magic", "date": "2026-12-09"}, "one of"),
        ("book_appointment", {"department": "neurology"}, "needs 'date'"),
        ("look_up_drug", {"name": 3}, "a text"),
        ("look_up_drug", {"name": "ibuprofen", "dose": "1"}, "no argument 'dose'"),
    ],
)
def test_calls_are_held_to_their_schema(name, arguments, wrong):
    found = misfit(name, arguments, "en")
    assert found is None if wrong is None else wrong in found


def test_the_tools_answer_alike_for_alike_arguments_and_some_days_are_full():
    drugs = drug_table(())
    days = [{"department": "neurology", "date": f"2026-12-{d:02d}"} for d in range(1, 29)]
    first = [answer("book_appointment", day, "en", drugs) for day in days]
    assert first == [answer("book_appointment", day, "en", drugs) for day in days]
    assert {one["status"] for one in first} == {"booked", "full"}
    english = answer("look_up_drug", {"name": "Acetaminophen"}, "en", drugs)
    chinese = answer("look_up_drug", {"name": "扑热息痛"}, "zh", drugs)
    assert english["most_in_24_hours"] == chinese["most_in_24_hours"] == "4 g"
    assert answer("look_up_drug", {"name": "nosuchol"}, "en", drugs)["status"] == "not_found"


def test_drugs_that_the_library_gives_to_adults_can_be_looked_up():
    treatment = Treatment(
        drug="Colchicine",
        dose=500,
        unit="microgram",
        route="oral",
        doses_a_day=2,
        least_dose=500,
        most_dose=500,
        most_a_day=2000,
        source="a formulary",
    )
    adult = next(c for c in LIBRARY if c.language == "en" and c.patient.age_years > 18)
    found = drug_table([adult.model_copy(update={"treatments": (treatment,)})])
    told = answer("look_up_drug", {"name": "colchicine"}, "en", found)
    assert (told["usual_adult_dose"], told["most_in_24_hours"]) == (
        "500 microgram",
        "2000 microgram",
    )
    assert told["given_for"] == adult.diagnosis.name
    young = next(c for c in LIBRARY if c.language == "en" and c.patient.age_years < 18)
    child = young.model_copy(update={"treatments": (treatment,)})
    assert answer("look_up_drug", {"name": "colchicine"}, "en", drug_table([child]))["status"] == (
        "not_found"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"route": "intravenous"},
        {"drug": "Aspirin (loading dose, chewed)"},
        {"route": "口服，首日可先1 mg"},
    ],
)
def test_doses_of_emergencies_and_infusions_cannot_be_looked_up(changes):
    entry = {"drug": "Nosuchol", "route": "oral", "unit": "mg", "source": "a formulary"}
    doses = dict.fromkeys(("dose", "doses_a_day", "least_dose", "most_dose", "most_a_day"), 1)
    adult = next(c for c in LIBRARY if c.patient.age_years > 18)
    for fields, more in ((entry, 1), (entry | changes, 0)):
        case = adult.model_copy(update={"treatments": (Treatment(**fields, **doses),)})
        assert len(drug_table([case])) == len(read_clinic().drugs) + more


def test_schemas_are_worded_in_their_language():
    for tool, english, chinese in zip(
        read_clinic().tools, schemas("en"), schemas("zh"), strict=True
    ):
        assert english["function"]["name"] == chinese["function"]["name"] == tool.name
        assert english["function"]["description"] == tool.en
        assert chinese["function"]["description"] == tool.zh
