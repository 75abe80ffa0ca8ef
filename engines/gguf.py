"""GGUF files (llama.cpp's format) as transformers folders that can be trained."""

from pathlib import Path

from engines.errors import LoadError

MAGIC = b"GGUF"


def convert_gguf(path: Path, folder: Path) -> None:
    """Write the model of a GGUF file into `folder`: safetensors (float32), tokenizer, template.

    Quantised weights are unpacked: what is trained is what the file's own engine runs.
    Raises LoadError where the file is no GGUF or of an architecture that is not known.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    _check_magic(path)
    source = {"gguf_file": path.name, "local_files_only": True}
    try:
        tokenizer = AutoTokenizer.from_pretrained(path.parent, **source)
        loaded = AutoModelForCausalLM.from_pretrained(path.parent, **source, dtype=torch.float32)
    except (OSError, ValueError, NotImplementedError, KeyError) as error:
        raise LoadError(f"{path} cannot be unpacked by transformers: {error}") from error
    # A model that was loaded from GGUF refuses to be saved; a new one of its config does not.
    config = loaded.config
    del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(loaded.state_dict())
    model.save_pretrained(folder)
    for name in ("local_files_only", "is_local", "gguf_file"):
        tokenizer.init_kwargs.pop(name, None)
    tokenizer.save_pretrained(folder)


def _check_magic(path: Path) -> None:
    try:
        with path.open("rb") as stream:
            start = stream.read(len(MAGIC))
    except OSError as error:
        raise LoadError(f"the GGUF file {path} cannot be read: {error.strerror}") from error
    if start != MAGIC:
        raise LoadError(
            f"{path} is no GGUF file (it begins with {start!r}): give a .gguf file or a folder "
            "saved by transformers"
        )
