"""`grow_library`: a teacher model drafts cases that the library lacks, or makes them of notes."""

import tasks.telemetry  # noqa: F401  isort: skip

from pathlib import Path

from prefect import flow

from datagen.case_growth import GrowSettings
from datagen.cases import PACKAGED
from flows.parameters import Changes, Place
from flows.result import FlowResult
from flows.settings import llm_access, read_settings
from tasks.growth import draft_cases, put_cases
from tasks.progress import plan


@flow(name="grow_library", log_prints=False, persist_result=False)
def grow_library(
    profile: str = "small",
    changes: Changes | None = None,
    place: Place | None = None,
    into: str | None = None,
) -> FlowResult:
    """Draft cases by the profile's `grow` settings; `into`: the folder that they are copied to.

    A folder that is there counts as part of the library, so that the next run goes on from it.
    """
    changes, place = changes or Changes(), place or Place()
    settings = read_settings(profile, changes)
    home = place.home.absolute()
    folder = Path(into).absolute() if into else None
    plan(1)
    grow = _with_folder(settings.grow, folder)
    drafted = draft_cases(grow, llm_access(settings, place, home, "cases"), home)
    if folder is None:
        return FlowResult.of([drafted])
    return FlowResult.of([drafted], remarks=[put_cases(drafted.ref, folder)])


def _with_folder(settings: GrowSettings, folder: Path | None) -> GrowSettings:
    if folder is None or not folder.is_dir():
        return settings
    chosen = settings.library if settings.library is not None else PACKAGED
    folders = (chosen,) if isinstance(chosen, Path) else chosen
    return settings.model_copy(update={"library": tuple(dict.fromkeys((*folders, folder)))})
