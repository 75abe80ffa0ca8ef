from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from artifacts.digest import digest_json
from tests.validation.builders import pair, said, talk
from validation.arrow import (
    arrow_schema,
    has_tools,
    preference_schema,
    records_to_table,
    rows_to_table,
    sft_schema,
    table_to_records,
    training_row,
)
from validation.schemas import (
    RECORD_TYPES,
    Conversation,
    Feedback,
    Message,
    Passage,
    PreferencePair,
    Problem,
    Quarantined,
    Record,
)

texts = st.text(min_size=1, max_size=20).filter(str.strip)
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
json_objects = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        scalars | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
        ),
        max_leaves=4,
    ),
    max_size=2,
)
calls = st.lists(st.fixed_dictionaries({"name": texts, "arguments": json_objects}), max_size=2)
messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "tool"]), "content": texts})
    | st.fixed_dictionaries({"role": st.just("assistant"), "content": texts, "tool_calls": calls}),
    min_size=1,
    max_size=3,
)
common = {
    "language": st.sampled_from(["en", "zh"]),
    "source": texts,
    "case_id": texts,
    "license": texts,
}
faults = st.lists(
    st.fixed_dictionaries(
        {
            "name": texts,
            "detail": st.text(max_size=5),
            "message_index": st.none() | st.integers(0, 2**63 - 1),
        }
    ),
    max_size=2,
)
verdicts = st.none() | st.fixed_dictionaries(
    {
        "score": st.integers(0, 5),
        "remarks": st.lists(
            st.fixed_dictionaries(
                {
                    "fault": texts,
                    "message_index": st.none() | st.integers(0, 2**63 - 1),
                    "sentence": st.text(max_size=5),
                    "serious": st.booleans(),
                }
            ),
            max_size=2,
        ),
        "model": texts,
    }
)
records: dict[type[Record], st.SearchStrategy[dict[str, Any]]] = {
    Passage: st.fixed_dictionaries({**common, "text": texts, "title": st.text(max_size=5)}),
    Conversation: st.fixed_dictionaries(
        {
            **common,
            "messages": messages,
            "tools": st.lists(json_objects, max_size=2),
            "persona": st.text(max_size=5),
            "sample_index": st.integers(-(2**63), 2**63 - 1),
            "faults": faults,
            "verdict": verdicts,
            "repairs": st.integers(0, 2**63 - 1),
            "side": st.sampled_from(["doctor", "patient"]),
        }
    ),
    PreferencePair: st.fixed_dictionaries(
        {
            **common,
            "prompt": messages,
            "chosen": messages,
            "rejected": messages,
            "tools": st.lists(json_objects, max_size=2),
            "fault_type": texts,
            "margin": st.floats(0, allow_nan=False, allow_infinity=False),
            "agreement": st.floats(0, 1),
            "judges": st.lists(texts, max_size=2),
            "flip_rate": st.none() | st.floats(0, 1),
            "length_difference": st.none() | st.integers(-(2**63), 2**63 - 1),
            "verified": st.sampled_from(["rule", "judge", "no"]),
        }
    ),
    Problem: st.fixed_dictionaries(
        {**common, "prompt": messages, "answer": texts, "choices": st.lists(texts, max_size=3)}
    ),
    Feedback: st.fixed_dictionaries(
        {**common, "prompt": messages, "completion": messages, "label": st.booleans()}
    ),
}


def test_every_record_type_has_its_round_trip_tested() -> None:
    assert set(records) == set(RECORD_TYPES)


@pytest.mark.parametrize("record_type", RECORD_TYPES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_record_comes_back_from_arrow_as_it_was(
    record_type: type[Record], data: st.DataObject
) -> None:
    rows = data.draw(st.lists(records[record_type], max_size=3))
    every = [record_type.model_validate(row) for row in rows]
    table = records_to_table(every, record_type)
    assert table.schema == arrow_schema(record_type)
    assert table_to_records(table, record_type) == every


def test_the_schema_has_every_field_of_the_record_in_its_order() -> None:
    for record_type in (*RECORD_TYPES, Quarantined):
        assert arrow_schema(record_type).names == list(record_type.model_fields)


def test_only_optional_fields_are_nullable() -> None:
    schema = arrow_schema(Conversation)
    assert [field.name for field in schema if field.nullable] == ["verdict"]
    fault = schema.field("faults").type.value_type
    assert fault.field("message_index").nullable
    assert not fault.field("name").nullable


def test_an_annotation_without_arrow_form_is_named() -> None:
    class Odd(BaseModel):
        size: complex

    with pytest.raises(TypeError, match=r"Odd\.size"):
        arrow_schema(Odd)


def test_training_views_are_plain_lists_of_role_and_content() -> None:
    message = pa.struct(
        [
            pa.field("role", pa.string(), nullable=False),
            pa.field("content", pa.string(), nullable=False),
        ]
    )
    assert sft_schema().names == [
        "record_id",
        "case_id",
        "language",
        "source",
        "license",
        "sample_index",
        "messages",
    ]
    assert sft_schema().field("messages").type.value_type == message
    assert preference_schema().names == [
        "record_id",
        "case_id",
        "language",
        "source",
        "license",
        "fault_type",
        "margin",
        "agreement",
        "prompt",
        "chosen",
        "rejected",
    ]
    for name in ("prompt", "chosen", "rejected"):
        assert preference_schema().field(name).type.value_type == message


def test_a_training_row_holds_what_was_said_and_no_faults() -> None:
    row = training_row(talk(persona="shy"))
    assert "faults" not in row
    assert "persona" not in row
    table = rows_to_table([row], sft_schema())
    assert table["messages"].to_pylist()[0][0] == {
        "role": "user",
        "content": "My head has been hurting since yesterday.",
    }


def test_tool_calls_take_the_shape_that_chat_templates_read() -> None:
    call = {"name": "drug_interactions", "arguments": {"drugs": ["a", "b"], "dose": None}}
    asked = Message.model_validate({"role": "assistant", "content": "", "tool_calls": [call]})
    record = talk(messages=(*said("May I take both?"), asked))
    row = training_row(record)
    assert row["messages"][1]["tool_calls"] == [{"type": "function", "function": call}]


def test_tools_are_seen_wherever_they_stand() -> None:
    call = {"role": "assistant", "content": "", "tool_calls": [{"name": "x"}]}
    assert not has_tools(talk())
    assert not has_tools(pair())
    assert has_tools(talk(tools=[{"type": "function"}]))
    assert has_tools(talk(messages=[{"role": "user", "content": "a"}, call]))
    assert has_tools(pair(chosen="x", rejected="y", tools=[{"type": "function"}]))
    assert has_tools(pair().model_copy(update={"chosen": (Message.model_validate(call),)}))


def test_a_field_that_came_later_changes_no_records_name_at_its_default() -> None:
    row = {
        "language": "en",
        "source": "s",
        "case_id": "c",
        "messages": [{"role": "user", "content": "Hello."}],
    }
    old = row | {"license": "Apache-2.0", "kind": "conversation", "tools": [], "persona": ""}
    old |= {"sample_index": 0, "faults": []}
    old["messages"] = [{"role": "user", "content": "Hello.", "tool_calls": []}]
    named = Conversation.model_validate(row)
    assert named.record_id == digest_json(old)
    assert Conversation.model_validate(row | {"repairs": 1}).record_id != named.record_id
    assert Conversation.model_validate(row | {"side": "patient"}).record_id != named.record_id
