"""The student: the model that is trained, from a GGUF file or a transformers folder."""

import shutil
from pathlib import Path
from typing import Literal

from pydantic import Field

from artifacts.digest import digest_file, digest_names
from artifacts.progress import Progress
from artifacts.step import Built, Workspace
from engines.chat import check_tokenizer
from engines.gguf import convert_gguf
from engines.loading import load_tokenizer, read_config
from training.errors import WrongInput
from training.outputs import clear_folder
from validation.schemas import Frozen

STEP_VERSION = 1
# Weights as safetensors alone: pickled ones (.bin) can run code when they are read.
KEPT = (
    "*.safetensors",
    "*.safetensors.index.json",
    "*.jinja",
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
)


class StudentSettings(Frozen):
    """Where the student comes from. What is in the file decides, not where it stands."""

    stage: Literal["student"] = "student"
    digest: str
    path: Path = Field(json_schema_extra={"result_neutral": True})


def describe_student(path: Path) -> StudentSettings:
    """Settings for a GGUF file or a folder saved by transformers, with the digest of its content.

    Raises WrongInput where there is neither.
    """
    path = path.absolute()
    if path.is_file():
        return StudentSettings(digest=digest_file(path), path=path)
    files = kept_files(path) if path.is_dir() else []
    if not any(file.suffix == ".safetensors" for file in files):
        raise WrongInput(
            f"{path} is neither a GGUF file nor a folder with .safetensors weights: name a file "
            "such as model.gguf, or a folder written by save_pretrained"
        )
    named = [(file.name, digest_file(file)) for file in files]
    return StudentSettings(digest=digest_names(named), path=path)


def kept_files(folder: Path) -> list[Path]:
    """The files of a transformers folder that a student needs, in order of name."""
    found = {path for pattern in KEPT for path in folder.glob(pattern) if path.is_file()}
    return sorted(found)


def build_student(settings: StudentSettings, workspace: Workspace) -> Built:
    """Write the student into `workspace.out/model`, ready for training and for scoring.

    Raises LoadError, ChatError and WrongInput where the source cannot be a student: no
    weights, no chat template, or a file that changed since its digest was taken.
    """
    _refuse_changed(settings)
    clear_folder(workspace.out)
    folder = workspace.out / "model"
    folder.mkdir()
    workspace.progress(Progress(done=0, total=1, unit="models", note="reading the student"))
    if settings.path.is_file():
        convert_gguf(settings.path, folder)
    else:
        for file in kept_files(settings.path):
            shutil.copyfile(file, folder / file.name)
    check_tokenizer(load_tokenizer(folder))
    config = read_config(folder)
    workspace.progress(Progress(done=1, total=1, unit="models"))
    return Built(
        summary={
            "source": settings.path.name,
            "architecture": (config.get("architectures") or ["unknown"])[0],
            "parameters": count_parameters(folder),
            "context_tokens": config.get("max_position_embeddings"),
        }
    )


def count_parameters(folder: Path) -> int:
    """Numbers in a folder's safetensors files, from their headers alone."""
    from math import prod

    from safetensors import safe_open

    total = 0
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="numpy") as tensors:
            names = tensors.keys()
            total += sum(prod(tensors.get_slice(name).get_shape()) for name in names)
    return total


def _refuse_changed(settings: StudentSettings) -> None:
    if describe_student(settings.path).digest != settings.digest:
        raise WrongInput(
            f"{settings.path} is not what it was when this run was planned: type the command again"
        )
