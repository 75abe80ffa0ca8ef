import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from artifacts.progress import silent
from artifacts.step import Workspace, keyed_settings
from flows.parameters import Changes
from flows.settings import read_settings
from tasks.child import ChildError
from tasks.job import build_in_child, child_environment, write_job
from tests.training.conftest import files_of, lines, write_dataset
from training.dpo import DPO
from training.settings import LoraSettings
from training.sft import SFT
from training.student import StudentSettings, describe_student

ROOT = Path(__file__).parents[2]
COMMON = {
    "epochs": 12,
    "batch_size": 2,
    "gradient_accumulation": 1,
    "threads": 1,
    "samples": 1,
    "sample_tokens": 4,
    "save_every_steps": 3,
    "lora": LoraSettings(r=4, dropout=0.2),
}
STAGES = {"sft": SFT(**COMMON), "dpo": DPO(**COMMON)}


def workspace_in(folder: Path, inputs, progress=silent) -> Workspace:
    for name in ("out", "state"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return Workspace(folder / "out", folder / "state", inputs, progress)


def job_in(folder: Path, stage, inputs) -> Path:
    workspace = workspace_in(folder, inputs)
    return write_job("training.stage:build_stage", "training.stage:STAGE", stage, workspace)


def test_the_student_is_made_in_a_process_of_its_own(student, tmp_path):
    seen = []
    built = build_in_child(
        "training.student:build_student",
        "training.student:StudentSettings",
        describe_student(student / "model"),
        workspace_in(tmp_path, {}, seen.append),
    )
    assert built.summary["parameters"] == 26912
    assert seen[-1].done == 1


def test_an_empty_data_set_is_an_error_that_says_what_to_do(student, tmp_path):
    inputs = {"model": student, "dataset": write_dataset(tmp_path / "data", [])}
    with pytest.raises(ChildError, match="generate more"):
        build_in_child(
            "training.stage:build_stage",
            "training.stage:STAGE",
            STAGES["sft"],
            workspace_in(tmp_path / "run", inputs),
        )


def test_settings_that_cannot_change_the_result_are_not_in_the_key(tmp_path):
    assert "save_every_steps" not in keyed_settings(STAGES["sft"])
    student = StudentSettings(digest="0", path=tmp_path)
    assert keyed_settings(student) == {"stage": "student", "digest": "0"}


def test_the_newcomers_profile_saves_on_the_way():
    stages = read_settings("embedded", Changes()).stages
    assert [stage.save_every_steps for stage in stages.values()] == [2, 2]


def start(job: Path) -> subprocess.Popen:
    environment = {**os.environ, **child_environment(1), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-m", "tasks.job", str(job)], env=environment)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sft", "dpo"])
def test_kill_9_in_the_middle_changes_no_bit_of_the_adapter(name, student, dataset, tmp_path):
    inputs = {"model": student, "dataset": dataset}
    whole = job_in(tmp_path / "whole", STAGES[name], inputs)
    assert start(whole).wait() == 0
    killed = job_in(tmp_path / "killed", STAGES[name], inputs)
    process = start(killed)
    progress = tmp_path / "killed" / "state" / "progress.jsonl"
    while not progress.is_file() or len(steps_so_far(progress)) < 7:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "out" / "stage.json").exists()
    before = len(lines(progress))
    assert start(killed).wait() == 0
    assert files_of(tmp_path / "killed" / "out") == files_of(tmp_path / "whole" / "out")
    resumed = [line["done"] for line in lines(progress)[before:] if line["unit"] == "steps"]
    assert min(done for done in resumed if done) > 3  # not from the start


def steps_so_far(path: Path) -> list[int]:
    whole = path.read_text().rpartition("\n")[0].splitlines()
    found = [json.loads(line) for line in whole]
    return [line["done"] for line in found if line["unit"] == "steps" and line["done"]]
