"""The report of a data set: what came in, what was kept, what fell and why."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import Field, ValidationError

from validation.errors import MissingInput, UnknownFormat
from validation.schemas import Conversation, Frozen, Message, Passage, PreferencePair, Problem
from validation.splits import SPLITS

REPORT_NAME = "report.json"
SHOWN_CHARACTERS = 2000


class Tally(Frozen):
    """Rows of one group: `rows_in` = `accepted` + `quarantined`; `faults` share out the latter."""

    rows_in: int = 0
    accepted: int = 0
    quarantined: int = 0
    faults: dict[str, int] = Field(default_factory=dict)


class SplitSize(Frozen):
    """Records and distinct cases of one split, in all and per language."""

    rows: int = 0
    cases: int = 0
    languages: dict[str, "SplitSize"] = Field(default_factory=dict)


class Example(Frozen):
    """A row that fell, as people read it; `text` is cut after some characters."""

    kind: str
    language: str
    source: str
    case_id: str
    origin: str
    detail: str
    text: str


class SuiteResult(Frozen):
    """How many expectations a table was held to, and how many rows it has."""

    expectations: int
    rows: int


class DatasetReport(Frozen):
    """Everything a page needs to show what happened to the rows.

    `splits`: table ("sft", "preference") → split → size. `cases`: split → case_ids.
    `examples`: fault → rows that fell under it. `held_out_absent`: cases that the settings
    hold out and that have no accepted row. `missing_in_split`: table → splits without rows.
    """

    total: Tally
    kinds: dict[str, Tally]
    languages: dict[str, Tally]
    sources: dict[str, Tally]
    duplicates: dict[str, int]
    splits: dict[str, dict[str, SplitSize]]
    missing_in_split: dict[str, list[str]]
    cases: dict[str, list[str]]
    held_out_absent: list[str]
    expectations: dict[str, SuiteResult]
    examples: dict[str, list[Example]]


class Row(Frozen):
    """One row on its way, as the tallies see it; `fault` is empty where it was accepted."""

    kind: str
    language: str
    source: str
    case_id: str
    fault: str = ""


def tally(rows: Iterable[Row]) -> Tally:
    """Count rows, and those that fell by fault, the most frequent first."""
    faults = Counter(row.fault for row in rows)
    accepted = faults.pop("", 0)
    ordered = dict(sorted(faults.items(), key=lambda item: (-item[1], item[0])))
    fell = sum(ordered.values())
    return Tally(rows_in=accepted + fell, accepted=accepted, quarantined=fell, faults=ordered)


def tally_by(rows: Sequence[Row], field: str) -> dict[str, Tally]:
    """Tallies for each value of a field ("kind", "language", "source")."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(getattr(row, field), []).append(row)
    return {name: tally(group) for name, group in sorted(groups.items())}


def split_sizes(
    records: Iterable[Conversation | PreferencePair | Problem | Passage],
    splits: Mapping[str, str],
) -> dict[str, SplitSize]:
    """The size of each split of one table, in all and per language."""
    places: dict[str, list[tuple[str, str]]] = {split: [] for split in SPLITS}
    for record in records:
        places[splits[record.case_id]].append((record.language, record.case_id))
    sizes = {}
    for split, rows in places.items():
        languages = {
            language: _size([row for row in rows if row[0] == language])
            for language in sorted({row[0] for row in rows})
        }
        sizes[split] = _size(rows).model_copy(update={"languages": languages})
    return sizes


def readable(record: Conversation | PreferencePair | Problem | Passage) -> str:
    """A record as lines `role: words`; the parts of a pair or problem under their names."""
    if isinstance(record, Passage):
        return _cut(record.text)
    if isinstance(record, Problem):
        return _cut(f"{_lines(record.prompt)}\n[answer]\n{record.answer}")
    if isinstance(record, Conversation):
        return _cut(_lines(record.messages))
    parts = {"prompt": record.prompt, "chosen": record.chosen, "rejected": record.rejected}
    return _cut("\n".join(f"[{name}]\n{_lines(part)}" for name, part in parts.items()))


def readable_raw(raw: str) -> str:
    """A row that is no record, as it came, cut after some characters."""
    return _cut(raw)


def read_report(folder: Path) -> DatasetReport:
    """The report of a data set's folder.

    Raises MissingInput where it is not there, UnknownFormat where it is not one.
    """
    path = folder / REPORT_NAME
    if not path.is_file():
        raise MissingInput(f"{path} is not there: {folder} holds no data set")
    try:
        return DatasetReport.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise UnknownFormat(f"{path} is no report of a data set: {error}") from error


def _size(rows: Sequence[tuple[str, str]]) -> SplitSize:
    return SplitSize(rows=len(rows), cases=len({case_id for _, case_id in rows}))


def _lines(messages: Sequence[Message]) -> str:
    return "\n".join(f"{message.role}: {_words(message)}" for message in messages)


def _words(message: Message) -> str:
    calls = " ".join(f"[calls {call.name}]" for call in message.tool_calls)
    return f"{message.content} {calls}".strip()


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
