"""What `medfactory journal` does and prints: tables of a survey, and one line for each change."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from endpoints.errors import EndpointError
from endpoints.exchange import Choice, bring, export, prune, weigh
from endpoints.journal import Journal
from endpoints.survey import Faulty, Group, Scope, Survey, UnderWay, survey

MIB = 2**20
LEAST_WIDTH = 10


def show_journal(path: Path) -> None:
    """Print what the journal holds."""
    with _opened(path) as journal:
        found = survey(journal)
    console = Console()
    rows = sum(group.rows for group in found.groups)
    hits = sum(group.hits for group in found.groups)
    saved = sum(group.saved_usd for group in found.groups)
    cost = sum(group.cost_usd for group in found.groups)
    console.print(
        f"[bold]{escape(str(path))}[/bold]: {rows:,} answers in {found.size_bytes / MIB:.1f} MiB"
        f"{_span(found)}",
        soft_wrap=True,
        highlight=False,
    )
    console.print(
        f"They cost ${_usd(cost)}. {hits:,} requests were answered from them, which saved "
        f"${_usd(saved)}.",
        soft_wrap=True,
        highlight=False,
    )
    for table in (
        _groups_table(found.groups),
        _faults_table(found.faults),
        _ledger_table(found.scopes),
        _batches_table(found.batches),
    ):
        if table.row_count:
            console.print(table)


def export_journal(path: Path, choice: Choice, target: Path) -> None:
    """Write the chosen rows and say how many."""
    with _opened(path) as journal:
        count = export(journal, choice, target)
    _say(f"{count:,} rows written to {target}")


def prune_journal(path: Path, choice: Choice, yes: bool) -> None:
    """Say what would go and what it would cost to buy again; with `yes`, remove it."""
    if not choice.chooses:
        _complain("Say which rows shall go: --unused-days, --endpoint, --model or --fault.")
    with _opened(path) as journal:
        if not yes:
            sized = weigh(journal, choice)
            _say(
                f"{sized.rows:,} rows would go ({sized.text_bytes / MIB:.1f} MiB of text). To buy "
                f"them again would cost about ${_usd(sized.cost_usd)}, which is what they cost. "
                + ("Nothing was removed; add --yes to do it." if sized.rows else "")
            )
            return
        done = prune(journal, choice)
    _say(
        f"{done.removed.rows:,} rows removed; to buy them again would cost about "
        f"${_usd(done.removed.cost_usd)}. The journal took {done.before_bytes / MIB:.1f} MiB and "
        f"takes {done.after_bytes / MIB:.1f} MiB now."
    )


def import_journal(path: Path, source: Path) -> None:
    """Take rows in, also into a journal that does not exist yet."""
    with _named(), Journal(path) as journal:
        brought = bring(journal, source)
    _say(
        f"{brought.new:,} new rows from {source}; {brought.better:,} took the place of a faulty "
        f"one, {brought.known:,} were known. What they cost was paid elsewhere and counts in no "
        "budget here."
    )


@contextmanager
def _opened(path: Path) -> Iterator[Journal]:
    if not path.exists():
        _complain(
            f"there is no journal at {path}: nothing was bought there yet. `medfactory generate` "
            "begins one; --home (or $MEDFACTORY_HOME) says where to look."
        )
    with _named(), Journal(path) as journal:
        yield journal


@contextmanager
def _named() -> Iterator[None]:
    try:
        yield
    except EndpointError as error:
        _complain(str(error))


def _complain(text: str) -> None:
    Console(stderr=True, soft_wrap=True).print(f"[red]{escape(text)}[/red]", highlight=False)
    raise typer.Exit(1)


def _say(text: str) -> None:
    Console(soft_wrap=True).print(escape(text.strip()), highlight=False)


def _span(found: Survey) -> str:
    if found.oldest is None or found.newest is None:
        return ""
    return f", bought from {found.oldest[:10]} to {found.newest[:10]}"


def _table(title: str, words: tuple[str, ...], numbers: tuple[str, ...]) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for name in words:
        table.add_column(name, overflow="fold", min_width=LEAST_WIDTH)
    for name in numbers:  # a figure that is cut would be another figure
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _usd(amount: float) -> str:
    return f"{amount:,.2f}" if amount >= 100 else f"{amount:.4f}"


def _count(number: int) -> str:
    return f"{number:,}" if number < 10_000_000 else f"{number / 1e6:,.1f} M"


def _groups_table(groups: tuple[Group, ...]) -> Table:
    numbers = ("answers", "tokens in", "tokens out", "cost $", "hits", "saved $")
    table = _table("Answers", ("endpoint", "model"), numbers)
    for group in groups:
        table.add_row(
            escape(group.endpoint),
            escape(group.model),
            _count(group.rows),
            _count(group.prompt_tokens),
            _count(group.completion_tokens),
            _usd(group.cost_usd),
            _count(group.hits),
            _usd(group.saved_usd),
        )
    return table


def _faults_table(faults: tuple[Faulty, ...]) -> Table:
    table = _table("Answers that could not be used", ("fault",), ("answers", "cost $"))
    for fault in faults:
        table.add_row(fault.fault, _count(fault.rows), _usd(fault.cost_usd))
    return table


def _ledger_table(scopes: tuple[Scope, ...]) -> Table:
    numbers = ("spent $", "perhaps billed $", "in runs $", "dead runs $", "batches $")
    title = "Ledger (what dead runs held will count as perhaps billed)"
    table = _table(title, ("budget",), numbers)
    for scope in scopes:
        table.add_row(
            escape(scope.name),
            _usd(scope.spent_usd),
            _usd(scope.unconfirmed_usd),
            _usd(scope.leased_usd),
            _usd(scope.dead_usd),
            _usd(scope.batched_usd),
        )
    return table


def _batches_table(batches: tuple[UnderWay, ...]) -> Table:
    words = ("endpoint", "batch", "since (UTC)")
    table = _table("Batches under way", words, ("requests", "held $"))
    for batch in batches:
        table.add_row(
            escape(batch.endpoint),
            escape(batch.batch_id or "about to be sent"),
            batch.created_at[:16].replace("T", " "),
            _count(batch.requests),
            _usd(batch.held_usd),
        )
    return table
