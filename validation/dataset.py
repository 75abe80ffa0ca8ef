"""Records in, a data set out: read, check, drop copies, split by case, write, hold to account.

Every row that comes in is either in a table or in `quarantine.parquet`, with its reason.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
from pydantic import Field

from artifacts.progress import Progress
from artifacts.step import Built, Workspace
from validation.accounts import QUARANTINE_SCHEMA, Accounts
from validation.arrow import (
    has_tools,
    passage_schema,
    preference_schema,
    problem_schema,
    rows_to_table,
    sft_schema,
    training_row,
)
from validation.checks import (
    CheckSettings,
    check_conversation,
    check_passage,
    check_preference,
    check_problem,
)
from validation.duplicates import TalkT, split_duplicates
from validation.errors import EmptyDataset, MissingInput
from validation.expectations import check_tables
from validation.parquet import write_parquet, write_text
from validation.reading import Loaded, read_quarantined, read_records
from validation.report import REPORT_NAME, DatasetReport, SplitSize, SuiteResult, Tally, split_sizes
from validation.schemas import (
    Conversation,
    Fault,
    Frozen,
    Passage,
    PreferencePair,
    Problem,
    Quarantined,
)
from validation.splits import SPLITS, Split, SplitCase, SplitSettings, assign_splits
from validation.text import normalised

STEP_VERSION = 4
CONVERSATIONS = "conversations.jsonl"
PATIENT_SIDE = "patient_side.jsonl"
PREFERENCES = "preferences.jsonl"
PROBLEMS = "problems.jsonl"
PASSAGES = "passages.jsonl"
KINDS = {
    CONVERSATIONS: "conversation",
    PATIENT_SIDE: "conversation",
    PREFERENCES: "preference_pair",
    PROBLEMS: "problem",
    PASSAGES: "passage",
}
FILES = tuple(KINDS)
FAILED = "failed.jsonl"
DOCS = "data_docs"
PROGRESS_ROWS = 1000
TalkCheck = Callable[[TalkT, CheckSettings], Fault | None]


class DatasetSettings(Frozen):
    """How a data set is made from records.

    `examples_per_fault`: how many rows of each fault the report shows as text.
    """

    checks: CheckSettings = CheckSettings()
    splits: SplitSettings = SplitSettings()
    examples_per_fault: Annotated[int, Field(ge=0)] = 3


def build_dataset(settings: DatasetSettings, workspace: Workspace) -> Built:
    """Build the data set out of every input folder that holds records.

    An input holds one or more of `FILES`, and may hold `failed.jsonl`. Writes `sft/` and
    `preference/` (one Parquet file a split), `problem/` and `passage/` where there are any,
    `quarantine.parquet`, `report.json` and `data_docs/` (volatile).
    Raises MissingInput, EmptyDataset or ExpectationsFailed.
    """
    _clear(workspace.out)
    files = input_files(workspace.inputs)
    accounts = Accounts(settings.examples_per_fault)
    reading = _Reading(settings.checks, accounts, workspace)
    talks = reading.accepted(files, CONVERSATIONS, Conversation, check_conversation)
    talks += reading.accepted(files, PATIENT_SIDE, Conversation, check_conversation)
    pairs = reading.accepted(files, PREFERENCES, PreferencePair, check_preference)
    problems = reading.accepted(files, PROBLEMS, Problem, check_problem)
    passages = reading.accepted(files, PASSAGES, Passage, check_passage)
    for path, name in _named(files, FAILED):
        for row in read_quarantined(path, name):
            accounts.fell_before(row)
    write_parquet(
        rows_to_table(accounts.quarantine, QUARANTINE_SCHEMA),
        workspace.out / "quarantine.parquet",
    )
    _refuse_empty(accounts, files)
    assigned = assign_splits(split_cases(talks, pairs, (*problems, *passages)), settings.splits)
    tables = {
        "sft": _tables(talks, assigned, sft_schema),
        "preference": _tables(pairs, assigned, preference_schema),
    }
    if problems:
        tables["problem"] = _tables(problems, assigned, problem_schema)
    if passages:
        tables["passage"] = _tables(passages, assigned, passage_schema)
    for folder, by_split in tables.items():
        for split, table in by_split.items():
            write_parquet(table, workspace.out / folder / f"{split}.parquet")
    suites = check_tables(**tables, limits=settings.checks, docs=workspace.out / DOCS)
    sizes = {"sft": split_sizes(talks, assigned), "preference": split_sizes(pairs, assigned)}
    if problems:
        sizes["problem"] = split_sizes(problems, assigned)
    if passages:
        sizes["passage"] = split_sizes(passages, assigned)
    report = _report(settings, accounts, sizes, assigned, suites)
    write_text(workspace.out / REPORT_NAME, report.model_dump_json(indent=1) + "\n")
    return _built(report)


def input_files(inputs: Mapping[str, Path]) -> dict[str, Path]:
    """The files to read, as `input/file` → path, in order of name.

    Raises MissingInput where an input holds no records at all, or there is no input.
    """
    if not inputs:
        raise MissingInput(f"no input: give a folder that holds one of {', '.join(FILES)}")
    files = {}
    for name, folder in sorted(inputs.items()):
        if not any((folder / file).is_file() for file in FILES):
            raise MissingInput(
                f"input {name!r} ({folder}) holds none of {', '.join(FILES)}: build its step "
                "first, or leave the input out"
            )
        for file in (*FILES, FAILED):
            if (folder / file).is_file():
                files[f"{name}/{file}"] = folder / file
    return files


def split_cases(
    talks: list[Conversation],
    pairs: list[PreferencePair],
    others: Sequence[Problem | Passage] = (),
) -> list[SplitCase]:
    """The cases of all tables; one in two languages counts under the first by name.

    A case is complete when each of the tables of talks and pairs that has rows has some of it.
    """
    languages: dict[str, set[Any]] = {}
    for record in (*talks, *pairs, *others):
        languages.setdefault(record.case_id, set()).add(record.language)
    tables = [{record.case_id for record in table} for table in (talks, pairs) if table]
    return [
        SplitCase(case_id, min(languages[case_id]), all(case_id in table for table in tables))
        for case_id in sorted(languages)
    ]


class _Reading:
    """Reads rows of one kind after the other, and reports how many it has read."""

    def __init__(self, checks: CheckSettings, accounts: Accounts, workspace: Workspace) -> None:
        self._checks = checks
        self._accounts = accounts
        self._progress = workspace.progress
        self._rows = 0

    def accepted(
        self,
        files: Mapping[str, Path],
        file: str,
        record_type: type[TalkT],
        check: TalkCheck[TalkT],
    ) -> list[TalkT]:
        """The records of all files of one name that pass; the others go to the accounts."""
        passed = self._passed(files, file, record_type, check)
        kept, copies = split_duplicates(passed)
        for row, fault in copies:
            self._accounts.fell(row, fault)
        for row in kept:
            self._accounts.passed(row.record)
        self._progress(Progress(self._rows, 0, "rows", note=f"{file}: {len(kept)} accepted"))
        return [row.record for row in kept]

    def _passed(
        self,
        files: Mapping[str, Path],
        file: str,
        record_type: type[TalkT],
        check: TalkCheck[TalkT],
    ) -> Iterator[Loaded[TalkT]]:
        kind = record_type.model_fields["kind"].default
        for path, name in _named(files, file):
            for row in read_records(path, record_type, name):
                self._rows += 1
                if self._rows % PROGRESS_ROWS == 0:
                    self._progress(Progress(self._rows, 0, "rows", note=name))
                if isinstance(row, Quarantined):
                    self._accounts.unreadable(row, kind)
                elif fault := check(row.record, self._checks):
                    self._accounts.fell(row, fault)
                else:
                    yield row


def _named(files: Mapping[str, Path], file: str) -> list[tuple[Path, str]]:
    return [(path, name) for name, path in files.items() if name.endswith(f"/{file}")]


def _clear(folder: Path) -> None:
    """Remove what a killed attempt left: nothing of it may be published."""
    for child in folder.iterdir():
        shutil.rmtree(child) if child.is_dir() else child.unlink()


def _refuse_empty(accounts: Accounts, files: Mapping[str, Path]) -> None:
    """Each kind of record that an input promises (by its file) has an accepted row."""
    kinds = accounts.tallies("kind")
    for file, kind in KINDS.items():
        tally = kinds.get(kind, Tally())
        if tally.accepted or not _named(files, file):
            continue
        fell = _faults(tally) or "there were none"
        failed = _faults(kinds.get("failed", Tally()))
        earlier = f"; failed before, of any kind: {failed}" if failed else ""
        raise EmptyDataset(
            f"none of {tally.rows_in} rows of {file} passed: {fell}{earlier}. Look at "
            "quarantine.parquet for each row and its reason; mend or generate more rows, or "
            "loosen the settings of the checks (tolerated_faults for what the generator found)."
        )


def _faults(tally: Tally) -> str:
    return ", ".join(f"{name} {count}" for name, count in tally.faults.items())


def _tables(
    records: list[TalkT], assigned: Mapping[str, Split], schema: Callable[[bool], pa.Schema]
) -> dict[Split, pa.Table]:
    """One table a split, all of one schema; with columns for tools where any record has some."""
    fixed = schema(any(has_tools(record) for record in records))
    rows: dict[Split, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    for record in sorted(records, key=lambda r: (r.case_id, r.record_id)):
        rows[assigned[record.case_id]].append(training_row(record))
    return {split: rows_to_table(rows[split], fixed) for split in SPLITS}


def _report(
    settings: DatasetSettings,
    accounts: Accounts,
    sizes: dict[str, dict[str, SplitSize]],
    assigned: Mapping[str, Split],
    suites: dict[str, SuiteResult],
) -> DatasetReport:
    kinds = accounts.tallies("kind")
    names = {normalised(case_id) for case_id in assigned}
    return DatasetReport(
        total=accounts.total(),
        kinds=kinds,
        languages=accounts.tallies("language"),
        sources=accounts.tallies("source"),
        duplicates={name: tally.faults.get("duplicate", 0) for name, tally in kinds.items()},
        splits=sizes,
        missing_in_split={
            table: [split for split, size in by_split.items() if not size.rows]
            for table, by_split in sizes.items()
        },
        cases={split: [c for c, s in assigned.items() if s == split] for split in SPLITS},
        held_out_absent=sorted(
            case for case in settings.splits.held_out_cases if normalised(case) not in names
        ),
        expectations=suites,
        examples=accounts.examples,
    )


def _built(report: DatasetReport) -> Built:
    counts = {
        "rows_in": report.total.rows_in,
        "accepted": report.total.accepted,
        "quarantined": report.total.quarantined,
        "duplicates": sum(report.duplicates.values()),
    }
    for table, sizes in report.splits.items():
        counts |= {f"{table}_{split}": size.rows for split, size in sizes.items()}
    return Built(
        counts=counts,
        summary={"faults": dict(report.total.faults)},
        volatile=(f"{DOCS}/**",),
    )
