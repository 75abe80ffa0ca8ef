"""The library of cases as Prefect tasks: drafting new ones, and copying them into a folder."""

from functools import partial
from pathlib import Path

from prefect import get_run_logger, task

from artifacts.manifest import ArtifactRef
from datagen.access import LlmAccess
from datagen.case_growth import (
    GROWTH_VERSION,
    GrowSettings,
    build_growth,
    copy_cases,
    growth_key,
)
from tasks.limits import limit_tags
from tasks.steps import (
    RETRIES,
    RETRY_DELAYS_SECONDS,
    StepReport,
    make_step,
    perform,
    worth_retrying,
)


@task(
    name="draft cases",
    tags=limit_tags("llm"),
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS_SECONDS,
    retry_condition_fn=worth_retrying,
    persist_result=False,
)
def draft_cases(settings: GrowSettings, access: LlmAccess, home: Path) -> StepReport:
    """Draft cases for empty cells or from notes, and keep the sound and new ones."""
    key = growth_key(settings, access)
    build = partial(build_growth, settings, access)
    return perform(make_step("cases", GROWTH_VERSION, "cases", key, {}, build), home)


@task(name="copy cases", persist_result=False)
def put_cases(cases: ArtifactRef, folder: Path) -> str:
    """Copy drafted cases into a library, never over a file; says what was done."""
    copied, there = copy_cases(cases.folder, folder)
    told = f"{copied} cases copied into {folder}"
    told += f", {there} were there already" if there else ""
    get_run_logger().info(told)
    return told
