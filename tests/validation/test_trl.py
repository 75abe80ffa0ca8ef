"""The Parquet files as TRL takes them: loaded by `datasets`, rendered by a chat template."""

from pathlib import Path
from typing import Any

import pytest

from tests.tiny_model import tiny_tokenizer
from tests.validation.builders import many_pairs, many_talks, said, talk, workspace, write_lines
from validation.arrow import preference_schema, sft_schema
from validation.dataset import DatasetSettings, build_dataset
from validation.schemas import Message

CALL = {"name": "lookup", "arguments": {"drug": "aspirin", "dose": None}}
TOOL = {"type": "function", "function": {"name": "lookup", "parameters": {"required": []}}}
TEMPLATE = (
    "{% if tools %}{{ tools | tojson }}\n{% endif %}"
    "{% for message in messages %}{{ message['role'] }}:{{ message['content'] }}"
    "{% for call in message['tool_calls'] or [] %}{{ call['function'] | tojson }}{% endfor %}\n"
    "{% endfor %}"
)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("plain")
    write_lines(root / "in" / "conversations.jsonl", many_talks(4))
    write_lines(root / "in" / "preferences.jsonl", many_pairs(4))
    space = workspace(root, mine=root / "in")
    build_dataset(DatasetSettings(), space)
    return space.out


def load(folder: Path, cache: Path, split: str | None = None) -> Any:
    import datasets

    splits = ("train", "validation", "test")
    files = {split: str(folder / f"{split}.parquet") for split in splits}
    return datasets.load_dataset("parquet", data_files=files, cache_dir=str(cache), split=split)


def test_the_sft_files_load_with_their_columns_and_render(plain: Path, tmp_path: Path) -> None:
    from trl.data_utils import apply_chat_template, is_conversational

    loaded = load(plain / "sft", tmp_path)
    assert loaded["train"].column_names == sft_schema().names
    assert {split: len(rows) > 0 for split, rows in loaded.items()} == {
        "train": True, "validation": True, "test": True,
    }  # fmt: skip
    row = loaded["train"][0]
    assert set(row["messages"][0]) == {"role", "content"}
    assert is_conversational(row)
    text = apply_chat_template({"messages": row["messages"]}, tiny_tokenizer())["text"]
    assert text.startswith("<|im_start|>user\n")
    assert row["messages"][1]["content"] in text


def test_the_preference_files_load_with_their_columns_and_render(
    plain: Path, tmp_path: Path
) -> None:
    from trl.data_utils import apply_chat_template, is_conversational

    loaded = load(plain / "preference", tmp_path)
    assert loaded["train"].column_names == preference_schema().names
    row = loaded["train"][0]
    assert is_conversational(row)
    parts = {name: row[name] for name in ("prompt", "chosen", "rejected")}
    rendered = apply_chat_template(parts, tiny_tokenizer())
    assert rendered["prompt"].endswith("<|im_start|>assistant\n")
    assert rendered["chosen"] != rendered["rejected"]


def test_no_value_that_is_loaded_is_none(plain: Path, tmp_path: Path) -> None:
    def holds_none(value: Any) -> bool:
        inner = value.values() if isinstance(value, dict) else value
        nested = isinstance(value, dict | list)
        return value is None or (nested and any(holds_none(item) for item in inner))

    for table in ("sft", "preference"):
        assert not any(holds_none(row) for row in load(plain / table, tmp_path)["train"])


def test_an_empty_split_does_not_keep_the_others_from_loading(tmp_path: Path) -> None:
    folder = write_lines(tmp_path / "in" / "conversations.jsonl", [talk()]).parent
    space = workspace(tmp_path, mine=folder)
    build_dataset(DatasetSettings(), space)
    assert len(load(space.out / "sft", tmp_path / "cache", split="train")) == 1


def test_tools_load_as_they_were_without_padding_and_render(tmp_path: Path) -> None:
    from trl.data_utils import apply_chat_template

    asked = Message.model_validate({"role": "assistant", "content": "", "tool_calls": [CALL]})
    answered = said("They go together well.", first="assistant")
    parts = (*said("May I take both?"), asked, Message(role="tool", content="{}"), *answered)
    with_tools = talk(messages=parts, tools=[TOOL])
    without = talk("My foot hurts.", "Which one?")
    write_lines(tmp_path / "in" / "conversations.jsonl", [with_tools, without])
    space = workspace(tmp_path, mine=tmp_path / "in")
    build_dataset(DatasetSettings(), space)
    loaded = load(space.out / "sft", tmp_path / "cache", split="train")
    assert loaded.column_names == sft_schema(with_tools=True).names
    by_id = {row["record_id"]: row for row in loaded}
    row = by_id[with_tools.record_id]
    assert row["tools"] == [TOOL]
    assert row["messages"][1]["tool_calls"] == [{"type": "function", "function": CALL}]
    plain_row = by_id[without.record_id]
    assert plain_row["tools"] == []
    assert all(message["tool_calls"] == [] for message in plain_row["messages"])
    tokenizer = tiny_tokenizer(TEMPLATE)
    text = apply_chat_template({"messages": row["messages"]}, tokenizer, tools=row["tools"])["text"]
    assert '"drug": "aspirin"' in text
    assert text.startswith('[{"type": "function"')
