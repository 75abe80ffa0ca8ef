"""What generating a profile's data would take, before anything is sent: no server, no store."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from artifacts.progress import ProgressSink, silent
from artifacts.step import Built, Workspace
from datagen.access import LlmAccess
from datagen.consultations import (
    GenerateSettings,
    build_conversations,
    choose_cases,
    conversation_roles,
    talks_per_case,
    usable_library,
)
from datagen.estimate import NoPilot, StepEstimate, estimate_step, rehearse
from datagen.pairing import build_preferences, preference_roles
from endpoints.settings import EndpointSettings
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
    endpoints: tuple[EndpointSettings, ...]

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
    access = llm_access(settings, place, place.home.absolute())
    every = _rows(settings.generate, access)
    if pilot_rows is not None:
        _build_all(_first(settings, min(pilot_rows, every)), access, progress, _build_it)
    talks, pairs = _rehearse_as_many_as_there_are(settings, access, every)
    times = every / talks.counts["rows_in"]
    steps = (
        estimate_step("conversations", every, talks, access, conversation_roles(settings.generate)),
        estimate_step(
            "preferences",
            round(times * pairs.counts["rows_in"]),
            pairs,
            access,
            preference_roles(settings.preferences),
        ),
    )
    return DryRun(steps, settings.budget_usd, (access.endpoint,))


def _rehearse_as_many_as_there_are(
    settings: BuildSettings, access: LlmAccess, every: int
) -> list[Built]:
    """The steps on the most first rows that the journal answers whole, found by bisection."""
    offline = access.model_copy(update={"offline": True})

    def rehearsed(step: str, build: Callable[[], Built]) -> Built:
        return rehearse(step, SUGGESTED_ROWS, build)

    found: list[Built] | None = None
    held, most = 0, min(every, MOST_ROWS)
    rows = most
    while held < most:
        try:
            found = _build_all(_first(settings, rows), offline, silent, rehearsed)
            held = rows
        except NoPilot:
            most = rows - 1
            if not most:
                raise
        rows = (held + most + 1) // 2
    assert found is not None
    return found


def _build_it(step: str, build: Callable[[], Built]) -> Built:
    return build()


def _first(settings: BuildSettings, rows: int) -> BuildSettings:
    """The settings for the first rows alone."""
    few = settings.generate.model_copy(update={"rows": rows})
    return settings.model_copy(update={"generate": few})


def _rows(settings: GenerateSettings, access: LlmAccess) -> int:
    cases = choose_cases(usable_library(settings, access), settings)
    return sum(talks_per_case(cases, settings).values())


def _build_all(
    settings: BuildSettings,
    access: LlmAccess,
    progress: ProgressSink,
    do: Callable[[str, Callable[[], Built]], Built],
) -> list[Built]:
    with _workspace(progress) as talks:
        made = do("conversations", lambda: build_conversations(settings.generate, access, talks))
        with _workspace(progress, conversations=talks.out) as pairs:
            paired = do(
                "preferences", lambda: build_preferences(settings.preferences, access, pairs)
            )
    return [made, paired]


@contextmanager
def _workspace(progress: ProgressSink, **inputs: Path) -> Iterator[Workspace]:
    """Somewhere to build what nobody keeps."""
    with tempfile.TemporaryDirectory(prefix="medfactory-") as folder:
        out, state = Path(folder) / "out", Path(folder) / "state"
        out.mkdir()
        state.mkdir()
        yield Workspace(out=out, state=state, inputs=inputs, progress=progress)
