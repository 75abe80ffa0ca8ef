"""Rubrics: what is judged, how much each part weighs, and the judgement with its reasons.

One format (`judging/rubrics/*.yaml`) serves generation, rewards and evaluation, whether a rule
or a model gives the score.
"""

from collections import Counter
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from judging.errors import EmptyRubric
from validation.schemas import Frozen, Language, NonBlank

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Grader = Literal["judge", "rule"]


class Criterion(Frozen):
    """One thing that is judged; `describes` says what full marks mean.

    A negative `weight` is a harm: full marks mean that the answer does it (HealthBench, Arora et
    al. 2025). `grader`: a model, or the rule of that name. `must_hold`: no margin makes up for
    an answer that misses it wholly (that does at least half of it, where it is a harm).
    """

    name: Name
    weight: float
    describes: dict[Language, NonBlank]
    grader: Grader = "judge"
    must_hold: bool = False

    @model_validator(mode="after")
    def _weighs(self) -> Self:
        if self.weight == 0.0:
            raise ValueError(
                f"the criterion '{self.name}' weighs nothing: give it a weight above 0, or below 0 "
                "for a harm"
            )
        return self


class Scale(Frozen):
    """The whole numbers that a judge gives, 0 to `most`, and what some of them mean."""

    most: Annotated[int, Field(ge=1, le=10)] = 1
    means: dict[Language, dict[int, NonBlank]]

    @model_validator(mode="after")
    def _means_numbers_of_the_scale(self) -> Self:
        for language, means in self.means.items():
            if outside := sorted(number for number in means if not 0 <= number <= self.most):
                raise ValueError(f"{language}: {outside} are not on the scale 0 to {self.most}")
            if not {0, self.most} <= set(means):
                raise ValueError(f"{language}: say at least what 0 and {self.most} mean")
        return self


class Example(Frozen):
    """An answer that shows what is good or bad, and why; `scores` are in the scale's numbers."""

    language: Language
    quality: Literal["good", "bad"]
    question: NonBlank
    answer: NonBlank
    why: NonBlank
    scores: dict[Name, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)


class Rubric(Frozen):
    """Named criteria in every language of the rubric, a scale, and examples of both kinds."""

    name: Name
    version: Annotated[int, Field(ge=1)]
    languages: Annotated[tuple[Language, ...], Field(min_length=1)]
    describes: dict[Language, NonBlank]
    scale: Scale
    criteria: Annotated[tuple[Criterion, ...], Field(min_length=1)]
    examples: tuple[Example, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        names = Counter(criterion.name for criterion in self.criteria)
        if twice := sorted(name for name, count in names.items() if count > 1):
            raise ValueError(f"criteria named twice: {twice}")
        if all(criterion.weight < 0 for criterion in self.criteria):
            raise ValueError("all criteria are harms: without one above 0 no score can be reached")
        told = {"describes": set(self.describes), "scale.means": set(self.scale.means)}
        told |= {f"criteria.{c.name}.describes": set(c.describes) for c in self.criteria}
        for place, languages in told.items():
            if missing := [name for name in self.languages if name not in languages]:
                raise ValueError(f"{place} lacks the language(s) {missing} of the rubric")
        for number, example in enumerate(self.examples, start=1):
            _fits(example, f"examples.{number}", self)
        for language in self.languages:
            kinds = {one.quality for one in self.examples if one.language == language}
            if kinds and kinds != {"good", "bad"}:
                raise ValueError(f"examples in '{language}' must show a good and a bad answer")
        return self

    def graded_by(self, grader: Grader) -> tuple[Criterion, ...]:
        """The criteria that a judge, or that rules score, in order."""
        return tuple(one for one in self.criteria if one.grader == grader)


def _fits(example: Example, place: str, rubric: Rubric) -> None:
    if example.language not in rubric.languages:
        raise ValueError(f"{place}: '{example.language}' is no language of the rubric")
    known = {criterion.name for criterion in rubric.criteria}
    if unknown := sorted(set(example.scores) - known):
        raise ValueError(f"{place}.scores: {unknown} are no criteria; there are {sorted(known)}")
    if too_high := {n: s for n, s in example.scores.items() if s > rubric.scale.most}:
        raise ValueError(f"{place}.scores: {too_high} exceed the scale's most, {rubric.scale.most}")


class Score(Frozen):
    """What one criterion gave: 0 (missed) to 1 (met), and why."""

    criterion: Criterion
    value: Share
    reason: str = ""

    @property
    def lost(self) -> float:
        """The weight that was lost: what is missing of a merit, what was done of a harm."""
        weight = self.criterion.weight
        return weight * (1.0 - self.value) if weight > 0 else -weight * self.value

    @property
    def holds(self) -> bool:
        """False where a merit is missed wholly, or a harm done at least by half."""
        return self.value > 0.0 if self.criterion.weight > 0 else self.value < 0.5


class Judgement(Frozen):
    """All scores of one candidate, in the rubric's order."""

    scores: tuple[Score, ...]

    @property
    def total(self) -> float:
        """Weighted scores over all weight that can be reached: 1 at most, below 0 for harms.

        The weighted mean where no weight is negative (HealthBench, Arora et al. 2025, for one
        answer). Raises EmptyRubric where no criterion of positive weight was scored.
        """
        reachable = sum(max(0.0, score.criterion.weight) for score in self.scores)
        if not reachable:
            raise EmptyRubric("no criterion applied to the candidate: give the rubric some")
        return sum(score.criterion.weight * score.value for score in self.scores) / reachable


def worst_loss(better: Judgement, worse: Judgement) -> Score:
    """The score of the worse candidate in which it lost most weight against the better one.

    Both were judged by one rubric; the earlier criterion wins where two lost the same.
    Raises EmptyRubric where the worse one has no score.
    """
    if not worse.scores:
        raise EmptyRubric("nothing was judged, so nothing can be compared")
    kept = {score.criterion.name: score.lost for score in better.scores}
    return max(worse.scores, key=lambda s: s.lost - kept.get(s.criterion.name, 0.0))


def joined(*judgements: Judgement) -> Judgement:
    """One judgement out of those by rules and by models; a criterion stands in one of them."""
    return Judgement(scores=tuple(score for one in judgements for score in one.scores))


def averaged(judgements: tuple[Judgement, ...]) -> Judgement:
    """The mean of several judges of one rubric, criterion by criterion, with all their reasons.

    Raises EmptyRubric for no judges.
    """
    if not judgements:
        raise EmptyRubric("no judge gave a judgement, so there is no mean")
    columns = zip(*(one.scores for one in judgements), strict=True)
    return Judgement(
        scores=tuple(
            Score(
                criterion=column[0].criterion,
                value=sum(score.value for score in column) / len(column),
                reason=" | ".join(score.reason for score in column if score.reason),
            )
            for column in columns
        )
    )
