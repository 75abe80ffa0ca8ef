"""What a person sees in the terminal while a run works: stages, rate, cost, time left."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from artifacts.progress import Progress
from tasks.progress import listener

PLAIN_SECONDS = 15.0


class RateColumn(ProgressColumn):
    """Units a minute, from the bar's own speed."""

    def render(self, task: Task) -> Text:
        """Draw the rate, or nothing before there is one."""
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        return Text(f"{speed * 60:.0f} {task.fields['unit']}/min", style="cyan")


class Terminal:
    """A listener that draws bars on a terminal and writes lines elsewhere.

    `names_page`: whether Prefect's UI has a page of the run that outlives it.
    `busy_seconds`: time in which at least one step was at work; steps may overlap.
    """

    def __init__(self, console: Console, names_page: bool = False) -> None:
        self.console = console
        self.names_page = names_page
        self.planned = 0
        self.begun = 0
        self.reused = 0
        self.built = 0
        self.busy_seconds = 0.0
        self.busy_since = 0.0
        self.lock = threading.Lock()
        self.bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            RateColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[note]}"),
            console=console,
            transient=True,
        )
        self.rows: dict[str, TaskID] = {}
        self.last_line_at: dict[str, float] = {}

    def plan(self, steps: int, page: str) -> None:
        """How many more steps will come, and where they can be watched."""
        self.planned += steps
        if self.names_page and page:
            self.console.print(f"Flow run: {page}", highlight=False)

    def step_started(self, name: str) -> None:
        """Open a row."""
        with self.lock:
            self.begun += 1
            if not self.rows:
                self.busy_since = time.monotonic()
            self._open(name)

    def _open(self, name: str) -> None:
        title = f"[{self.begun}/{max(self.planned, self.begun)}] {name}"
        self.rows[name] = self.bars.add_task(title, total=None, unit="", note="")
        self.last_line_at[name] = time.monotonic()

    def step_says(self, name: str, line: str) -> None:
        """Write why the step works, or what it waits for."""
        self.console.print(f"[dim]  {line}[/dim]", highlight=False)

    def step_progress(self, name: str, progress: Progress) -> None:
        """Move the bar; off a terminal, write a line now and then."""
        cost = f"${progress.cost_usd:.4f} " if progress.cost_usd else ""
        self.bars.update(
            self.rows[name],
            completed=progress.done,
            total=progress.total or None,
            unit=progress.unit,
            note=cost + progress.note,
        )
        now = time.monotonic()
        if not self.console.is_terminal and now - self.last_line_at[name] > PLAIN_SECONDS:
            self.last_line_at[name] = now
            self.console.print(
                f"    {name}: {progress.done}/{progress.total or '?'} {progress.unit} "
                f"{self._time_left(name)}{cost}{progress.note}",
                highlight=False,
            )

    def step_finished(self, name: str, line: str, reused: bool) -> None:
        """Close the row and leave one line behind."""
        self._close(name)
        with self.lock:
            self.reused += reused
            self.built += not reused
        mark = "[blue]=[/blue]" if reused else "[green]✓[/green]"
        self.console.print(f"{mark} {line}", highlight=False)

    def step_failed(self, name: str, line: str) -> None:
        """Close the row and say what happened; another attempt opens a new one."""
        self._close(name)
        with self.lock:
            self.begun -= 1
        self.console.print(f"[red]✗[/red] {name}: {line}", highlight=False)

    def _close(self, name: str) -> None:
        with self.lock:
            self.bars.remove_task(self.rows.pop(name))
            if not self.rows:
                self.busy_seconds += time.monotonic() - self.busy_since

    def _time_left(self, name: str) -> str:
        seconds = next((t.time_remaining for t in self.bars.tasks if t.id == self.rows[name]), None)
        return f"about {seconds:.0f} s left " if seconds else ""


@contextmanager
def shown_in_terminal(console: Console, names_page: bool = False) -> Iterator[Terminal]:
    """Draw every step of the runs inside."""
    terminal = Terminal(console, names_page)
    token = listener.set(terminal)
    try:
        with terminal.bars:
            yield terminal
    finally:
        listener.reset(token)
