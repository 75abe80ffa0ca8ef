"""All settings of a build in one model, and how a profile and changes to it become one."""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, ValidationError, model_validator

from datagen.access import AgentRole, LlmAccess, RoleChoice
from datagen.case_growth import GrowSettings
from datagen.consultations import GenerateSettings
from datagen.generators.catalogue import AnyGenerator
from datagen.preferences import PreferenceSettings
from evaluation.evaluate import EvaluateSettings
from flows.overrides import SettingsError, apply_overrides, explain, read_profile
from flows.parameters import Changes, Place
from training.stage import AnyStage
from validation.dataset import DatasetSettings
from validation.schemas import Frozen, Language

# What maps names to settings of several kinds, and the field that holds the kind.
KINDS = {"stages": "stage", "generators": "kind"}
GeneratorName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]


class StudentChoice(Frozen):
    """The model that is trained: a GGUF file or a transformers folder; None: the embedded one."""

    model: Path | None = None


class BuildSettings(Frozen):
    """What is generated, how it is checked, which student is trained by which stages.

    `endpoint` fills every role; `roles` names others for some (`judge: big-model`, or several
    with weights), `fallbacks` those that step in where one is down. `batch_steps`: steps of
    generation that ask by the Batch API (conversations, preferences, cases, generators by name).
    `generators` make rows beside the conversations. `stages` run in their order; a generator's or
    a stage's name is its kind unless it says `kind: …` or `stage: …` itself.
    `overlap_evaluation`: evaluate one model while the next is trained (not on one GPU).
    `report_language`: the language of the reports' own words. `human_talk`: a CSV or JSONL file
    of talks that people had, which the generation report lays beside the generated ones.
    `grow` is for `grow_library` alone.
    """

    endpoint: str = "embedded"
    roles: dict[AgentRole, RoleChoice] = Field(default_factory=dict)
    fallbacks: tuple[str, ...] = ()
    batch_steps: tuple[str, ...] = ()
    budget_usd: float | None = Field(None, ge=0.0)
    generate: GenerateSettings = GenerateSettings()
    preferences: PreferenceSettings = PreferenceSettings()
    generators: dict[GeneratorName, AnyGenerator] = Field(default_factory=dict)
    grow: GrowSettings = GrowSettings()
    dataset: DatasetSettings = DatasetSettings()
    student: StudentChoice = StudentChoice()
    stages: dict[str, AnyStage] = Field(default_factory=dict)
    evaluate: EvaluateSettings = EvaluateSettings()
    report_language: Language = "en"
    human_talk: Path | None = None
    overlap_evaluation: bool = False

    @model_validator(mode="after")
    def _batches_are_of_steps(self) -> Self:
        own = ("conversations", "preferences", "cases")
        if taken := sorted(set(own) & set(self.generators)):
            raise ValueError(f"a generator is called {taken[0]!r}, as another step is: rename it")
        steps = (*own, *self.generators)
        if strangers := [name for name in self.batch_steps if name not in steps]:
            raise ValueError(f"batch_steps names {strangers}; there are {list(steps)}")
        return self


def read_settings(profile: str, changes: Changes) -> BuildSettings:
    """The settings of a profile with changes.

    Raises SettingsError naming every setting that is misspelt or out of range.
    """
    values = read_profile(profile)
    for group in KINDS:
        if not isinstance(values.setdefault(group, {}), dict):
            raise SettingsError(f"profile {profile!r}: {group} must map names to settings")
    shorthands = {name: f"{group}.{name}" for group in KINDS for name in values[group]}
    overrides = dict(changes.overrides)
    if changes.endpoint is not None:
        overrides["endpoint"] = changes.endpoint
    if changes.budget_usd is not None:
        overrides["budget_usd"] = changes.budget_usd
    values = apply_overrides(values, overrides, shorthands)
    for group, field in KINDS.items():
        _name_kinds(values[group], field)
    try:
        return BuildSettings.model_validate(values)
    except ValidationError as error:
        raise explain(error, BuildSettings, f"profile {profile!r} with its changes") from error


def llm_access(settings: BuildSettings, place: Place, home: Path, step: str = "") -> LlmAccess:
    """The endpoints that the settings name, as a step asks them.

    Raises ConfigurationError where there is no such endpoint.
    """
    access = LlmAccess.of(
        settings.endpoint,
        place.endpoints_file,
        home / "journal.sqlite",
        settings.budget_usd,
        settings.roles,
        settings.fallbacks,
    )
    return access.model_copy(
        update={"transport": "batch" if step in settings.batch_steps else "live"}
    )


def _name_kinds(entries: dict[str, Any], field: str) -> None:
    for name, entry in entries.items():
        if isinstance(entry, dict):
            entry.setdefault(field, name)
