"""A job file: all that a training process needs, and what it leaves for its parent.

The parent writes `job.json` and starts `python -m training.run job.json`. The child appends
to `state/progress.jsonl` and ends with `state/result.json`, or with `state/error.json`.
"""

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from artifacts.progress import Progress
from artifacts.step import Built, Workspace
from artifacts.store import write_atomically
from training.dpo import DPO
from training.errors import WrongInput
from training.sft import SFT
from training.student import StudentSettings
from validation.schemas import Frozen

AnyWork = Annotated[SFT | DPO | StudentSettings, Field(discriminator="stage")]
BUILT: TypeAdapter[Built] = TypeAdapter(Built)


class Job(Frozen):
    """What to do and where: folders of the inputs, of the output, of what outlives a kill."""

    work: AnyWork
    inputs: dict[str, Path]
    out: Path
    state: Path


def write_job(work: AnyWork, workspace: Workspace) -> Path:
    """Write the job file of a step into its state folder; returns the file."""
    path = workspace.state / "job.json"
    job = Job(
        work=work,
        inputs={name: folder.absolute() for name, folder in workspace.inputs.items()},
        out=workspace.out.absolute(),
        state=workspace.state.absolute(),
    )
    (workspace.state / "result.json").unlink(missing_ok=True)
    write_atomically(path, job.model_dump_json(indent=1))
    return path


def read_job(path: Path) -> Job:
    """Read a job file. Raises WrongInput naming the field at fault."""
    try:
        return Job.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise WrongInput(f"{path} is no job file: {error}") from error


def write_result(state: Path, built: Built) -> None:
    """Keep what the work says of itself, as the child's last act."""
    write_atomically(state / "result.json", BUILT.dump_json(built).decode())


def read_result(state: Path) -> Built:
    """What the child's work says of itself. Raises WrongInput where it did not finish."""
    path = state / "result.json"
    try:
        return BUILT.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise WrongInput(f"the training process left no result in {path}: {error}") from error


class ProgressFile:
    """Progress as lines `{"done", "total", "unit", "cost_usd", "note"}` of a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, progress: Progress) -> None:
        """Append one line."""
        line: dict[str, Any] = vars(progress)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")


def environment(job: Job) -> dict[str, str]:
    """Environment variables under which torch and the hub's libraries must be imported.

    Nothing is downloaded or reported. Waiting threads sleep: on a busy machine, spinning
    ones (OpenMP's default) slow training down several times.
    """
    threads = 1 if isinstance(job.work, StudentSettings) else job.work.threads
    return {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "DO_NOT_TRACK": "1",
        "TQDM_DISABLE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
    }
