"""The evaluation process: `python -m evaluation.run job.json`, and its parent's two functions.

Ends with status 0 and `state/result.json`, or with status 1 and `state/error.json`, whose
message says what to do. Any other end is a crash: the same job again goes on from there.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from artifacts.errors import StoreError
from artifacts.progress import Progress
from artifacts.step import Built, Workspace
from artifacts.store import full_disk_is_named, write_atomically
from engines.errors import EngineError
from evaluation.errors import EvaluationError, MissingInput
from evaluation.evaluate import EvaluateSettings, build_evaluation, environment
from validation.schemas import Frozen

BUILT: TypeAdapter[Built] = TypeAdapter(Built)


class Job(Frozen):
    """What to measure and where: folders of the inputs, of the output, of what outlives a kill."""

    settings: EvaluateSettings
    inputs: dict[str, Path]
    out: Path
    state: Path


def write_job(settings: EvaluateSettings, workspace: Workspace) -> Path:
    """Write the job file of a step into its state folder; returns the file."""
    path = workspace.state / "job.json"
    job = Job(
        settings=settings,
        inputs={name: folder.absolute() for name, folder in workspace.inputs.items()},
        out=workspace.out.absolute(),
        state=workspace.state.absolute(),
    )
    (workspace.state / "result.json").unlink(missing_ok=True)
    write_atomically(path, job.model_dump_json(indent=1))
    return path


def read_result(state: Path) -> Built:
    """What the child's work says of itself. Raises MissingInput where it did not finish."""
    path = state / "result.json"
    try:
        return BUILT.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise MissingInput(f"the evaluation process left no result in {path}: {error}") from error


def do(job: Job) -> Built:
    """Do the work of a job in this process, resuming what an earlier attempt left."""
    job.out.mkdir(parents=True, exist_ok=True)
    job.state.mkdir(parents=True, exist_ok=True)

    def report(progress: Progress) -> None:
        line: dict[str, Any] = vars(progress)
        with (job.state / "progress.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")

    workspace = Workspace(out=job.out, state=job.state, inputs=job.inputs, progress=report)
    with full_disk_is_named(job.out):
        return build_evaluation(job.settings, workspace)


def main(arguments: list[str]) -> int:
    """Run one job file; returns the exit status."""
    if len(arguments) != 1:
        print("usage: python -m evaluation.run job.json", file=sys.stderr)
        return 2
    path = Path(arguments[0])
    try:
        job = _read_job(path)
        os.environ.update(environment(job.settings))
        built = do(job)
        write_atomically(job.state / "result.json", BUILT.dump_json(built).decode())
    except (EvaluationError, EngineError, StoreError) as error:
        content = {"type": type(error).__name__, "message": str(error)}
        write_atomically(path.parent / "error.json", json.dumps(content, ensure_ascii=False))
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _read_job(path: Path) -> Job:
    try:
        return Job.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise MissingInput(f"{path} is no job file: {error}") from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
