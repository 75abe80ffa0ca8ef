"""What a stage is to the shared training: six functions, and the trainer's common arguments."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifacts.progress import ProgressSink
from training.data import Example, Row
from training.settings import StageSettings

if TYPE_CHECKING:
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainerCallback


Measure = Callable[[Any, "PreTrainedModel", Sequence[Example]], dict[str, float]]
"""From a stage's settings, a model and held-out examples to figures by name."""


@dataclass(frozen=True)
class TrainerParts:
    """What every trainer is made of, ready for it."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    rows: "Dataset"
    lora: "LoraConfig"
    arguments: dict[str, Any]
    callbacks: "list[TrainerCallback]"


@dataclass(frozen=True)
class Recipe:
    """One stage.

    `view` and `columns`: where its rows stand in a data set artifact.
    `encode` turns a row into an example. `prepare` adds to examples what only the model
    before training can tell (its file, given as a path, survives a killed run).
    `before` and `after` measure validation examples, with the model as it then is.
    `trainer` makes the trainer.
    """

    view: str
    columns: tuple[str, ...]
    encode: "Callable[[PreTrainedTokenizerBase, Row], Example]"
    prepare: "Callable[[PreTrainedModel, Sequence[Example], Path, ProgressSink], list[Example]]"
    before: Measure
    after: Measure
    trainer: "Callable[[Any, TrainerParts], Trainer]"


def quieten(trainer: "Trainer") -> None:
    """Keep the trainer from printing each step: metrics go to a file."""
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)


def common_arguments(settings: StageSettings, steps: int, folder: Path) -> dict[str, Any]:
    """Arguments that all trainers share, for a run of `steps` that keeps its state in `folder`.

    Nothing is reported anywhere, pushed anywhere, shuffled or cut; each step is logged, so
    that the metrics of a resumed run are those of one that was not killed.
    """
    import torch

    gpu = torch.cuda.is_available()
    schedule = {"constant": "constant_with_warmup"}.get(settings.schedule, settings.schedule)
    return {
        "output_dir": str(folder),
        "seed": settings.seed,
        "max_steps": steps,
        "per_device_train_batch_size": settings.batch_size,
        "gradient_accumulation_steps": settings.gradient_accumulation,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": schedule,
        # The rate of the first step of a warm-up is 0: a run of one step would learn nothing.
        "warmup_steps": min(round(settings.warmup_share * steps), steps - 1),
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_gradient_norm,
        "max_length": None,
        "train_sampling_strategy": "sequential",
        "activation_checkpointing": settings.gradient_checkpointing,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "logging_first_step": True,
        "save_strategy": "steps",
        "save_steps": settings.save_every_steps,
        "save_total_limit": None,
        "bf16": gpu,
        "use_cpu": not gpu,
        "dataloader_pin_memory": gpu,
        "report_to": [],
        "push_to_hub": False,
        "disable_tqdm": True,
        "log_level": "warning",
    }
