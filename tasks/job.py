"""A step's function run in a process of its own: the job file, its two sides, its result.

`python -m tasks.child tasks.job JOB` is the child's side, and `build_in_child` the parent's.
"""

import json
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, JsonValue

from artifacts.errors import StoreError
from artifacts.progress import Progress
from artifacts.step import Built, Workspace
from artifacts.store import full_disk_is_named, write_atomically
from tasks.child import run_job


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


def build_in_child(
    build: str,
    settings_type: str,
    settings: BaseModel,
    workspace: Workspace,
    environment: Mapping[str, str] | None = None,
) -> Built:
    """Run a build function in a child and return what it says of its work.

    Raises ChildError with the child's clear error, ChildCrashed where it died without one.
    """
    job = Job(
        build=build,
        settings_type=settings_type,
        settings=settings.model_dump(mode="json"),
        inputs=dict(workspace.inputs),
        out=workspace.out,
        state=workspace.state,
    )
    path = workspace.state / "job.json"
    write_atomically(path, job.model_dump_json(indent=1))
    result = workspace.state / "built.json"
    result.unlink(missing_ok=True)
    run_job("tasks.job", path, workspace.state, workspace.progress, environment)
    values = json.loads(result.read_text(encoding="utf-8"))
    return Built(**{**values, "volatile": tuple(values["volatile"])})


def perform_job(path: Path) -> None:
    """The child's side: build, and leave `built.json`, or `error.json` and status 1."""
    job = Job.model_validate_json(path.read_text(encoding="utf-8"))
    with (job.state / "progress.jsonl").open("a", encoding="utf-8") as lines:

        def report(progress: Progress) -> None:
            lines.write(json.dumps(vars(progress)) + "\n")
            lines.flush()

        workspace = Workspace(job.out, job.state, job.inputs, report)
        try:
            with full_disk_is_named(job.state):
                settings = _read(_named(job.settings_type), job.settings)
                built = _named(job.build)(settings, workspace)
        except clear_errors() as error:
            message = json.dumps({"message": f"{error}", "type": type(error).__name__})
            write_atomically(job.state / "error.json", message)
            raise SystemExit(1) from error
    write_atomically(job.state / "built.json", json.dumps(vars(built)))


def clear_errors() -> tuple[type[Exception], ...]:
    """Errors of the packages that work in children, whose message says what to do."""
    from engines.errors import EngineError
    from evaluation.errors import EvaluationError
    from training.errors import TrainingError
    from validation.errors import RecordError

    return (StoreError, EngineError, EvaluationError, TrainingError, RecordError)


def _named(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


def _read(settings_type: Any, settings: dict[str, JsonValue]) -> Any:
    if isinstance(settings_type, type) and issubclass(settings_type, BaseModel):
        return settings_type.model_validate(settings)
    return settings_type.validate_python(settings)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    perform_job(Path(sys.argv[1]))
