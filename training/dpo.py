"""Direct preference optimisation."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import PositiveFloat

from artifacts.progress import Progress, ProgressSink
from engines.chat import encode_answer
from engines.errors import ChatError
from engines.loglikelihood import Choices, score_choices
from training.data import Example, Row
from training.recipe import Recipe, TrainerParts
from training.resume import append_line, read_lines, rewrite_lines
from training.settings import StageSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer

CHOSEN, REJECTED = "ref_chosen_logps", "ref_rejected_logps"


class DPO(StageSettings):
    """Direct preference optimisation (Rafailov et al. 2023, eq. 7).

    The reference is the model before this stage: its log-probabilities are worked out once,
    before training, each prompt read once for both completions.
    """

    stage: Literal["dpo"] = "dpo"
    learning_rate: PositiveFloat = 1e-4
    beta: PositiveFloat = 0.1


def encode(tokenizer: "PreTrainedTokenizerBase", row: Row) -> Example:
    """A pair as `prompt_ids`, `chosen_ids` and `rejected_ids`.

    Raises ChatError where it cannot be rendered or a completion is not one message.
    """
    if len(row["chosen"]) != 1 or len(row["rejected"]) != 1:
        raise ChatError("chosen and rejected must be one message of the assistant each")
    prompt, chosen = encode_answer(tokenizer, row["prompt"], row["chosen"][0])
    _, rejected = encode_answer(tokenizer, row["prompt"], row["rejected"][0])
    columns = {"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected}
    return Example(
        record_id=row["record_id"],
        columns={name: list(ids) for name, ids in columns.items()},
        tokens=2 * len(prompt) + len(chosen) + len(rejected),
        longest=len(prompt) + max(len(chosen), len(rejected)),
        prompt=tuple(row["prompt"]),
    )


def prepare(
    model: "PreTrainedModel", examples: Sequence[Example], file: Path, progress: ProgressSink
) -> list[Example]:
    """The examples with the reference's log-probabilities; `file` keeps each for later attempts."""
    known = read_lines(file)
    rewrite_lines(file, known)
    for pair in _log_probabilities(model, examples[len(known) :]):
        append_line(file, pair)
        known.append(pair)
        progress(Progress(done=len(known), total=len(examples), unit="reference pairs"))
    return [
        replace(example, columns={**example.columns, CHOSEN: chosen, REJECTED: rejected})
        for example, (chosen, rejected) in zip(examples, known, strict=True)
    ]


def dpo_loss(chosen_log_ratio: float, rejected_log_ratio: float, beta: float) -> float:
    """-log σ(β (chosen - rejected)) of one pair; log ratios are policy minus reference.

    Rafailov et al. 2023, eq. 7.
    """
    margin = beta * (chosen_log_ratio - rejected_log_ratio)
    return math.log1p(math.exp(-margin)) if margin > 0 else math.log1p(math.exp(margin)) - margin


def before(
    settings: DPO, model: "PreTrainedModel", examples: Sequence[Example]
) -> dict[str, float]:
    """As `after`, of a policy that still is the reference: nothing has to be run again.

    Without `margin` and `accuracy`: every pair ties, so there is nothing to count yet.
    """
    logprobs = [(e.columns[CHOSEN], e.columns[REJECTED]) for e in examples]
    figures = _summary(settings, examples, logprobs)
    return {name: value for name, value in figures.items() if name not in ("margin", "accuracy")}


def after(settings: DPO, model: "PreTrainedModel", examples: Sequence[Example]) -> dict[str, float]:
    """Figures of held-out pairs under the policy as it is.

    `loss`, `margin` (mean reward of chosen minus rejected), `accuracy` (share of pairs whose
    margin is positive), `chosen_logprob` and `rejected_logprob` (means of sums, nats).
    """
    return _summary(settings, examples, list(_log_probabilities(model, examples)))


def make_trainer(settings: DPO, parts: TrainerParts) -> "Trainer":
    """TRL's trainer on rows that are tokens and carry their reference already."""
    from trl import DPOConfig, DPOTrainer

    class TokenTrainer(DPOTrainer):
        """Takes rows as they are, where TRL's would render and tokenise them again."""

        def _prepare_dataset(self, dataset: object, *_: object) -> object:
            return dataset

    arguments = {
        **parts.arguments,
        "beta": settings.beta,
        "loss_type": ["sigmoid"],
        # The model's own dropout would also part policy and reference; the adapter's is meant.
        "disable_dropout": settings.lora.dropout == 0,
    }
    trainer = TokenTrainer(
        model=parts.model,
        args=DPOConfig(**arguments),
        train_dataset=parts.rows,
        processing_class=parts.tokenizer,
        peft_config=parts.lora,
        callbacks=parts.callbacks,
    )
    trainer.precompute_ref_logps = True
    return trainer


def _log_probabilities(
    model: "PreTrainedModel", examples: Sequence[Example]
) -> Iterator[tuple[float, float]]:
    items = [
        Choices(
            prompt=tuple(e.columns["prompt_ids"]),
            completions=(tuple(e.columns["chosen_ids"]), tuple(e.columns["rejected_ids"])),
        )
        for e in examples
    ]
    return ((c.logprob, r.logprob) for c, r in score_choices(model, items))


def _summary(
    settings: DPO, examples: Sequence[Example], logprobs: Sequence[tuple[float, float]]
) -> dict[str, float]:
    if not examples:
        return {}
    chosen = [c - e.columns[CHOSEN] for e, (c, _) in zip(examples, logprobs, strict=True)]
    rejected = [r - e.columns[REJECTED] for e, (_, r) in zip(examples, logprobs, strict=True)]
    margins = [settings.beta * (c - r) for c, r in zip(chosen, rejected, strict=True)]
    pairs = zip(chosen, rejected, strict=True)
    count = len(examples)
    return {
        "loss": sum(dpo_loss(c, r, settings.beta) for c, r in pairs) / count,
        "margin": sum(margins) / count,
        "accuracy": sum(margin > 0 for margin in margins) / count,
        "chosen_logprob": sum(c for c, _ in logprobs) / count,
        "rejected_logprob": sum(r for _, r in logprobs) / count,
    }


RECIPE = Recipe(
    view="preference",
    columns=("record_id", "prompt", "chosen", "rejected"),
    encode=encode,
    prepare=prepare,
    before=before,
    after=after,
    trainer=make_trainer,
)
