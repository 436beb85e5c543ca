"""What the environment editor shows and returns. Secrets are never in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dashboard.envfile.backups import Backup
from dashboard.errors import InvalidInput
from dashboard.services.environment.live_settings import RunnerReport
from dashboard.services.environment.variables import KnownVariable

Changes = Mapping[str, str | None]
"""Values to set by name; None removes the variable."""


@dataclass(frozen=True, slots=True)
class VariableState:
    """A variable as shown. ``value``: what the file has, empty for what is masked; ``shown``: the value that
    counts, masked. ``source``: “process”, “file” or “default”; ``in_file``: whether the file has it, too.
    ``locked``: why it cannot be changed here, empty if it can. ``pending``: it counts after a restart."""

    variable: KnownVariable
    value: str
    shown: str
    source: str
    in_file: bool
    locked: str
    pending: bool
    repeated: bool

    @property
    def is_set(self) -> bool:
        """Whether anything sets it."""
        return self.source != "default"


@dataclass(frozen=True, slots=True)
class EnvironmentState:
    """The settings file and every variable. ``others``: how many variables of the file are not Stowage's.
    ``warning``: about its permissions; ``error``: why it was not read again; ``problem``: why it cannot be
    edited. ``pending``: what waits for a restart of the web server or the runner."""

    file: str
    exists: bool
    version: str
    modified: float | None
    variables: tuple[VariableState, ...]
    others: int
    warning: str
    error: str
    problem: str
    pending: tuple[str, ...]
    runner: RunnerReport | None
    consoles: tuple[ConsoleReport, ...] = ()

    @property
    def runner_is_behind(self) -> bool:
        """Whether the runner has not read the file as it is now."""
        return self.runner is not None and self.runner.version != self.version


@dataclass(frozen=True, slots=True)
class ConsoleReport:
    """What another console on the same database has read of the file. ``behind``: not as it is now.
    ``pending``: variables that wait for its restart; ``error``: why it did not read the file again."""

    name: str
    behind: bool
    pending: tuple[str, ...]
    error: str


@dataclass(frozen=True, slots=True)
class VariableChange:
    """One variable before and after, masked; None where it is not set. ``when``: a sentence."""

    name: str
    category: str
    before: str | None
    after: str | None
    secret: bool
    when: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What saving would change. ``errors`` by variable; ``others``: names of the file that are not Stowage's
    and change, too (by a restore). ``version``: the file that it was made for."""

    version: str
    changes: tuple[VariableChange, ...]
    errors: tuple[InvalidInput, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def needs_password(self) -> bool:
        """Whether a secret changes."""
        return any(change.secret for change in self.changes)

    @property
    def count(self) -> int:
        """How many variables change."""
        return len(self.changes) + len(self.others)

    def error(self, name: str) -> InvalidInput | None:
        """What is wrong with a variable."""
        return next((each for each in self.errors if each.subject == name), None)


@dataclass(frozen=True, slots=True)
class BackupPlan:
    """A backup, and what restoring it would change."""

    backup: Backup
    plan: Plan
