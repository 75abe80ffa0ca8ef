"""Models as Prefect tasks: the student, a stage of training, an evaluation, the report."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from prefect import task

from artifacts.manifest import ArtifactRef
from artifacts.step import Built, Workspace
from evaluation.evaluate import STEP_VERSION as EVALUATE_VERSION
from evaluation.evaluate import EvaluateSettings
from evaluation.report import STEP_VERSION as REPORT_VERSION
from evaluation.report import ReportSettings, build_report
from tasks.child import run_job
from tasks.steps import (
    RETRIES,
    RETRY_DELAYS_SECONDS,
    StepReport,
    make_step,
    perform,
    worth_retrying,
)
from training import job
from training.dpo import DPO
from training.sft import SFT
from training.stage import STEP_VERSION as STAGE_VERSION
from training.student import STEP_VERSION as STUDENT_VERSION
from training.student import StudentSettings

retried = partial(
    task,
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS_SECONDS,
    retry_condition_fn=worth_retrying,
    persist_result=False,
)


@retried(name="make the student")
def make_student(settings: StudentSettings, home: Path) -> StepReport:
    """Turn the student's source into a folder that can be trained."""
    build = partial(_in_training_process, settings)
    return perform(make_step("student", STUDENT_VERSION, "model", settings, {}, build), home)


@retried(name="train a stage", tags=["gpu"], task_run_name="train {name}")
def train_stage(
    name: str, settings: SFT | DPO, inputs: Mapping[str, ArtifactRef], home: Path
) -> StepReport:
    """Train one stage in a process of its own; a killed one resumes."""
    build = partial(_in_training_process, settings)
    return perform(make_step(name, STAGE_VERSION, "checkpoint", settings, inputs, build), home)
