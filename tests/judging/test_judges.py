import json

import pytest

from endpoints.errors import FaultyCompletion
from judging.comparing import Comparison, compare, compare_by_all, decide
from judging.errors import JudgeError, JudgePromptError, NoFigure
from judging.grading import ErrorType, grade, grade_by_all
from judging.panel import Context, JudgeSettings, PermittedDose, Reference
from judging.prompting import PROMPTS, judging_digests, render_prompt
from judging.rubric_files import read_rubric
from tests.judging.conftest import graded
from validation.schemas import Message

RUBRIC = read_rubric("doctor_turn")
ERRORS = (
    ErrorType(name="jargon", describes={"en": "Hard words.", "zh": "术语太多。"}),
    ErrorType(name="coldness", describes={"en": "A cold tone.", "zh": "语气冷淡。"}),
)
TALK = {
    "en": ("My belly hurts.", "Since when?", "Pain is good for you."),
    "zh": ("我肚子疼。", "疼多久了？", "疼点儿好。"),
}
HIDDEN = {"en": "ruptured spleen", "zh": "脾破裂"}


def context(language):
    return Context(
        language=language,
        talk=(Message(role="user", content=TALK[language][0]),),
        reference=Reference(
            diagnosis=HIDDEN[language],
            urgency="emergency",
            treatments=(
                PermittedDose(drug="X", least_dose=5, most_dose=10, most_a_day=20, unit="mg"),
            ),
        ),
    )


def said(text):
    return (Message(role="assistant", content=text),)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_one_call_grades_all_criteria_and_names_errors(with_panel, language):
    async def work(panel):
        return await grade(panel[0], RUBRIC, context(language), said(TALK[language][1]), ERRORS)

    found, bodies = with_panel(lambda b: graded(b, 3, ["jargon"]), work, JudgeSettings())
    assert len(bodies) == 1
    criteria = RUBRIC.graded_by("judge")
    assert [s.criterion for s in found.judgement.scores] == list(criteria)
    assert {s.value for s in found.judgement.scores} == {0.75}
    assert (found.judge, found.errors) == ("one", ("jargon",))
    text = bodies[0]["messages"][0]["content"]
    asked = [c.describes[language] for c in criteria] + [e.describes[language] for e in ERRORS]
    asked += [HIDDEN[language], TALK[language][0], TALK[language][1]]
    asked += [e.answer for e in RUBRIC.examples if e.language == language]
    assert [part for part in asked if part not in text] == []
    other = "zh" if language == "en" else "en"
    assert criteria[0].describes[other] not in text


def test_a_score_outside_the_scale_or_a_missing_criterion_is_repaired_or_a_fault(with_panel):
    async def work(panel):
        return await grade(panel[0], RUBRIC, context("en"), said("Well?"))

    answers = iter([lambda b: graded(b, 9), lambda b: graded(b, 4)])
    found, bodies = with_panel(lambda b: next(answers)(b), work, JudgeSettings())
    assert len(bodies) == 2
    assert "harmful" in bodies[1]["messages"][-1]["content"]
    assert {s.value for s in found.judgement.scores} == {1.0}
    lacking = json.dumps({"scores": {"kind": {"reason": "", "score": 1}}})
    with pytest.raises(FaultyCompletion, match="Grades"):
        with_panel(lambda b: lacking, work, JudgeSettings(seed=1))


def choice(body, prefer):
    """The verdict of a judge that prefers one text wherever it stands; None: always the first."""
    text = body["messages"][0]["content"]
    marks = ("The second answer:", "第二个回答：")
    second = text.split(next(m for m in marks if m in text))[1]
    better = "first" if prefer is None or prefer not in second else "second"
    return json.dumps({"reason": "so", "better": better})


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(("prefers", "winner"), [(1, "one"), (2, "other")])
def test_a_judge_with_an_opinion_keeps_it_in_both_orders(with_panel, language, prefers, winner):
    good, bad = said(TALK[language][1]), said(TALK[language][2])

    async def work(panel):
        return await compare(panel[0], RUBRIC, context(language), good, bad)

    found, bodies = with_panel(lambda b: choice(b, TALK[language][prefers]), work, JudgeSettings())
    assert (found.winner, found.flipped, len(bodies)) == (winner, False, 2)
    assert HIDDEN[language] in bodies[0]["messages"][0]["content"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_careless_judge_that_takes_the_first_gives_a_tie(with_panel, language):
    async def work(panel):
        one, other = said(TALK[language][1]), said(TALK[language][2])
        return await compare_by_all(panel, RUBRIC, context(language), one, other)

    found, _ = with_panel(lambda b: choice(b, None), work, JudgeSettings())
    assert [one.winner for one in found] == ["tie"]
    decision = decide(found)
    assert (decision.winner, decision.flip_rate, decision.prefer_one) == ("tie", 1.0, 0.0)


def test_a_panel_decides_by_more_judges_and_none_decides_nothing():
    def of(one_first, other_first):
        return Comparison(judge="j", one_first=one_first, other_first=other_first)

    decision = decide([of("one", "one"), of("one", "one"), of("other", "other"), of("one", "tie")])
    assert (decision.winner, decision.prefer_one, decision.flip_rate) == ("one", 0.5, 0.25)
    assert decide([of("one", "one"), of("other", "other")]).winner == "tie"
    with pytest.raises(NoFigure):
        decide([])


def test_every_endpoint_of_the_role_judges_once(with_panel):
    async def work(panel):
        return await grade_by_all(panel, RUBRIC, context("en"), said("Well?"))

    found, bodies = with_panel(
        lambda b: graded(b, 4 if b["model"] == "big" else 0),
        work,
        JudgeSettings(),
        ("one", "two"),
        ("big", "small"),
    )
    assert [grade.judge for grade in found] == ["one", "two"]
    assert [g.judgement.scores[0].value for g in found] == [1.0, 0.0]
    assert sorted(body["model"] for body in bodies) == ["big", "small"]


def test_one_endpoint_asked_twice_is_asked_with_another_seed_and_not_at_temperature_zero(
    with_panel,
):
    async def work(panel):
        return await grade_by_all(panel, RUBRIC, context("en"), said("Well?"))

    warm = JudgeSettings(judges=2, temperature=0.7)
    found, bodies = with_panel(lambda b: graded(b, 1), work, warm)
    assert [grade.judge for grade in found] == ["one", "one#2"]
    assert len({body["seed"] for body in bodies}) == 2
    with pytest.raises(JudgeError, match="above 0"):
        with_panel(lambda b: graded(b, 1), work, JudgeSettings(judges=2))


def test_fewer_judges_than_endpoints_are_drawn_anew_for_each_item(with_panel):
    async def work(panel):
        return [judge.name for judge in panel]

    names = {"one": 0, "two": 0, "three": 0}
    for item in range(60):
        (name,), _ = with_panel(
            str, work, JudgeSettings(judges=1), tuple(names), ("fake",) * 3, item=str(item)
        )
        names[name] += 1
    assert min(names.values()) > 5


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_prompt_that_is_not_there_or_lacks_a_value_is_named(language):
    with pytest.raises(JudgePromptError, match="there is no prompt"):
        render_prompt(language, "greade")
    with pytest.raises(JudgePromptError, match="given were"):
        render_prompt(language, "grade", rubric=RUBRIC)


def test_both_languages_have_the_same_prompts_and_a_digest_for_each():
    by_language = [{p.name for p in PROMPTS.glob(f"{one}/*.j2")} for one in ("en", "zh")]
    assert by_language[0] == by_language[1]
    digests = judging_digests("doctor_turn")
    assert {"judging/en/grade", "judging/zh/compare", "judging/rubric doctor_turn"} <= set(digests)
    assert digests != judging_digests("single_answer")
