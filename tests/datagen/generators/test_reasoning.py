import json

import pytest

from datagen.generators.generator import Ground
from datagen.generators.problem import compose
from datagen.generators.reasoning import (
    HEADINGS,
    STRATEGIES,
    ReasoningSettings,
    Solution,
    items,
)
from datagen.generators.text_checks import TextLimits
from datagen.prompting import read_prompt, render
from judging.verifiers import LETTERS, verify
from tests.datagen.conftest import LIBRARY
from tests.datagen.generators.conftest import language_in
from tests.datagen.generators.test_problem import MARKED, library_of, treated
from validation.checks import CheckSettings, check_conversation

CASES = tuple(next(case for case in LIBRARY if case.language == one) for one in ("en", "zh"))
# The fake teacher thinks the same again, whatever its strategy.
REPEATING = {"thinking": TextLimits(max_repeated_share=0.9)}
THOUGHT = {
    "en": "What do I have here? The complaint came first, and the background makes some causes "
    "likelier than others. If the worst of them were true, I would expect other findings, which "
    "are missing. Wait, one fact does not fit with my first idea, so I weigh it again and look at "
    "what remains. That leaves a single reading which explains everything.",
    "zh": "先看看手里有什么。主诉在前，既往情况让某些病因更有可能。倘若最坏的那种成立，应当还能见到"
    "别的表现，可是并没有。等等，有一条事实和最初的想法对不上，于是重新权衡，看还剩下什么。这样一来，"
    "只有一种解释能把所有情况都说通。再核对一遍，每一步都站得住，结论也就清楚了，可以据此作答。",
}
FLOW = {
    "en": "So, let me see what stands out. ",
    "zh": "让我想想，最突出的是什么。",
}
REWRITE = ("Write that thinking anew", "重新写成")


@pytest.fixture
def settings(tmp_path):
    """Two problems a language, on a library of one case each, without rewriting."""
    library = library_of(tmp_path / "library", CASES)
    return ReasoningSettings(rows=4, rewrite=False, forms=("diagnosis", "urgency"), library=library)


def problems(cases=CASES, forms=("diagnosis", "urgency"), rows=4):
    """The problems that such settings make, by what is asked."""
    made = {}
    wanted = ReasoningSettings(rows=rows, forms=forms)
    for item in items(wanted, Ground(languages=("en", "zh"), cases=cases)):

        def prompt(name, language=item.language, **values):
            return render(read_prompt(language, "chat", name), **values)

        problem = compose(item, prompt, "reasoning")
        made[problem.prompt[0].content] = problem
    return made


class Teacher:
    """Is wrong so many times, then right; `changes` are made to the right answer's parts."""

    def __init__(self, problems, wrong=0, own=False, rewrites_wrong=False, **changes):
        self.problems, self.wrong, self.own = problems, wrong, own
        self.rewrites_wrong, self.changes = rewrites_wrong, changes

    def __call__(self, body):
        asked = body["messages"][0]["content"]
        problem = next(p for text, p in self.problems.items() if text in asked)
        language = language_in(body)
        rewrite = any(words in asked for words in REWRITE)
        earlier = sum(asked.count(mark) for mark in ("What you answered:", "您的回答："))
        right = not self.rewrites_wrong if rewrite else earlier >= self.wrong
        place = problem.choices.index(problem.answer)
        letter = LETTERS[place if right else (place + 1) % len(problem.choices)]
        thought = (FLOW[language] if rewrite else "") + THOUGHT[language]
        said = {"thinking": thought, "answer": MARKED[language].format(letter)}
        if right:
            said |= {name: change(said[name], problem) for name, change in self.changes.items()}
        if self.own:
            return f"<think>{said['thinking']}</think>{said['answer']}"
        return json.dumps(said, ensure_ascii=False)


PROBLEMS = problems()


def test_reasoning_that_is_right_at_once_becomes_a_talk_with_headings(generate, settings):
    made = generate(settings, Teacher(PROBLEMS))
    assert made.built.counts == {"rows_in": 4, "accepted": 4, "quarantined": 0}
    assert made.built.summary["by_source"] == {"reasoning_solved_at_1": 4}
    assert [one.language for one in made.records] == ["en", "zh", "en", "zh"]
    for record in made.records:
        user, assistant = record.messages
        problem = PROBLEMS[user.content]
        before, behind = HEADINGS[record.language]
        assert assistant.content.startswith(f"{before}\n\n{THOUGHT[record.language]}")
        assert f"\n\n{behind}\n\n" in assistant.content
        assert verify(problem, assistant.content).right
        assert record.case_id == problem.case_id
        assert check_conversation(record, CheckSettings()) is None
    assert {one.persona for one in made.records} == {"diagnosis", "urgency"}


def test_a_wrong_answer_is_searched_on_and_the_right_one_never_shown(generate, settings):
    made = generate(settings.model_copy(update=REPEATING), Teacher(PROBLEMS, wrong=2))
    assert made.built.summary["by_source"] == {"reasoning_solved_at_3": 4}
    assert len(made.requests) == 12
    for body in made.requests:
        asked = body["messages"][0]["content"]
        problem = next(p for text, p in PROBLEMS.items() if text in asked)
        letter = LETTERS[problem.choices.index(problem.answer)]
        around = asked.replace(problem.prompt[0].content, "")
        assert MARKED[language_in(body)].format(letter) not in around
        assert problem.answer not in around
    for record in made.records:
        _, first, second = record.persona.split("/")
        assert {first, second} < set(STRATEGIES)
        assert first != second
        assert record.messages[1].content.count(THOUGHT[record.language]) == 3
    searched = [b["messages"][0]["content"] for b in made.requests]
    assert sum(THOUGHT["en"] in asked or THOUGHT["zh"] in asked for asked in searched) == 8


def test_what_is_never_solved_is_quarantined_after_all_attempts(generate, settings):
    changed = settings.model_copy(update={"attempts": 2, "rows": 2})
    made = generate(changed, Teacher(PROBLEMS, wrong=9))
    assert made.faults == {"not_solved": 2}
    assert len(made.requests) == 6
    alone = changed.model_copy(update={"attempts": 0})
    assert len(generate(alone, Teacher(PROBLEMS, wrong=9)).requests) == 2


def test_what_was_thought_is_written_anew_as_one_flow(generate, settings):
    changed = settings.model_copy(update={"rewrite": True})
    made = generate(changed, Teacher(PROBLEMS, wrong=1))
    assert len(made.requests) == 12
    for record in made.records:
        text = record.messages[1].content
        assert FLOW[record.language].strip() in text
        assert text.count(THOUGHT[record.language]) == 1


def test_a_rewrite_with_another_answer_is_quarantined(generate, settings):
    changed = settings.model_copy(update={"rewrite": True})
    made = generate(changed, Teacher(PROBLEMS, rewrites_wrong=True))
    assert made.faults == {"rewrite_changed_answer": 4}


GIVEN = {
    "en": " It agrees with the reference answer.",
    "zh": "这与参考答案一致。",
}


@pytest.mark.parametrize(
    ("part", "change", "fault"),
    [
        ("thinking", lambda text, p: text + GIVEN[p.language], "speaks_of_reference"),
        ("thinking", lambda text, p: text[:-1] + ("，然后" if p.language == "zh" else ", and"),
         "truncated"),
        ("thinking", lambda text, p: text * 3, "loop"),
        ("thinking", lambda text, p: text[:60] + ("。" if p.language == "zh" else "."),
         "too_short"),
        ("thinking", lambda text, p: THOUGHT["en" if p.language == "zh" else "zh"],
         "wrong_language"),
        ("thinking", lambda text, p: f"{HEADINGS[p.language][1]}\n\n{text}", "debris"),
        ("answer", lambda text, p: p.answer + "<|im_end|>", "debris"),
    ],
)  # fmt: skip
def test_faulty_reasoning_is_quarantined_under_its_name(generate, settings, part, change, fault):
    changed = settings.model_copy(update={"attempts": 0})
    made = generate(changed, Teacher(PROBLEMS, **{part: change}))
    assert set(made.faults) <= {fault, "not_solved"}
    assert made.faults[fault] >= 2


def test_an_answer_without_its_line_is_quarantined_where_the_thinking_hides_it(generate, settings):
    def without_line(text, problem):
        return problem.answer

    def with_all_choices(text, problem):
        return f"{text}\n{'、'.join(problem.choices)}。"

    changed = settings.model_copy(update={"languages": ("zh",), "rows": 2})
    teacher = Teacher(PROBLEMS, answer=without_line, thinking=with_all_choices)
    made = generate(changed, teacher)
    assert made.faults == {"unmarked_answer": 2}


def test_a_reasoning_models_own_thinking_is_taken(generate, settings):
    changed = settings.model_copy(update={"thoughts": "own"} | REPEATING)
    made = generate(changed, Teacher(PROBLEMS, own=True, wrong=1))
    assert len(made.records) == 4
    for record in made.records:
        assert record.messages[1].content.count(THOUGHT[record.language]) == 2
        assert "think>" not in record.messages[1].content
    assert all("`thinking`" not in body["messages"][0]["content"] for body in made.requests)


def test_a_model_without_thinking_of_its_own_is_named(generate, settings):
    changed = settings.model_copy(update={"thoughts": "own"})
    made = generate(changed, lambda body: "Answer: A")
    assert made.faults == {"no_reasoning": 4}
    assert "set `thoughts` to written" in made.failed[0].detail


def test_sums_are_reasoned_about_too(generate, settings, tmp_path):
    cases = (treated("en"), treated("zh"))
    folder = library_of(tmp_path / "cases", cases)
    sums = problems(cases, ("dose",), 6)
    changed = settings.model_copy(update={"forms": ("dose",), "library": folder, "rows": 6})

    def reply(body, right=True):
        language = language_in(body)
        asked = body["messages"][0]["content"]
        problem = next(p for text, p in sums.items() if text in asked)
        answer = MARKED[language].format(problem.answer if right else 0.5)
        return json.dumps({"thinking": THOUGHT[language], "answer": answer}, ensure_ascii=False)

    made = generate(changed, reply)
    assert made.built.counts == {"rows_in": 6, "accepted": 6, "quarantined": 0}
    for record in made.records:
        assert verify(sums[record.messages[0].content], record.messages[1].content).right
    wrong = generate(changed, lambda body: reply(body, right=False))
    assert wrong.faults == {"not_solved": 6}
    assert "4 answers, none is right: 0.5; 0.5; 0.5; 0.5" in wrong.failed[0].detail


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_strategy_is_worded(language):
    tried = [Solution(thinking=THOUGHT[language], answer="A")]
    values = {"problem": "…", "tried": tried, "written": True}
    prompt = read_prompt(language, "chat", "reasoning_think")
    worded = {render(prompt, strategy=strategy, **values) for strategy in STRATEGIES}
    assert len(worded) == len(STRATEGIES)
