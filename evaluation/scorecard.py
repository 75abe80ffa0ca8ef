"""The scorecard: every number of the report, and nothing but numbers."""

from collections.abc import Mapping, Sequence

from pydantic import Field

from evaluation.comparison import Comparison, compare
from evaluation.errors import EmptyBenchmark
from evaluation.items import Benchmark, Item
from evaluation.scores import ALL, RewardLine, ScoreLine, implicit_rewards, score_lines
from evaluation.statistics import Label
from validation.schemas import Frozen


class Scorecard(Frozen):
    """Scores of each model, comparisons between them, and the verdicts, as JSON.

    `verdicts`: benchmark → verdict on the last model against the first.
    """

    models: tuple[str, ...] = Field(min_length=1)
    scores: tuple[ScoreLine, ...]
    comparisons: tuple[Comparison, ...]
    implicit_rewards: tuple[RewardLine, ...]
    verdicts: dict[Benchmark, Label]

    def score(self, model: str, benchmark: str, metric: str, language: str = ALL) -> ScoreLine:
        """One score. Raises EmptyBenchmark where that model has none."""
        wanted = (model, benchmark, metric, language)
        for line in self.scores:
            if (line.model, line.benchmark, line.metric, line.language) == wanted:
                return line
        raise EmptyBenchmark(f"no score of {'/'.join(wanted)}")

    def last_against_first(self) -> tuple[Comparison, ...]:
        """The primary comparisons of the last model with the first one."""
        ends = (self.models[-1], self.models[0])
        return tuple(c for c in self.comparisons if c.primary and (c.model, c.against) == ends)


def make_scorecard(evaluations: Mapping[str, Sequence[Item]], seed: int = 0) -> Scorecard:
    """Scores and comparisons of models in the order in which they were made.

    Raises EmptyBenchmark where a model has no item, MismatchedItems where items differ.
    """
    if empty := [name for name, items in evaluations.items() if not items]:
        raise EmptyBenchmark(f"the evaluations of {empty} hold no item")
    card = Scorecard(
        models=tuple(evaluations),
        scores=score_lines(evaluations),
        comparisons=compare(evaluations, seed),
        implicit_rewards=implicit_rewards(evaluations),
        verdicts={},
    )
    verdicts: dict[Benchmark, Label] = {c.benchmark: c.verdict for c in card.last_against_first()}
    return card.model_copy(update={"verdicts": verdicts})
