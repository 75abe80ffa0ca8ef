"""What expectations look at: columns derived from the tables, never the texts themselves."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from validation.splits import Split

if TYPE_CHECKING:
    import pandas as pd

COPIED = ("record_id", "case_id", "language")
LIST_COLUMNS = ("messages", "prompt", "chosen", "rejected")


def table_frame(tables: Mapping[Split, pa.Table]) -> "pd.DataFrame":
    """One row a record over all splits of a table, of which one has rows.

    For each list of messages: `<name>_count`, `<name>_first_role` (after a system message),
    `<name>_last_role`, `<name>_characters`. Besides: `split`, `splits_of_case`, for pairs
    `margin`, `agreement`, `chosen_equals_rejected`, for problems `answer`, `verifier`,
    `answer_among_choices`, for passages `text_characters`.
    """
    parts = [
        _derived(table).append_column("split", pa.array([split] * len(table), pa.string()))
        for split, table in tables.items()
        if len(table)
    ]
    frame = pa.concat_tables(parts).to_pandas()
    frame["splits_of_case"] = frame.groupby("case_id")["split"].transform("nunique")
    return frame


def case_frame(*tables: Mapping[Split, pa.Table]) -> "pd.DataFrame":
    """One row for each pair of case and split, over several tables."""
    import pandas as pd

    pairs = sorted(
        {
            (case_id, split)
            for by_split in tables
            for split, table in by_split.items()
            for case_id in table["case_id"].unique().to_pylist()
        }
    )
    return pd.DataFrame(pairs, columns=["case_id", "split"])


def _derived(table: pa.Table) -> pa.Table:
    columns: dict[str, Any] = {name: table[name] for name in COPIED}
    for name in ("margin", "agreement"):
        if name in table.column_names:
            columns[name] = table[name]
    if "text" in table.column_names:
        columns["text_characters"] = pc.cast(pc.utf8_length(table["text"]), pa.int64())
    if "answer" in table.column_names:
        columns |= {name: table[name] for name in ("answer", "verifier")}
        rows = zip(table["answer"].to_pylist(), table["choices"].to_pylist(), strict=True)
        among = [not choices or answer in choices for answer, choices in rows]
        columns["answer_among_choices"] = pa.array(among, pa.bool_())
    for name in LIST_COLUMNS:
        if name in table.column_names:
            columns |= _message_columns(name, table[name].combine_chunks())
    if {"chosen", "rejected"} <= set(table.column_names):
        same = [a == b for a, b in zip(table["chosen"], table["rejected"], strict=True)]
        columns["chosen_equals_rejected"] = pa.array(same, pa.bool_())
    return pa.table(columns)


def _message_columns(name: str, messages: Any) -> dict[str, Any]:
    """Columns of one list<struct<role, content>> array; roles are null where it is empty."""
    flat = messages.flatten()
    roles, contents = pc.struct_field(flat, "role"), pc.struct_field(flat, "content")
    counts = pc.cast(pc.fill_null(pc.list_value_length(messages), 0), pa.int64())
    ends = pc.cumulative_sum(counts)
    starts = pc.subtract(ends, counts)
    filled = pc.greater(counts, 0)
    nothing = pa.scalar(None, pa.int64())
    first = pc.if_else(filled, starts, nothing)
    after_system = pc.if_else(
        pc.and_(pc.equal(roles.take(first), "system"), pc.greater(counts, 1)),
        pc.add(starts, 1),
        first,
    )
    last = pc.if_else(filled, pc.subtract(ends, 1), nothing)
    lengths = pc.cumulative_sum(pc.cast(pc.utf8_length(contents), pa.int64()))
    before = pc.if_else(pc.greater(starts, 0), pc.subtract(starts, 1), nothing)
    characters = pc.subtract(
        pc.fill_null(lengths.take(last), 0),
        pc.fill_null(lengths.take(before), 0),
    )
    return {
        f"{name}_count": counts,
        f"{name}_first_role": roles.take(after_system),
        f"{name}_last_role": roles.take(last),
        f"{name}_characters": pc.if_else(filled, characters, 0),
    }
