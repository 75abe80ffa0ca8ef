"""The command line: `medfactory run`, and every part of it by name."""

from pathlib import Path
from typing import Annotated, Literal

import typer

import tasks.telemetry  # noqa: F401  switches telemetry off before any library is imported
from medfactory.journal_command import journal_app

app = typer.Typer(
    name="medfactory",
    help="A data and training factory for medical language models, run by Prefect.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(journal_app, name="journal")

Profile = Annotated[
    str, typer.Option(help="Name under deployments/profiles, or the path of a YAML file.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Change a setting: --set dpo.beta=0.2."),
]
Home = Annotated[
    Path, typer.Option(envvar="MEDFACTORY_HOME", help="Folder of the store and the journal.")
]
Endpoint = Annotated[str | None, typer.Option(help="Which endpoint generates.")]
EndpointsFile = Annotated[
    Path | None, typer.Option(help="YAML of endpoints (else ./endpoints.yaml).")
]
Budget = Annotated[
    float | None, typer.Option(help="Hard cap on what this home has spent in all, US dollars.")
]
Data = Annotated[
    list[Path] | None, typer.Option(help="Own data to add: JSONL or Parquet; may be repeated.")
]
Generate = Annotated[bool, typer.Option(help="Generate data; --no-generate: own data alone.")]
Server = Annotated[
    Literal["private", "configured"],
    typer.Option(help="A Prefect server for this run alone, or the one you have configured."),
]
Trace = Annotated[bool, typer.Option("--trace", help="Show the whole traceback of an error.")]
HOME = Path(".medfactory")


@app.command()
def run(
    profile: Profile = "embedded",
    change: Set = None,
    endpoint: Endpoint = None,
    budget_usd: Budget = None,
    data: Data = None,
    generate: Generate = True,
    home: Home = HOME,
    endpoints_file: EndpointsFile = None,
    server: Server = "private",
    trace: Trace = False,
) -> None:
    """Run the whole factory: generate, validate, train every stage, evaluate, report."""
    from medfactory.runs import Request, run_flow

    request = Request(
        profile, change or [], endpoint, budget_usd, data or [], generate, home, endpoints_file
    )
    run_flow("build_model", request, server=server, trace=trace)


@app.command("generate")
def generate_data(
    profile: Profile = "embedded",
    change: Set = None,
    endpoint: Endpoint = None,
    budget_usd: Budget = None,
    data: Data = None,
    generate: Generate = True,
    rows: Annotated[
        str | None,
        typer.Option(help="Conversations in all, or +N: so many more than this home made last."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Send nothing; say what it would take.")
    ] = False,
    pilot: Annotated[
        int | None,
        typer.Option(min=1, help="With --dry-run: buy so many conversations first, as a sample."),
    ] = None,
    home: Home = HOME,
    endpoints_file: EndpointsFile = None,
    server: Server = "private",
    trace: Trace = False,
) -> None:
    """Generate conversations and preference pairs, validate them, write Parquet."""
    from medfactory.runs import Request, run_flow

    request = Request(
        profile,
        change or [],
        endpoint,
        budget_usd,
        data or [],
        generate,
        home,
        endpoints_file,
        rows,
    )
    if dry_run or pilot is not None:
        from medfactory.estimate import show_estimate

        show_estimate(request, dry_run=dry_run, pilot=pilot, trace=trace)
        return
    run_flow("generate_data", request, server=server, trace=trace)


@app.command()
def grow(
    rows: Annotated[int | None, typer.Option(min=1, help="Cases to draft.")] = None,
    language: Annotated[
        Literal["en", "zh"] | None, typer.Option(help="The language of the cases.")
    ] = None,
    library: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of cases that are there; may be repeated; 'packaged': ours."),
    ] = None,
    notes: Annotated[
        Path | None, typer.Option(help="Clinical notes (CSV or JSONL) to make the cases of.")
    ] = None,
    into: Annotated[
        Path | None, typer.Option(help="Folder to copy the new cases to; no file is replaced.")
    ] = None,
    profile: Profile = "small",
    change: Set = None,
    endpoint: Endpoint = None,
    budget_usd: Budget = None,
    home: Home = HOME,
    endpoints_file: EndpointsFile = None,
    server: Server = "private",
    trace: Trace = False,
) -> None:
    """Let a teacher model draft cases that the library lacks, or make them of clinical notes."""
    from medfactory.growth import grow_settings
    from medfactory.runs import Request, run_flow

    request = Request(
        profile,
        change or [],
        endpoint,
        budget_usd,
        home=home,
        endpoints_file=endpoints_file,
        settings=grow_settings(rows, language, library, notes),
    )
    more = {"into": str(into.absolute())} if into else {}
    run_flow("grow_library", request, server=server, trace=trace, **more)


@app.command()
def personas(
    seeds: Annotated[Path, typer.Argument(help="Role seeds: JSONL with `system_prompt`.")],
    to: Annotated[Path, typer.Option(help="The file of personas to write; not replaced.")],
) -> None:
    """Make personas of role seeds, for `generate.personas.files`."""
    from medfactory.growth import write_personas

    write_personas(seeds, to)


@app.command()
def train(
    dataset: Annotated[str, typer.Option(help="Key of a data set, or 'latest'.")] = "latest",
    profile: Profile = "embedded",
    change: Set = None,
    home: Home = HOME,
    server: Server = "private",
    trace: Trace = False,
) -> None:
    """Train the chain of stages on a data set that is in the store."""
    from medfactory.runs import Request, run_flow

    request = Request(profile, change or [], home=home)
    run_flow("train_model", request, server=server, trace=trace, dataset=dataset)


@app.command()
def evaluate(
    checkpoint: Annotated[str, typer.Option(help="Key of a checkpoint, or 'latest'.")] = "latest",
    profile: Profile = "embedded",
    change: Set = None,
    home: Home = HOME,
    server: Server = "private",
    trace: Trace = False,
) -> None:
    """Evaluate a checkpoint's chain against its base and write the report."""
    from medfactory.runs import Request, run_flow

    request = Request(profile, change or [], home=home)
    run_flow("evaluate_model", request, server=server, trace=trace, checkpoint=checkpoint)


@app.command()
def lineage(
    artifact: Annotated[str | None, typer.Argument(help="Key, or its beginning.")] = None,
    home: Home = HOME,
) -> None:
    """Show what an artifact was made from, and what was made from it."""
    from medfactory.inspection import show_lineage

    show_lineage(home, artifact)


@app.command()
def sweep(
    older_than_hours: Annotated[float, typer.Option(min=0, help="Leave younger scratch.")] = 0,
    home: Home = HOME,
) -> None:
    """Remove the scratch of dead runs (a killed run can then not go on where it was)."""
    from medfactory.inspection import sweep_store

    sweep_store(home, older_than_hours)


@app.command()
def doctor(
    endpoint: Annotated[str, typer.Option(help="The endpoint to look at.")] = "embedded",
    endpoints_file: EndpointsFile = None,
    home: Home = HOME,
) -> None:
    """Check the machine: one line each, with the remedy. Exit status 1 if something is bad."""
    from medfactory.inspection import show_examination

    show_examination(home, endpoint, endpoints_file)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
