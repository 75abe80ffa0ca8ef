"""State that can be trusted: checkpoints that a marker, written last, says are whole; lines."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from artifacts.store import write_atomically

MARKER = "complete.json"
PREFIX = "checkpoint-"


def read_lines(path: Path) -> list[Any]:
    """The values of a JSONL file, oldest first; a last line that was cut off is left out."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def rewrite_lines(path: Path, values: Sequence[Any]) -> None:
    """Make these values all that a JSONL file holds."""
    write_atomically(path, "".join(json.dumps(value) + "\n" for value in values))


def append_line(path: Path, value: Any) -> None:
    """Write one more value to a JSONL file; a process that is killed now does not lose it."""
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(value) + "\n")


def newest_complete(folder: Path, fingerprint: str) -> Path | None:
    """The newest complete checkpoint of this very job, or None; all others are removed.

    fingerprint: digest of everything that decides the result. A checkpoint of another one,
    or one that was being written when its process was killed, is of no use.
    """
    found: Path | None = None
    for path in sorted(folder.glob(f"{PREFIX}*"), key=step_of, reverse=True):
        if found is None and _is_complete(path, fingerprint):
            found = path
        else:
            shutil.rmtree(path)
    return found


def mark_complete(checkpoint: Path, fingerprint: str) -> None:
    """Flush a checkpoint's files to the disk, then write its marker, then remove older ones."""
    for path in (*sorted(checkpoint.rglob("*")), checkpoint):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    sizes = {
        path.relative_to(checkpoint).as_posix(): path.stat().st_size
        for path in sorted(checkpoint.rglob("*"))
        if path.is_file()
    }
    text = json.dumps({"fingerprint": fingerprint, "sizes": sizes}, indent=1)
    write_atomically(checkpoint / MARKER, text)
    for other in checkpoint.parent.glob(f"{PREFIX}*"):
        if step_of(other) < step_of(checkpoint):
            shutil.rmtree(other)


def step_of(checkpoint: Path) -> int:
    """The step after which a checkpoint was taken, from its name; -1 for another name."""
    number = checkpoint.name.removeprefix(PREFIX)
    return int(number) if number.isdigit() else -1


def _is_complete(checkpoint: Path, fingerprint: str) -> bool:
    marker = checkpoint / MARKER
    if not marker.is_file():
        return False
    content = json.loads(marker.read_text(encoding="utf-8"))
    return content["fingerprint"] == fingerprint and all(
        (checkpoint / name).is_file() and (checkpoint / name).stat().st_size == size
        for name, size in content["sizes"].items()
    )
