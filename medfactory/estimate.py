"""`medfactory generate --dry-run`: what it would take, as a table."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from medfactory.runs import Request, faults_named

if TYPE_CHECKING:
    from artifacts.progress import Progress
    from flows.dry_run import DryRun


def show_estimate(request: Request, *, dry_run: bool, pilot: int | None, trace: bool) -> None:
    """Print what generating would take; with `pilot`, buy so many conversations for it first."""
    console = Console(soft_wrap=True)
    with faults_named(trace, request.home):
        from flows.dry_run import dry_run as estimate
        from flows.overrides import SettingsError

        if not dry_run:
            raise SettingsError("--pilot is the sample of a dry run: say --dry-run with it")
        profile, changes, place = request.parameters()
        with console.status("") as status:

            def show(progress: "Progress") -> None:
                status.update(
                    f"pilot: {progress.done} of {progress.total} {progress.unit}, "
                    f"${progress.cost_usd:.4f}"
                )

            run = estimate(profile, changes, place, pilot, show)
        for line in _lines(run, bought=pilot is not None):
            console.print(line, highlight=False)


def _lines(run: "DryRun", *, bought: bool) -> list[str | Table]:
    table = Table(title="What it would take", title_justify="left")
    table.add_column("step", no_wrap=True)
    for heading in ("rows", "kept", "calls", "prompt tokens", "answer tokens", "USD", "minutes"):
        table.add_column(heading, justify="right")
    for step in run.steps:
        table.add_row(
            step.step,
            f"{step.rows:,}",
            f"{step.kept:,}",
            f"{step.calls:,}",
            f"{step.prompt_tokens:,}",
            f"{step.completion_tokens:,}",
            f"{step.cost_usd:.4f}",
            f"{step.minutes:.1f}",
        )
    first = run.steps[0]
    lines: list[str | Table] = [table]
    sent = "Nothing but the pilot was sent" if bought else "Nothing was sent for this"
    lines.append(
        f"In all about [bold]${run.cost_usd:.4f}[/bold] and [bold]{run.minutes:.1f} minutes[/bold] "
        f"at least, carried over from {first.pilot_rows} conversations that the journal holds. "
        f"{sent}; what the journal holds is not bought again."
    )
    if run.budget_usd is None:
        lines.append("No cap is set: give one with --budget-usd.")
    elif run.cost_usd > run.budget_usd:
        share = run.budget_usd / run.cost_usd
        lines.append(
            f"[yellow]The cap of ${run.budget_usd:.4f} would end it after about {share:.0%}; what "
            "is bought until then is kept.[/yellow]"
        )
    else:
        lines.append(f"The cap of ${run.budget_usd:.4f} is enough for it.")
    return lines
