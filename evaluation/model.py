"""The model that is evaluated: a base folder and the checkpoints that were trained on it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from artifacts.digest import digest_file
from evaluation.errors import MissingInput
from validation.schemas import Frozen

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BASE = "base"
CHECKPOINT = "checkpoint_"
WEIGHTS = "adapter_model.safetensors"


class Subject(Frozen):
    """Folders of a base model and of the adapters merged into it, and the stages' names."""

    base: Path
    adapters: tuple[Path, ...] = ()
    stages: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The last stage's name, or "base" where nothing was trained."""
        return self.stages[-1] if self.stages else BASE


def subject_of(inputs: Mapping[str, Path]) -> Subject:
    """From a step's inputs: `model`, and `checkpoint_0`, `checkpoint_1`, … in order, if any.

    Raises MissingInput where one is missing, or the checkpoints are not one chain.
    """
    if "model" not in inputs:
        raise MissingInput(f"an evaluation needs the input 'model'; given: {sorted(inputs)}")
    names = sorted((n for n in inputs if n.startswith(CHECKPOINT)), key=lambda n: (len(n), n))
    checkpoints = [inputs[name] for name in names]
    return Subject(
        base=inputs["model"] / "model",
        adapters=tuple(folder / "adapter" for folder in checkpoints),
        stages=_chain(checkpoints),
    )


def load(subject: Subject) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """The model with its adapters merged, ready to be scored, and its tokenizer."""
    from engines.loading import load_model, load_tokenizer

    return load_model(subject.base, subject.adapters), load_tokenizer(subject.base)


def _chain(checkpoints: list[Path]) -> tuple[str, ...]:
    """The stages' names, once it is sure that each adapter stands on those before it."""
    stages: list[str] = []
    digests: list[str] = []
    for folder in checkpoints:
        try:
            chain = json.loads((folder / "stage.json").read_text(encoding="utf-8"))["chain"]
            digests.append(digest_file(folder / "adapter" / WEIGHTS))
        except (OSError, ValueError, KeyError) as error:
            raise MissingInput(f"{folder} is no checkpoint: {error}") from error
        if [link["adapter_digest"] for link in chain] != digests:
            raise MissingInput(
                f"{folder} was trained as the end of the chain {[link['stage'] for link in chain]}"
                f", which does not follow on {stages or ['the base alone']}: give the checkpoints "
                "of one chain, in the order in which they were trained"
            )
        stages.append(chain[-1]["stage"])
    return tuple(stages)
