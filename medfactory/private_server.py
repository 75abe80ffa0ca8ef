"""A Prefect server for one run alone: it touches no other server and dies with the run."""

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib import metadata
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from tasks.child import child_process
from tasks.limits import PRIVATE_SERVER

START_SECONDS = 120.0
POLL_SECONDS = 0.05
DATABASE = "prefect.db"
CALM = {
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    "PREFECT_SERVER_UI_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_FOREMAN_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_REPOSSESSOR_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_CLEANUP_RECONCILER_ENABLED": "false",
    # Nobody reads the events of a private server, and writing them locks its SQLite.
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_ENABLED": "true",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_SERVER_LEVEL": "ERROR",
    "PREFECT_CLI_PROMPT": "false",
}


class ServerFailed(RuntimeError):
    """The private server did not come up; the message holds the end of its log."""


def isolate(home: Path) -> None:
    """Point this process at a Prefect of its own, whatever the person has configured.

    Every PREFECT_ variable of the environment goes; the person's profiles, server and
    database are not read. Must be called before Prefect is imported. A new home starts from
    the environment's empty database, where there is one: making it takes Prefect 12 s.
    """
    for name in [n for n in os.environ if n.startswith("PREFECT_")]:
        del os.environ[name]
    home.mkdir(parents=True, exist_ok=True)
    os.environ.update(CALM)
    os.environ["PREFECT_HOME"] = str(home.absolute())
    os.environ["PREFECT_PROFILES_PATH"] = str(home.absolute() / "profiles.toml")
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    os.environ[PRIVATE_SERVER] = "1"
    database, empty = home / DATABASE, empty_database()
    if empty.is_file() and not database.exists():
        passing = home / f".{DATABASE}.{os.getpid()}"
        shutil.copyfile(empty, passing)
        passing.rename(database)


def empty_database() -> Path:
    """Where this environment keeps an empty database of its Prefect's version."""
    return Path(sys.prefix) / "share" / "medfactory" / f"prefect-{metadata.version('prefect')}.db"


def make_empty_database() -> None:
    """Let Prefect make its database once for the environment (`make run` does it on install)."""
    target = empty_database()
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with private_server(home) as starting:
            starting.wait()
        passing = target.with_name(f".{target.name}")
        passing.unlink(missing_ok=True)
        with closing(sqlite3.connect(home / DATABASE)) as connection:
            connection.execute("VACUUM INTO ?", (str(passing),))
        passing.rename(target)


@contextmanager
def private_server(home: Path) -> Iterator["StartingServer"]:
    """Start a server on a free port of loopback; yields at once, `wait` says when it is up.

    The socket is opened here and handed over, so that no other process can take the port.
    """
    isolate(home)
    with socket.socket() as listening:
        # A handed-over socket is not known as TCP to asyncio, which then leaves Nagle's delay of
        # 40 ms on every answer; accepted connections inherit the option from here.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/api"
        os.environ["PREFECT_API_URL"] = url
        descriptor = listening.fileno()
        arguments = [
            "--factory",
            "prefect.server.api.server:create_app",
            f"--fd={descriptor}",
            "--log-level=error",
            "--timeout-keep-alive=60",
        ]
        log = home / "server.log"
        with child_process("uvicorn", arguments, log, pass_fds=(descriptor,)) as process:
            yield StartingServer(url, process, log)


class StartingServer:
    """A server that is on its way up."""

    def __init__(self, url: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.url = url
        self.process = process
        self.log = log

    def wait(self) -> None:
        """Return when the server answers. Raises ServerFailed if it ends or takes too long."""
        direct = build_opener(ProxyHandler({}))
        deadline = time.monotonic() + START_SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                with direct.open(f"{self.url}/health", timeout=5):
                    return
            except (URLError, ConnectionError, TimeoutError):
                time.sleep(POLL_SECONDS)
        tail = self.log.read_text(encoding="utf-8", errors="replace")[-2000:]
        raise ServerFailed(
            f"the run's own Prefect server did not answer at {self.url} "
            f"(status {self.process.poll()}). Its log {self.log} ends:\n{tail}\n"
            "Remove the folder that holds this log and type the command again, or use your own "
            "server with --server configured."
        )


if __name__ == "__main__":
    make_empty_database()
