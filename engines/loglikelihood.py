"""Log-likelihood: how probable a model finds a text, in natural logarithms.

Shapes: B rows, T positions, V vocabulary. A row of a batch never changes another's score
but for the float rounding of the kernels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engines.chat import Tokens
from engines.errors import EngineError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Choices:
    """One prompt and the completions to be weighed after it, as token ids, none empty."""

    prompt: tuple[int, ...]
    completions: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Score:
    """The sum of the log-probabilities of some tokens, and how many they are."""

    logprob: float
    tokens: int

    @property
    def mean(self) -> float:
        """Log-probability per token. Raises EngineError for no tokens."""
        if not self.tokens:
            raise EngineError("no token to average a log-probability over")
        return self.logprob / self.tokens


def score_choices(
    model: "PreTrainedModel", items: Sequence[Choices]
) -> Iterator[tuple[Score, ...]]:
    """The score of every completion, item by item, in order.

    The prompt of an item runs through the model once; its keys and values are shared by
    the completions, which run as one batch. A completion of one token costs nothing more.
    Raises EngineError for an empty prompt or completion.
    """
    for item in items:
        if not item.prompt or not item.completions or not all(item.completions):
            raise EngineError("log-likelihood needs a prompt and completions of a token or more")
        yield _score_item(model, item)


def talk_scores(
    model: "PreTrainedModel", talks: Sequence[Tokens], batch_size: int = 1
) -> list[Score]:
    """The score of the spoken tokens of each talk, in order; the held-out loss is -mean.

    `batch_size` rows at once, alike in length. One row at once is fastest on a CPU.
    """
    order = sorted(range(len(talks)), key=lambda i: len(talks[i].ids))
    scores: dict[int, Score] = {}
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        scores |= zip(rows, _score_talks(model, [talks[i] for i in rows]), strict=True)
    return [scores[i] for i in range(len(talks))]


def mean_loss(scores: Sequence[Score]) -> float:
    """Cross-entropy per token over all scores, in nats.

    Raises EngineError where there is no token.
    """
    tokens = sum(score.tokens for score in scores)
    if not tokens:
        raise EngineError("no token to average a loss over: no talk holds an assistant message")
    return -sum(score.logprob for score in scores) / tokens


def _score_item(model: "PreTrainedModel", item: Choices) -> tuple[Score, ...]:
    import torch

    longest = max(map(len, item.completions))
    # Padded on the right: what comes after cannot change what stands before it.
    rows = [[*c, *[c[-1]] * (longest - len(c))] for c in item.completions]
    with torch.inference_mode():
        targets_BT = torch.tensor(rows, device=model.device)
        prompt = torch.tensor([item.prompt], device=model.device)
        first = model(input_ids=prompt, use_cache=longest > 1, logits_to_keep=1)
        logprobs_BT = _pick(first.logits.expand(len(rows), 1, -1), targets_BT[:, :1])
        if longest > 1:
            cache = first.past_key_values
            cache.batch_repeat_interleave(len(rows))
            later = model(input_ids=targets_BT[:, :-1], past_key_values=cache, use_cache=True)
            logprobs_BT = torch.cat([logprobs_BT, _pick(later.logits, targets_BT[:, 1:])], dim=1)
        return tuple(
            Score(float(logprobs_BT[i, : len(c)].double().sum()), len(c))
            for i, c in enumerate(item.completions)
        )


def _score_talks(model: "PreTrainedModel", talks: Sequence[Tokens]) -> list[Score]:
    """Logits are made only at positions before a spoken token of some row."""
    import torch

    longest = max(len(talk.ids) for talk in talks)
    missing = [longest - len(talk.ids) for talk in talks]
    spoken_BT = torch.tensor(
        [[*t.spoken, *[False] * m] for t, m in zip(talks, missing, strict=True)],
        device=model.device,
    )
    spoken_BT[:, 0] = False
    wanted = spoken_BT.any(dim=0).nonzero().flatten()
    if not len(wanted):
        return [Score(0.0, 0) for _ in talks]
    ids_BT = torch.tensor(
        [[*t.ids, *[t.ids[-1]] * m] for t, m in zip(talks, missing, strict=True)],
        device=model.device,
    )
    with torch.inference_mode():
        logits = model(input_ids=ids_BT, use_cache=False, logits_to_keep=wanted - 1).logits
        logprobs_BT = _pick(logits, ids_BT[:, wanted]) * spoken_BT[:, wanted]
        sums, counts = logprobs_BT.double().sum(dim=1), spoken_BT.sum(dim=1)
    return [Score(float(s), int(n)) for s, n in zip(sums, counts, strict=True)]


def _pick(logits_BTV: "Tensor", targets_BT: "Tensor") -> "Tensor":
    """(B, T) log-probabilities of the targets; logits in float32 whatever the model's type."""
    chosen = logits_BTV.gather(-1, targets_BT.unsqueeze(-1)).squeeze(-1).float()
    return chosen - logits_BTV.float().logsumexp(dim=-1)
