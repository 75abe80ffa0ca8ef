"""Which of two answers is better: every judge sees both orders, and disagreement is a tie.

Source of the two orders: Zheng et al. 2023, "Judging LLM-as-a-judge", section 3.4.
"""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from judging.errors import NoFigure
from judging.panel import Context, Judge, all_of
from judging.prompting import render_prompt
from judging.rubric import Rubric
from validation.schemas import Frozen, Message, NonBlank

Better = Literal["first", "second", "tie"]
Winner = Literal["one", "other", "tie"]
ONE_FIRST: dict[Better, Winner] = {"first": "one", "second": "other", "tie": "tie"}
OTHER_FIRST: dict[Better, Winner] = {"first": "other", "second": "one", "tie": "tie"}


class Choice(Frozen):
    """The shape of a judge's answer; the reason comes before the verdict."""

    reason: str = Field(max_length=2000)
    better: Better


class Comparison(Frozen):
    """What one judge said in both orders, as winners among `one` and `other`.

    `flipped`: the two orders did not give the same.
    """

    judge: NonBlank
    one_first: Winner
    other_first: Winner
    reasons: tuple[str, str] = ("", "")

    @property
    def flipped(self) -> bool:
        """Whether the verdict depends on the order."""
        return self.one_first != self.other_first

    @property
    def winner(self) -> Winner:
        """The verdict; a tie where the two orders disagree."""
        return "tie" if self.flipped else self.one_first


class Decision(Frozen):
    """What the judges of a panel decide together: whoever more of them prefer, else a tie.

    `prefer_one`, `prefer_other`: the shares of judges whose own verdict that is. `flip_rate`:
    the share of them whose two orders disagree.
    """

    winner: Winner
    prefer_one: float
    prefer_other: float
    flip_rate: float


async def compare(
    judge: Judge,
    rubric: Rubric,
    context: Context,
    one: Sequence[Message],
    other: Sequence[Message],
) -> Comparison:
    """One judge's verdict in both orders. Raises FaultyCompletion and what ends a run."""

    async def better(first: Sequence[Message], second: Sequence[Message]) -> Choice:
        text = render_prompt(
            context.language,
            "compare",
            rubric=rubric,
            context=context,
            first=first,
            second=second,
        )
        return await judge.ask(text, Choice, context.language)

    ahead, behind = await all_of((better(one, other), better(other, one)))
    return Comparison(
        judge=judge.name,
        one_first=ONE_FIRST[ahead.better],
        other_first=OTHER_FIRST[behind.better],
        reasons=(ahead.reason, behind.reason),
    )


async def compare_by_all(
    panel: Sequence[Judge],
    rubric: Rubric,
    context: Context,
    one: Sequence[Message],
    other: Sequence[Message],
) -> tuple[Comparison, ...]:
    """The verdicts of every judge, in the panel's order. Raises as `compare` does."""
    asked = (compare(judge, rubric, context, one, other) for judge in panel)
    return await all_of(asked)


def decide(comparisons: Sequence[Comparison]) -> Decision:
    """What a panel decides. Raises NoFigure for no comparison."""
    if not comparisons:
        raise NoFigure("nobody compared the answers, so nothing is decided")
    winners = [comparison.winner for comparison in comparisons]
    lead = winners.count("one") - winners.count("other")
    winner: Winner = "one" if lead > 0 else "other" if lead < 0 else "tie"
    return Decision(
        winner=winner,
        prefer_one=winners.count("one") / len(winners),
        prefer_other=winners.count("other") / len(winners),
        flip_rate=sum(comparison.flipped for comparison in comparisons) / len(winners),
    )
