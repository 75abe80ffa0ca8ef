"""Long reasoning that is verified by its answer, for training that begins with thinking.

After HuatuoGPT-o1 (Chen et al. 2024): the teacher thinks and answers, a verifier judges, and as
long as the answer is wrong the teacher searches on with a strategy. What led to the right answer
is written anew as one flow. The right answer is never shown.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, PositiveInt

from datagen.cases import LOADER
from datagen.generators.asking import Asker, Unfit
from datagen.generators.dosing import WORDS_FILE
from datagen.generators.generator import Generator, GeneratorSettings, Ground, deal
from datagen.generators.problem import (
    LEAST_CHOICES,
    PROMPTS,
    Form,
    ProblemItem,
    compose,
    problem_items,
)
from datagen.generators.text_checks import TextLimits, refuse_faulty, truncated
from datagen.speaking import LineSettings
from judging.verifiers import verify
from judging.wording import first_mention
from validation.schemas import Conversation, Frozen, Language, Message, NonBlank, Problem

KIND = "reasoning"
VERSION = 1
GIVEN_FILE = Path(__file__).with_name("reasoning.yaml")
Strategy = Literal["backtrack", "new_path", "verification", "correction"]
STRATEGIES: tuple[Strategy, ...] = ("backtrack", "new_path", "verification", "correction")
# No <think> tags: they are tokens of some chat templates, which no message may hold.
HEADINGS: dict[Language, tuple[str, str]] = {
    "en": ("## Thinking", "## Final answer"),
    "zh": ("## 思考", "## 最终回答"),
}


class ReasoningSettings(GeneratorSettings):
    """How reasoning is made.

    `attempts`: searches after a first answer that is wrong. `rewrite`: what was thought is
    written anew as one flow, and verified again. `thoughts`: the teacher writes its thinking
    down, or is a reasoning model whose own is taken. `forms`, `choices`, `dose_numbers`: as for
    problems.
    """

    kind: Literal["reasoning"] = "reasoning"
    rows: PositiveInt = 60
    most_alike: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    forms: Annotated[tuple[Form, ...], Field(min_length=1)] = ("diagnosis", "urgency", "dose")
    choices: Annotated[int, Field(ge=LEAST_CHOICES, le=5)] = 4
    dose_numbers: Annotated[int, Field(ge=1, le=20)] = 2
    attempts: Annotated[int, Field(ge=0, le=8)] = 3
    rewrite: bool = True
    thoughts: Literal["written", "own"] = "written"
    thinking: TextLimits = TextLimits(min_width=200, max_width=6500, max_repeated_share=0.4)
    # An answer may be hardly more than a drug, a number and a unit.
    answer: TextLimits = TextLimits(
        min_width=2, max_width=1200, max_repeated_share=0.5, min_han_share_zh=0.3
    )
    line: LineSettings = LineSettings(temperature=0.8, max_tokens=3000)


class Solution(Frozen):
    """Thinking, and the answer that it came to."""

    thinking: NonBlank
    answer: NonBlank


@cache
def read_given_words() -> dict[str, list[str]]:
    """Words of a writer who was given an answer, by language."""
    words: dict[str, list[str]] = yaml.load(GIVEN_FILE.read_text("utf-8"), Loader=LOADER)
    return words


def items(settings: ReasoningSettings, ground: Ground) -> Sequence[ProblemItem]:
    """Problems as the kind `problem` has them. Raises NothingToGenerate."""
    forms, choices = settings.forms, settings.choices
    return problem_items(settings, forms, choices, settings.dose_numbers, ground)


async def make(
    settings: ReasoningSettings, item: ProblemItem, asker: Asker
) -> Sequence[Conversation]:
    """Think until the answer is right, write it anew, check it.

    Raises Unfit, FaultyCompletion and what ends a run.
    """
    problem = compose(item, asker.prompt, KIND)
    tried, strategies = await _solve(settings, problem, item, asker)
    solution = Solution(
        thinking="\n\n".join(one.thinking.strip() for one in tried), answer=tried[-1].answer
    )
    if settings.rewrite:
        solution = await _rewritten(problem, solution, asker)
    text = _checked(settings, problem, solution)
    source = asker.source(f"{KIND}_solved_at_{len(tried)}", VERSION)
    record = Conversation(
        language=item.language,
        source=source,
        case_id=item.case_id,
        messages=(*problem.prompt, Message(role="assistant", content=text)),
        persona="/".join((item.form, *strategies)),
        sample_index=item.place,
    )
    return [record]


async def _solve(
    settings: ReasoningSettings, problem: Problem, item: ProblemItem, asker: Asker
) -> tuple[list[Solution], list[Strategy]]:
    """All that was tried, the last with the right answer, and the strategies of the searches.

    Raises Unfit where none was right.
    """
    question, tried, strategies = problem.prompt[0].content, list[Solution](), list[Strategy]()
    for attempt in range(settings.attempts + 1):
        if attempt:
            names = (KIND, settings.seed, *item.identity)
            strategies.append(deal(STRATEGIES, attempt - 1, *names))
        strategy = strategies[-1] if strategies else ""
        prompt = asker.prompt(
            "reasoning_think",
            problem=question,
            tried=tried,
            strategy=strategy,
            written=settings.thoughts == "written",
        )
        tried.append(await _thought(settings, prompt, f"attempt {attempt}", asker))
        if verify(problem, tried[-1].answer).right:
            return tried, strategies
    answers = [verify(problem, one.answer).answer or "none" for one in tried]
    detail = f"{len(tried)} answers, none is right: {'; '.join(answers)}"
    raise Unfit("not_solved", detail, "\n\n".join(one.answer for one in tried))


async def _thought(
    settings: ReasoningSettings, prompt: str, purpose: str, asker: Asker
) -> Solution:
    if settings.thoughts == "written":
        return await asker.value("teacher", purpose, [prompt], Solution)
    thinking, answer = await asker.reasoned("teacher", purpose, [prompt])
    if not thinking:
        detail = "the endpoint gives no thinking of its own: set `thoughts` to written"
        raise Unfit("no_reasoning", detail, answer)
    return Solution(thinking=thinking, answer=answer)


async def _rewritten(problem: Problem, solution: Solution, asker: Asker) -> Solution:
    """The same thinking as one flow. Raises Unfit where its answer is another one."""
    prompt = asker.prompt("reasoning_rewrite", problem=problem.prompt[0].content, solution=solution)
    anew = await asker.value("teacher", "rewrite", [prompt], Solution)
    judged = verify(problem, anew.answer)
    if not judged.right:
        detail = f"written anew, the answer is {judged.answer or 'none'!r}"
        raise Unfit("rewrite_changed_answer", detail, anew.answer)
    return anew


def _checked(settings: ReasoningSettings, problem: Problem, solution: Solution) -> str:
    """The assistant's message. Raises Unfit where a check finds a fault."""
    language = problem.language
    thinking, answer = solution.thinking.strip(), solution.answer.strip()
    before, behind = HEADINGS[language]
    text = f"{before}\n\n{thinking}\n\n{behind}\n\n{answer}"
    refuse_faulty(thinking, language, settings.thinking, "the thinking")
    # An answer ends with its letter or its number, so that nothing closes it.
    refuse_faulty(answer, language, settings.answer, "the answer", but=(truncated,))
    if word := first_mention(text, read_given_words()[language]):
        raise Unfit("speaks_of_reference", f"it says {word!r}", text)
    if any(text.count(heading) > 1 for heading in HEADINGS[language]):
        raise Unfit("debris", "a heading of the whole stands in the thinking or the answer", text)
    if not verify(problem, text).right:
        detail = "behind the thinking, the verifier does not read the answer: its line is missing"
        raise Unfit("unmarked_answer", detail, text)
    return text


GENERATOR = Generator(
    settings=ReasoningSettings,
    version=VERSION,
    roles=("teacher",),
    prompts=(*PROMPTS, "reasoning_think", "reasoning_rewrite"),
    writes=(Conversation,),
    items=items,
    make=make,
    word_lists=(WORDS_FILE, GIVEN_FILE),
)
