"""Who is the runner: a lock on a file of the instance folder or, if the databases are on a server, one of
PostgreSQL's, which machines that share the database compete for.

The server gives its lock away when the connection ends that took it: at once when the process dies, and after
``KEEPALIVE`` when its machine is cut off. A process whose connection broke is told so by :meth:`keep`.
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from dashboard.errors import StowageError
from dashboard.jobs.lock import LOCK_FILE, RunnerLock
from dashboard.jobs.process_identity import is_alive, this_process
from dashboard.services.consoles.console_processes import BEAT_SECONDS, RUNNER, Processes
from dashboard.services.consoles.shared_folder import console_elsewhere, elsewhere_error
from dashboard.services.database import Database
from dashboard.services.jobs import Jobs

log = logging.getLogger(__name__)

LOCK = (0x53746F78, 1)
"""“Stox”, beside the locks of writers, and the runner's."""
CHECK_SECONDS = 1.0
"""Seconds between two looks whether the lock is still ours."""
KEEPALIVE = {"tcp_keepalives_idle": 5, "tcp_keepalives_interval": 2, "tcp_keepalives_count": 5}
"""After 15 silent seconds the server takes the machine for gone."""
_TRY = "SELECT pg_try_advisory_lock(%s, %s)"
_HELD = (
    "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2 "
    "AND classid = %s AND objid = %s "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
)


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
    return ServerLock(database, instance) if database.on_server else FolderLock(instance)


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


class ServerLock:
    """See :class:`HoldsRunnerLock`: of a database that several machines share."""

    retry_seconds = 1.0

    def __init__(self, database: Database, instance: Path) -> None:
        self._database = database
        self._instance = instance
        self._processes = Processes(database)
        self._connection: Connection | None = None
        self._checked_at = 0.0
        self._waited_at = -BEAT_SECONDS
        self._fresh = True
        self._warned = False
        self.taken = False

    def acquire(self) -> bool:
        """See :class:`HoldsRunnerLock`. While the server cannot be reached it is not acquired, and neither
        where the files of the consoles are missing: uploads would look as if they were lost."""
        if self._connection is not None:
            return True
        if not self._has_files():
            return False
        connection: Connection | None = None
        try:
            connection = self._database.main.connect().execution_options(isolation_level="AUTOCOMMIT")
            for name, value in KEEPALIVE.items():
                connection.exec_driver_sql(f"SET {name} = {value}")
            if connection.exec_driver_sql(_TRY, LOCK).scalar_one():
                self._connection, self._checked_at = connection, time.monotonic()
                return True
        except SQLAlchemyError as error:
            log.debug("The runner's lock cannot be asked for: %s", type(error).__name__)
            _drop(connection)
            return False
        connection.close()
        self._wait()
        return False

    def release(self) -> None:
        """See :class:`HoldsRunnerLock`."""
        # The lock belongs to the connection, which must not go back to the pool with it.
        _drop(self._connection)
        self._connection = None
        with suppress(StowageError):
            self._processes.leave()

    def keep(self) -> bool:
        """See :class:`HoldsRunnerLock`. After a broken connection it is acquired again, if nobody else was
        faster."""
        now = time.monotonic()
        if now - self._checked_at < CHECK_SECONDS:
            return self._connection is not None
        self._checked_at = now
        if self._connection is not None:
            try:
                self._connection.exec_driver_sql("SELECT 1")
            except SQLAlchemyError:
                log.warning("The connection with the runner's lock broke.")
                _drop(self._connection)
                self._connection = None
        if self._connection is None and not self.acquire():
            with suppress(StowageError):
                self.taken = self.held()
        return self._connection is not None

    def held(self) -> bool:
        """See :class:`HoldsRunnerLock`."""
        with self._database.read() as session:
            return bool(session.connection().exec_driver_sql(_HELD, LOCK).scalar_one())

    def pid(self) -> int | None:
        """See :class:`HoldsRunnerLock`: rows say more."""
        return None

    def expire(self, jobs: Jobs) -> int:
        """See :class:`HoldsRunnerLock`. Of a runner on another machine it is not known: its lease counts."""
        fresh, self._fresh = self._fresh, False
        earlier = this_process() if fresh else ""
        return jobs.expire_of(lambda owner: owner == earlier or is_alive(owner) is False)

    def beat(self) -> None:
        """See :class:`HoldsRunnerLock`."""
        self._processes.beat(RUNNER, active=True)

    def heartbeat(self) -> float | None:
        """See :class:`HoldsRunnerLock`."""
        seen = [each for each in self._processes.list() if each.role == RUNNER and each.active]
        # By this machine's clock, with which it is compared.
        return time.time() - min(each.age for each in seen) if seen else None

    def _has_files(self) -> bool:
        try:
            other = console_elsewhere(self._instance, self._processes)
        except StowageError:
            return False
        if other is not None and not self._warned:
            self._warned = True
            log.warning("No jobs are run here: %s", elsewhere_error(other, self._instance))
        return other is None

    def _wait(self) -> None:
        """Say that this process is there, and would be the runner."""
        now = time.monotonic()
        if now - self._waited_at >= BEAT_SECONDS:
            self._waited_at = now
            with suppress(StowageError):
                self._processes.beat(RUNNER)


def _drop(connection: Connection | None) -> None:
    """Close a connection for good, however it is."""
    if connection is not None:
        with suppress(SQLAlchemyError):
            connection.invalidate()
            connection.close()
