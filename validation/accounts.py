"""The accounts of a data set: every row that came in, and what became of it."""

from typing import Any

import pyarrow as pa
from pydantic_core import from_json

from validation.arrow import arrow_schema
from validation.duplicates import TalkT
from validation.reading import Loaded
from validation.report import Example, Row, Tally, readable, readable_raw, tally, tally_by
from validation.schemas import Conversation, Fault, Passage, PreferencePair, Problem, Quarantined

AnyRow = Conversation | PreferencePair | Problem | Passage
UNKNOWN = "unknown"
GROUPS = ("row_kind", "language", "source", "case_id")
QUARANTINE_SCHEMA = pa.schema(
    [
        *[field for field in arrow_schema(Quarantined) if field.name != "kind"],
        *[pa.field(name, pa.string(), nullable=False) for name in GROUPS],
    ]
)


class Accounts:
    """Collects what became of each row, in the order in which it is told.

    `quarantine`: rows of `QUARANTINE_SCHEMA`. `examples`: fault → first rows under it.
    """

    def __init__(self, examples_per_fault: int) -> None:
        self.rows: list[Row] = []
        self.quarantine: list[dict[str, Any]] = []
        self.examples: dict[str, list[Example]] = {}
        self._examples_per_fault = examples_per_fault

    def passed(self, record: AnyRow) -> None:
        """Account for an accepted record."""
        self.rows.append(_row(record))

    def fell(self, row: Loaded[TalkT], fault: Fault) -> None:
        """Account for a record that a check or a copy kept out."""
        record = row.record
        quarantined = Quarantined(
            raw=record.model_dump_json(), fault=fault.name, detail=fault.detail, origin=row.origin
        )
        seen = _row(record).model_copy(update={"fault": fault.name})
        self._put(quarantined, seen, readable(record))

    def unreadable(self, row: Quarantined, kind: str) -> None:
        """Account for a row of a file of `kind` that is no such record."""
        self._put(row, _row_of_raw(row, kind), readable_raw(row.raw))

    def fell_before(self, row: Quarantined) -> None:
        """Account for a row that an earlier step could not make."""
        self._put(row, _row_of_raw(row, "failed"), readable_raw(row.raw))

    def total(self) -> Tally:
        """The tally of all rows."""
        return tally(self.rows)

    def tallies(self, field: str) -> dict[str, Tally]:
        """Tallies by "kind", "language" or "source"; rows that failed earlier are "failed"."""
        return tally_by(self.rows, field)

    def _put(self, quarantined: Quarantined, row: Row, text: str) -> None:
        self.rows.append(row)
        entry = quarantined.model_dump(mode="json", exclude={"kind"})
        groups = (row.kind, row.language, row.source, row.case_id)
        self.quarantine.append(entry | dict(zip(GROUPS, groups, strict=True)))
        shown = self.examples.setdefault(row.fault, [])
        if len(shown) < self._examples_per_fault:
            shown.append(
                Example(
                    kind=row.kind,
                    language=row.language,
                    source=row.source,
                    case_id=row.case_id,
                    origin=quarantined.origin,
                    detail=quarantined.detail,
                    text=text,
                )
            )


def _row(record: AnyRow) -> Row:
    return Row(
        kind=record.kind,
        language=record.language,
        source=record.source,
        case_id=record.case_id,
    )


def _row_of_raw(quarantined: Quarantined, kind: str) -> Row:
    """What a raw row says of itself, as far as it can be read."""
    try:
        value = from_json(quarantined.raw)
    except ValueError:
        value = None
    said = value if isinstance(value, dict) else {}
    language, source, case_id = (
        text if isinstance(text := said.get(name), str) and text.strip() else UNKNOWN
        for name in ("language", "source", "case_id")
    )
    return Row(
        kind=kind, language=language, source=source, case_id=case_id, fault=quarantined.fault
    )
