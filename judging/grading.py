"""One call grades all criteria of one answer, and names the errors in it if wished."""

from collections.abc import Sequence
from functools import cache
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, create_model

from judging.panel import Context, Judge, all_of
from judging.prompting import render_prompt
from judging.rubric import Judgement, Name, Rubric, Score
from validation.schemas import Frozen, Language, Message, NonBlank

CLOSED = ConfigDict(extra="forbid", frozen=True)


class ErrorType(Frozen):
    """A kind of error that a judge may find in an answer."""

    name: Name
    describes: dict[Language, NonBlank]


class Grade(Frozen):
    """What one judge says of one answer."""

    judge: NonBlank
    judgement: Judgement
    errors: tuple[str, ...] = ()


async def grade(
    judge: Judge,
    rubric: Rubric,
    context: Context,
    answer: Sequence[Message],
    errors: Sequence[ErrorType] = (),
) -> Grade:
    """One judge's scores of an answer (one message, or a whole talk) by a rubric.

    Only criteria whose grader is a judge are asked for. `errors`: the types of which it also
    says which ones the answer carries. Raises FaultyCompletion and what ends a run.
    """
    criteria = rubric.graded_by("judge")
    shape = _grade_shape(
        tuple(one.name for one in criteria), rubric.scale.most, tuple(one.name for one in errors)
    )
    text = render_prompt(
        context.language,
        "grade",
        rubric=rubric,
        criteria=criteria,
        examples=[one for one in rubric.examples if one.language == context.language],
        context=context,
        answer=answer,
        errors=errors,
    )
    told: Any = await judge.ask(text, shape, context.language)
    marks = {one.name: getattr(told.scores, one.name) for one in criteria}
    scores = tuple(
        Score(
            criterion=one,
            value=marks[one.name].score / rubric.scale.most,
            reason=marks[one.name].reason,
        )
        for one in criteria
    )
    named = tuple(dict.fromkeys(told.errors)) if errors else ()
    return Grade(judge=judge.name, judgement=Judgement(scores=scores), errors=named)


async def grade_by_all(
    panel: Sequence[Judge],
    rubric: Rubric,
    context: Context,
    answer: Sequence[Message],
    errors: Sequence[ErrorType] = (),
) -> tuple[Grade, ...]:
    """The grades of every judge, in the panel's order. Raises as `grade` does."""
    asked = (grade(judge, rubric, context, answer, errors) for judge in panel)
    return await all_of(asked)


@cache
def _grade_shape(criteria: tuple[str, ...], most: int, errors: tuple[str, ...]) -> type[BaseModel]:
    """A model with a field for every criterion, so that one that is left out is a misfit."""
    numbers: Any = Literal[tuple(range(most + 1))]
    mark = create_model(
        "Mark",
        __config__=CLOSED,
        reason=(str, Field(max_length=2000)),
        score=(numbers, ...),
    )
    fields = dict.fromkeys(criteria, (mark, ...))
    scores = create_model("Scores", __config__=CLOSED, **cast(Any, fields))
    if not errors:
        return create_model("Grades", __config__=CLOSED, scores=(scores, ...))
    names: Any = Literal[errors]
    return create_model(
        "Grades", __config__=CLOSED, scores=(scores, ...), errors=(tuple[names, ...], ...)
    )
