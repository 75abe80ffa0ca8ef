"""Arrow schemas derived from the record types, and the way there and back.

JSON values of no fixed shape (tool definitions, arguments) are `arrow.json` columns:
`datasets` loads those as its `Json()` type, without padding keys with None.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import pyarrow as pa
from pydantic import BaseModel, JsonValue
from pydantic_core import from_json

from validation.schemas import Conversation, Passage, PreferencePair, Problem, Record

RecordT = TypeVar("RecordT", bound=Record)

SCALARS: Mapping[Any, Any] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
}
COMMON_COLUMNS = ("record_id", "case_id", "language", "source", "license")
SFT_COLUMNS = (*COMMON_COLUMNS, "sample_index", "messages", "tools")
PREFERENCE_COLUMNS = (
    *COMMON_COLUMNS,
    "fault_type",
    "margin",
    "agreement",
    "prompt",
    "chosen",
    "rejected",
    "tools",
)
PROBLEM_COLUMNS = (*COMMON_COLUMNS, "prompt", "answer", "choices", "verifier")
PASSAGE_COLUMNS = (*COMMON_COLUMNS, "title", "text")
TOOL_PARTS = frozenset({"tools", "tool_calls"})


def arrow_schema(record_type: type[BaseModel]) -> pa.Schema:
    """The Arrow schema of a pydantic model; a field is nullable only where the model says so.

    Raises TypeError for an annotation that has no Arrow form.
    """
    return pa.schema(_fields(record_type))


def sft_schema(with_tools: bool = False) -> pa.Schema:
    """Columns of the SFT table, out of `Conversation`.

    Without tools, `messages` is list<struct<role, content>>, as TRL takes it; with tools
    the messages keep `tool_calls` and a `tools` column follows, both lists of JSON values.
    """
    return _view(arrow_schema(Conversation), SFT_COLUMNS, with_tools)


def preference_schema(with_tools: bool = False) -> pa.Schema:
    """Columns of the preference table, out of `PreferencePair`; tools as in `sft_schema`."""
    return _view(arrow_schema(PreferencePair), PREFERENCE_COLUMNS, with_tools)


def problem_schema(with_tools: bool = False) -> pa.Schema:
    """Columns of the table of problems, out of `Problem`: `prompt`, and what a reward needs."""
    return _view(arrow_schema(Problem), PROBLEM_COLUMNS, with_tools)


def passage_schema(with_tools: bool = False) -> pa.Schema:
    """Columns of the table of passages, out of `Passage`: `text` for continued pretraining."""
    return _view(arrow_schema(Passage), PASSAGE_COLUMNS, with_tools)


def has_tools(record: Record) -> bool:
    """Whether a record defines or calls tools."""
    if not isinstance(record, Conversation | PreferencePair):
        return False
    if record.tools:
        return True
    if isinstance(record, Conversation):
        return any(message.tool_calls for message in record.messages)
    parts = (record.prompt, record.chosen, record.rejected)
    return any(message.tool_calls for part in parts for message in part)


def training_row(record: Record) -> dict[str, Any]:
    """A record as a row of its training view; tool calls take the shape chat templates read.

    Keys that the written schema lacks fall away in `rows_to_table`.
    """
    columns = {*SFT_COLUMNS, *PREFERENCE_COLUMNS, *PROBLEM_COLUMNS, *PASSAGE_COLUMNS}
    row = record.model_dump(mode="json", include=columns)
    for name in ("messages", "prompt", "chosen", "rejected"):
        for message in row.get(name, ()):
            message["tool_calls"] = [
                {"type": "function", "function": call} for call in message["tool_calls"]
            ]
    return row


def records_to_table(records: Iterable[Record], record_type: type[Record]) -> pa.Table:
    """Records of one type as a table with every field."""
    rows = [record.model_dump(mode="json") for record in records]
    return rows_to_table(rows, arrow_schema(record_type))


def table_to_records(table: pa.Table, record_type: type[RecordT]) -> list[RecordT]:
    """The records of a table that `records_to_table` made.

    Raises pydantic's ValidationError where a row is no such record.
    """
    decoders = {field.name: field.type for field in table.schema if _holds_json(field.type)}
    records = []
    for row in table.to_pylist():
        for name, kind in decoders.items():
            row[name] = _decoded(row[name], kind)
        records.append(record_type.model_validate(row))
    return records


def rows_to_table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """JSON rows as a table of a fixed schema; keys outside the schema are left out."""
    storage = pa.schema([field.with_type(_storage(field.type)) for field in schema])
    encoders = {field.name: field.type for field in schema if _holds_json(field.type)}
    if encoders:
        rows = [
            {**row, **{name: _encoded(row[name], kind) for name, kind in encoders.items()}}
            for row in rows
        ]
    return pa.Table.from_pylist(rows, schema=storage).cast(schema)


def element_type(annotation: Any) -> Any:
    """An annotation without `Annotated`, `| None` and the tuple around its elements."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return element_type(arguments[0])
    if origin in (Union, UnionType):
        inner = [argument for argument in arguments if argument is not NoneType]
        return element_type(inner[0]) if len(inner) == 1 else annotation
    return element_type(arguments[0]) if origin is tuple else annotation


def _fields(model: type[BaseModel]) -> list[Any]:
    return [
        _field(name, info.annotation, f"{model.__name__}.{name}")
        for name, info in model.model_fields.items()
    ]


def _field(name: str, annotation: Any, where: str) -> Any:
    nullable = NoneType in get_args(annotation)
    return pa.field(name, _arrow_type(annotation, where), nullable=nullable)


def _arrow_type(annotation: Any, where: str) -> Any:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in SCALARS:
        return SCALARS[annotation]
    if origin is Annotated:
        return _arrow_type(arguments[0], where)
    if origin is Literal and all(isinstance(value, str) for value in arguments):
        return pa.string()
    if origin in (Union, UnionType) and NoneType in arguments and len(arguments) == 2:
        return _arrow_type(next(a for a in arguments if a is not NoneType), where)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return pa.list_(_field("item", arguments[0], where))
    if origin is dict or annotation is JsonValue:
        return pa.json_()
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return pa.struct(_fields(annotation))
    raise TypeError(f"{where}: {annotation!r} has no Arrow form; add it to validation/arrow.py")


def _view(schema: pa.Schema, columns: tuple[str, ...], with_tools: bool) -> pa.Schema:
    fields = [schema.field(name) for name in columns if with_tools or name not in TOOL_PARTS]
    shaped = _with_json_calls if with_tools else _without_tools
    return pa.schema([field.with_type(shaped(field.type)) for field in fields])


def _with_json_calls(kind: Any) -> Any:
    """Tool calls as JSON: templates want another shape than our records have."""
    if pa.types.is_list(kind):
        item = kind.value_field
        return pa.list_(item.with_type(_with_json_calls(item.type)))
    if not pa.types.is_struct(kind):
        return kind
    calls = pa.list_(pa.field("item", pa.json_(), nullable=False))
    return pa.struct([f.with_type(calls) if f.name == "tool_calls" else f for f in kind])


def _without_tools(kind: Any) -> Any:
    if pa.types.is_list(kind):
        item = kind.value_field
        return pa.list_(item.with_type(_without_tools(item.type)))
    if pa.types.is_struct(kind):
        return pa.struct([field for field in kind if field.name not in TOOL_PARTS])
    return kind


def _is_json(kind: Any) -> bool:
    return bool(kind == pa.json_())


def _holds_json(kind: Any) -> bool:
    if pa.types.is_list(kind):
        return _holds_json(kind.value_type)
    if pa.types.is_struct(kind):
        return any(_holds_json(field.type) for field in kind)
    return _is_json(kind)


def _storage(kind: Any) -> Any:
    """The type with JSON columns as the strings they are stored as."""
    if pa.types.is_list(kind):
        item = kind.value_field
        return pa.list_(item.with_type(_storage(item.type)))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_storage(field.type)) for field in kind])
    return pa.string() if _is_json(kind) else kind


def _encoded(value: Any, kind: Any) -> Any:
    """Keys keep their order: a template shows them so, and a model learns them so."""
    return _mapped(value, kind, _json_text)


def _json_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _decoded(value: Any, kind: Any) -> Any:
    return _mapped(value, kind, from_json)


def _mapped(value: Any, kind: Any, convert: Any) -> Any:
    """Convert the JSON leaves of a nested value."""
    if value is None or not _holds_json(kind):
        return value
    if pa.types.is_list(kind):
        return [_mapped(item, kind.value_type, convert) for item in value]
    if pa.types.is_struct(kind):
        return {
            field.name: _mapped(value[field.name], field.type, convert)
            for field in kind
            if field.name in value
        }
    return convert(value)
