import json
import os

import pytest

from evaluation.errors import MissingInput
from evaluation.evaluate import EvaluateSettings
from evaluation.run import main, read_result, write_job
from tests.evaluation import factory

SETTINGS = EvaluateSettings(benchmarks=("preference",), samples=0)


@pytest.fixture(autouse=True)
def _environment_is_put_back():
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def test_a_job_leaves_a_result_and_progress(inputs, tmp_path):
    work = factory.workspace(tmp_path, inputs)
    assert main([str(write_job(SETTINGS, work))]) == 0
    built = read_result(work.state)
    assert built.counts == {"rows_in": 6, "accepted": 6, "quarantined": 0}
    last = (work.state / "progress.jsonl").read_text(encoding="utf-8").splitlines()[-1]
    assert json.loads(last)["done"] == 6


def test_a_clear_error_is_left_for_the_parent(inputs, tmp_path, capsys):
    factory.dataset(inputs["dataset"], pairs=[])
    work = factory.workspace(tmp_path, inputs)
    assert main([str(write_job(SETTINGS, work))]) == 1
    error = json.loads((work.state / "error.json").read_text(encoding="utf-8"))
    assert error["type"] == "EmptyBenchmark"
    assert error["message"] in capsys.readouterr().err
    with pytest.raises(MissingInput, match="no result"):
        read_result(work.state)


def test_a_file_that_is_no_job_and_no_file_at_all_are_told_apart(tmp_path, capsys):
    (tmp_path / "job.json").write_text("{}")
    assert main([str(tmp_path / "job.json")]) == 1
    assert "no job file" in capsys.readouterr().err
    assert main([]) == 2
