"""Scorers: pure functions from log-likelihoods to the values of items.

Choices are weighed per byte of UTF-8, not by their sum: a sum falls with each further
token, so it would favour the shortest choice whatever it says. Bytes rather than tokens or
characters, because they do not depend on the tokenizer, so that models with different
vocabularies stay comparable, and because the choices of one Chinese question mix Chinese
characters (3 bytes, 1-3 tokens) with digits and Latin letters (1 byte). Completions of a
preference pair are weighed per token, as the loss is. Sums are kept beside both.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from engines.loglikelihood import Score
from evaluation.errors import EmptyBenchmark


@dataclass(frozen=True)
class ChoiceResult:
    """Whether the right choice had the highest likelihood, per byte and by sum."""

    right: bool
    right_by_sum: bool
    logprobs: tuple[float, ...]
    logprobs_per_byte: tuple[float, ...]


@dataclass(frozen=True)
class PairResult:
    """Whether the chosen completion was more likely than the rejected one.

    Margins are chosen minus rejected, in nats: per token, and of the sums.
    """

    preferred: bool
    preferred_by_sum: bool
    margin: float
    margin_of_sums: float


def score_choice(scores: Sequence[Score], choices: Sequence[str], answer: int) -> ChoiceResult:
    """Weigh the choices of one question; a tie with a wrong choice is not right.

    scores, choices: as many as there are choices, in the same order.
    """
    sums = tuple(score.logprob for score in scores)
    sizes = [len(choice.encode()) for choice in choices]
    per_byte = tuple(total / size for total, size in zip(sums, sizes, strict=True))
    return ChoiceResult(_beats(per_byte, answer), _beats(sums, answer), sums, per_byte)


def score_pair(chosen: Score, rejected: Score) -> PairResult:
    """Weigh the two completions of one prompt; a tie is not a preference."""
    margin = chosen.mean - rejected.mean
    of_sums = chosen.logprob - rejected.logprob
    return PairResult(margin > 0, of_sums > 0, margin, of_sums)


def nats_per_token(score: Score) -> float:
    """Cross-entropy of the assistant's words in one conversation.

    Raises EmptyBenchmark where the assistant says nothing.
    """
    if not score.tokens:
        raise EmptyBenchmark("a conversation without a word of the assistant has no loss")
    return -score.logprob / score.tokens


def implicit_reward_margin(margin_of_sums: float, base_margin_of_sums: float) -> float:
    """How much more than the base the model prefers the chosen completion, in nats.

    It is the margin of DPO's implicit rewards divided by beta (Rafailov et al. 2023,
    section 4, r = beta log(policy / reference), with the untrained model as reference).
    """
    return margin_of_sums - base_margin_of_sums


def _beats(values: Sequence[float], answer: int) -> bool:
    return all(values[answer] > v for i, v in enumerate(values) if i != answer)
