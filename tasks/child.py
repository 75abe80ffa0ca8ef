"""Work in a process of its own that never outlives the one which asked for it.

The child runs in a session of its own and watches its standard input, a pipe that only
the parent holds: when the parent ends, however it ends, the pipe closes and the child
kills its whole process group. `python -m tasks.child MODULE ARGUMENT…` is the child's side.
"""

import ctypes
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from artifacts.progress import Progress, ProgressSink

PR_SET_PDEATHSIG = 1
POLL_SECONDS = 0.25
GRACE_SECONDS = 5.0
LOG_TAIL_CHARACTERS = 2000


class ChildError(RuntimeError):
    """The child ended with a clear error of its own, which the message repeats."""


class ChildStopped(RuntimeError):
    """The run that asked for the child came to an end before the child did."""


class ChildFailed(RuntimeError):
    """The child ended with an error that nobody foresaw; the message holds the end of its log."""


class ChildCrashed(RuntimeError):
    """The child was killed; trying again resumes its work."""


stopping: ContextVar[threading.Event | None] = ContextVar("stopping", default=None)


@contextmanager
def children_end_with_the_flow() -> Iterator[None]:
    """Inside a flow: if it fails or is interrupted, jobs running in other threads end too."""
    event = threading.Event()
    token = stopping.set(event)
    try:
        yield
    except BaseException:
        event.set()
        raise
    finally:
        stopping.reset(token)


@contextmanager
def child_process(
    module: str,
    arguments: list[str],
    log: Path,
    environment: Mapping[str, str] | None = None,
    pass_fds: tuple[int, ...] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `python -m MODULE ARGUMENTS` as a child that dies with this process.

    Its output goes to the file `log`. On leaving, a child that still runs is ended.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "tasks.child", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
            pass_fds=pass_fds,
        )
    try:
        yield process
    finally:
        _end(process)


def run_job(
    module: str,
    job: Path,
    state: Path,
    progress: ProgressSink,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a job file in a child to its end, handing on the progress lines it writes.

    The child appends `{"done", "total", "unit", "note"}` lines to `state/progress.jsonl`
    and, where it fails with a clear error, writes `state/error.json` with `message`.
    Raises ChildError for such an error, ChildFailed for any other and ChildCrashed for a child
    that a signal ended.
    """
    lines, error_file, log = state / "progress.jsonl", state / "error.json", state / "child.log"
    for stale in (lines, error_file):
        stale.unlink(missing_ok=True)
    stop = stopping.get()
    with child_process(module, [str(job)], log, environment) as process:
        seen = 0
        while process.poll() is None:
            if stop and stop.is_set():
                raise ChildStopped(f"{module} was ended with the run that asked for it")
            seen = _hand_on(lines, seen, progress)
            time.sleep(POLL_SECONDS)
        _hand_on(lines, seen, progress)
    if process.returncode == 0:
        return
    if error_file.is_file():
        raise ChildError(json.loads(error_file.read_text(encoding="utf-8"))["message"])
    tail = log.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL_CHARACTERS:]
    if process.returncode > 0:
        raise ChildFailed(
            f"{module} ended with status {process.returncode} and an error that it has no remedy "
            f"for. What was done is kept. Its log {log} ends:\n{tail}"
        )
    raise ChildCrashed(
        f"{module} was killed by signal {-process.returncode} (9 is often the kernel short of "
        f"memory). The same command resumes it. Its log {log} ends:\n{tail}"
    )


def _hand_on(lines: Path, seen: int, progress: ProgressSink) -> int:
    """Report the newest whole line beyond byte `seen`; returns the bytes now seen."""
    if not lines.is_file():
        return seen
    with lines.open("rb") as stream:
        stream.seek(seen)
        fresh = stream.read()
    whole = fresh[: fresh.rfind(b"\n") + 1]
    if whole:
        progress(Progress(**json.loads(whole.splitlines()[-1])))
    return seen + len(whole)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the child's group to stop, then make it; also what a child left that died itself."""
    if process.stdin:
        process.stdin.close()
    if process.poll() is None:
        _signal_group(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


def _die_with_parent() -> None:
    """Watch the pipe from the parent; on Linux also ask the kernel."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    def watch() -> None:
        while os.read(0, 1):
            continue
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()


if __name__ == "__main__":
    _die_with_parent()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
