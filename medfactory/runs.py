"""Running a flow from the command line: its server, its terminal, its end."""

import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer
from rich.console import Console

from medfactory.private_server import ServerFailed, private_server
from medfactory.terminal import Terminal, shown_in_terminal

if TYPE_CHECKING:
    from pydantic import JsonValue

    from flows.parameters import Changes, Place

FlowName = Literal["build_model", "generate_data", "grow_library", "train_model", "evaluate_model"]
STOPPED = 130
AGAIN_SECONDS = 0.05


@dataclass(frozen=True)
class Request:
    """What the person typed; `settings`: dotted names of settings that have an option."""

    profile: str
    assignments: list[str] = field(default_factory=list)
    endpoint: str | None = None
    budget_usd: float | None = None
    data: list[Path] = field(default_factory=list)
    generate: bool = True
    home: Path = Path(".medfactory")
    endpoints_file: Path | None = None
    rows: str | None = None
    settings: "dict[str, JsonValue]" = field(default_factory=dict)

    def parameters(self) -> "tuple[str, Changes, Place]":
        """The flow's parameters. Raises SettingsError for a malformed assignment or option."""
        from pydantic import ValidationError

        from flows.overrides import explain, parse_assignments
        from flows.parameters import Changes, Place

        overrides = parse_assignments(self.assignments) | self.settings
        if self.rows is not None:
            overrides["generate.rows"] = count_rows(self.rows, self.home)
        try:
            changes = Changes(
                endpoint=self.endpoint,
                budget_usd=self.budget_usd,
                data_files=tuple(str(path.absolute()) for path in self.data),
                generate=self.generate,
                overrides=overrides,
            )
        except ValidationError as error:
            raise explain(error, Changes, "the options of the command") from None
        place = Place(home=self.home.absolute(), endpoints_file=self.endpoints_file)
        return self.profile, changes, place


def count_rows(rows: str, home: Path) -> int:
    """The number behind `--rows`: itself, or that of the home's newest conversations and N more.

    Raises SettingsError where it is none, or where there are no conversations to add to.
    """
    from artifacts.store import Store
    from flows.overrides import SettingsError

    digits = rows.removeprefix("+")
    if not (digits.isascii() and digits.isdigit() and int(digits) > 0):
        raise SettingsError(
            f"--rows is {rows!r}; it must be a whole number of conversations (--rows 200), or so "
            "many more than this home made last (--rows +1)"
        )
    if not rows.startswith("+"):
        return int(digits)
    made = [m for m in Store(home / "store").manifests() if m.kind == "conversations"]
    if not made:
        raise SettingsError(
            f"--rows {rows} adds to the conversations that this home made last, and {home} holds "
            "none: give their number without '+'"
        )
    newest = max(made, key=lambda manifest: manifest.created_at)
    return newest.counts["rows_in"] + int(digits)


def run_flow(
    name: FlowName,
    request: Request,
    *,
    server: Literal["private", "configured"],
    trace: bool,
    **more: str,
) -> None:
    """Run a flow to its end; a clear error leaves with status 1, Ctrl-C with 130."""
    console = Console(soft_wrap=True)
    started = time.monotonic()
    with (
        faults_named(trace, request.home),
        _terminated_like_ctrl_c(),
        interrupts_come_again(),
        _prefect(server, request.home / "prefect") as settle,
    ):
        profile, changes, place = request.parameters()
        flow = _load(name, profile, changes)
        settle()
        try:
            with (
                shown_in_terminal(console, server == "configured") as terminal,
                _without_heartbeat(server),
            ):
                result = flow(profile=profile, changes=changes, place=place, **more)
        finally:
            _send_last_logs()
    _say_the_end(console, terminal, result, time.monotonic() - started)


@contextmanager
def _prefect(server: str, home: Path) -> Iterator[Any]:
    """The server of the run; what is yielded waits until it is up.

    Prefect's own log goes to the server; on the terminal it would say everything twice.
    """
    if server == "configured":
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "WARNING")
        yield lambda: None
        return
    with private_server(home) as starting:
        yield starting.wait


def _load(name: FlowName, profile: str, changes: "Changes") -> Any:
    """Import the flow, and refuse wrong settings before anything is started."""
    from importlib import import_module

    from flows.settings import read_settings

    read_settings(profile, changes)
    return getattr(import_module(f"flows.{name}"), name)


@contextmanager
def _without_heartbeat(server: str) -> Iterator[None]:
    """A private server dies with its run, so nobody needs to hear that the run lives."""
    if server == "configured":
        yield
        return
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


def _send_last_logs() -> None:
    from prefect.logging.handlers import APILogWorker

    APILogWorker.drain_all(timeout=5)


def _say_the_end(console: Console, terminal: Terminal, result: Any, seconds: float) -> None:
    console.print(
        f"\n[bold]Done in {seconds:.1f} s[/bold], {terminal.busy_seconds:.1f} s of it in the "
        f"steps: {terminal.reused} reused, {terminal.built} built.",
        highlight=False,
    )
    for line in result.lines():
        console.print(line, highlight=False)


@contextmanager
def _terminated_like_ctrl_c() -> Iterator[None]:
    """A polite kill ends the run as Ctrl-C does, so that children are ended and said."""

    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    earlier = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)


@contextmanager
def interrupts_come_again() -> Iterator[None]:
    """A Ctrl-C that lands in a finalizer, where Python drops every exception, is not lost."""
    earlier = sys.unraisablehook
    # A signal, that also wakes a main thread which waits for something.
    again = (threading.get_ident(), signal.SIGINT)

    def hear(unraisable: Any) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            threading.Timer(AGAIN_SECONDS, signal.pthread_kill, again).start()
        else:
            earlier(unraisable)

    sys.unraisablehook = hear
    try:
        yield
    finally:
        sys.unraisablehook = earlier


@contextmanager
def faults_named(trace: bool, home: Path) -> Iterator[None]:
    """Clear errors as one message, without a traceback unless asked for."""
    console = Console(stderr=True, soft_wrap=True)
    try:
        yield
    except KeyboardInterrupt:
        console.print(
            "\n[yellow]Stopped. What was bought and trained is kept; type the same command and it "
            "goes on.[/yellow]"
        )
        raise typer.Exit(STOPPED) from None
    except Exception as error:
        if (clear := clear_cause(error, home)) is None:
            raise
        if trace or os.environ.get("MEDFACTORY_TRACE"):
            traceback.print_exc(file=sys.stderr)
        console.print(f"\n[red]{type(clear).__name__}:[/red] {clear}", highlight=False)
        raise typer.Exit(1) from None


def clear_cause(error: BaseException, home: Path) -> BaseException | None:
    """What of an error says what to do: it itself, or what a failing server hides; else None.

    On a full disk Prefect's server fails too, and with it the report of the step's own error.
    Any other error stays what it is, though a clear one was being handled when it came up.
    """
    from httpx import HTTPError

    from artifacts.store import FULL_BYTES, no_space

    if isinstance(error, clear_errors()):
        return error
    if not isinstance(error, HTTPError):
        return None
    if hidden := next((e for e in _before(error) if isinstance(e, clear_errors())), None):
        return hidden
    if home.exists() and shutil.disk_usage(home).free < FULL_BYTES:
        return no_space(home, "what Prefect keeps of the run")
    return None


def _before(error: BaseException) -> Iterator[BaseException]:
    """What an error came from or came up in, the nearest first."""
    for earlier in (error.__cause__, error.__context__):
        if earlier is not None:
            yield earlier
            yield from _before(earlier)


def clear_errors() -> tuple[type[BaseException], ...]:
    """The errors whose message already says what to do."""
    from artifacts.errors import StoreError
    from datagen.errors import DatagenError
    from endpoints.errors import EndpointError
    from evaluation.errors import EvaluationError
    from flows.overrides import SettingsError
    from judging.errors import JudgingError
    from tasks.child import ChildCrashed, ChildError, ChildFailed
    from training.errors import TrainingError
    from validation.errors import RecordError

    return (
        StoreError,
        EndpointError,
        RecordError,
        DatagenError,
        JudgingError,
        TrainingError,
        EvaluationError,
        SettingsError,
        ChildError,
        ChildFailed,
        ChildCrashed,
        ServerFailed,
    )
