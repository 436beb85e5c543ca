"""The runner's lock of a database on a server, which machines that share the database compete for.

The server gives its lock away when the connection ends that took it: at once when the process dies, and after
``KEEPALIVE`` when its machine is cut off. A process whose connection broke learns it from ``keep``.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from dashboard.errors import StowageError
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
