import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.validation.builders import pair, talk, write_lines
from validation.errors import MissingInput
from validation.reading import Loaded, parse_record, read_quarantined, read_records
from validation.schemas import Conversation, PreferencePair, Quarantined

ROW = {
    "language": "en",
    "source": "s",
    "case_id": "c",
    "messages": [{"role": "user", "content": "hello"}],
}


def read(changes: dict[str, Any]) -> Loaded[Conversation] | Quarantined:
    return parse_record(json.dumps(ROW | changes).encode(), Conversation, "f.jsonl:7")


@pytest.mark.parametrize(
    ("changes", "fault", "told"),
    [
        ({"messages": [{"role": "doctor", "content": "a"}]}, "unknown_role",
         ["messages.0.role", "'doctor'", "'system', 'user', 'assistant' or 'tool'"]),
        ({"mood": "sad"}, "unknown_field", ["mood", "'sad'", "allowed: record_id, language"]),
        ({"messages": [{"role": "user", "content": "a", "name": "x"}]}, "unknown_field",
         ["messages.0.name", "allowed: role, content, tool_calls"]),
        ({"faults": [{"name": "x", "level": 3}]}, "unknown_field",
         ["faults.0.level", "allowed: name, detail, message_index"]),
        ({"messages": [{"role": "user", "content": " \n"}]}, "blank_content",
         ["messages.0.content"]),
        ({"messages": [{"role": "user"}]}, "missing_field", ["messages.0.content: missing"]),
        ({"messages": []}, "bad_value", ["messages", "at least 1"]),
        ({"messages": "hello"}, "bad_value", ["messages", "'hello'"]),
        ({"language": "fr"}, "bad_value", ["language: got 'fr'", "'en' or 'zh'"]),
        ({"sample_index": "3"}, "bad_value", ["sample_index", "'3'"]),
        ({"sample_index": 2**70}, "bad_value", ["sample_index"]),
        ({"kind": "passage", "text": "x"}, "wrong_kind", ["'passage'", "'conversation'"]),
        ({"record_id": "abc"}, "changed_content", ["record_id 'abc'", "leave record_id out"]),
        ({"messages": [{"role": "user", "content": "a\0"}]}, "bad_characters", ["NUL"]),
        ({"tools": [{"a\0": 1}]}, "bad_characters", ["NUL"]),
        ({"messages": [{"role": "user", "content": "a\ud800"}]}, "bad_characters", ["hex escape"]),
        ({"messages": [{"role": "user", "content": "\udc00a"}]}, "bad_characters", ["surrogate"]),
        ({"tools": [{"x": float("nan")}]}, "bad_value", ["JSON"]),
        ({"messages": [{"role": "user", "content": "a", "tool_calls": [{"name": "x"}]}]},
         "bad_value", ["only the assistant"]),
    ],
)  # fmt: skip
def test_a_bad_row_is_quarantined_with_field_value_and_what_is_allowed(
    changes: dict[str, Any], fault: str, told: list[str]
) -> None:
    row = read(changes)
    assert isinstance(row, Quarantined)
    assert row.fault == fault
    assert all(part in row.detail for part in told), row.detail
    assert row.origin == "f.jsonl:7"
    assert json.loads(row.raw).keys() >= ROW.keys()


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"{", "bad_json"),
        (b"[1, 2]", "bad_value"),
        (b"null", "bad_value"),
        (b"[" * 5000, "bad_json"),
        (b'{"language": "\xe9"}', "bad_encoding"),
    ],
)
def test_a_line_that_is_no_row_is_quarantined(line: bytes, fault: str) -> None:
    row = parse_record(line, Conversation, "f.jsonl:1")
    assert isinstance(row, Quarantined)
    assert row.fault == fault


def test_an_infinite_margin_is_no_number() -> None:
    line = (
        pair().model_dump_json(exclude={"record_id"}).replace('"margin":1.0', '"margin":Infinity')
    )
    row = parse_record(line.encode(), PreferencePair, "f.jsonl:1")
    assert isinstance(row, Quarantined)
    assert row.fault == "bad_value"


@given(st.binary() | st.text().map(str.encode))
def test_no_line_whatever_raises(line: bytes) -> None:
    row = parse_record(line, Conversation, "f.jsonl:1")
    assert isinstance(row, Quarantined)
    row.model_dump_json().encode()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from([*Conversation.model_fields, "role", "content"]), inner
            )
        ),
        max_leaves=8,
    ),
    st.sampled_from([*ROW, "tools", "faults", "kind"]),
)
def test_no_value_in_any_field_raises(value: Any, field: str) -> None:
    row = read({field: value})
    assert isinstance(row, Loaded | Quarantined)


def test_an_escaped_backslash_before_u0000_is_no_nul() -> None:
    row = read({"persona": "\\u0000"})
    assert isinstance(row, Loaded)


def test_good_rows_keep_their_order_and_origin(tmp_path: Path) -> None:
    every = [talk(sample_index=n) for n in range(3)]
    path = write_lines(tmp_path / "a.jsonl", [every[0], "", every[1], "{", every[2]])
    rows = list(read_records(path, Conversation, "talks/a.jsonl"))
    assert [row.origin for row in rows] == [f"talks/a.jsonl:{n}" for n in (1, 3, 4, 5)]
    assert [row.record for row in rows if isinstance(row, Loaded)] == every


def test_line_separators_within_a_text_do_not_end_a_row(tmp_path: Path) -> None:
    record = talk("My head hurts.\u2028A lot.\x85", "Since when?")
    line = json.dumps(record.model_dump(mode="json"), ensure_ascii=False)
    (row,) = read_records(write_lines(tmp_path / "a.jsonl", [line]), Conversation)
    assert isinstance(row, Loaded)
    assert row.record == record


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + talk().model_dump_json().encode() + b"\r\n")
    (row,) = read_records(path, Conversation)
    assert isinstance(row, Loaded)


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match=r"gone\.jsonl is not there"):
        list(read_records(tmp_path / "gone.jsonl", Conversation))


def test_earlier_quarantined_rows_are_read_and_bad_ones_among_them_quarantined(
    tmp_path: Path,
) -> None:
    earlier = Quarantined(raw="{}", fault="endpoint_down", detail="gave up", origin="case en-a")
    path = write_lines(tmp_path / "failed.jsonl", [earlier, "{}", "nonsense"])
    first, second, third = read_quarantined(path, "talks/failed.jsonl")
    assert first == earlier
    assert (second.fault, second.origin) == ("missing_field", "talks/failed.jsonl:2")
    assert third.fault == "bad_json"


def test_a_message_may_be_blank_only_where_a_tool_is_called() -> None:
    call = {"role": "assistant", "content": "", "tool_calls": [{"name": "lookup"}]}
    assert isinstance(read({"messages": [*ROW["messages"], call]}), Loaded)
    row = read({"messages": [*ROW["messages"], call | {"tool_calls": []}]})
    assert isinstance(row, Quarantined)
    assert row.fault == "blank_content"
