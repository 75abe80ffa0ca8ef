"""One step as a Prefect task sees it: looked up or built, shown, and written into the UI."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from prefect import get_run_logger
from pydantic import BaseModel, ConfigDict, JsonValue

from artifacts.manifest import ArtifactRef
from artifacts.step import Built, Outcome, Step, Workspace, ensure
from artifacts.store import Store
from endpoints.errors import EndpointDown
from tasks.child import ChildCrashed
from tasks.progress import listener, shown_progress

RETRIES = 2
RETRY_DELAYS_SECONDS = [2.0, 10.0]


class StepReport(BaseModel):
    """What a task hands on: a reference and what is said of it, never rows or tensors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    ref: ArtifactRef
    status: Literal["reused", "built"]
    reason: str
    seconds: float
    build_seconds: float
    cost_usd: float
    counts: dict[str, int]
    summary: dict[str, JsonValue]

    def line(self) -> str:
        """One line for people."""
        counts = ", ".join(f"{number} {name}" for name, number in self.counts.items())
        told = f" ({counts})" if counts else ""
        cost = f" ${self.cost_usd:.4f}" if self.cost_usd else ""
        if self.status == "reused":
            return f"{self.name}: reused {self.ref.kind}/{self.ref.key[:12]}{told}"
        return f"{self.name}: built in {self.build_seconds:.1f} s{cost}{told}"


def perform(step: Step, home: Path) -> StepReport:
    """Do a step unless it is done, telling the terminal and Prefect's UI.

    Must be called in a Prefect task: reasons and results are lines of its log.
    """
    log = get_run_logger()
    watcher = listener.get()
    if watcher:
        watcher.step_started(step.name)

    def say(line: str) -> None:
        log.info(line)
        if watcher:
            watcher.step_says(step.name, line)

    try:
        with shown_progress(step.name) as sink:
            outcome = ensure(Store(home / "store"), step, sink, say)
    except BaseException as error:
        if watcher:
            watcher.step_failed(step.name, _first_line(error))
        raise
    report = _report(step.name, outcome)
    log.info(report.line())
    if watcher:
        watcher.step_finished(step.name, report.line(), report.status == "reused")
    _write_artifact(report)
    return report


def make_step(
    name: str,
    version: int,
    kind: str,
    settings: BaseModel,
    inputs: Mapping[str, ArtifactRef],
    build: Callable[[Workspace], Built],
) -> Step:
    """A step, with its inputs in order of name."""
    return Step(name, version, kind, settings, dict(sorted(inputs.items())), build)


def worth_retrying(task: Any, run: Any, state: Any) -> bool:
    """Whether another attempt can help: the child was killed, or the endpoint was away."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, ChildCrashed | EndpointDown)


def _first_line(error: BaseException) -> str:
    """The error's first line, or its kind where it says nothing (Ctrl-C)."""
    return (str(error).splitlines() or [""])[0] or type(error).__name__


def _report(name: str, outcome: Outcome) -> StepReport:
    manifest = outcome.manifest
    return StepReport(
        name=name,
        ref=outcome.ref,
        status=outcome.status,
        reason=outcome.reason,
        seconds=outcome.seconds,
        build_seconds=manifest.seconds,
        cost_usd=manifest.cost_usd,
        counts=manifest.counts,
        summary=manifest.summary,
    )


def _write_artifact(report: StepReport) -> None:
    from prefect.artifacts import create_markdown_artifact

    rows = [f"| {name} | {value} |" for name, value in _flat(report.counts | report.summary)]
    text = "\n".join(
        [
            f"## {report.name}: {report.status}",
            f"{report.reason}",
            "",
            f"`{report.ref.kind}/{report.ref.key}`",
            "",
            "| | |",
            "|---|---|",
            f"| seconds to build | {report.build_seconds:.1f} |",
            f"| cost, USD | {report.cost_usd:.4f} |",
            *rows,
        ]
    )
    create_markdown_artifact(text, key=report.name.replace("_", "-"), description=report.reason)


def _flat(values: Mapping[str, JsonValue]) -> list[tuple[str, str]]:
    """Names and short texts of values; lists of things are counted, not shown."""
    rows = []
    for name, value in values.items():
        if isinstance(value, dict):
            rows += [(f"{name}.{inner}", text) for inner, text in _flat(value)]
        elif isinstance(value, list):
            rows.append((name, f"{len(value)} entries"))
        else:
            rows.append((name, str(value).replace("|", "\\|").replace("\n", " ")[:120]))
    return rows
