"""Whether a console can do its work, and which part of it cannot."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

from dashboard.errors import StowageError
from dashboard.services.database import Database
from dashboard.services.keys import Keys
from dashboard.services.people.setup import Setup
from dashboard.services.upkeep.upkeep import FULL, Upkeep

LATE_SECONDS = 30.0
"""Seconds without a heartbeat after which a runner that holds its lock counts as stuck."""


class ShowsLife(Protocol):
    """See ``services.runner.Runner``, which is built on this package."""

    def is_alive(self) -> bool:
        """Whether some process is the runner now."""
        ...

    def heartbeat(self) -> float | None:
        """When it last gave a sign of life."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the console. ``word`` is empty while it works, else what is wrong in one or two words."""

    name: str
    word: str = ""
    text: str = ""

    @property
    def ready(self) -> bool:
        """Whether it works."""
        return not self.word


class Readiness:
    """Thread-safe; no network call. That a backend is down does not make a console unready: others serve."""

    def __init__(
        self, database: Database, *, setup: Setup, keys: Keys, runner: ShowsLife, upkeep: Upkeep
    ) -> None:
        self._database = database
        self._setup = setup
        self._keys = keys
        self._runner = runner
        self._upkeep = upkeep

    def parts(self) -> tuple[Part, ...]:
        """All parts. A database that cannot be read is one that does not work."""
        try:
            with self._database.work_read():
                needed = self._setup.needed()
            state = self._keys.state()
        except StowageError as error:
            return (Part("database", "cannot be read", error.reason),)
        setup = (
            Part("setup", "not set up", "Nobody has set up this console yet.") if needed else Part("setup")
        )
        key = Part("key", "sealed", state.reason) if state.sealed else Part("key")
        return (Part("database"), setup, key, self._runner_part(), self._disk_part())

    def _runner_part(self) -> Part:
        beat = self._runner.heartbeat()
        if not self._runner.is_alive():
            return Part("runner", "not running", "Start “stowage run”: nothing is checked or copied.")
        if beat is not None and time.time() - beat > LATE_SECONDS:
            return Part("runner", "stuck", f"It gave no sign for {time.time() - beat:.0f} seconds.")
        return Part("runner")

    def _disk_part(self) -> Part:
        disks = self._upkeep.disks(())
        if disks and disks[0].used >= FULL:
            return Part("disk", "full", "The disk with the databases is nearly full.")
        return Part("disk")
