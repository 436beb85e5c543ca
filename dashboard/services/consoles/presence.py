"""A web server among others on one database: it checks at its start that it may be one of them, says that it
is there, and does what the others ask of it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from sqlalchemy import select

from dashboard.errors import Kind, StowageError
from dashboard.services.consoles import shared_folder
from dashboard.services.consoles.console_processes import BEAT_SECONDS, WEB, Processes, clock
from dashboard.services.database import Database

log = logging.getLogger(__name__)

MAX_CLOCK_SECONDS = 10.0
"""By how much the clock of a machine may differ from the database server's: leases last 30 seconds."""
TURN_SECONDS = 1.0
"""Seconds between two looks at what others ask for."""


class Presence:
    """One web server's. On files it does nothing: there the web server is alone."""

    def __init__(
        self,
        instance: Path,
        database: Database,
        *,
        settings: Callable[[], Mapping[str, object]] = dict,
        each_second: Callable[[], None] = lambda: None,
    ) -> None:
        """``settings``: what it has read of the settings file. ``each_second`` is called about once a second
        on a thread of its own; it may raise ``StowageError``."""
        self._instance = instance
        self._database = database
        self._settings = settings
        self._each_second = each_second
        self._processes = Processes(database)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._address = self._marker = ""

    def start(self, address: str) -> Self:
        """Say that this web server is there. Raises ``CONFLICT`` if it may not be: another console has
        another instance folder, or the clock is wrong."""
        if self._database.on_server:
            check_clock(self._database)
            self._address, self._marker = address, shared_folder.put_marker(self._instance)
            try:
                # First, so that of two that start at once one sees the other.
                self._beat()
                self._check_folder()
            except StowageError:
                self.stop()
                raise
            self._thread = threading.Thread(target=self._run, name="presence", daemon=True)
            self._thread.start()
        return self

    def stop(self) -> None:
        """Say that it ends. Idempotent."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(BEAT_SECONDS)
        if self._marker:
            shared_folder.remove_marker(self._instance, self._marker)
            self._marker = ""
            try:
                self._processes.leave()
            except StowageError as error:
                log.debug("That this web server ends was not noted: %s", error.reason)

    def _check_folder(self) -> None:
        other = shared_folder.console_elsewhere(self._instance, self._processes, wait=self._stop.wait)
        if other is not None:
            raise shared_folder.elsewhere_error(other, self._instance)

    def _run(self) -> None:
        beat_at = time.monotonic() + BEAT_SECONDS
        while not self._stop.wait(TURN_SECONDS):
            try:
                self._each_second()
                if time.monotonic() >= beat_at:
                    beat_at = time.monotonic() + BEAT_SECONDS
                    shared_folder.renew_marker(self._instance, self._marker)
                    self._beat()
            except StowageError as error:
                log.debug("A sign of life was not noted: %s", error.reason)

    def _beat(self) -> None:
        self._processes.beat(
            WEB, address=self._address, active=True, marker=self._marker, settings=self._settings
        )


def check_clock(database: Database) -> None:
    """Raise ``CONFLICT`` if this machine's clock differs from the database server's by too much."""
    before = time.time()
    with database.read() as session:
        server = session.scalar(select(clock(database))) or 0.0
    after = time.time()
    ahead = before - server if before > server else min(0.0, after - server)
    if abs(ahead) > MAX_CLOCK_SECONDS:
        raise StowageError(
            Kind.CONFLICT,
            f"This machine's clock and that of the database server differ by {abs(ahead):,.0f} seconds.",
            operation="start",
            remedy="Let NTP set the clocks of all machines, then start it again.",
        )
