"""Rubrics: what is judged, how much each part weighs, and the judgement with its reasons."""

from typing import Annotated

from pydantic import Field

from judging.errors import EmptyRubric
from validation.schemas import Frozen, NonBlank

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Criterion(Frozen):
    """One thing that is judged; `describes` says what full marks mean."""

    name: NonBlank
    weight: Annotated[float, Field(gt=0.0)]
    describes: NonBlank


class Score(Frozen):
    """What one criterion gave: 0 (missed) to 1 (met), and why."""

    criterion: Criterion
    value: Share
    reason: str = ""

    @property
    def lost(self) -> float:
        """The weight that was lost."""
        return self.criterion.weight * (1.0 - self.value)


class Judgement(Frozen):
    """All scores of one candidate, in the rubric's order."""

    scores: tuple[Score, ...]

    @property
    def total(self) -> float:
        """The weighted mean of the scores, 0 to 1. Raises EmptyRubric where there are none."""
        if not self.scores:
            raise EmptyRubric("no criterion applied to the candidate: give the rubric some")
        weight = sum(score.criterion.weight for score in self.scores)
        return sum(score.criterion.weight * score.value for score in self.scores) / weight


def worst_loss(better: Judgement, worse: Judgement) -> Score:
    """The score of the worse candidate in which it lost most weight against the better one.

    Both were judged by one rubric; the earlier criterion wins where two lost the same.
    Raises EmptyRubric where the worse one has no score.
    """
    if not worse.scores:
        raise EmptyRubric("nothing was judged, so nothing can be compared")
    kept = {score.criterion.name: score.lost for score in better.scores}
    return max(worse.scores, key=lambda s: s.lost - kept.get(s.criterion.name, 0.0))
