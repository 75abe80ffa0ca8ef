import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextvars import copy_context
from types import SimpleNamespace

import psutil
import pytest

from artifacts.progress import silent
from tasks.child import (
    ChildCrashed,
    ChildError,
    ChildFailed,
    ChildStopped,
    child_process,
    children_end_with_the_flow,
    run_job,
)
from tasks.steps import worth_retrying

PARENT = """
import sys, time
from pathlib import Path
from tasks.child import child_process
with child_process("http.server", ["--bind", "127.0.0.1", "0"], Path(sys.argv[1])) as process:
    print(process.pid, flush=True)
    time.sleep(60)
"""


def gone(pid: int) -> bool:
    for _ in range(200):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_child_does_not_outlive_its_parent_however_that_one_ends(tmp_path, number):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "log")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    child = int(parent.stdout.readline())
    assert psutil.pid_exists(child)
    parent.send_signal(number)
    parent.wait()
    parent.stdout.close()
    assert gone(child)


def test_a_grandchild_goes_with_the_child(tmp_path):
    module = tmp_path / "breeder.py"
    module.write_text(
        "import subprocess, sys, time, pathlib\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "pathlib.Path(sys.argv[1]).write_text(str(p.pid))\n"
        "time.sleep(60)\n"
    )
    note = tmp_path / "pid"
    environment = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    with child_process("breeder", [str(note)], tmp_path / "log", environment):
        for _ in range(400):
            if note.exists() and note.read_text():
                break
            time.sleep(0.05)
        grandchild = int(note.read_text())
    assert gone(grandchild)


def test_a_grandchild_goes_with_a_child_that_crashed(tmp_path, monkeypatch):
    program = (
        "import subprocess\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "(state / 'pid').write_text(str(p.pid))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with pytest.raises(ChildCrashed):
        run_program(tmp_path, monkeypatch, program)
    assert gone(int((tmp_path / "pid").read_text()))


def run_program(tmp_path, monkeypatch, program: str, progress=silent) -> None:
    (tmp_path / "worker.py").write_text(
        "import json, os, pathlib, signal, sys\n"
        "state = pathlib.Path(json.loads(pathlib.Path(sys.argv[1]).read_text())['state'])\n"
        + program
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    job = tmp_path / "job.json"
    job.write_text(json.dumps({"state": str(tmp_path)}))
    run_job("worker", job, tmp_path, progress)


def test_progress_lines_of_the_child_reach_the_sink(tmp_path, monkeypatch):
    seen = []
    line = '{"done": 3, "total": 4, "unit": "steps", "note": "loss 1.2"}'
    run_program(
        tmp_path,
        monkeypatch,
        f"(state / 'progress.jsonl').write_text('''{line}\\n''' + '{{\"done\": 4, half')\n",
        seen.append,
    )
    assert [(p.done, p.total, p.unit, p.note) for p in seen] == [(3, 4, "steps", "loss 1.2")]


def test_a_clear_error_of_the_child_is_repeated(tmp_path, monkeypatch):
    program = "(state / 'error.json').write_text('{\"message\": \"no rows\"}'); sys.exit(1)\n"
    with pytest.raises(ChildError, match="^no rows$"):
        run_program(tmp_path, monkeypatch, program)


def test_a_killed_child_is_told_apart_and_its_log_is_shown(tmp_path, monkeypatch):
    program = "print('step 7', flush=True); os.kill(os.getpid(), signal.SIGKILL)\n"
    with pytest.raises(ChildCrashed, match=r"signal 9(.|\n)*step 7"):
        run_program(tmp_path, monkeypatch, program)


def test_an_error_that_nobody_foresaw_is_no_crash_and_not_tried_again(tmp_path, monkeypatch):
    with pytest.raises(ChildFailed, match=r"status 1(.|\n)*ZeroDivisionError"):
        run_program(tmp_path, monkeypatch, "1 / 0\n")
    for error, again in ((ChildFailed("x"), False), (ChildCrashed("x"), True)):
        state = SimpleNamespace(result=lambda raise_on_failure, error=error: error)
        assert worth_retrying(None, None, state) is again


def test_a_job_in_another_thread_ends_when_the_flow_fails(tmp_path, monkeypatch):
    errors = []

    def job_in_thread():
        try:
            run_program(tmp_path, monkeypatch, "import time; time.sleep(60)\n")
        except ChildStopped as error:
            errors.append(error)

    with pytest.raises(KeyboardInterrupt), children_end_with_the_flow():
        thread = threading.Thread(target=copy_context().run, args=(job_in_thread,))
        thread.start()
        time.sleep(0.3)
        raise KeyboardInterrupt
    thread.join(30)
    assert len(errors) == 1
