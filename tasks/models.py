"""Models as Prefect tasks: the student, a stage of training, an evaluation, the report."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from prefect import task

from artifacts.manifest import ArtifactRef
from evaluation.evaluate import STEP_VERSION as EVALUATE_VERSION
from evaluation.evaluate import EvaluateSettings
from evaluation.report import STEP_VERSION as REPORT_VERSION
from evaluation.report import ReportSettings, build_report
from tasks.job import build_in_child
from tasks.limits import limit_tags
from tasks.steps import (
    RETRIES,
    RETRY_DELAYS_SECONDS,
    StepReport,
    make_step,
    perform,
    worth_retrying,
)
from training.stage import STEP_VERSION as STAGE_VERSION
from training.stage import AnyStage
from training.student import STEP_VERSION as STUDENT_VERSION
from training.student import StudentSettings


@task(
    name="make the student",
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS_SECONDS,
    retry_condition_fn=worth_retrying,
    persist_result=False,
)
def make_student(settings: StudentSettings, home: Path) -> StepReport:
    """Turn the student's source into a folder that can be trained."""
    build = partial(
        build_in_child,
        "training.student:build_student",
        "training.student:StudentSettings",
        settings,
    )
    return perform(make_step("student", STUDENT_VERSION, "model", settings, {}, build), home)


@task(
    name="train a stage",
    task_run_name="train {name}",
    tags=limit_tags("gpu"),
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS_SECONDS,
    retry_condition_fn=worth_retrying,
    persist_result=False,
)
def train_stage(
    name: str, settings: AnyStage, inputs: Mapping[str, ArtifactRef], home: Path
) -> StepReport:
    """Train one stage in a process of its own; a killed one resumes."""
    build = partial(
        build_in_child,
        "training.stage:build_stage",
        "training.stage:STAGE",
        settings,
        threads=settings.threads,
    )
    return perform(make_step(name, STAGE_VERSION, "checkpoint", settings, inputs, build), home)


@task(
    name="evaluate a model",
    task_run_name="evaluate {name}",
    tags=limit_tags("gpu"),
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS_SECONDS,
    retry_condition_fn=worth_retrying,
    persist_result=False,
)
def evaluate_checkpoint(
    name: str, settings: EvaluateSettings, inputs: Mapping[str, ArtifactRef], home: Path
) -> StepReport:
    """Measure one model on every benchmark, in a process of its own."""
    build = partial(
        build_in_child,
        "evaluation.evaluate:build_evaluation",
        "evaluation.evaluate:EvaluateSettings",
        settings,
        threads=settings.threads,
    )
    step = make_step(f"evaluate_{name}", EVALUATE_VERSION, "evaluation", settings, inputs, build)
    return perform(step, home)


@task(name="write the report", persist_result=False)
def write_report(
    settings: ReportSettings, inputs: Mapping[str, ArtifactRef], home: Path
) -> StepReport:
    """Compare the models on the same items and write the page."""
    build = partial(build_report, settings)
    return perform(make_step("report", REPORT_VERSION, "report", settings, inputs, build), home)
