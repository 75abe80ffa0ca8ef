import json
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from artifacts.step import Step, keyed_settings
from tests.validation.builders import CHINESE, ENGLISH, pair, talk, workspace, write_lines
from validation.dataset import DatasetSettings, build_dataset
from validation.errors import ChangedFile, EmptyDataset, MissingInput, UnknownFormat
from validation.importing import build_import, import_records, import_settings
from validation.layouts import LAYOUTS, Defaults, Layout, completed, find_layout
from validation.reading import Loaded
from validation.schemas import Conversation, PreferencePair, Quarantined

REFERENCE = Path(__file__).parents[3] / "shared" / "data" / "medicalgpt"
MESSAGES = [
    {"role": "user", "content": ENGLISH[0]},
    {"role": "assistant", "content": ENGLISH[1]},
]
SHAREGPT = [{"from": "human", "value": CHINESE[0]}, {"from": "gpt", "value": CHINESE[1]}]
TOOL = {"name": "lookup", "parameters": {"type": "object", "properties": {}}}


def import_rows(tmp_path: Path, *rows: Any, **options: Any) -> list[Any]:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path = write_lines(tmp_path / "mine.jsonl", lines)
    return list(import_records(path, import_settings(path, **options)))


def conversation(tmp_path: Path, row: dict[str, Any], **options: Any) -> Conversation:
    (loaded,) = import_rows(tmp_path, row, **options)
    assert isinstance(loaded, Loaded), loaded
    assert isinstance(loaded.record, Conversation)
    return loaded.record


def preference(tmp_path: Path, row: dict[str, Any]) -> PreferencePair:
    (loaded,) = import_rows(tmp_path, row)
    assert isinstance(loaded, Loaded), loaded
    assert isinstance(loaded.record, PreferencePair)
    return loaded.record


def test_our_own_records_come_back_as_they_were(tmp_path: Path) -> None:
    every = [talk(persona="shy"), pair(), talk(language="zh", case_id="zh-a")]
    rows = import_rows(tmp_path, *(record.model_dump(mode="json") for record in every))
    assert [row.record for row in rows] == every


def test_messages_rows_are_filled_in(tmp_path: Path) -> None:
    record = conversation(tmp_path, {"messages": MESSAGES}, license="CC-BY-4.0")
    assert (record.language, record.source, record.license) == (
        "en", "import:mine.jsonl", "CC-BY-4.0",
    )  # fmt: skip
    assert [message.content for message in record.messages] == list(ENGLISH)
    same_question = [MESSAGES[0] | {"content": f" {ENGLISH[0].upper()}"}, MESSAGES[1]]
    other = conversation(tmp_path, {"messages": same_question})
    assert other.case_id == record.case_id
    assert record.case_id.startswith("import-")


def test_columns_of_the_row_go_before_defaults(tmp_path: Path) -> None:
    row = {
        "messages": MESSAGES,
        "case_id": "c7",
        "language": "zh",
        "source": "ward",
        "license": "x",
    }
    record = conversation(tmp_path, row, language="en", source="other")
    assert (record.case_id, record.language, record.source, record.license) == (
        "c7", "zh", "ward", "x",
    )  # fmt: skip


def test_sharegpt_rows_with_a_system_column_become_talks(tmp_path: Path) -> None:
    record = conversation(tmp_path, {"conversations": SHAREGPT, "system": "你是医生。"})
    assert record.language == "zh"
    assert [message.role for message in record.messages] == ["system", "user", "assistant"]


def test_tool_calls_of_sharegpt_and_openai_become_ours(tmp_path: Path) -> None:
    call = {"name": "lookup", "arguments": {"drug": "aspirin"}}
    sharegpt = [
        SHAREGPT[0],
        {"from": "function_call", "value": json.dumps(call)},
        {"from": "observation", "value": "{}"},
        SHAREGPT[1],
    ]
    shaped = {"id": "1", "type": "function",
              "function": {"name": "lookup", "arguments": '{"drug": "aspirin"}'}}  # fmt: skip
    openai = [
        MESSAGES[0],
        {"role": "assistant", "content": None, "tool_calls": [shaped]},
        {"role": "tool", "content": "{}", "tool_call_id": "1"},
        MESSAGES[1],
    ]
    for row in (
        {"conversations": sharegpt, "tools": json.dumps([TOOL])},
        {"messages": openai, "tools": [{"type": "function", "function": TOOL}]},
    ):
        record = conversation(tmp_path, row)
        assert [message.role for message in record.messages] == [
            "user", "assistant", "tool", "assistant",
        ]  # fmt: skip
        assert record.messages[1].tool_calls[0].model_dump() == call
        assert record.tools == ({"type": "function", "function": TOOL},)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": ENGLISH[0], "chosen": "Yes, why?", "rejected": "Go home."},
        {"prompt": MESSAGES[:1], "chosen": "Yes, why?", "rejected": "Go home."},
        {
            "conversations": [{"from": "human", "value": ENGLISH[0]}],
            "chosen": {"from": "gpt", "value": "Yes, why?"},
            "rejected": {"from": "gpt", "value": "Go home."},
        },
        {
            "prompt": ENGLISH[0],
            "chosen": [MESSAGES[0], {"role": "assistant", "content": "Yes, why?"}],
            "rejected": [MESSAGES[0], {"role": "assistant", "content": "Go home."}],
        },
    ],
)
def test_preference_rows_of_all_spellings_become_the_same_pair(
    row: dict[str, Any], tmp_path: Path
) -> None:
    record = preference(tmp_path, row)
    assert [message.model_dump(exclude={"tool_calls"}) for message in record.prompt] == MESSAGES[:1]
    assert [message.content for message in record.chosen] == ["Yes, why?"]
    assert [message.content for message in record.rejected] == ["Go home."]
    assert (record.fault_type, record.margin) == ("unspecified", 1.0)


@pytest.mark.parametrize(
    ("row", "fault", "told"),
    [
        ({"messages": MESSAGES, "mood": 1}, "unknown_field",
         ["mood: no such column", "allowed: case_id", "ignored_columns"]),
        ({"question": "a", "answer": "b"}, "unknown_layout",
         ["columns answer, question", "messages (messages)"]),
        ({}, "unknown_layout", ["(none)"]),
        ({"kind": "passage", "text": "x"}, "wrong_kind", ["'passage'"]),
        ({"messages": [{"role": "narrator", "content": "a"}]}, "unknown_role", ["'narrator'"]),
        ({"messages": [{"role": "user", "content": "a", "weight": 1}]}, "unknown_field",
         ["messages.0.weight"]),
        ({"messages": []}, "bad_value", ["messages"]),
        ({"messages": 3}, "bad_value", ["messages"]),
        ({"prompt": 3, "chosen": "a", "rejected": "b"}, "bad_value", ["prompt"]),
        ({"prompt": "p", "chosen": "", "rejected": "b"}, "blank_content", ["chosen.0"]),
        ({"conversations": [SHAREGPT[0], {"from": "function_call", "value": "nonsense"}]},
         "bad_value", ["tool_calls"]),
        ({"messages": MESSAGES, "tools": "nonsense"}, "bad_value", ["tools"]),
        ("{", "bad_json", ["row"]),
        ("[1]", "bad_value", ["row"]),
        ({"messages": [{"role": "user", "content": "a\0"}]}, "bad_characters", ["NUL"]),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_read_is_quarantined_and_the_rest_goes_on(
    row: Any, fault: str, told: list[str], tmp_path: Path
) -> None:
    first, bad, last = import_rows(tmp_path, {"messages": MESSAGES}, row, {"messages": MESSAGES})
    assert isinstance(first, Loaded)
    assert isinstance(last, Loaded)
    assert isinstance(bad, Quarantined)
    assert bad.fault == fault
    assert all(part in bad.detail for part in told), bad.detail
    assert bad.origin == "mine.jsonl:2"
    assert bad.raw == (row if isinstance(row, str) else json.dumps(row))


def test_named_columns_are_ignored_and_nulls_are_absent(tmp_path: Path) -> None:
    row = {"messages": MESSAGES, "id": 7, "system": None}
    assert conversation(tmp_path, row, ignored_columns=("id",)).messages[0].role == "user"


@given(
    st.dictionaries(
        st.sampled_from(["messages", "conversations", "prompt", "chosen", "rejected", "tools",
                         "system", "kind", "case_id"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["role", "from", "value", "content", "tool_calls", "function"]),
                inner | st.just("function_call"),
            ),
            max_leaves=8,
        ),
    )
)  # fmt: skip
def test_no_row_whatever_makes_the_conversion_fail(row: dict[str, Any]) -> None:
    layout = find_layout(row)
    if isinstance(layout, Layout):
        ours = completed(layout.convert(row), Defaults("s", "l", None))
        assert isinstance(ours["case_id"], object)


def test_parquet_rows_are_read_like_lines(tmp_path: Path) -> None:
    path = tmp_path / "mine.parquet"
    rows = [{"messages": MESSAGES, "case_id": None}, {"messages": [], "case_id": "c"}]
    parquet.write_table(pa.Table.from_pylist(rows), path)
    good, bad = import_records(path, import_settings(path))
    assert isinstance(good, Loaded)
    assert isinstance(bad, Quarantined)
    assert (bad.fault, bad.origin) == ("bad_value", "mine.parquet:2")
    assert json.loads(bad.raw) == rows[1]


def test_the_tables_of_a_data_set_can_be_imported_again(tmp_path: Path) -> None:
    every = [talk(case_id=f"en-{n}", persona="shy", sample_index=n).model_copy() for n in range(1)]
    folder = write_lines(tmp_path / "in" / "conversations.jsonl", every).parent
    space = workspace(tmp_path, mine=folder)
    build_dataset(DatasetSettings(), space)
    path = space.out / "sft" / "train.parquet"
    (row,) = import_records(path, import_settings(path))
    assert isinstance(row, Loaded)
    assert row.record == every[0].model_copy(
        update={"persona": "", "record_id": row.record.record_id}
    )


def test_files_that_cannot_be_read_are_errors_that_say_what_may_be(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="is not there"):
        import_settings(tmp_path / "gone.jsonl")
    other = write_lines(tmp_path / "mine.csv", ["a,b"])
    with pytest.raises(UnknownFormat, match=r"'\.csv'.*\.jsonl, \.ndjson, \.parquet"):
        import_settings(other)
    fake = write_lines(tmp_path / "fake.parquet", ["not parquet"])
    with pytest.raises(UnknownFormat, match="cannot be read as Parquet"):
        list(import_records(fake, import_settings(fake)))


def test_an_import_is_an_input_of_a_data_set(tmp_path: Path) -> None:
    rows = [{"messages": MESSAGES}, {"conversations": SHAREGPT}, {"question": "?"}]
    path = write_lines(tmp_path / "mine.jsonl", [json.dumps(row) for row in rows])
    space = workspace(tmp_path / "import")
    done = build_import(import_settings(path), space)
    assert done.counts == {"rows_in": 3, "accepted": 2, "quarantined": 1}
    assert not (space.out / "preferences.jsonl").exists()
    whole = build_dataset(DatasetSettings(), workspace(tmp_path / "whole", mine=space.out))
    assert whole.counts["rows_in"] == 3
    assert whole.summary == {"faults": {"unknown_layout": 1}}


def test_a_file_without_a_readable_row_is_an_error_with_the_first_reason(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "mine.jsonl", ['{"question": "a"}'] * 2)
    with pytest.raises(EmptyDataset, match=r"none of 2 rows.*unknown_layout 2.*columns question"):
        build_import(import_settings(path), workspace(tmp_path / "import"))
    empty = write_lines(tmp_path / "empty.jsonl", [])
    with pytest.raises(EmptyDataset, match="the file is empty"):
        build_import(import_settings(empty), workspace(tmp_path / "import"))


def test_a_file_that_changed_is_not_imported_under_the_old_digest(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "mine.jsonl", [json.dumps({"messages": MESSAGES})])
    settings = import_settings(path)
    write_lines(path, ["{}"])
    with pytest.raises(ChangedFile, match="run the import again"):
        build_import(settings, workspace(tmp_path / "import"))


def test_where_the_file_lies_changes_no_key(tmp_path: Path) -> None:
    keys = []
    for folder in ("a", "b"):
        path = write_lines(tmp_path / folder / "mine.jsonl", ["{}"])
        settings = import_settings(path)
        assert "path" not in keyed_settings(settings)
        build = partial(build_import, settings)
        step = Step("import", 1, "records", settings, {}, build)
        keys.append(step.key)
    assert keys[0] == keys[1]


def test_layout_names_are_different() -> None:
    assert len({layout.name for layout in LAYOUTS}) == len(LAYOUTS)


@pytest.mark.reference
@pytest.mark.skipif(not REFERENCE.is_dir(), reason="the reference data is not there")
@pytest.mark.parametrize(
    ("name", "talks", "pairs", "fell"),
    [
        ("medical_sft_1K_format.jsonl", 1000, 0, 0),
        ("dpo_zh_500.jsonl", 0, 500, 0),
        ("toolcall_dpo_zh_demo.jsonl", 0, 11, 0),
        ("sample.jsonl", 0, 0, 32),
        ("seed_nurse_role.jsonl", 0, 0, 66),
        ("seed_patient_role.jsonl", 0, 0, 95),
    ],
)
def test_every_row_of_the_reference_files_is_read_or_named(
    name: str, talks: int, pairs: int, fell: int
) -> None:
    path = REFERENCE / name
    rows = list(import_records(path, import_settings(path, license="Apache-2.0")))
    records = [row.record for row in rows if isinstance(row, Loaded)]
    assert sum(isinstance(record, Conversation) for record in records) == talks
    assert sum(isinstance(record, PreferencePair) for record in records) == pairs
    faults = [row.fault for row in rows if isinstance(row, Quarantined)]
    assert faults == ["unknown_layout"] * fell


@pytest.mark.reference
@pytest.mark.skipif(not REFERENCE.is_dir(), reason="the reference data is not there")
def test_reference_files_become_a_data_set_in_which_every_row_is_accounted_for(
    tmp_path: Path,
) -> None:
    inputs = {}
    for name in ("medical_sft_1K_format", "dpo_zh_500", "toolcall_dpo_zh_demo"):
        space = workspace(tmp_path / name)
        build_import(import_settings(REFERENCE / f"{name}.jsonl", license="Apache-2.0"), space)
        inputs[name] = space.out
    built = build_dataset(DatasetSettings(), workspace(tmp_path / "whole", **inputs))
    assert built.counts["rows_in"] == 1511
    assert built.counts["accepted"] > 1400
    assert built.counts["accepted"] + built.counts["quarantined"] == 1511


@pytest.mark.parametrize("language", ["en", "zh"])
def test_roles_may_be_named_in_either_language(tmp_path: Path, language: str) -> None:
    names = {"en": ("Patient", "Doctor"), "zh": ("患者", "医生")}[language]
    words = {"en": ENGLISH, "zh": CHINESE}[language]
    said = [{"from": n, "value": w} for n, w in zip(names, words[:2], strict=True)]
    record = conversation(tmp_path, {"conversations": said})
    assert [m.role for m in record.messages] == ["user", "assistant"]


def test_messages_that_stand_as_json_within_a_text_are_read_as_messages(tmp_path: Path) -> None:
    assert conversation(tmp_path, {"messages": json.dumps(MESSAGES)}) == conversation(
        tmp_path, {"messages": MESSAGES}
    )
    good, bad = ({"role": "assistant", "content": text} for text in (ENGLISH[1], "Go home."))
    record = preference(
        tmp_path,
        {"prompt": ENGLISH[0], "chosen": json.dumps([good]), "rejected": json.dumps([bad])},
    )
    assert (record.chosen[0].content, record.rejected[0].content) == (ENGLISH[1], "Go home.")
    plain = conversation(tmp_path, {"messages": "[1, 2] is what it says."})
    assert plain.messages[0].content == "[1, 2] is what it says."


def test_a_completion_that_repeats_the_prompt_without_its_system_message_is_cut(
    tmp_path: Path,
) -> None:
    system = {"role": "system", "content": "Be kind."}
    user, good = MESSAGES
    bad = {"role": "assistant", "content": "Go home."}
    record = preference(
        tmp_path, {"prompt": [system, user], "chosen": [user, good], "rejected": [user, bad]}
    )
    assert [m.role for m in record.prompt] == ["system", "user"]
    assert [m.role for m in record.chosen + record.rejected] == ["assistant", "assistant"]
