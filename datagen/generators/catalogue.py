"""The kinds of generators: their settings as one union, and a table of what they do."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from datagen.generators import (
    passage,
    problem,
    question_answer,
    reasoning,
    safety,
    summary,
    tool_use,
)
from datagen.generators.generator import Generator
from datagen.generators.passage import PassageSettings
from datagen.generators.problem import ProblemSettings
from datagen.generators.question_answer import QuestionAnswerSettings
from datagen.generators.reasoning import ReasoningSettings
from datagen.generators.safety import SafetySettings
from datagen.generators.summary import SummarySettings
from datagen.generators.tool_use import ToolUseSettings

AnyGenerator = Annotated[
    QuestionAnswerSettings
    | SafetySettings
    | ToolUseSettings
    | SummarySettings
    | PassageSettings
    | ProblemSettings
    | ReasoningSettings,
    Field(discriminator="kind"),
]
GENERATORS: Mapping[str, Generator] = {
    question_answer.KIND: question_answer.GENERATOR,
    safety.KIND: safety.GENERATOR,
    tool_use.KIND: tool_use.GENERATOR,
    summary.KIND: summary.GENERATOR,
    passage.KIND: passage.GENERATOR,
    problem.KIND: problem.GENERATOR,
    reasoning.KIND: reasoning.GENERATOR,
}


def generator_of(settings: AnyGenerator) -> Generator:
    """The functions of the settings' kind."""
    return GENERATORS[settings.kind]
