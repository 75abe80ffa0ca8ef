import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.validation.builders import many_pairs, many_talks
from validation.arrow import preference_schema, rows_to_table, sft_schema, training_row
from validation.checks import CheckSettings
from validation.data_docs import without_remote_parts
from validation.errors import ExpectationsFailed
from validation.expectations import check_tables
from validation.frames import case_frame, table_frame
from validation.splits import SPLITS, Split

SECRET = "Mrs Abernathy of 4 Elm Street"


def sft_rows() -> dict[Split, list[dict[str, Any]]]:
    rows = [training_row(record) for record in many_talks(3, each=1)]
    return {"train": rows[:2], "validation": rows[2:4], "test": rows[4:]}


def preference_rows() -> dict[Split, list[dict[str, Any]]]:
    rows = [training_row(record) for record in many_pairs(3)]
    return {"train": rows[:1], "validation": rows[1:2], "test": rows[2:]}


def tables(rows: dict[Split, list[dict[str, Any]]], schema: pa.Schema) -> dict[Split, pa.Table]:
    return {split: rows_to_table(rows.get(split, []), schema) for split in SPLITS}


def check(
    sft: dict[Split, list[dict[str, Any]]],
    preference: dict[Split, list[dict[str, Any]]],
    docs: Path,
) -> dict[str, Any]:
    return check_tables(
        tables(sft, sft_schema()), tables(preference, preference_schema()), CheckSettings(), docs
    )


def message(role: str, content: str = "It hurts.") -> dict[str, str]:
    return {"role": role, "content": content}


def test_good_tables_hold_and_their_docs_are_written(tmp_path: Path) -> None:
    aligned = sft_rows()
    preference = {
        split: [row | {"case_id": aligned[split][0]["case_id"]} for row in rows]
        for split, rows in preference_rows().items()
    }
    results = check(aligned, preference, tmp_path / "docs")
    assert set(results) == {"sft", "preference", "cases"}
    assert results["sft"].rows == 6
    assert results["preference"].expectations > 15
    index = (tmp_path / "docs" / "index.html").read_text(encoding="utf-8")
    links = re.findall('href="([^"]+)"', index)
    assert len(links) == 6
    assert all((tmp_path / "docs" / link).is_file() for link in links)
    assert len(list((tmp_path / "docs" / "validations").rglob("*.html"))) == 3


def test_docs_load_nothing_from_elsewhere_and_show_no_value(tmp_path: Path) -> None:
    rows = sft_rows()
    rows["train"][0] = rows["train"][0] | {"case_id": SECRET, "language": SECRET}
    rows["test"][0] = rows["test"][0] | {"case_id": SECRET}
    with pytest.raises(ExpectationsFailed) as caught:
        check(rows, {}, tmp_path / "docs")
    assert SECRET not in str(caught.value)
    pages = list((tmp_path / "docs").rglob("*.html"))
    assert len(pages) >= 5
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert SECRET not in text
        assert "<script" not in text
        assert not re.search(r"<(link|img)[^>]*(href|src)=\s*[\"'](https?:)?//", text)


def test_an_earlier_attempts_docs_are_gone(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "stale.html").write_text("old")
    check(sft_rows(), {}, tmp_path / "docs")
    assert not (tmp_path / "docs" / "stale.html").exists()


def test_a_bad_sft_table_fails_with_every_breach_and_how_many(tmp_path: Path) -> None:
    good = sft_rows()["train"][0]
    breaches: list[dict[str, Any]] = [
        {"record_id": "same"},
        {"record_id": "same", "language": "fr"},
        {"messages": []},
        {"messages": [message("user")] * 82},
        {"messages": [message("user", ""), message("assistant", "")]},
        {"messages": [message("assistant"), message("assistant")]},
    ]
    bad = [good | {"record_id": f"bad-{n}"} | breach for n, breach in enumerate(breaches)]
    with pytest.raises(ExpectationsFailed) as caught:
        check(sft_rows() | {"train": bad}, {}, tmp_path / "docs")
    for broken in (
        "sft.record_id: column_values_to_be_unique fails for 2 row(s)",
        "sft.language: column_values_to_be_in_set fails for 1 row(s)",
        "sft.messages_count: column_values_to_be_between fails for 2 row(s)",
        "sft.messages_characters: column_values_to_be_between fails for 2 row(s)",
        "sft.messages_first_role: column_values_to_not_be_null fails for 1 row(s)",
        "sft.messages_first_role: column_values_to_be_in_set fails for 1 row(s)",
        "sft.messages_last_role: column_values_to_be_in_set fails for 1 row(s)",
        str(tmp_path / "docs" / "index.html"),
    ):
        assert broken in str(caught.value)
    assert "8 expectation(s)" in str(caught.value)


def test_a_bad_preference_table_fails_with_every_breach(tmp_path: Path) -> None:
    good = preference_rows()["train"][0]
    same = [message("assistant")]
    breaches: list[dict[str, Any]] = [
        {"margin": -0.5},
        {"agreement": 1.5},
        {"prompt": [message("user"), message("assistant")]},
        {"rejected": []},
        {"chosen": [message("user")]},
        {"chosen": same, "rejected": same},
    ]
    bad = [good | {"record_id": f"bad-{n}"} | breach for n, breach in enumerate(breaches)]
    with pytest.raises(ExpectationsFailed) as caught:
        check({}, preference_rows() | {"train": bad}, tmp_path / "docs")
    for broken in (
        "preference.margin: column_values_to_be_between fails for 1 row(s)",
        "preference.agreement: column_values_to_be_between fails for 1 row(s)",
        "preference.prompt_last_role: column_values_to_be_in_set fails for 1 row(s)",
        "preference.rejected_count: column_values_to_be_between fails for 1 row(s)",
        "preference.chosen_last_role: column_values_to_be_in_set fails for 1 row(s)",
        "preference.chosen_equals_rejected: column_values_to_be_in_set fails for 1 row(s)",
    ):
        assert broken in str(caught.value)


def test_a_case_in_two_splits_of_one_table_or_of_two_fails(tmp_path: Path) -> None:
    rows = sft_rows()
    rows["test"].append(rows["train"][0] | {"record_id": "other"})
    with pytest.raises(ExpectationsFailed, match=r"sft\.splits_of_case.*fails for 2 row"):
        check(rows, {}, tmp_path / "docs")
    preference = preference_rows()
    preference["test"][0]["case_id"] = sft_rows()["train"][0]["case_id"]
    with pytest.raises(ExpectationsFailed, match=r"cases\.case_id.*unique") as caught:
        check(sft_rows(), preference, tmp_path / "docs")
    assert "sft." not in str(caught.value)


def test_tables_without_rows_or_without_train_rows_fail(tmp_path: Path) -> None:
    with pytest.raises(ExpectationsFailed, match=r"cases\.table: table_row_count"):
        check({}, {}, tmp_path / "docs")
    rows = sft_rows() | {"train": []}
    with pytest.raises(ExpectationsFailed, match=r"sft\.split: .*There is something to train on"):
        check(rows, {}, tmp_path / "docs")


def test_derived_columns_are_right_worked_out_by_hand() -> None:
    rows = sft_rows()["train"][:1]
    talk = [message("system", "Be kind."), message("user", "头痛"), message("assistant", "Since?")]
    every = [rows[0] | {"messages": talk}, rows[0] | {"messages": []}, rows[0]]
    every[2] = rows[0] | {"messages": [message("system", "abc")]}
    frame = table_frame(tables({"train": every}, sft_schema()))
    assert frame["messages_count"].tolist() == [3, 0, 1]
    assert frame["messages_characters"].tolist() == [8 + 2 + 6, 0, 3]
    assert frame["messages_first_role"].fillna("").tolist() == ["user", "", "system"]
    assert frame["messages_last_role"].fillna("").tolist() == ["assistant", "", "system"]
    assert not {"messages", "content"} & set(frame.columns)


def test_the_frame_of_cases_has_a_row_a_case_and_split() -> None:
    rows = sft_rows()
    frame = case_frame(tables(rows, sft_schema()), tables({}, preference_schema()))
    assert len(frame) == 6
    assert frame["case_id"].is_unique


def test_local_parts_of_a_page_stay() -> None:
    page = (
        '<head><link rel="x" href="https://a.org/b.css"><link href="local.css"></head>'
        '<img src="logo.png"><img src="//a.org/c.png"><script src="x.js">1</script><p>text</p>'
    )
    cleaned = without_remote_parts(page)
    assert '<link href="local.css">' in cleaned
    assert '<img src="logo.png">' in cleaned
    assert "a.org" not in cleaned
    assert "script" not in cleaned
    assert "<style>" in cleaned
