"""A step's function run in a process of its own: the job file, its two sides, its result.

`python -m tasks.child tasks.job JOB` is the child's side, and `build_in_child` the parent's.
"""

import ctypes
import errno
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, JsonValue

from artifacts.errors import StoreError
from artifacts.progress import Progress
from artifacts.step import Built, Workspace
from artifacts.store import FULL_BYTES, full_disk_is_named, write_atomically
from tasks.child import run_job

# malloc.h: M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD
MALLOC = {-1: (1 << 31) - 1, -2: 64 << 20, -3: 1 << 30}


class Job(BaseModel):
    """What a child is asked to do.

    `build` is "module:function", a function of (settings, workspace); `settings_type` is
    "module:class" or a "module:TypeAdapter" that reads the settings.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    build: str
    settings_type: str
    settings: dict[str, JsonValue]
    inputs: dict[str, Path]
    out: Path
    state: Path


def write_job(build: str, settings_type: str, settings: BaseModel, workspace: Workspace) -> Path:
    """Write the job file of a step into its state folder, where no old result is left."""
    job = Job(
        build=build,
        settings_type=settings_type,
        settings=settings.model_dump(mode="json"),
        inputs={name: folder.absolute() for name, folder in workspace.inputs.items()},
        out=workspace.out.absolute(),
        state=workspace.state.absolute(),
    )
    path = workspace.state / "job.json"
    (workspace.state / "built.json").unlink(missing_ok=True)
    write_atomically(path, job.model_dump_json(indent=1))
    return path


def build_in_child(
    build: str,
    settings_type: str,
    settings: BaseModel,
    workspace: Workspace,
    threads: int = 1,
) -> Built:
    """Run a build function in a child and return what it says of its work.

    `threads`: how many the numerical libraries of the child may use.
    Raises ChildError with the child's clear error, ChildFailed with any other, ChildCrashed
    where it was killed.
    """
    path = write_job(build, settings_type, settings, workspace)
    run_job("tasks.job", path, workspace.state, workspace.progress, child_environment(threads))
    values = json.loads((workspace.state / "built.json").read_text(encoding="utf-8"))
    return Built(**{**values, "volatile": tuple(values["volatile"])})


def child_environment(threads: int) -> dict[str, str]:
    """Environment variables under which torch and the hub's libraries must be imported.

    Nothing is downloaded or reported. Waiting threads sleep: on a busy machine, spinning
    ones (OpenMP's default) slow training down several times. One GPU is shown, the first that
    this process may use: one process trains on one, and trainers refuse it when it sees more.
    """
    return {
        "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0],
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "TQDM_DISABLE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
    }


def perform_job(path: Path) -> None:
    """The child's side: build, and leave `built.json`, or `error.json` and status 1."""
    job = Job.model_validate_json(path.read_text(encoding="utf-8"))
    job.out.mkdir(parents=True, exist_ok=True)
    with (job.state / "progress.jsonl").open("a", encoding="utf-8") as lines:

        def report(progress: Progress) -> None:
            lines.write(json.dumps(vars(progress)) + "\n")
            lines.flush()

        workspace = Workspace(job.out, job.state, job.inputs, report)
        try:
            with full_disk_is_named(job.state), full_disk_is_told_apart(job.state):
                settings = _read(_named(job.settings_type), job.settings)
                built = _named(job.build)(settings, workspace)
        except clear_errors() as error:
            message = json.dumps({"message": f"{error}", "type": type(error).__name__})
            write_atomically(job.state / "error.json", message)
            raise SystemExit(1) from error
    write_atomically(job.state / "built.json", json.dumps(vars(built)))


@contextmanager
def full_disk_is_told_apart(folder: Path) -> Iterator[None]:
    """Raise the system's own error where a library hides that the disk of `folder` is full."""
    try:
        yield
    except Exception as error:
        if hides_full_disk(error, shutil.disk_usage(folder).free):
            raise OSError(errno.ENOSPC, f"no space left: {error}") from error
        raise


def hides_full_disk(error: Exception, free_bytes: int) -> bool:
    """Whether an error of safetensors or torch means that the disk is full.

    safetensors writes the system's number into its message and removes what it wrote, so that
    some of the disk is free again; torch names no cause, and leaves the disk full.
    """
    text = str(error)
    if type(error).__name__ == "SafetensorError":
        return any(f"os error {number})" in text for number in (errno.ENOSPC, errno.EDQUOT))
    of_torch = "inline_container" in text or "PytorchStreamWriter" in text
    return isinstance(error, RuntimeError) and of_torch and free_bytes < FULL_BYTES


def clear_errors() -> tuple[type[Exception], ...]:
    """Errors of the packages that work in children, whose message says what to do."""
    from engines.errors import EngineError
    from evaluation.errors import EvaluationError
    from training.errors import TrainingError
    from validation.errors import RecordError

    return (StoreError, EngineError, EvaluationError, TrainingError, RecordError)


def keep_memory() -> None:
    """Tell glibc to keep freed memory for the next step instead of giving it back at once.

    On a CPU every step of training frees and asks for gigabytes; the page faults of that were
    a quarter of all processor time (21 s of kernel time for nine passes, 6 s with this).
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        for parameter, value_bytes in MALLOC.items():
            library.mallopt(parameter, value_bytes)


def _named(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


def _read(settings_type: Any, settings: dict[str, JsonValue]) -> Any:
    if isinstance(settings_type, type) and issubclass(settings_type, BaseModel):
        return settings_type.model_validate(settings)
    return settings_type.validate_python(settings)


if __name__ == "__main__":
    keep_memory()
    perform_job(Path(sys.argv[1]))
