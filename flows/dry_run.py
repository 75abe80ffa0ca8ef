"""What generating a profile's data would take, before anything is sent: no server, no store."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from artifacts.progress import ProgressSink, silent
from artifacts.step import Built, Workspace
from datagen.access import AgentRole, LlmAccess
from datagen.consultations import (
    GenerateSettings,
    build_conversations,
    choose_cases,
    conversation_roles,
    talks_per_case,
    usable_library,
)
from datagen.estimate import NoPilot, StepEstimate, estimate_step, rehearse
from datagen.generators.building import build_generated
from datagen.generators.catalogue import generator_of
from datagen.pairing import build_preferences, preference_roles
from flows.parameters import Changes, Place
from flows.settings import BuildSettings, llm_access, read_settings

# More rows than these make no estimate better that is worth the wait.
MOST_ROWS = 200
SUGGESTED_ROWS = 5


@dataclass(frozen=True)
class DryRun:
    """The estimates of all steps, and the cap that stands (None: none)."""

    steps: tuple[StepEstimate, ...]
    budget_usd: float | None

    @property
    def cost_usd(self) -> float:
        """All steps together."""
        return sum(step.cost_usd for step in self.steps)

    @property
    def minutes(self) -> float:
        """All steps after one another."""
        return sum(step.minutes for step in self.steps)


def dry_run(
    profile: str,
    changes: Changes,
    place: Place,
    pilot_rows: int | None = None,
    progress: ProgressSink = silent,
) -> DryRun:
    """Estimate every step of `generate_data` from its first rows, as many as the journal holds.

    `pilot_rows`: buy what it lacks of so many first, under the run's cap. Raises NoPilot where
    it holds too few, and the errors of settings and endpoints.
    """
    settings = read_settings(profile, changes)
    every = _rows(settings.generate, _access(settings, place, "conversations"))
    if pilot_rows is not None:
        first = _first(settings, min(pilot_rows, every))
        _build_all(first, place, False, progress, lambda step, build: build())
    built = _rehearse_as_many_as_there_are(settings, place, every)
    times = every / built["conversations"].counts["rows_in"]
    rows = {
        "conversations": every,
        "preferences": round(times * built["preferences"].counts["rows_in"]),
        **{name: generator.rows for name, generator in settings.generators.items()},
    }
    roles = _roles(settings, place)
    steps = (
        estimate_step(step, rows[step], built[step], _access(settings, place, step), roles[step])
        for step in built
    )
    return DryRun(tuple(steps), settings.budget_usd)


def _access(settings: BuildSettings, place: Place, step: str) -> LlmAccess:
    return llm_access(settings, place, place.home.absolute(), step)


def _roles(settings: BuildSettings, place: Place) -> dict[str, tuple[AgentRole, ...]]:
    access = _access(settings, place, "conversations")
    return {
        "conversations": conversation_roles(settings.generate, access),
        "preferences": preference_roles(
            settings.preferences, _access(settings, place, "preferences")
        ),
        **{name: generator_of(one).roles for name, one in settings.generators.items()},
    }


def _rehearse_as_many_as_there_are(
    settings: BuildSettings, place: Place, every: int
) -> dict[str, Built]:
    """The steps on the most first rows that the journal answers whole, found by bisection."""

    def rehearsed(step: str, build: Callable[[], Built]) -> Built:
        return rehearse(step, SUGGESTED_ROWS, build)

    found: dict[str, Built] | None = None
    held, most = 0, min(every, MOST_ROWS)
    rows = most
    while held < most:
        try:
            found = _build_all(_first(settings, rows), place, True, silent, rehearsed)
            held = rows
        except NoPilot:
            most = rows - 1
            if not most:
                raise
        rows = (held + most + 1) // 2
    assert found is not None
    return found


def _first(settings: BuildSettings, rows: int) -> BuildSettings:
    """The settings for the first rows of each step alone."""
    few = {
        name: one.model_copy(update={"rows": min(rows, one.rows)})
        for name, one in settings.generators.items()
    }
    talks = settings.generate.model_copy(update={"rows": rows})
    return settings.model_copy(update={"generate": talks, "generators": few})


def _rows(settings: GenerateSettings, access: LlmAccess) -> int:
    cases = choose_cases(usable_library(settings, access), settings)
    return sum(talks_per_case(cases, settings).values())


def _build_all(
    settings: BuildSettings,
    place: Place,
    offline: bool,
    progress: ProgressSink,
    do: Callable[[str, Callable[[], Built]], Built],
) -> dict[str, Built]:
    def access(step: str) -> LlmAccess:
        return _access(settings, place, step).model_copy(update={"offline": offline})

    made: dict[str, Built] = {}
    with _workspace(progress) as talks:
        made["conversations"] = do(
            "conversations",
            partial(build_conversations, settings.generate, access("conversations"), talks),
        )
        with _workspace(progress, conversations=talks.out) as pairs:
            made["preferences"] = do(
                "preferences",
                partial(build_preferences, settings.preferences, access("preferences"), pairs),
            )
        for name, generator in settings.generators.items():
            with _workspace(progress, conversations=talks.out) as rows:
                build = partial(build_generated, generator, access(name), rows)
                made[name] = do(name, build)
    return made


@contextmanager
def _workspace(progress: ProgressSink, **inputs: Path) -> Iterator[Workspace]:
    """Somewhere to build what nobody keeps."""
    with tempfile.TemporaryDirectory(prefix="medfactory-") as folder:
        out, state = Path(folder) / "out", Path(folder) / "state"
        out.mkdir()
        state.mkdir()
        yield Workspace(out=out, state=state, inputs=inputs, progress=progress)
