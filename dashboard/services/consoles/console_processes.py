"""Which web servers and runners work on a database that several consoles share, and since when each was seen.

Times are those of the database server: clocks of machines differ.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Double, cast, delete, extract, func, literal, select
from sqlalchemy.dialects.sqlite import insert

from dashboard import __version__
from dashboard.jobs.process_identity import is_alive, this_process
from dashboard.models.consoles import Process
from dashboard.services.database import Database

WEB, RUNNER = "web", "runner"
BEAT_SECONDS = 5.0
"""Seconds between two signs of life."""
LATE_SECONDS = 30.0
"""Seconds without a sign of life after which a process counts as gone."""
KEPT_SECONDS = 600.0
"""Seconds for which one that is gone is still listed: who looks for it learns when it was last seen."""


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """A web server or a runner. ``age``: seconds since it was last seen. ``settings``: what it has read of
    the settings file."""

    id: str
    role: str
    host: str
    pid: int
    address: str
    version: str
    started_at: float
    seen_at: float
    age: float
    active: bool
    marker: str
    settings: Mapping[str, object]

    @property
    def late(self) -> bool:
        """Whether it has been silent for so long that it counts as gone."""
        return self.age > LATE_SECONDS or is_alive(self.id) is False

    @property
    def name(self) -> str:
        """What to call it in a sentence."""
        return (
            f"{self.host}:{self.address.rpartition(':')[2]}" if self.address else f"{self.host} ({self.pid})"
        )


def clock(database: Database) -> ColumnElement[float]:
    """The time now, by the clock that all consoles share."""
    if not database.on_server:
        return literal(time.time(), Double())
    return cast(extract("epoch", func.clock_timestamp()), Double())


class Processes:
    """Thread-safe. Of a database in files nothing is listed or stored: the lock of the runner says enough."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def beat(
        self,
        role: str,
        *,
        address: str = "",
        active: bool = False,
        marker: str = "",
        settings: Callable[[], Mapping[str, object]] = dict,
    ) -> None:
        """Say that this process is alive. Idempotent; a row that somebody removed comes back."""
        if not self._database.on_server:
            return
        now = clock(self._database)
        changing = {"seen_at": now, "active": active, "settings": dict(settings())}
        values = {
            "id": this_process(),
            "role": role,
            "host": socket.gethostname()[:255],
            "pid": os.getpid(),
            "address": address,
            "version": __version__,
            "started_at": now,
            "marker": marker,
        }
        with self._database.write_one_row() as connection:
            statement = insert(Process).values(**values, **changing)
            connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=changing))
            connection.execute(delete(Process).where(Process.seen_at < now - KEPT_SECONDS))

    def leave(self) -> None:
        """Say that this process ends. Idempotent."""
        if self._database.on_server:
            with self._database.write_one_row() as connection:
                connection.execute(delete(Process).where(Process.id == this_process()))

    def list(self) -> tuple[ProcessInfo, ...]:
        """All that are there or were a while ago: runners first, then web servers, each by name."""
        if not self._database.on_server:
            return ()
        now = clock(self._database)
        columns = (Process.__table__.c[name] for name in _COLUMNS)
        query = select(*columns, (now - Process.seen_at).label("age"))
        with self._database.read() as session:
            rows = session.execute(query.order_by(Process.role, Process.host, Process.pid)).all()
        return tuple(ProcessInfo(**row._mapping) for row in rows)


_COLUMNS = (
    *("id", "role", "host", "pid", "address", "version"),
    *("started_at", "seen_at", "active", "marker", "settings"),
)
