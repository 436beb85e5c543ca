"""The lock that ensures an instance folder has one runner at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

LOCK_FILE = "runner.lock"
"""In the instance folder."""


class RunnerLock:
    """An exclusive ``flock``. The kernel releases it when the holder dies, for whatever reason."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def acquire(self) -> bool:
        """Acquire the lock if it is free. Never waits. Idempotent."""
        if self._file is not None:
            return True
        file = self._open()
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        os.truncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        self._file = file
        return True

    def release(self) -> None:
        """Release the lock. Idempotent."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def held(self) -> bool:
        """Whether some process, this one included, is the runner."""
        if self._file is not None:
            return True
        # Those that look may be in the way of a starting runner, which retries.
        return is_locked(self._open())

    def holder(self) -> int | None:
        """Return the process id of the last runner, for messages."""
        with contextlib.suppress(OSError, ValueError):
            return int(self._path.read_text(encoding="ascii"))
        return None

    def _open(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def is_locked(file: int) -> bool:
    """Whether some process has an exclusive ``flock`` on this file. Closes the descriptor."""
    try:
        # Shared, so that two processes that check never see each other.
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False
