import pytest

from datagen.files import CONVERSATIONS, write_lines
from datagen.generators.generator import Ground
from datagen.generators.summary import SummarySettings, items, read_summaries
from tests.datagen.conftest import LIBRARY
from tests.datagen.generators.conftest import language_in
from validation.checks import CheckSettings, check_conversation
from validation.schemas import Conversation, Fault, Message

SETTINGS = SummarySettings(rows=8)
TALKS = len(LIBRARY)


def play(change=lambda note, body: note):
    """A note that quotes the patient's lines, section by section."""

    def reply(body):
        text = body["messages"][1]["content"]
        language = language_in({"messages": body["messages"][1:]})
        forms = [form.words(language) for form in read_summaries().forms]
        form = next(form for form in forms if form.title in text)
        mark = "P: " if language == "en" else "患："
        told = [line[len(mark) :] for line in text.splitlines() if line.startswith(mark)]
        share = -(-len(told) // len(form.sections))
        colon = ": " if language == "en" else "："
        empty = "not discussed" if language == "en" else "未提及"
        note = "\n".join(
            f"{section}{colon}{' '.join(told[i * share : (i + 1) * share]) or empty}"
            for i, section in enumerate(form.sections)
        )
        return change(note, body)

    return reply


def test_a_note_stands_under_its_talk_in_both_languages(generate):
    made = generate(SETTINGS, play())
    assert made.faults == {}
    assert [record.language for record in made.records] == ["en", "zh"] * 4
    for record in made.records:
        case = next(case for case in LIBRARY if case.case_id == record.case_id)
        request, _ = record.messages
        assert case.opening in request.content
        assert all(fact.answer in request.content for fact in case.facts)
        assert check_conversation(record, CheckSettings()) is None


def test_the_teacher_sees_the_talk_and_never_the_case(generate):
    made = generate(SETTINGS, play())
    for record, body in zip(made.records, made.requests, strict=True):
        case = next(case for case in LIBRARY if case.case_id == record.case_id)
        text = " ".join(message["content"] for message in body["messages"])
        assert not any(f.result in text for f in case.findings if len(f.result) > 20)


def simulated(language, number, **fields):
    case = next(case for case in LIBRARY if case.language == language)
    talk = (Message(role="user", content=f"{case.opening} {number}"),)
    talk += (Message(role="assistant", content=case.disposition.advice),)
    return Conversation(
        language=language, source="simulated/2 m", case_id=case.case_id, messages=talk, **fields
    )


def test_simulated_talks_without_faults_follow_the_scripted_ones(tmp_path):
    good = [simulated(language, n) for n in range(3) for language in ("en", "zh")]
    faulty = simulated("en", 9, faults=(Fault(name="loop"),))
    write_lines(tmp_path / CONVERSATIONS, [faulty, *good])
    ground = Ground(("en", "zh"), LIBRARY, tmp_path)
    every = items(SETTINGS.model_copy(update={"rows": 10_000}), ground)
    forms = len(read_summaries().forms)
    assert len(every) == forms * (TALKS + len(good))
    assert len({(item.talk.record_id, item.form) for item in every}) == len(every)
    for language in ("en", "zh"):
        order = [item.talk for item in every if item.language == language]
        cases = sum(case.language == language for case in LIBRARY)
        assert {talk.persona for talk in order[:cases]} == {"scripted"}
        assert order[cases : cases + 3] == [talk for talk in good if talk.language == language]
    assert faulty.record_id not in {item.talk.record_id for item in every}
    few = items(SETTINGS.model_copy(update={"rows": 50}), ground)
    assert few == every[:50]


def test_a_note_is_not_bought_again_where_a_talk_is_added_before_it(generate):
    first = generate(SETTINGS.model_copy(update={"rows": 2 * TALKS}), play())
    changed = {str(body) for body in first.requests}
    again = generate(SETTINGS.model_copy(update={"rows": TALKS}), play())
    assert {str(body) for body in again.requests} <= changed


def test_talks_that_are_too_long_are_passed_over():
    ground = Ground(("en",), LIBRARY)
    assert items(SETTINGS.model_copy(update={"max_talk_width": 10}), ground) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda note, body: note.split("\n", 1)[1], "missing_section"),
        (lambda note, body: note + " 977", "invented_number"),
        (lambda note, body: note + " rivaroxaban 利伐沙班", "invented_drug"),
        (lambda note, body: "I'm sorry, but I cannot. 抱歉，我不能提供。", "refused"),
        (lambda note, body: note + "\nPatient: yes", "debris"),
        (lambda note, body: note[:20], "too_short"),
    ],
)
def test_a_bad_note_is_quarantined_under_its_fault(generate, change, fault):
    made = generate(SETTINGS.model_copy(update={"rows": 2}), play(change))
    assert made.faults == {fault: 2}


def test_forms_have_as_many_sections_and_a_hint_in_both_languages():
    for form in read_summaries().forms:
        assert form.en.sections != form.zh.sections
        assert form.en.hint != form.zh.hint


def test_every_scripted_talk_of_the_library_is_short_enough():
    assert {
        item.talk.case_id
        for item in items(
            SETTINGS.model_copy(update={"rows": 10_000}), Ground(("en", "zh"), LIBRARY)
        )
    } == {case.case_id for case in LIBRARY}
