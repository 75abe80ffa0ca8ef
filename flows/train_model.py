"""`train_model`: a data set and a student through every stage of the chain."""

import tasks.telemetry  # noqa: F401  isort: skip

from collections.abc import Callable
from pathlib import Path

from prefect import flow

from artifacts.manifest import ArtifactRef
from artifacts.store import Store
from endpoints.embedded import embedded_model_path
from flows.parameters import Changes, Place
from flows.result import FlowResult
from flows.settings import BuildSettings, read_settings
from flows.stored import find_artifact
from tasks.child import children_end_with_the_flow
from tasks.models import make_student, train_stage
from tasks.progress import plan
from tasks.steps import StepReport
from training.stage import CHECKPOINT
from training.student import StudentSettings, describe_student

OnTrained = Callable[[str, ArtifactRef, list[ArtifactRef]], None]


@flow(name="train_model", persist_result=False)
def train_model(
    profile: str = "embedded",
    changes: Changes | None = None,
    place: Place | None = None,
    dataset: str = "latest",
) -> FlowResult:
    """Train the profile's chain on a data set of the store: a key, its beginning, or "latest"."""
    changes, place = changes or Changes(), place or Place()
    settings = read_settings(profile, changes)
    home = place.home.absolute()
    store = Store(home / "store")
    data = store.ref(find_artifact(store, "dataset", dataset, "medfactory generate"))
    plan(1 + len(settings.stages))
    with children_end_with_the_flow():
        student = make_student(student_settings(settings), home)
        return FlowResult.of([student, *train_steps(settings, student.ref, data, home)])


def student_settings(settings: BuildSettings) -> StudentSettings:
    """The student that the profile names: the embedded model's weights unless told otherwise."""
    return describe_student(settings.student.model or embedded_model_path())


def train_steps(
    settings: BuildSettings,
    student: ArtifactRef,
    dataset: ArtifactRef,
    home: Path,
    on_trained: OnTrained = lambda name, student, chain: None,
) -> list[StepReport]:
    """One stage after the other, each on the adapters of those before it.

    `on_trained(name, student, chain)` is called when a stage's checkpoint is there.
    """
    reports: list[StepReport] = []
    for name, stage in settings.stages.items():
        chain = [report.ref for report in reports]
        reports.append(train_stage(name, stage, model_inputs(student, dataset, chain), home))
        on_trained(name, student, [report.ref for report in reports])
    return reports


def model_inputs(
    student: ArtifactRef, dataset: ArtifactRef, chain: list[ArtifactRef]
) -> dict[str, ArtifactRef]:
    """The inputs of a stage or an evaluation: student, data set, and the chain so far."""
    checkpoints = {f"{CHECKPOINT}{i}": ref for i, ref in enumerate(chain)}
    return {"model": student, "dataset": dataset, **checkpoints}
