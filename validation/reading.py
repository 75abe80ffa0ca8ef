"""JSON Lines to records: a line that is no record becomes a `Quarantined` row, never an error."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, JsonValue, ValidationError
from pydantic_core import ErrorDetails, from_json

from validation.arrow import element_type
from validation.errors import MissingInput
from validation.schemas import Quarantined, Record

RecordT = TypeVar("RecordT", bound=Record)

BOM = b"\xef\xbb\xbf"
SHOWN_CHARACTERS = 80
FAULT_OF_ERROR = {
    "json_invalid": "bad_json",
    "extra_forbidden": "unknown_field",
    "missing": "missing_field",
    "blank_content": "blank_content",
    "string_unicode": "bad_characters",
}
TELLING_ORDER = (
    "bad_json",
    "wrong_kind",
    "bad_characters",
    "unknown_role",
    "unknown_field",
    "missing_field",
    "blank_content",
    "changed_content",
    "bad_value",
)


@dataclass(frozen=True)
class Loaded(Generic[RecordT]):
    """A record and where it came from (`file:line`)."""

    record: RecordT
    origin: str


def read_lines(path: Path, name: str | None = None) -> Iterator[tuple[str, bytes]]:
    """Each line that is not blank, with its origin `name:line` (lines count from 1).

    Raises MissingInput where the file is not there.
    """
    if not path.is_file():
        raise MissingInput(f"{path} is not there: name a file that exists, or build its step first")
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            text = (line.removeprefix(BOM) if number == 1 else line).strip(b" \t\r\n")
            if text:
                yield f"{name or path.name}:{number}", text


def read_records(
    path: Path, record_type: type[RecordT], name: str | None = None
) -> Iterator[Loaded[RecordT] | Quarantined]:
    """Every row of a JSON Lines file, as a record of one type or as a quarantined row.

    `name` stands for the file in origins. Raises MissingInput where the file is not there.
    """
    for origin, line in read_lines(path, name):
        yield parse_record(line, record_type, origin)


def read_quarantined(path: Path, name: str | None = None) -> Iterator[Quarantined]:
    """Rows that an earlier step left out; a row that is not one is quarantined itself.

    Raises MissingInput where the file is not there.
    """
    for origin, line in read_lines(path, name):
        text = _decoded(line)
        try:
            yield Quarantined.model_validate_json(text or "", strict=True)
        except ValidationError as error:
            yield quarantine_invalid(error, Quarantined, as_text(line), origin)


def parse_record(
    line: bytes, record_type: type[RecordT], origin: str
) -> Loaded[RecordT] | Quarantined:
    """One line of JSON as a record of the type, or as a quarantined row that says why not."""
    text = _decoded(line)
    if text is None:
        detail = "the line is not UTF-8: save the file as UTF-8"
        return Quarantined(raw=as_text(line), fault="bad_encoding", detail=detail, origin=origin)
    try:
        record = record_type.model_validate_json(text, strict=True)
    except ValidationError as error:
        return quarantine_invalid(error, record_type, text, origin)
    if "\\u0000" in text and holds_nul(from_json(text)):
        detail = "a text holds the character NUL (\\u0000): remove it"
        return Quarantined(raw=text, fault="bad_characters", detail=detail, origin=origin)
    return Loaded(record, origin)


def quarantine_invalid(
    error: ValidationError, model: type[BaseModel], raw: str, origin: str
) -> Quarantined:
    """A row that its model refused, under the most telling fault: field, got, allowed."""
    every = error.errors(include_url=False)
    found = [
        (_fault_name(details), _detail(details, model))
        for details in every
        if details["type"] != "too_short" or len(every) == 1
    ]
    found.sort(key=lambda fault: TELLING_ORDER.index(fault[0]))
    name, detail = found[0]
    more = f" (+{len(found) - 1} more)" if len(found) > 1 else ""
    return Quarantined(raw=raw, fault=name, detail=detail + more, origin=origin)


def holds_nul(value: JsonValue) -> bool:
    """Whether a NUL character stands anywhere in a JSON value, keys included."""
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, list):
        return any(holds_nul(item) for item in value)
    if isinstance(value, dict):
        return any(holds_nul(item) for pair in value.items() for item in pair)
    return False


def as_text(line: bytes) -> str:
    r"""A line as text that can be written anywhere: bytes that are not UTF-8 show as `\xNN`."""
    return line.decode("utf-8", errors="backslashreplace")


def _decoded(line: bytes) -> str | None:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _fault_name(details: ErrorDetails) -> str:
    kind, place = details["type"], details["loc"]
    if kind == "json_invalid" and re.search("surrogate|hex escape", details["msg"]):
        return "bad_characters"
    if kind in FAULT_OF_ERROR:
        return FAULT_OF_ERROR[kind]
    if kind == "literal_error" and place[-1] in ("kind", "role"):
        return {"kind": "wrong_kind", "role": "unknown_role"}[str(place[-1])]
    if kind == "string_pattern_mismatch" and place[-1] == "text":
        return "blank_content"
    if "record_id" in details["msg"] and not place:
        return "changed_content"
    return "bad_value"


def _detail(details: ErrorDetails, model: type[BaseModel]) -> str:
    kind, place = details["type"], details["loc"]
    field = ".".join(map(str, place)) or "row"
    got = _short(details.get("input"))
    if kind == "json_invalid":
        why = details["msg"].removeprefix("Invalid JSON: ")
        return f"row: not JSON that can be read: {why}; got {got}"
    if kind == "literal_error":
        return f"{field}: got {got}; allowed: {details['ctx']['expected']}"
    if kind == "extra_forbidden":
        allowed = ", ".join(_fields_at(model, place[:-1]))
        return f"{field}: no such field; got {got}; allowed: {allowed}"
    if kind == "missing":
        return f"{field}: missing; got {got}"
    if kind == "blank_content":
        return f"{field}.content: {details['msg']}; got {got}; allowed: a text that is not blank"
    return f"{field}: {re.sub('^(Value error|Input), ', '', details['msg'])}; got {got}"


def _fields_at(model: type[BaseModel], place: tuple[int | str, ...]) -> tuple[str, ...]:
    """The field names that are allowed at a place such as ("messages", 0)."""
    here: Any = model
    for part in place:
        if isinstance(part, str) and part in here.model_fields:
            here = element_type(here.model_fields[part].annotation)
    return tuple(here.model_fields)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
