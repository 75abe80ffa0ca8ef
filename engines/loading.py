"""Loading models from local folders: a base, and adapters merged into it in their order."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.errors import LoadError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def device() -> "torch.device":
    """The first GPU where there is one, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def dtype_of(place: "torch.device") -> "torch.dtype":
    """float32 on a CPU, where bfloat16 is many times slower; bfloat16 elsewhere."""
    import torch

    return torch.float32 if place.type == "cpu" else torch.bfloat16


def load_tokenizer(folder: Path) -> "PreTrainedTokenizerBase":
    """The tokenizer of a local model folder, with a padding token.

    Raises LoadError where the folder holds none.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise LoadError(f"no tokenizer can be read from {folder}: {_first_line(error)}") from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(folder: Path, adapters: Sequence[Path] = ()) -> "PreTrainedModel":
    """A causal language model in evaluation mode, with LoRA adapters merged in their order.

    folder: a transformers folder. adapters: PEFT folders; each was trained on the base with
    those before it merged, so order matters. Merging is done in float32, also for a GPU.
    Weights are read as safetensors alone: pickled ones can run code when they are read.
    Raises LoadError for a folder without a model, code of its own, or an adapter that does
    not fit.
    """
    import torch
    from transformers import AutoModelForCausalLM

    _refuse_foreign_code(folder)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
        )
    except (OSError, ValueError) as error:
        raise LoadError(f"no model can be loaded from {folder}: {_first_line(error)}") from error
    for adapter in adapters:
        model = merge_adapter(model, adapter)
    place = device()
    return model.to(device=place, dtype=dtype_of(place)).eval()


def merge_adapter(model: "PreTrainedModel", adapter: Path) -> "PreTrainedModel":
    """The model with one PEFT adapter added into its weights, in place.

    Raises LoadError where the folder is no adapter or its tensors have other shapes.
    """
    from peft import PeftModel

    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (adapter / name).is_file():
            raise LoadError(f"{adapter} is no adapter: it holds no {name}")
    try:
        wrapped = PeftModel.from_pretrained(model, adapter, local_files_only=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise LoadError(
            f"the adapter {adapter} does not fit this model: {_first_line(error)}. Adapters are "
            "merged in the order in which they were trained, on the base they were trained on"
        ) from error
    return wrapped.merge_and_unload()


def read_config(folder: Path) -> dict[str, Any]:
    """The `config.json` of a model folder.

    Raises LoadError where it is absent or no JSON object.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LoadError(f"{folder} is no transformers model: {_first_line(error)}") from error
    if not isinstance(config, dict):
        raise LoadError(f"{path} holds no JSON object")
    return config


def _refuse_foreign_code(folder: Path) -> None:
    if "auto_map" in read_config(folder):
        raise LoadError(
            f"{folder} wants to run Python code of its own (auto_map in config.json), which is "
            "never done here: take a model of an architecture that transformers itself knows"
        )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
