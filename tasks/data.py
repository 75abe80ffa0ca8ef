"""Data as Prefect tasks: conversations, preference pairs, the user's files, the data set."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from prefect import task

from artifacts.manifest import ArtifactRef
from datagen.access import LlmAccess
from datagen.consultations import (
    CONVERSATIONS_VERSION,
    GenerateSettings,
    build_conversations,
    conversations_key,
)
from datagen.generators.building import build_generated, generated_key, generated_version
from datagen.generators.catalogue import AnyGenerator, generator_of
from datagen.pairing import PREFERENCES_VERSION, build_preferences, preferences_key
from datagen.preferences import PreferenceSettings
from evaluation.generation import (
    GENERATION_VERSION,
    GenerationReportSettings,
    build_generation_report,
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
from validation.dataset import STEP_VERSION as DATASET_VERSION
from validation.dataset import DatasetSettings, build_dataset
from validation.importing import STEP_VERSION as IMPORT_VERSION
from validation.importing import ImportSettings, build_import


@task(
    name="generate conversations",
    tags=limit_tags("llm"),
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS_SECONDS,
    retry_condition_fn=worth_retrying,
    persist_result=False,
)
def generate_conversations(settings: GenerateSettings, access: LlmAccess, home: Path) -> StepReport:
    """Simulate consultations of the library's cases through an endpoint."""
    key = conversations_key(settings, access)
    build = partial(build_conversations, settings, access)
    step = make_step("conversations", CONVERSATIONS_VERSION, "conversations", key, {}, build)
    return perform(step, home)


@task(
    name="generate preference pairs",
    tags=limit_tags("llm"),
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS_SECONDS,
    retry_condition_fn=worth_retrying,
    persist_result=False,
)
def generate_preferences(
    settings: PreferenceSettings, access: LlmAccess, conversations: ArtifactRef, home: Path
) -> StepReport:
    """Make preference pairs from the conversations' doctor turns."""
    build = partial(build_preferences, settings, access)
    inputs = {"conversations": conversations}
    key = preferences_key(settings, access)
    step = make_step("preferences", PREFERENCES_VERSION, "preferences", key, inputs, build)
    return perform(step, home)


@task(
    name="generate rows",
    task_run_name="generate {name}",
    tags=limit_tags("llm"),
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS_SECONDS,
    retry_condition_fn=worth_retrying,
    persist_result=False,
)
def generate_rows(
    name: str, settings: AnyGenerator, access: LlmAccess, conversations: ArtifactRef, home: Path
) -> StepReport:
    """Make what one of the other generators makes: questions, passages, dialogues, summaries."""
    wanted = generator_of(settings).uses_talks
    inputs = {"conversations": conversations} if wanted else {}
    key = generated_key(settings, access)
    build = partial(build_generated, settings, access)
    step = make_step(f"generated_{name}", generated_version(settings), "rows", key, inputs, build)
    return perform(step, home)


@task(name="import a file", persist_result=False)
def import_file(settings: ImportSettings, home: Path) -> StepReport:
    """Take a user's own file in."""
    build = partial(build_import, settings)
    return perform(make_step("import", IMPORT_VERSION, "import", settings, {}, build), home)


@task(name="validate and write Parquet", persist_result=False)
def make_dataset(
    settings: DatasetSettings, inputs: Mapping[str, ArtifactRef], home: Path
) -> StepReport:
    """Check every row, quarantine what falls, split by case, write Parquet and Data Docs."""
    build = partial(build_dataset, settings)
    return perform(make_step("dataset", DATASET_VERSION, "dataset", settings, inputs, build), home)


@task(name="report on the generation", persist_result=False)
def report_generation(
    settings: GenerationReportSettings, inputs: Mapping[str, ArtifactRef], home: Path
) -> StepReport:
    """Say what was made: coverage, lengths, diversity, faults, agreement, cost."""
    build = partial(build_generation_report, settings)
    kind = "generation_report"
    return perform(make_step(kind, GENERATION_VERSION, kind, settings, inputs, build), home)
