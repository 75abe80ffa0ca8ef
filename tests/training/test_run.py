import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from artifacts.progress import Progress
from artifacts.step import Built, Workspace, keyed_settings
from tests.training.conftest import files_of, lines, write_dataset
from training.errors import WrongInput
from training.job import ProgressFile, environment, read_job, read_result, write_job, write_result
from training.run import main
from training.settings import LoraSettings
from training.sft import SFT
from training.student import StudentSettings, describe_student

ROOT = Path(__file__).parents[2]
SETTINGS = SFT(
    epochs=12,
    batch_size=2,
    threads=1,
    samples=1,
    sample_tokens=4,
    save_every_steps=3,
    lora=LoraSettings(r=4, dropout=0.2),
)


def job_in(folder: Path, work, inputs) -> Path:
    for name in ("out", "state"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    place = Workspace(folder / "out", folder / "state", inputs, lambda progress: None)
    return write_job(work, place)


def main_here(job: Path, monkeypatch) -> int:
    for name, value in environment(read_job(job)).items():
        monkeypatch.setenv(name, value)
    return main([str(job)])


def test_a_job_says_how_it_ended_and_what_it_built(student, tmp_path, monkeypatch):
    job = job_in(tmp_path, describe_student(student / "model"), {})
    assert main_here(job, monkeypatch) == 0
    built = read_result(tmp_path / "state")
    assert built.summary["parameters"] == 26912
    assert lines(tmp_path / "state" / "progress.jsonl")[-1]["done"] == 1


def test_an_error_is_left_for_the_parent_with_what_to_do(student, tmp_path, monkeypatch, capsys):
    dataset = write_dataset(tmp_path / "data", [])
    job = job_in(tmp_path / "run", SETTINGS, {"model": student, "dataset": dataset})
    assert main_here(job, monkeypatch) == 1
    error = json.loads((tmp_path / "run" / "state" / "error.json").read_text())
    assert error["type"] == "EmptyData"
    assert "generate more" in error["message"]
    assert error["message"] in capsys.readouterr().err
    with pytest.raises(WrongInput, match="no result"):
        read_result(tmp_path / "run" / "state")


def test_a_job_file_that_is_none_is_an_error(tmp_path, capsys):
    (tmp_path / "job.json").write_text('{"work": {"stage": "magic"}}')
    assert main([str(tmp_path / "job.json")]) == 1
    assert "magic" in json.loads((tmp_path / "error.json").read_text())["message"]
    assert main([]) == 2
    assert "usage" in capsys.readouterr().err


def test_a_result_and_a_job_come_back_as_they_went(tmp_path):
    built = Built(counts={"rows_in": 1}, summary={"a": [1, {"b": None}]}, volatile=("x",))
    write_result(tmp_path, built)
    assert read_result(tmp_path) == built
    job = read_job(job_in(tmp_path, SETTINGS, {"model": tmp_path}))
    assert job.work == SETTINGS
    assert job.inputs == {"model": tmp_path}


def test_a_new_job_forgets_the_result_of_the_old_one(tmp_path):
    write_result(tmp_path, Built())
    job_in(tmp_path.parent / tmp_path.name, SETTINGS, {})
    (tmp_path / "state" / "result.json").write_text("{}")
    job_in(tmp_path, SETTINGS, {})
    assert not (tmp_path / "state" / "result.json").exists()


def test_progress_is_one_line_each(tmp_path):
    sink = ProgressFile(tmp_path / "progress.jsonl")
    sink(Progress(1, 2, "steps", note="损失"))
    sink(Progress(2, 2, "steps"))
    assert [line["done"] for line in lines(tmp_path / "progress.jsonl")] == [1, 2]


def test_settings_that_cannot_change_the_result_are_not_in_the_key(tmp_path):
    assert "save_every_steps" not in keyed_settings(SETTINGS)
    student = StudentSettings(digest="0", path=tmp_path)
    assert keyed_settings(student) == {"stage": "student", "digest": "0"}


def start(job: Path) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-m", "training.run", str(job)], env=environment)


@pytest.mark.slow
def test_kill_9_in_the_middle_changes_no_bit_of_the_adapter(student, dataset, tmp_path):
    inputs = {"model": student, "dataset": dataset}
    whole = job_in(tmp_path / "whole", SETTINGS, inputs)
    assert start(whole).wait() == 0
    killed = job_in(tmp_path / "killed", SETTINGS, inputs)
    process = start(killed)
    progress = tmp_path / "killed" / "state" / "progress.jsonl"
    while not progress.is_file() or lines_so_far(progress) < 20:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "out" / "stage.json").exists()
    before = progress.read_text().count("\n")
    assert start(killed).wait() == 0
    assert files_of(tmp_path / "killed" / "out") == files_of(tmp_path / "whole" / "out")
    resumed = [json.loads(line) for line in progress.read_text().splitlines()[before:]]
    assert min(line["done"] for line in resumed if line["done"]) > 3  # not from the start


def lines_so_far(path: Path) -> int:
    return path.read_bytes().count(b"\n")
