"""Who works on what, between processes: byte-range locks on one file beside the journal.

The system frees a dead process's locks at once, so nothing has to be swept after kill -9.
A lock costs one system call and no commit.
"""

import fcntl
import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Locks of an open file description (Linux): two handles in one process exclude each other.
OWN_HANDLE_LOCK = getattr(fcntl, "F_OFD_SETLK", None)
FLOCK = "hhqqi"  # struct flock: type, whence, start, length, pid
# The byte on which everybody who has the journal open holds a shared lock.
PRESENCE = 1 << 62
OPENING = PRESENCE + 1
OPENING_PAUSE_SECONDS = 0.005
PORTABLE = {
    fcntl.F_UNLCK: fcntl.LOCK_UN,
    fcntl.F_RDLCK: fcntl.LOCK_SH | fcntl.LOCK_NB,
    fcntl.F_WRLCK: fcntl.LOCK_EX | fcntl.LOCK_NB,
}


class Claims:
    """Exclusive claims on numbers (0 ≤ n < 2**62), held by this handle until freed."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._held: set[int] = set()
        self._lock = threading.Lock()

    def take(self, number: int) -> bool:
        """Whether the number is now ours; False where anyone (this handle too) holds it."""
        with self._lock:
            if number in self._held or not self._set(fcntl.F_WRLCK, number):
                return False
            self._held.add(number)
            return True

    def free(self, number: int) -> None:
        """Give the number back."""
        with self._lock:
            self._held.discard(number)
            self._set(fcntl.F_UNLCK, number)

    def be_present(self) -> bool:
        """Whether this handle is now counted among the users; False where one wants to be alone."""
        return self._set(fcntl.F_RDLCK, PRESENCE)

    def be_alone(self) -> bool:
        """Whether no other handle is open now, and none will be until this one is closed."""
        return self._set(fcntl.F_WRLCK, PRESENCE)

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Stand in line with others who open the journal: SQLite fails where two begin one file."""
        while not self._set(fcntl.F_WRLCK, OPENING):
            time.sleep(OPENING_PAUSE_SECONDS)
        try:
            yield
        finally:
            self._set(fcntl.F_UNLCK, OPENING)

    def close(self) -> None:
        """Give everything back."""
        os.close(self._file)

    def _set(self, kind: int, number: int) -> bool:
        try:
            if OWN_HANDLE_LOCK is not None:
                wanted = struct.pack(FLOCK, kind, os.SEEK_SET, number, 1, 0)
                fcntl.fcntl(self._file, OWN_HANDLE_LOCK, wanted)
            else:
                fcntl.lockf(self._file, PORTABLE[kind], 1, number)
        except (BlockingIOError, PermissionError):
            return False
        return True
