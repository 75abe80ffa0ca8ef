"""Supervised fine-tuning on whole conversations."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import PositiveFloat, field_validator

from artifacts.progress import ProgressSink
from engines.chat import Tokens, encode_talk
from engines.errors import ChatError
from engines.loglikelihood import mean_loss, talk_scores
from training.data import Example, Row
from training.recipe import Recipe, TrainerParts
from training.settings import LoraSettings, StageSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer


DROPOUT = 0.05


class SFT(StageSettings):
    """Cross-entropy on what the assistant says, in every turn, and on nothing else."""

    stage: Literal["sft"] = "sft"
    learning_rate: PositiveFloat = 3e-4
    lora: LoraSettings = LoraSettings(dropout=DROPOUT)

    @field_validator("lora", mode="before")
    @classmethod
    def _other_lora_settings_leave_dropout(cls, value: object) -> object:
        return {"dropout": DROPOUT, **value} if isinstance(value, dict) else value


def encode(tokenizer: "PreTrainedTokenizerBase", row: Row) -> Example:
    """A conversation as `input_ids` and `labels`.

    Raises ChatError where the talk cannot be rendered or its assistant says nothing.
    """
    tokens = encode_talk(tokenizer, row["messages"])
    if not any(tokens.spoken):
        raise ChatError("the talk holds no message of the assistant: nothing to learn")
    last = max(i for i, m in enumerate(row["messages"]) if m["role"] == "assistant")
    return Example(
        record_id=row["record_id"],
        columns={"input_ids": list(tokens.ids), "labels": tokens.labels},
        tokens=len(tokens.ids),
        longest=len(tokens.ids),
        prompt=tuple(row["messages"][:last]),
    )


def prepare(
    model: "PreTrainedModel", examples: Sequence[Example], file: Path, progress: ProgressSink
) -> list[Example]:
    """Nothing is needed beforehand."""
    return list(examples)


def measure(
    settings: SFT, model: "PreTrainedModel", examples: Sequence[Example]
) -> dict[str, float]:
    """`loss`: mean cross-entropy of the assistant's tokens, in nats."""
    talks = [
        Tokens(
            ids=tuple(example.columns["input_ids"]),
            spoken=tuple(label != -100 for label in example.columns["labels"]),
        )
        for example in examples
    ]
    return {"loss": mean_loss(talk_scores(model, talks))} if talks else {}


def make_trainer(settings: SFT, parts: TrainerParts) -> "Trainer":
    """TRL's trainer on rows that are tokens already."""
    from trl import SFTConfig, SFTTrainer

    return SFTTrainer(
        model=parts.model,
        args=SFTConfig(**parts.arguments),
        train_dataset=parts.rows,
        processing_class=parts.tokenizer,
        peft_config=parts.lora,
        callbacks=parts.callbacks,
    )


RECIPE = Recipe(
    view="sft",
    columns=("record_id", "messages"),
    encode=encode,
    prepare=prepare,
    before=measure,
    after=measure,
    trainer=make_trainer,
)
