"""Who is the runner: a lock on a file of the instance folder or, if the databases are on a server, one of
PostgreSQL's, which machines that share the database compete for.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from dashboard.jobs.lock import LOCK_FILE, RunnerLock
from dashboard.services.database import Database
from dashboard.services.jobs import Jobs


class HoldsRunnerLock(Protocol):
    """The lock that ensures that an instance has one runner at a time. Not thread-safe."""

    retry_seconds: float
    """Seconds between two attempts to acquire it."""
    taken: bool
    """Whether another process has acquired it after this one had lost it."""

    def acquire(self) -> bool:
        """Acquire the lock if it is free. Never waits for it. Idempotent."""
        ...

    def release(self) -> None:
        """Release it. Idempotent."""
        ...

    def keep(self) -> bool:
        """Whether this process still has it; cheap enough for several times a second."""
        ...

    def held(self) -> bool:
        """Whether some process, this one included, is the runner."""
        ...

    def pid(self) -> int | None:
        """The process id of the last runner, if it was on this machine and is known."""
        ...

    def expire(self, jobs: Jobs) -> int:
        """Expire the leases of jobs whose runner is certainly dead; return how many."""
        ...

    def beat(self) -> None:
        """Give a sign of life, as the runner."""
        ...

    def heartbeat(self) -> float | None:
        """When a runner last gave one, in seconds since the epoch; None if there never was one."""
        ...


def runner_lock(instance: Path, database: Database) -> HoldsRunnerLock:
    """The lock of an instance. Nothing is acquired yet."""
    if not database.on_server:
        return FolderLock(instance)
    from dashboard.services.consoles.server_lock import ServerLock

    return ServerLock(database, instance)


class FolderLock:
    """See :class:`HoldsRunnerLock`: of an instance whose databases are files of the folder."""

    retry_seconds = 0.2
    taken = False

    def __init__(self, instance: Path) -> None:
        self._path = instance / LOCK_FILE
        self._lock = RunnerLock(self._path)
        self._fresh = True

    def acquire(self) -> bool:
        """See :class:`HoldsRunnerLock`."""
        return self._lock.acquire()

    def release(self) -> None:
        """See :class:`HoldsRunnerLock`."""
        self._lock.release()

    def keep(self) -> bool:
        """See :class:`HoldsRunnerLock`: the kernel never takes it away."""
        return True

    def held(self) -> bool:
        """See :class:`HoldsRunnerLock`."""
        return self._lock.held()

    def pid(self) -> int | None:
        """See :class:`HoldsRunnerLock`."""
        return self._lock.holder()

    def expire(self, jobs: Jobs) -> int:
        """See :class:`HoldsRunnerLock`. Owners of older leases are dead: this process has the lock."""
        fresh, self._fresh = self._fresh, False
        return jobs.expire_all() if fresh else 0

    def beat(self) -> None:
        """See :class:`HoldsRunnerLock`."""
        os.utime(self._path)

    def heartbeat(self) -> float | None:
        """See :class:`HoldsRunnerLock`."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        # Looking whether there is a runner makes the file; only a runner writes its number into it.
        return found.st_mtime if found.st_size else None
