"""Reading a data set artifact, and the examples that stages make of its rows."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from engines.chat import ChatMessage
from engines.errors import ChatError
from training.errors import EmptyData, WrongData
from validation.schemas import Quarantined

if TYPE_CHECKING:
    from datasets import Dataset

Split = Literal["train", "validation"]
Row = Mapping[str, Any]
T = TypeVar("T")
TOOLS = "tools"


@dataclass(frozen=True)
class Example:
    """One row as a trainer takes it.

    `columns`: lists of token ids and single numbers by the trainer's column names.
    `tokens`: how many tokens a pass over it costs. `longest`: its longest sequence.
    `prompt`: the messages before the reply that is to be learnt, for samples.
    """

    record_id: str
    columns: Mapping[str, Any]
    tokens: int
    longest: int
    prompt: tuple[ChatMessage, ...]


def read_rows(dataset: Path, view: str, split: Split, columns: Sequence[str]) -> list[Row]:
    """Rows of `<view>/<split>.parquet` of a data set artifact: the named columns, and `tools`.

    Raises WrongData where the file or a column is missing.
    """
    import pyarrow.parquet as pq

    path = dataset / view / f"{split}.parquet"
    if not path.is_file():
        raise WrongData(
            f"{dataset} holds no {view}/{split}.parquet: this stage needs a data set with "
            f"{view} rows; run validation on records of that type first"
        )
    there = pq.read_schema(path).names
    if missing := [name for name in columns if name not in there]:
        raise WrongData(f"{path} lacks the columns {missing}: it has {there}")
    wanted = [*columns, *(name for name in (TOOLS,) if name in there)]
    rows: list[Row] = pq.read_table(path, columns=wanted).to_pylist()
    return rows


def refuse_empty(rows: Sequence[object], dataset: Path, view: str) -> None:
    """Raise EmptyData for no rows, before anything is loaded."""
    if not rows:
        raise EmptyData(
            f"{dataset / view / 'train.parquet'} holds no rows: nothing to train on. See "
            f"{dataset / 'report.json'} for what validation turned away, or generate more"
        )


def refuse_all_left_out(kept: Sequence[Example], left: Sequence[Quarantined]) -> None:
    """Raise EmptyData where no row fits, with the first reason."""
    if kept:
        return
    raise EmptyData(
        f"none of the {len(left)} training rows can be used; the first ({left[0].origin}): "
        f"{left[0].fault}, {left[0].detail}. Raise max_length_tokens or shorten the rows"
    )


def spread(rows: Sequence[T], count: int) -> list[T]:
    """At most `count` rows, evenly spaced, so that no language or case at the front rules."""
    count = min(count, len(rows))
    return [rows[i * len(rows) // count] for i in range(count)]


def encode_rows(
    rows: Sequence[Row],
    encode: Callable[[Row], Example],
    max_length_tokens: int,
    origin: str,
) -> tuple[list[Example], list[Quarantined]]:
    """Examples of the rows that fit, and the others with the reason; order is kept.

    `origin` says where the rows stand, as `view/split.parquet`.
    """
    kept: list[Example] = []
    left: list[Quarantined] = []
    for number, row in enumerate(rows):
        try:
            _refuse_tools(row)
            example = encode(row)
        except ChatError as error:
            fault, detail = "cannot_be_rendered", str(error)
        else:
            if example.longest <= max_length_tokens:
                kept.append(example)
                continue
            fault = "too_long"
            detail = f"{example.longest} tokens, max_length_tokens is {max_length_tokens}"
        raw = json.dumps(row, ensure_ascii=False, sort_keys=True)
        left.append(Quarantined(raw=raw, fault=fault, detail=detail, origin=f"{origin}:{number}"))
    return kept, left


def _refuse_tools(row: Row) -> None:
    if row.get(TOOLS):
        raise ChatError("the record defines tools, which cannot be rendered yet")


def to_dataset(examples: Sequence[Example]) -> "Dataset":
    """The examples' columns as a data set in memory, in their order."""
    from datasets import Dataset

    names = examples[0].columns
    return Dataset.from_dict({name: [e.columns[name] for e in examples] for name in names})
