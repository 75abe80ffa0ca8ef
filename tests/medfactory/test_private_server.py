import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import psutil
import pytest

from medfactory.private_server import empty_database, isolate

RUN = """
import sys, time
from pathlib import Path
from medfactory.private_server import private_server
with private_server(Path(sys.argv[1])) as server:
    server.wait()
    import os
    print(server.process.pid, os.environ["PREFECT_API_URL"], flush=True)
    time.sleep(float(sys.argv[2]))
"""


def start(home, seconds, environment=None):
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(home), str(seconds)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home whose database is made once for all tests here."""
    return tmp_path_factory.mktemp("prefect")


def test_a_run_with_another_server_configured_uses_its_own(home):
    other = {"PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_API_KEY": "somebody-elses"}
    process = start(home, 0, other)
    pid, url = process.stdout.readline().split()
    process.wait()
    process.stdout.close()
    assert process.returncode == 0
    assert "127.0.0.1:9/" not in url
    assert gone(int(pid))


def test_the_server_goes_with_a_killed_run(home):
    process = start(home, 60)
    pid, _ = process.stdout.readline().split()
    assert psutil.pid_exists(int(pid))
    process.kill()
    process.wait()
    process.stdout.close()
    assert gone(int(pid))


def test_two_runs_at_once_have_a_server_each(home):
    processes = [start(home, 2) for _ in range(2)]
    urls = [process.stdout.readline().split()[1] for process in processes]
    for process in processes:
        process.wait()
        process.stdout.close()
        assert process.returncode == 0
    assert len(set(urls)) == 2


def test_a_new_home_starts_from_the_environments_empty_database(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "environment"))
    for name in [n for n in os.environ if n.startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    with monkeypatch.context() as patched:
        patched.setattr(os, "environ", dict(os.environ))
        isolate(tmp_path / "without")
        empty_database().parent.mkdir(parents=True)
        with closing(sqlite3.connect(empty_database())) as connection:
            connection.execute("create table made_once (id int)")
        isolate(tmp_path / "new")
        isolate(tmp_path / "new")
    assert not (tmp_path / "without" / "prefect.db").exists()
    with closing(sqlite3.connect(tmp_path / "new" / "prefect.db")) as connection:
        assert connection.execute("select count(*) from made_once").fetchone() == (0,)


def test_the_empty_database_of_this_environment_is_that_of_its_prefect():
    with closing(sqlite3.connect(empty_database())) as connection:
        tables = {row[0] for row in connection.execute("select name from sqlite_master")}
        runs = connection.execute("select count(*) from flow_run").fetchone()
    assert {"flow_run", "task_run", "artifact"} <= tables
    assert runs == (0,)
