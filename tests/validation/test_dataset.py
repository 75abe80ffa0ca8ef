import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from artifacts.manifest import list_files
from artifacts.step import Built
from tests.validation.builders import (
    many_pairs,
    many_talks,
    pair,
    said,
    talk,
    workspace,
    write_lines,
)
from validation.checks import CheckSettings
from validation.dataset import DatasetSettings, build_dataset, input_files, split_cases
from validation.errors import EmptyDataset, MissingInput, RecordError
from validation.report import read_report
from validation.schemas import Passage, Quarantined
from validation.splits import SPLITS, SplitSettings

FAILED = Quarantined(
    raw=json.dumps({"case_id": "en-case-1", "language": "en", "source": "test@1"}),
    fault="endpoint_down",
    detail="no answer after 5 attempts",
    origin="case en-case-1, sample 2",
)


def make_inputs(root: Path) -> dict[str, Path]:
    """Two inputs of 20 good talks, 5 good pairs, and one bad row of each sort."""
    leaked = talk(
        "I have a migraine.", "Since when is that?", faults=[{"name": "diagnosis_leaked"}]
    )
    passage = Passage(language="en", source="test@1", case_id="x", text="Migraine is common.")
    copy = many_talks(5)[0].model_dump(exclude={"record_id"}) | {"sample_index": 99}
    conversations = [*many_talks(5), leaked, passage, talk(**copy), "{broken"]
    same = pair(prompt="My foot hurts.", rejected="Does light make the headache worse? ")
    write_lines(root / "talks" / "conversations.jsonl", conversations)
    write_lines(root / "talks" / "failed.jsonl", [FAILED])
    write_lines(root / "talks" / "scripted.jsonl", ["never read"])
    write_lines(root / "pairs" / "preferences.jsonl", [*many_pairs(5), same])
    write_lines(root / "pairs" / "failed.jsonl", [])
    return {"conversations": root / "talks", "preferences": root / "pairs"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Built, Path]:
    root = tmp_path_factory.mktemp("dataset")
    space = workspace(root, **make_inputs(root))
    return build_dataset(DatasetSettings(), space), space.out


def rows_of(out: Path, table: str) -> dict[str, list[dict[str, Any]]]:
    return {
        split: parquet.read_table(out / table / f"{split}.parquet").to_pylist() for split in SPLITS
    }


def test_rows_in_are_accepted_and_quarantined(built: tuple[Built, Path]) -> None:
    counts = built[0].counts
    assert counts["rows_in"] == 20 + 4 + 1 + 6
    assert counts["accepted"] == 25
    assert counts["quarantined"] == 6
    assert counts["duplicates"] == 1
    tables = [rows_of(built[1], table) for table in ("sft", "preference")]
    assert sum(len(rows) for table in tables for rows in table.values()) == 25
    assert parquet.read_table(built[1] / "quarantine.parquet").num_rows == 6


def test_every_quarantined_row_keeps_its_fault_origin_and_raw(built: tuple[Built, Path]) -> None:
    rows = parquet.read_table(built[1] / "quarantine.parquet").to_pylist()
    by_fault = {row["fault"]: row for row in rows}
    assert set(by_fault) == {
        "diagnosis_leaked", "wrong_kind", "duplicate", "bad_json", "endpoint_down",
        "chosen_equals_rejected",
    }  # fmt: skip
    assert by_fault["bad_json"]["raw"] == "{broken"
    assert by_fault["bad_json"]["origin"] == "conversations/conversations.jsonl:24"
    assert by_fault["endpoint_down"]["origin"] == FAILED.origin
    assert by_fault["endpoint_down"]["case_id"] == "en-case-1"
    assert json.loads(by_fault["wrong_kind"]["raw"])["kind"] == "passage"
    assert many_talks(5)[0].record_id in by_fault["duplicate"]["detail"]


def test_no_case_stands_in_two_splits(built: tuple[Built, Path]) -> None:
    places: dict[str, set[str]] = {}
    for table in ("sft", "preference"):
        for split, rows in rows_of(built[1], table).items():
            for row in rows:
                places.setdefault(row["case_id"], set()).add(split)
    assert all(len(splits) == 1 for splits in places.values())
    for table in ("sft", "preference"):
        assert all(rows_of(built[1], table).values())


def test_the_report_adds_up_with_the_tables(built: tuple[Built, Path]) -> None:
    report = read_report(built[1])
    assert report.total.rows_in == report.total.accepted + report.total.quarantined == 31
    for groups in (report.kinds, report.languages, report.sources):
        assert sum(tally.rows_in for tally in groups.values()) == 31
        for tally in groups.values():
            assert tally.rows_in == tally.accepted + sum(tally.faults.values())
    assert report.kinds["conversation"].faults == {
        "bad_json": 1, "diagnosis_leaked": 1, "duplicate": 1, "wrong_kind": 1,
    }  # fmt: skip
    assert report.kinds["failed"].faults == {"endpoint_down": 1}
    assert report.languages["unknown"].faults == {"bad_json": 1}
    assert report.duplicates["conversation"] == 1
    for table in ("sft", "preference"):
        for split, rows in rows_of(built[1], table).items():
            size = report.splits[table][split]
            assert size.rows == len(rows)
            assert size.cases == len({row["case_id"] for row in rows})
            by_language = Counter(row["language"] for row in rows)
            assert {name: part.rows for name, part in size.languages.items()} == by_language
    assert sum(len(cases) for cases in report.cases.values()) == 10
    assert set(report.expectations) == {"sft", "preference", "cases"}


def test_the_report_shows_examples_of_what_fell(built: tuple[Built, Path]) -> None:
    examples = read_report(built[1]).examples
    (leaked,) = examples["diagnosis_leaked"]
    assert leaked.text == "user: I have a migraine.\nassistant: Since when is that?"
    (same,) = examples["chosen_equals_rejected"]
    assert "[rejected]\nassistant: Does light" in same.text
    assert examples["bad_json"][0].text == "{broken"


def test_equal_inputs_give_equal_files_and_leftovers_go(
    built: tuple[Built, Path], tmp_path: Path
) -> None:
    space = workspace(tmp_path, **make_inputs(tmp_path))
    write_lines(space.out / "sft" / ".train.parquet.tmp", ["half written"])
    write_lines(space.out / "stray.txt", ["stray"])
    again = build_dataset(DatasetSettings(), space)
    assert again == built[0]
    first, second = (
        {file.path: file.digest for file in list_files(out, again.volatile) if not file.volatile}
        for out in (built[1], space.out)
    )
    assert first == second
    assert "sft/train.parquet" in first
    assert not any(name.startswith("data_docs/") for name in first)


def test_at_most_so_many_examples_a_fault_are_shown(tmp_path: Path) -> None:
    rows = [*many_talks(3), *(["{"] * 5)]
    folder = write_lines(tmp_path / "in" / "conversations.jsonl", rows).parent
    space = workspace(tmp_path, mine=folder)
    build_dataset(DatasetSettings(examples_per_fault=2), space)
    report = read_report(space.out)
    assert len(report.examples["bad_json"]) == 2
    assert report.total.faults == {"bad_json": 5}
    assert report.missing_in_split["preference"] == list(SPLITS)


def test_tolerated_faults_and_held_out_cases_are_heard(tmp_path: Path) -> None:
    inputs = make_inputs(tmp_path)
    settings = DatasetSettings(
        checks=CheckSettings(tolerated_faults=("diagnosis_leaked",)),
        splits=SplitSettings(held_out_cases=("zh-case-0", "zh-gone")),
    )
    space = workspace(tmp_path, **inputs)
    assert build_dataset(settings, space).counts["accepted"] == 26
    report = read_report(space.out)
    assert "zh-case-0" in report.cases["test"]
    assert report.held_out_absent == ["zh-gone"]


def test_an_empty_result_says_how_many_fell_by_which_fault(tmp_path: Path) -> None:
    rows = [
        talk(faults=[{"name": "role_swap"}]),
        talk(faults=[{"name": "role_swap"}], sample_index=1),
        talk(messages=said("Hello there.")),
    ]
    folder = write_lines(tmp_path / "in" / "conversations.jsonl", rows).parent
    write_lines(folder / "failed.jsonl", [FAILED])
    space = workspace(tmp_path, mine=folder)
    with pytest.raises(EmptyDataset) as caught:
        build_dataset(DatasetSettings(), space)
    said_ = str(caught.value)
    for part in (
        "none of 3 rows of conversations.jsonl", "role_swap 2, too_few_messages 1",
        "endpoint_down 1", "tolerated_faults", "quarantine.parquet",
    ):  # fmt: skip
        assert part in said_
    assert parquet.read_table(space.out / "quarantine.parquet").num_rows == 4
    assert isinstance(caught.value, RecordError)


def test_pairs_that_all_fell_are_an_error_though_talks_are_left(tmp_path: Path) -> None:
    write_lines(tmp_path / "in" / "conversations.jsonl", many_talks(3))
    write_lines(tmp_path / "in" / "preferences.jsonl", [])
    with pytest.raises(EmptyDataset, match=r"0 rows of preferences\.jsonl passed: there were none"):
        build_dataset(DatasetSettings(), workspace(tmp_path, mine=tmp_path / "in"))


def test_inputs_without_records_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="no input"):
        input_files({})
    with pytest.raises(MissingInput, match=r"'mine'.*holds none of"):
        input_files({"mine": tmp_path})


def test_a_case_is_complete_when_each_table_has_some_of_it() -> None:
    talks = [talk(case_id="a"), talk(case_id="b")]
    cases = {case.case_id: case for case in split_cases(talks, [pair(case_id="b")])}
    assert not cases["a"].complete
    assert cases["b"].complete
    assert all(case.complete for case in split_cases(talks, []))


@pytest.mark.parametrize("sides", [("doctor", "patient"), ("patient",)])
def test_talks_of_the_patients_side_are_read_beside_the_doctors(
    tmp_path: Path, sides: tuple[Any, ...]
) -> None:
    talks = many_talks(5)
    told = [
        ("system", "You are a patient."),
        ("user", "Hello?"),
        ("assistant", "Number {i} hurts."),
    ]
    messages = [
        [{"role": role, "content": text.format(i=i)} for role, text in told]
        for i in range(len(talks))
    ]
    patients = [
        talk(case_id=one.case_id, messages=said, side="patient")
        for one, said in zip(talks, messages, strict=True)
    ]
    write_lines(tmp_path / "in" / "conversations.jsonl", talks)
    write_lines(tmp_path / "in" / "patient_side.jsonl", patients)
    space = workspace(tmp_path, conversations=tmp_path / "in")
    settings = DatasetSettings(checks=CheckSettings(sides=sides))
    result = build_dataset(settings, space)
    kept = len(patients) + len(talks) * (len(sides) - 1)
    assert result.counts["rows_in"] == len(talks) + len(patients)
    assert result.counts["accepted"] == kept
    every = [row for rows in rows_of(space.out, "sft").values() for row in rows]
    roles = [row["messages"][0]["role"] for row in every]
    assert roles.count("system") == len(patients)
    assert len(roles) == kept
