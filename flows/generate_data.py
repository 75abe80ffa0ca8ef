"""`generate_data`: cases → conversations → preference pairs → a validated data set."""

import tasks.telemetry  # noqa: F401  isort: skip

from pathlib import Path

from prefect import flow

from datagen.access import LlmAccess
from datagen.generators.building import refuse_unusable
from evaluation.generation import generation_report_settings
from flows.parameters import Changes, Place
from flows.result import FlowResult
from flows.settings import BuildSettings, llm_access, read_settings
from tasks.data import (
    generate_conversations,
    generate_preferences,
    generate_rows,
    import_file,
    make_dataset,
    report_generation,
)
from tasks.progress import plan
from tasks.steps import StepReport
from validation.dataset import DatasetSettings
from validation.importing import import_settings


@flow(name="generate_data", log_prints=False, persist_result=False)
def generate_data(
    profile: str = "embedded", changes: Changes | None = None, place: Place | None = None
) -> FlowResult:
    """Generate conversations and preference pairs, validate them, write Parquet."""
    changes, place = changes or Changes(), place or Place()
    settings = read_settings(profile, changes)
    plan(count_data_steps(settings, changes))
    reports = data_steps(settings, changes, place)
    return FlowResult.of(reports)


def count_data_steps(settings: BuildSettings, changes: Changes) -> int:
    """How many steps `data_steps` will do."""
    generated = (3 + len(settings.generators)) * changes.generate
    return 1 + len(changes.data_files) + generated


def data_steps(settings: BuildSettings, changes: Changes, place: Place) -> list[StepReport]:
    """The tasks from cases and files to a data set, and the report on what was generated."""
    home = place.home.absolute()
    files = [import_settings(Path(path)) for path in changes.data_files]
    reports = []
    if changes.generate:
        reports += _generated(settings, place, home)
    reports += [import_file(file, home) for file in files]
    inputs = {
        f"{report.name}_{i}" if report.name == "import" else report.name: report.ref
        for i, report in enumerate(reports)
    }
    dataset = make_dataset(dataset_settings(settings, changes), inputs, home)
    reports.append(dataset)
    if changes.generate:
        made = {name: ref for name, ref in inputs.items() if not name.startswith("import_")}
        report = generation_report_settings(settings.report_language, settings.human_talk)
        reports.append(report_generation(report, made | {"dataset": dataset.ref}, home))
    return reports


def dataset_settings(settings: BuildSettings, changes: Changes) -> DatasetSettings:
    """Of what is generated, a data set takes the side that is to be learnt."""
    if not changes.generate or settings.generate.side != "patient":
        return settings.dataset
    checks = settings.dataset.checks.model_copy(update={"sides": ("patient",)})
    return settings.dataset.model_copy(update={"checks": checks})


def _generated(settings: BuildSettings, place: Place, home: Path) -> list[StepReport]:
    def access(step: str) -> LlmAccess:
        return llm_access(settings, place, home, step)

    for name, generator in settings.generators.items():
        refuse_unusable(generator, access(name))
    talks = generate_conversations(settings.generate, access("conversations"), home)
    pairs = generate_preferences(settings.preferences, access("preferences"), talks.ref, home)
    rows = [
        generate_rows(name, generator, access(name), talks.ref, home)
        for name, generator in settings.generators.items()
    ]
    return [talks, pairs, *rows]
