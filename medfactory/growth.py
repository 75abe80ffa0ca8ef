"""What the commands on cases and personas do beside running a flow."""

from collections import Counter
from pathlib import Path
from typing import NoReturn

import typer
from pydantic import JsonValue
from rich.console import Console


def grow_settings(
    rows: int | None, language: str | None, library: list[Path] | None, notes: Path | None
) -> dict[str, JsonValue]:
    """The settings that the options name; those that are left out stay as the profile says."""
    settings: dict[str, JsonValue] = {}
    if rows is not None:
        settings["grow.rows"] = rows
    if language is not None:
        settings["grow.language"] = language
    if library:
        settings["grow.library"] = [_folder(path) for path in library]
    if notes is not None:
        settings["grow.notes.path"] = str(notes.absolute())
    return settings


def write_personas(seeds: Path, to: Path) -> None:
    """Write the personas of role seeds to a new file, and what cannot be used beside it."""
    from datagen.errors import DatagenError
    from datagen.role_seeds import import_role_seeds
    from validation.schemas import Quarantined

    failed_path = to.with_name(f"{to.stem}.failed.jsonl")
    try:
        rows = list(import_role_seeds(seeds))
    except DatagenError as error:
        _refuse(f"{type(error).__name__}: {error}")
    if there := [path for path in (to, failed_path) if path.exists()]:
        _refuse(f"{there[0]} is there already: name another file with --to, or remove it")
    personas = [row for row in rows if not isinstance(row, Quarantined)]
    failed = [row for row in rows if isinstance(row, Quarantined)]
    to.parent.mkdir(parents=True, exist_ok=True)
    for path, values in ((to, personas), (failed_path, failed)):
        lines = (value.model_dump_json() + "\n" for value in values)
        path.write_text("".join(lines), encoding="utf-8", newline="\n")
    seats = Counter[str](persona.seat for persona in personas)
    faults = Counter(row.fault for row in failed)
    typer.echo(f"{len(rows)} rows: {len(personas)} personas {_told(seats)} in {to}")
    typer.echo(f"{len(failed)} left out {_told(faults)} in {failed_path}")


def _told(counts: Counter[str]) -> str:
    return f"({', '.join(f'{number} {name}' for name, number in sorted(counts.items()))})"


def _folder(path: Path) -> str:
    # `packaged` is a word for our own library, not a folder.
    return str(path) if str(path) == "packaged" else str(path.absolute())


def _refuse(message: str) -> NoReturn:
    Console(stderr=True, soft_wrap=True).print(f"[red]{message}[/red]", highlight=False)
    raise typer.Exit(1)
