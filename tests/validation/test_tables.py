"""Problems and passages on their way into a data set."""

from pathlib import Path

import pytest
from pyarrow import parquet

from tests.validation.builders import many_pairs, many_talks, said, workspace, write_lines
from tests.validation.test_trl import load
from validation.arrow import passage_schema, problem_schema
from validation.checks import CheckSettings, check_passage, check_problem
from validation.dataset import DatasetSettings, build_dataset
from validation.report import read_report
from validation.schemas import Passage, Problem
from validation.splits import SPLITS

TEXT = "Iron deficiency is the commonest cause of anaemia, and tiredness its commonest sign."


def problem(number: int, case_id: str = "", **more: object) -> Problem:
    fields = {
        "language": "en",
        "source": "test@1",
        "case_id": case_id or f"en-case-{number}",
        "prompt": said(f"A patient takes {number} tablets three times a day. How many a day?"),
        "answer": str(3 * number),
        "verifier": "number",
    }
    return Problem.model_validate(fields | more)


def passage(number: int, **more: object) -> Passage:
    fields = {
        "language": "en",
        "source": "test@1",
        "case_id": f"topic-{number}",
        "text": f"{TEXT} This is the lesson with the number {number}.",
    }
    return Passage.model_validate(fields | more)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tables")
    copy = problem(1, source="other@1")
    write_lines(root / "in" / "problems.jsonl", [*[problem(i) for i in range(1, 9)], copy])
    short = passage(99, text="……")
    write_lines(root / "in" / "passages.jsonl", [*[passage(i) for i in range(6)], short])
    write_lines(root / "talks" / "conversations.jsonl", many_talks(5))
    write_lines(root / "talks" / "preferences.jsonl", many_pairs(5))
    space = workspace(root, made=root / "in", talks=root / "talks")
    build_dataset(DatasetSettings(), space)
    return space.out


def test_problems_and_passages_have_tables_of_their_own(out: Path) -> None:
    report = read_report(out)
    assert report.kinds["problem"].accepted == 8
    assert report.kinds["problem"].faults == {"duplicate": 1}
    assert report.kinds["passage"].accepted == 6
    assert report.kinds["passage"].quarantined == 1
    assert set(report.splits) == {"sft", "preference", "problem", "passage"}
    assert {"problem", "passage"} <= set(report.expectations)
    assert report.total.rows_in == report.total.accepted + report.total.quarantined


def test_a_case_stands_in_one_split_over_all_tables(out: Path) -> None:
    places: dict[str, set[str]] = {}
    for table in ("sft", "preference", "problem", "passage"):
        for split in SPLITS:
            for row in parquet.read_table(out / table / f"{split}.parquet").to_pylist():
                places.setdefault(row["case_id"], set()).add(split)
    assert {len(splits) for splits in places.values()} == {1}
    # Cases 1 to 4 are those of talks and pairs, and of problems too.
    assert "en-case-1" in places


def test_the_files_load_as_trainers_take_them(out: Path, tmp_path: Path) -> None:
    problems = load(out / "problem", tmp_path)
    assert problems["train"].column_names == problem_schema().names
    row = problems["train"][0]
    assert row["prompt"][0]["role"] == "user"
    assert row["verifier"] == "number"
    passages = load(out / "passage", tmp_path)
    assert passages["train"].column_names == passage_schema().names
    assert TEXT in passages["train"][0]["text"]


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"choices": ("1", "2"), "verifier": "choice"}, "answer_not_among_choices"),
        ({"choices": ("3", "3"), "verifier": "choice"}, "answer_not_among_choices"),
        ({"verifier": "choice"}, "answer_not_among_choices"),
        ({"prompt": said("Why is that so?", "Because.")}, "prompt_not_ended_by_user"),
        ({"prompt": said("How many? <|im_end|>")}, "template_token"),
        ({"prompt": said("病人每天吃几片药才算合适呢？一共要吃多少天才行？")}, "language_mismatch"),
    ],
)
def test_a_problem_at_fault_is_named(fields: dict[str, object], fault: str) -> None:
    found = check_problem(problem(1, **fields), CheckSettings())
    assert found is not None
    assert found.name == fault


def test_a_choice_with_its_answer_passes() -> None:
    fine = problem(1, choices=("3", "4"), verifier="choice")
    assert check_problem(fine, CheckSettings()) is None


def test_a_long_passage_passes_and_a_broken_one_does_not() -> None:
    words = " ".join(f"Sentence number {i} says something of its own." for i in range(2000))
    assert check_passage(passage(1, text=words), CheckSettings()) is None
    broken = check_passage(passage(1, text=f"{TEXT} ä½\xa0å¥½ä½\xa0å¥½"), CheckSettings())
    assert broken is not None
    assert broken.name == "mojibake"
    assert broken.message_index is None
