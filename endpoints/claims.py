"""Who works on what, between processes: byte-range locks on one file beside the journal.

The system frees a dead process's locks at once, so nothing has to be swept after kill -9.
A lock costs one system call and no commit.
"""

import fcntl
import os
import struct
import threading
from pathlib import Path

# Locks of an open file description (Linux): two handles in one process exclude each other.
OWN_HANDLE_LOCK = getattr(fcntl, "F_OFD_SETLK", None)
FLOCK = "hhqqi"  # struct flock: type, whence, start, length, pid


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

    def close(self) -> None:
        """Give everything back."""
        os.close(self._file)

    def _set(self, kind: int, number: int) -> bool:
        try:
            if OWN_HANDLE_LOCK is not None:
                wanted = struct.pack(FLOCK, kind, os.SEEK_SET, number, 1, 0)
                fcntl.fcntl(self._file, OWN_HANDLE_LOCK, wanted)
            elif kind == fcntl.F_UNLCK:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, number)
            else:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        except (BlockingIOError, PermissionError):
            return False
        return True
