"""`medfactory journal`: what was bought, what it saved; take rows out, in, or away."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

journal_app = typer.Typer(invoke_without_command=True)

NAME = "journal.sqlite"
Home = Annotated[
    Path, typer.Option(envvar="MEDFACTORY_HOME", help="Folder of the store and the journal.")
]
Endpoint = Annotated[str | None, typer.Option(help="Only rows of this endpoint.")]
Model = Annotated[str | None, typer.Option(help="Only rows of this model.")]
Fault = Annotated[
    str | None, typer.Option(help="Only answers with this fault; 'any': all that are faulty.")
]
HOME = Path(".medfactory")


@journal_app.callback()
def default(context: typer.Context, home: Home = HOME) -> None:
    """Show, export, prune or fill the journal of every answer that was bought (else: show)."""
    if context.invoked_subcommand is None:
        show(home)
        return
    source = context.get_parameter_source("home")
    if source is not None and source.name == "COMMANDLINE":
        name = context.invoked_subcommand
        raise typer.BadParameter(f"put it behind the sub-command: journal {name} --home …")


@journal_app.command()
def show(home: Home = HOME) -> None:
    """Show size, rows, tokens, cost, hits and money saved; faults; the ledger; batches."""
    from medfactory.journal_tables import show_journal

    show_journal(home / NAME)


@journal_app.command("export")
def export_rows(
    target: Annotated[Path, typer.Argument(help="The file to write: .jsonl or .parquet.")],
    endpoint: Endpoint = None,
    model: Model = None,
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Only rows bought on this day or later (UTC)."),
    ] = None,
    fault: Fault = None,
    home: Home = HOME,
) -> None:
    """Write rows into a file. They hold prompts and answers in full: treat them as your data."""
    from endpoints.exchange import Choice
    from medfactory.journal_tables import export_journal

    choice = Choice(endpoint, model, since.date() if since else None, fault)
    export_journal(home / NAME, choice, target)


@journal_app.command("prune")
def prune_rows(
    unused_days: Annotated[
        float | None, typer.Option(min=0, help="Rows neither bought nor used for so many days.")
    ] = None,
    endpoint: Endpoint = None,
    model: Model = None,
    fault: Fault = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove them; without it, only say.")] = False,
    home: Home = HOME,
) -> None:
    """Remove rows that fit all that is given, and say what buying them again would cost."""
    from endpoints.exchange import Choice
    from medfactory.journal_tables import prune_journal

    prune_journal(home / NAME, Choice(endpoint, model, None, fault, unused_days), yes)


@journal_app.command("import")
def import_rows(
    source: Annotated[Path, typer.Argument(help="A JSONL file that `export` wrote.")],
    home: Home = HOME,
) -> None:
    """Take in rows from another machine; of identical requests one row is kept."""
    from medfactory.journal_tables import import_journal

    import_journal(home / NAME, source)
