"""The settings of a running process: those that can change without a restart follow the settings file."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dashboard.envfile.store import MISSING, EnvFile
from dashboard.errors import StowageError
from dashboard.models.console import Setting
from dashboard.services.database import Database
from dashboard.settings import Environment, Settings, SettingsError, read_environment

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
RUNNER = "environment.runner"
"""The setting in which the runner says what it has read."""


@dataclass(frozen=True, slots=True)
class RunnerReport:
    """What the runner, or another process, has read: the version of the file, and the variables that wait for
    its restart."""

    version: str
    pending: tuple[str, ...]
    error: str


class LiveSettings:
    """``current`` follows the file; ``started`` is what this process began with. Thread-safe."""

    def __init__(self, started: Settings) -> None:
        base = started.environment or Environment(started.instance / ".env", {}, {}, MISSING)
        self.started = started
        self.current = started
        self.environment = base
        self.error = ""
        self._base = base
        self._file = EnvFile(base.file)
        self._signature = self._file.signature()
        self._next = 0.0
        self._lock = threading.Lock()
        self._apply: list[Callable[[Settings, Settings], None]] = []

    def public_url(self) -> str:
        """How people reach the console, or nothing where that is not set."""
        return self.current.public_url or ""

    def subscribe(self, apply: Callable[[Settings, Settings], None]) -> None:
        """Call ``apply`` with the settings before and now whenever they change."""
        self._apply.append(apply)

    def poll(self) -> bool:
        """Read the file again if it has changed; it is checked once a second at most. Returns whether it was
        read."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + POLL_SECONDS
        if self._file.signature() == self._signature:
            return False
        self.reload()
        return True

    def reload(self) -> None:
        """Read the file and apply what can change now. A file that cannot be used changes nothing; ``error``
        says why, and so does the log."""
        with self._lock:
            self._signature = self._file.signature()
            try:
                found = read_environment(self.started.instance, self._base.process)
                new = self._changed(found)
            except SettingsError as error:
                if self.error != str(error):
                    log.warning("The settings file was not read again: %s", error)
                self.error = str(error)
                return
            before = self.current
            self.current, self.environment, self.error = new, found, ""
        if new != before:
            log.info("The settings file was read again.")
            for apply in self._apply:
                apply(before, new)

    def pending(self) -> tuple[str, ...]:
        """Variables whose value is another one than this process began with, and that count after a
        restart."""
        before, now = self._base.merged(), self.environment.merged()
        if before == now:
            return ()
        # The table of variables knows those of every driver; a command does not need it.
        from dashboard.services.environment.variables import AT_START

        return tuple(name for name in AT_START if before.get(name) != now.get(name))

    def report(self) -> dict[str, object]:
        """What this process has read: the fields of a :class:`RunnerReport`."""
        return {
            "version": self.environment.version,
            "pending": list(self.pending()),
            "error": self.error,
        }

    def publish(self, database: Database) -> None:
        """Say in the database what the runner, whose process this is, has read."""
        text = json.dumps(self.report())
        try:
            with database.write() as session:
                session.merge(Setting(key=RUNNER, value=text))
        except StowageError as error:
            log.warning("What the runner has read was not noted: %s", error.reason)

    def _changed(self, found: Environment) -> Settings:
        """Only what differs from the start is taken: the command line overrides the rest."""
        from dashboard.services.environment.variables import LIVE

        before, now = self._base.merged(), found.merged()
        parsed = Settings.parse(now, self.started.instance, found)
        fields: dict[str, Any] = {"environment": found}
        for name in LIVE:
            if before.get(name) != now.get(name):
                field = name.removeprefix("STOWAGE_").lower()
                fields[field] = getattr(parsed, field)
        return replace(self.started, **fields)


def runner_report(database: Database) -> RunnerReport | None:
    """What the runner said last; None if it never did."""
    with database.read() as session:
        row = session.get(Setting, RUNNER)
        text = row.value if row else None
    return report_of(json.loads(text)) if text else None


def report_of(fields: Mapping[str, Any]) -> RunnerReport | None:
    """What :meth:`LiveSettings.report` returned in some process; None for nothing."""
    if not fields:
        return None
    return RunnerReport(fields["version"], tuple(fields["pending"]), fields["error"])
