"""The flows on a server that stays: deployed, asked for by name, run by a worker."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.fake_llm import FakeLLM
from tests.flows.factory import Factory
from tests.flows.scripted_llm import scripted_reply

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
WAIT_SECONDS = 180.0


@pytest.fixture(scope="module")
def prefect(tmp_path_factory) -> Iterator[Callable[..., str]]:
    """Calls the `prefect` command against a server of its own, with a worker on the pool."""
    home = tmp_path_factory.mktemp("server")
    with socket.socket() as passing:
        passing.bind(("127.0.0.1", 0))
        port = passing.getsockname()[1]
    environment = {n: v for n, v in os.environ.items() if not n.startswith("PREFECT_")} | {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "DO_NOT_TRACK": "1",
    }
    program = str(Path(sys.executable).with_name("prefect"))

    def call(*arguments: str) -> str:
        command = [program, "--no-prompt", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    with running([program, "server", "start", "--port", str(port)], environment, home / "server"):
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/api/health"))
        call("work-pool", "create", "medfactory", "--type", "process")
        call("deploy", "--all", "--prefect-file", "deployments/prefect.yaml")
        worker = [program, "worker", "start", "--pool", "medfactory"]
        with running(worker, environment, home / "worker"):
            yield call


@contextmanager
def running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    """A process with all its children, ended on leaving."""
    with (
        log.open("w") as stream,
        subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=stream, stderr=subprocess.STDOUT
        ) as process,
    ):
        try:
            yield
        finally:
            family = [*psutil.Process(process.pid).children(recursive=True), process]
            process.send_signal(signal.SIGTERM)
            _, alive = psutil.wait_procs(family, timeout=20)
            for late in alive:
                late.kill()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except OSError:
        return False


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never came so far"
        time.sleep(0.1)


def children_of_training(home: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if "tasks.job" in (process.info["cmdline"] or []) and str(home) in str(process.info)
    ]


def test_every_deployment_stands_on_the_server(prefect):
    listed = prefect("deployment", "ls")
    for name in ("build_model/nightly", "build_model/embedded", "generate_data/embedded"):
        assert name in listed
    assert "train_model/embedded" in listed
    assert "evaluate_model/weekly-report" in listed


def test_an_asked_for_run_builds_by_its_own_parameters_and_a_cancelled_one_ends(prefect, tmp_path):
    with FakeLLM(reply=scripted_reply) as server:
        factory = Factory(tmp_path / "run", server)
        home = factory.folder / "home"
        profile = f'profile="{factory.folder / "profile.yaml"}"'
        place = (
            f'place={{"home": "{home}", "endpoints_file": "{factory.folder / "endpoints.yaml"}"}}'
        )
        asked = ["deployment", "run", "build_model/embedded", "-p", profile, "-p", place]

        said = prefect(*asked, "-p", 'changes={"overrides": {"sft.max_steps": 4000}}')
        flow_run = next(word for word in said.split() if word.count("-") == 4)
        wait_for(lambda: bool(children_of_training(home)))
        prefect("flow-run", "cancel", flow_run)
        wait_for(lambda: not children_of_training(home))
        wait_for(lambda: "CANCELLED" in prefect("flow-run", "inspect", flow_run).upper())

        sent = len(factory.paid_requests())
        done = prefect(*asked, "--watch")
        assert "Completed" in done
        assert len(factory.paid_requests()) == sent
        assert factory.manifest("report").summary["verdict"]
