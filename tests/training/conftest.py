import json
from pathlib import Path

import pytest

from artifacts.progress import silent
from artifacts.step import Workspace
from tests.tiny_model import tiny_model
from training.stage import StageInputs, train

FAST = {
    "batch_size": 4,
    "gradient_accumulation": 1,
    "threads": 1,
    "samples": 2,
    "sample_tokens": 4,
    "validation_rows": 2,
}


def user(text):
    return {"role": "user", "content": text}


def doctor(text):
    return {"role": "assistant", "content": text}


def conversation(number: int, turns: int = 2) -> dict:
    talk = []
    for turn in range(turns):
        talk += [
            user(f"It hurts {number}."),
            doctor("头疼多久了？" if number % 2 else f"Rest {turn}."),
        ]
    return {"record_id": f"c{number}", "messages": talk}


def pair(number: int) -> dict:
    return {
        "record_id": f"p{number}",
        "prompt": [user(f"Pain, day {number}."), doctor("Where?"), user("Chest. 胸口")],
        "chosen": [doctor("Go to the emergency room now.")],
        "rejected": [doctor(f"Nothing {number}.")],
    }


def write_dataset(folder: Path, sft=(), preference=(), held_out=2) -> Path:
    """A data set artifact with the columns that stages read; the last rows are held out."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    messages = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    views = {
        "sft": (sft, ["messages"]),
        "preference": (preference, ["prompt", "chosen", "rejected"]),
    }
    for view, (rows, names) in views.items():
        schema = pa.schema([("record_id", pa.string()), *[(n, messages) for n in names]])
        cut = max(len(rows) - held_out, 0)
        (folder / view).mkdir(parents=True, exist_ok=True)
        for split, part in {"train": rows[:cut], "validation": rows[cut:]}.items():
            table = pa.Table.from_pylist(list(part), schema=schema)
            pq.write_table(table, folder / view / f"{split}.parquet")
    return folder


@pytest.fixture(scope="session")
def dataset(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    talks = [conversation(n, turns=1 + n % 3) for n in range(13)]
    return write_dataset(folder, talks, [pair(n) for n in range(9)])


@pytest.fixture(scope="session")
def student(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("student")
    tiny_model(folder / "model")
    return folder


def workspace(folder: Path, progress=silent) -> Workspace:
    (folder / "out").mkdir(parents=True, exist_ok=True)
    (folder / "state").mkdir(exist_ok=True)
    return Workspace(out=folder / "out", state=folder / "state", inputs={}, progress=progress)


def run_stage(stage, folder: Path, student: Path, dataset: Path, chain=(), progress=silent):
    """Train in this process; returns (Built, folder of the checkpoint)."""
    inputs = StageInputs(model=student, dataset=dataset, checkpoints=tuple(chain))
    built = train(stage, inputs, workspace(folder, progress))
    return built, folder / "out"


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def files_of(folder: Path) -> dict[str, bytes]:
    """Content of all files that must be equal between equal runs."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "timing.jsonl"
    }
