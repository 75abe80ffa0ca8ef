"""The adapter of a stage: PEFT's configuration, and where an adapter may sit."""

from typing import TYPE_CHECKING

from training.errors import WrongInput
from training.settings import StageSettings

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedModel


def lora_config(settings: StageSettings) -> "LoraConfig":
    """PEFT's configuration of the stage's adapter."""
    from peft import LoraConfig

    lora = settings.lora
    targets = lora.target_modules
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        task_type="CAUSAL_LM",
    )


def refuse_wrong_targets(model: "PreTrainedModel", settings: StageSettings) -> None:
    """Raise WrongInput where `lora.target_modules` names anything but linear layers of the model.

    PEFT passes over a name that it does not find, if it finds another. The output head, and
    embeddings that share its weights, would be trained but not merged as they were trained.
    """
    from torch.nn import Linear
    from transformers.pytorch_utils import Conv1D

    targets = settings.lora.target_modules
    if isinstance(targets, str):
        return
    head = model.get_output_embeddings()
    linear = {
        name
        for name, module in model.named_modules()
        if isinstance(module, Linear | Conv1D) and module is not head
    }
    wrong = [t for t in targets if not any(f".{name}".endswith(f".{t}") for name in linear)]
    if wrong:
        known = sorted({name.rpartition(".")[2] for name in linear})
        raise WrongInput(
            f"lora.target_modules names {wrong}, which are no linear layers of this model (the "
            f"output head cannot be one). It has: {known}; or write 'all-linear'"
        )
