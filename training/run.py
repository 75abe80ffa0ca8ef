"""The training process: `python -m training.run job.json`.

Ends with status 0 and `state/result.json`, or with status 1 and `state/error.json`, whose
message says what to do. Any other end is a crash: the same job again goes on from there.
"""

import ctypes
import json
import os
import sys
from pathlib import Path

from artifacts.errors import StoreError
from artifacts.step import Built, Workspace
from artifacts.store import full_disk_is_named, write_atomically
from engines.errors import EngineError
from training.errors import TrainingError
from training.job import Job, ProgressFile, environment, read_job, write_result
from training.stage import StageInputs, train
from training.student import StudentSettings, build_student

# malloc.h: M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD
MALLOC = {-1: (1 << 31) - 1, -2: 64 << 20, -3: 1 << 30}


def keep_memory() -> None:
    """Tell glibc to keep freed memory for the next step instead of giving it back at once.

    On a CPU every step frees and asks for gigabytes; the page faults of that were a quarter
    of all processor time (21 s of kernel time for nine passes, 6 s with this).
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        for parameter, value_bytes in MALLOC.items():
            library.mallopt(parameter, value_bytes)


def do(job: Job) -> Built:
    """Do the work of a job in this process, resuming what an earlier attempt left."""
    job.out.mkdir(parents=True, exist_ok=True)
    job.state.mkdir(parents=True, exist_ok=True)
    progress = ProgressFile(job.state / "progress.jsonl")
    workspace = Workspace(out=job.out, state=job.state, inputs=job.inputs, progress=progress)
    with full_disk_is_named(job.out):
        if isinstance(job.work, StudentSettings):
            return build_student(job.work, workspace)
        return train(job.work, StageInputs.of(job.inputs), workspace)


def main(arguments: list[str]) -> int:
    """Run one job file; returns the exit status."""
    if len(arguments) != 1:
        print("usage: python -m training.run job.json", file=sys.stderr)
        return 2
    path = Path(arguments[0])
    try:
        job = read_job(path)
        os.environ.update(environment(job))
        keep_memory()
        write_result(job.state, do(job))
    except (TrainingError, EngineError, StoreError) as error:
        content = {"type": type(error).__name__, "message": str(error)}
        write_atomically(path.parent / "error.json", json.dumps(content, ensure_ascii=False))
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
