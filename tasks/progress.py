"""Where the progress of a step is shown: the terminal that listens, and the Prefect UI."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Protocol, cast
from uuid import UUID

from artifacts.progress import Progress, ProgressSink

UPDATE_SECONDS = 2.0


class Listener(Protocol):
    """Somebody who watches a run, such as the terminal."""

    def plan(self, steps: int, page: str) -> None:
        """How many more steps will come, and the flow run's page in Prefect's UI."""

    def step_started(self, name: str) -> None:
        """A step looks up its key, and builds if it must."""

    def step_says(self, name: str, line: str) -> None:
        """A step says why it is built, or what it waits for."""

    def step_progress(self, name: str, progress: Progress) -> None:
        """How far the step is."""

    def step_finished(self, name: str, line: str, reused: bool) -> None:
        """The step's artifact is there."""

    def step_failed(self, name: str, line: str) -> None:
        """The step ended without its artifact; it may be tried again."""


listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def shown_progress(name: str) -> Iterator[ProgressSink]:
    """A sink that tells the listener at once and the Prefect UI every two seconds."""
    latest: list[Progress] = []
    stop = threading.Event()
    watcher = listener.get()

    def sink(progress: Progress) -> None:
        latest[:] = [progress]
        if watcher:
            watcher.step_progress(name, progress)

    thread = threading.Thread(
        target=copy_context().run, args=(_show_or_warn, name, latest, stop), daemon=True
    )
    thread.start()
    try:
        yield sink
    finally:
        stop.set()
        thread.join()


def _show_or_warn(name: str, latest: list[Progress], stop: threading.Event) -> None:
    """Show progress; a server that cannot take it keeps no step from its work."""
    from httpx import HTTPError
    from prefect import get_run_logger

    try:
        _show_in_ui(name, latest, stop)
    except HTTPError as error:
        get_run_logger().warning(f"{name}: progress is no longer shown: {error}")


def _show_in_ui(name: str, latest: list[Progress], stop: threading.Event) -> None:
    from prefect.artifacts import create_progress_artifact, update_progress_artifact

    artifact_id: UUID | None = None
    shown: Progress | None = None
    while True:
        stopped = stop.wait(UPDATE_SECONDS)
        if latest and latest[0] != shown:
            shown = latest[0]
            percent = min(100.0, 100.0 * shown.done / shown.total) if shown.total else 0.0
            text = f"{shown.done}/{shown.total or '?'} {shown.unit} {shown.note}".strip()
            if artifact_id is None:
                key = f"{name.replace('_', '-')}-progress"
                created = create_progress_artifact(progress=percent, key=key, description=text)
                artifact_id = cast(UUID, created)
            else:
                update_progress_artifact(artifact_id, progress=percent, description=text)
        if stopped:
            return


def plan(steps: int) -> None:
    """Tell the listener, if there is one, how many more steps will come in this flow run."""
    from prefect.runtime import flow_run

    if watcher := listener.get():
        watcher.plan(steps, flow_run.ui_url or "")
