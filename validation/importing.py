"""A user's own file as records: JSON Lines or Parquet, in one of the layouts of `layouts.py`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
from pyarrow import parquet
from pydantic import Field
from pydantic_core import from_json

from artifacts.digest import digest_file
from artifacts.progress import Progress
from artifacts.step import Built, Workspace
from validation.errors import ChangedFile, EmptyDataset, MissingInput, UnknownFormat
from validation.layouts import Defaults, completed, find_layout, unknown_column
from validation.parquet import write_text
from validation.reading import Loaded, as_text, parse_record, read_lines
from validation.report import Row, tally
from validation.schemas import (
    Conversation,
    Fault,
    Frozen,
    Language,
    NonBlank,
    PreferencePair,
    Quarantined,
)

STEP_VERSION = 2
JSON_LINES = (".jsonl", ".ndjson")
FORMATS = (*JSON_LINES, ".parquet")
BATCH_ROWS = 1000
Imported = Loaded[Conversation] | Loaded[PreferencePair] | Quarantined
FILES = {"conversation": "conversations.jsonl", "preference_pair": "preferences.jsonl"}


class ImportSettings(Frozen):
    """What to read, and what its rows do not say of themselves.

    `digest` (SHA-256) and `name` stand for the file: where it lies changes nothing.
    `language` of None is told from the letters of each row. Columns named in
    `ignored_columns` are left out; any other unknown column keeps its row out.
    """

    path: Annotated[Path, Field(json_schema_extra={"result_neutral": True})]
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    name: NonBlank
    source: NonBlank
    license: NonBlank = "unknown"
    language: Language | None = None
    ignored_columns: tuple[NonBlank, ...] = ()


def import_settings(
    path: Path,
    source: str | None = None,
    license: str = "unknown",
    language: Language | None = None,
    ignored_columns: tuple[str, ...] = (),
) -> ImportSettings:
    """Settings for a file as it is now; `source` is `import:<file name>` unless given.

    Raises MissingInput where the file is not there, UnknownFormat for another kind of file.
    """
    _refuse_unreadable(path)
    return ImportSettings(
        path=path.absolute(),
        digest=digest_file(path),
        name=path.name,
        source=source or f"import:{path.name}",
        license=license,
        language=language,
        ignored_columns=ignored_columns,
    )


def build_import(settings: ImportSettings, workspace: Workspace) -> Built:
    """Import a file as an artifact that `build_dataset` takes as an input.

    Writes `conversations.jsonl` and `preferences.jsonl` (each only where there are such
    records) and `failed.jsonl`. Raises ChangedFile where the file is not the one that the
    settings name, EmptyDataset where no row could be read.
    """
    _refuse_unreadable(settings.path)
    if digest_file(settings.path) != settings.digest:
        raise ChangedFile(
            f"{settings.path} changed after its digest was taken: run the import again"
        )
    rows: list[Row] = []
    lines: dict[str, list[str]] = {file: [] for file in (*FILES.values(), "failed.jsonl")}
    for row in import_records(settings.path, settings):
        file, line, seen = _line(row)
        lines[file].append(line)
        rows.append(seen)
        if len(rows) % BATCH_ROWS == 0:
            workspace.progress(Progress(len(rows), 0, "rows"))
    counts = tally(rows)
    if not counts.accepted:
        faults = ", ".join(f"{name} {count}" for name, count in counts.faults.items())
        example = json.loads(lines["failed.jsonl"][0])["detail"] if rows else "the file is empty"
        raise EmptyDataset(
            f"none of {counts.rows_in} rows of {settings.path} could be read: "
            f"{faults or 'no rows'}. The first: {example}"
        )
    for file, every in lines.items():
        (workspace.out / file).unlink(missing_ok=True)
        if every or file == "failed.jsonl":
            write_text(workspace.out / file, "".join(f"{line}\n" for line in every))
    return Built(
        counts={
            "rows_in": counts.rows_in,
            "accepted": counts.accepted,
            "quarantined": counts.quarantined,
        },
        summary={"faults": dict(counts.faults)},
    )


def import_records(path: Path, settings: ImportSettings) -> Iterator[Imported]:
    """Every row of a file, as a record or as a quarantined row with its reason.

    Raises MissingInput or UnknownFormat for the file as a whole, nothing for a row.
    """
    _refuse_unreadable(path)
    if path.suffix.lower() in JSON_LINES:
        for origin, line in read_lines(path, settings.name):
            yield _import_line(line, settings, origin)
        return
    for number, row in enumerate(_parquet_rows(path), start=1):
        raw = json.dumps(row, ensure_ascii=False, default=str)
        yield _import_row(row, settings, raw, f"{settings.name}:{number}")


def _refuse_unreadable(path: Path) -> None:
    if not path.is_file():
        raise MissingInput(f"{path} is not there: name a file that exists")
    if path.suffix.lower() not in FORMATS:
        raise UnknownFormat(
            f"{path}: files that end in {path.suffix or 'nothing'!r} are not read; allowed: "
            f"{', '.join(FORMATS)}. Write one JSON object a line to get the first."
        )


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=BATCH_ROWS):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise UnknownFormat(f"{path} cannot be read as Parquet: {error}") from error


def _import_line(line: bytes, settings: ImportSettings, origin: str) -> Imported:
    try:
        row = from_json(line)
    except ValueError:
        row = None
    if not isinstance(row, dict):  # the reader of records knows how to say what is wrong
        return parse_record(line, Conversation, origin)
    return _import_row(row, settings, as_text(line), origin)


def _import_row(row: dict[str, Any], settings: ImportSettings, raw: str, origin: str) -> Imported:
    given = {
        name: value
        for name, value in row.items()
        if value is not None and name not in settings.ignored_columns
    }
    layout = find_layout(given)
    if isinstance(layout, Fault):
        return _quarantined(layout, raw, origin)
    if fault := unknown_column(given, layout):
        return _quarantined(fault, raw, origin)
    defaults = Defaults(settings.source, settings.license, settings.language)
    ours = completed(layout.convert(given), defaults)
    line = json.dumps(ours, default=str).encode()
    loaded: Imported = (
        parse_record(line, Conversation, origin)
        if layout.record_type is Conversation
        else parse_record(line, PreferencePair, origin)
    )
    return loaded.model_copy(update={"raw": raw}) if isinstance(loaded, Quarantined) else loaded


def _quarantined(fault: Fault, raw: str, origin: str) -> Quarantined:
    return Quarantined(raw=raw, fault=fault.name, detail=fault.detail, origin=origin)


def _line(row: Imported) -> tuple[str, str, Row]:
    """The file that a row goes to, its line there, and the row as it is counted."""
    if isinstance(row, Quarantined):
        seen = Row(kind="failed", language="", source="", case_id="", fault=row.fault)
        return "failed.jsonl", row.model_dump_json(), seen
    record = row.record
    seen = Row(kind=record.kind, language=record.language, source="", case_id=record.case_id)
    return FILES[record.kind], record.model_dump_json(), seen
