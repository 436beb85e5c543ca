"""What needs attention, one entry for each cause: what is wrong, since when, what to do. Pure.

The Overview shows them, and notifications are told from them.

What follows from a cause is told beneath it and nowhere else: a migration that stopped because its
destination is down is no second row. Worst first.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from dashboard.migration.types import Outcome, Progress, State
from dashboard.services.backends.backends import BackendInfo
from dashboard.services.backends.values import Summary
from dashboard.services.backups.backup_values import BackupInfo
from dashboard.services.fallback.write_back import Backlog
from dashboard.services.files.fallback_reads import FallbackReadCount
from dashboard.services.schedules.copy_values import CopyInfo, RunState
from dashboard.services.text import size
from dashboard.services.upkeep.upkeep import FULL, KEY_DAYS, NEARLY_FULL, DiskSpace
from dashboard.storage.wrappers.fallback.waiting_writes import FOLDER

FORGOTTEN_AFTER = 7 * 86_400
MAX_FOLLOWS = 8

_RANK = {"bad": 0, "warn": 1, "info": 2}
_DIGITS = re.compile(r"\d+(?:[.,]\d+)*")


class CauseKind(StrEnum):
    """What is wrong, without saying where."""

    BACKEND_DOWN = "backend_down"
    BACKEND_IMPAIRED = "backend_impaired"
    """It answers, but slowly, only for reading, or with errors."""
    OTHER_BACKENDS = "other_backends"
    DISK_FULL = "disk_full"
    KEY_ROTATION = "key_rotation"
    BACKUP_OVERDUE = "backup_overdue"
    BACKUP_FAILED = "backup_failed"
    SIGN_IN_LOCKED = "sign_in_locked"
    RUNNER = "runner"
    JOBS_LATE = "jobs_late"
    MIGRATION_PAUSED = "migration_paused"
    MIGRATION_FAILED = "migration_failed"
    OBJECTS_FAILED = "objects_failed"
    WAITING_WRITES = "waiting_writes"
    FALLBACK_READS = "fallback_reads"
    COPY_NOT_MADE = "copy_not_made"
    """A scheduled copy could not begin, or was skipped because the one before is still under way."""


class Page(StrEnum):
    """Where to look; the subject of the first two is a backend's name and a migration's number."""

    BACKEND = "backend"
    MIGRATION = "migration"
    BACKENDS = "backends"
    DISKS = "disks"
    KEYS = "keys"
    BACKUPS = "backups"
    HEALTH = "health"
    AUDIT = "audit"
    COPY = "copy"
    """A scheduled copy; the subject is its number."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause. ``key`` tells it from others; ``mark`` changes with what it says, so that a dismissed row
    comes back when it is another one. ``action`` words the link to ``page`` of ``subject``."""

    kind: CauseKind
    key: str
    tone: str
    title: str
    text: str
    action: str
    page: Page
    subject: str = ""
    since: float | None = None
    follows: tuple[str, ...] = ()

    @property
    def mark(self) -> str:
        """A digest of what it says. Figures in the text and in what follows do not count."""
        parts = [self.tone, self.title, *(_DIGITS.sub("", part) for part in (self.text, *self.follows))]
        return hashlib.sha256("\0".join([self.key, *parts]).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that may need attention. Times in seconds since the epoch."""

    backends: Summary
    migrations: Sequence[Progress] = ()
    runner_alive: bool = True
    backlogs: Sequence[Backlog] = ()
    fallback_reads: Sequence[FallbackReadCount] = ()
    since: Mapping[int, float] = field(default_factory=dict)
    disks: Sequence[DiskSpace] = ()
    per_day: Mapping[str, float] = field(default_factory=dict)
    """Bytes a day by which backends grow, by name."""
    key_since: float | None = None
    backup_at: float | None = None
    backup_due_since: float | None = None
    backup_failure: BackupInfo | None = None
    """The last attempt at a backup, if it failed."""
    locked: int = 0
    """How many names and addresses had too many failed sign-ins within the last hour."""
    jobs_late_since: float | None = None
    """Since when a job has waited that should long have run."""
    copies: Sequence[CopyInfo] = ()


def causes(facts: Facts, *, fold: bool = True) -> tuple[Cause, ...]:
    """All of them, worst first. Without ``fold``, also those that only follow from another one."""
    worst = [_of_backend(backend, facts.since.get(backend.id)) for backend in facts.backends.worst]
    rows = {cause.key: cause for cause in worst}
    for cause in (*_of_disks(facts), *_of_upkeep(facts), *_of_sign_ins(facts), *_of_runner(facts)):
        rows[cause.key] = cause
    for p in _latest(facts.migrations):
        found = _of_migration(p)
        stopped = p.state is not State.FINISHED
        if found is not None and not (fold and _fold(rows, (p.source, p.destination), found, stopped)):
            rows[found.key] = found
    for copy in facts.copies:
        found = _of_copy(copy)
        if found is not None and not _fold(rows, (copy.source, copy.destination), found, True):
            rows[found.key] = found
    for backlog in facts.backlogs:
        for cause in _of_backlog(backlog):
            if not (fold and _fold(rows, (backlog.home,), cause, cause.tone != "bad")):
                rows[cause.key] = cause
    for count in facts.fallback_reads:
        cause = _of_fallback_reads(count)
        if not (fold and _fold(rows, (count.home,), cause, True)):
            rows[cause.key] = cause
    others = facts.backends.failing - len(facts.backends.worst)
    if others > 0:
        rows["others"] = Cause(
            CauseKind.OTHER_BACKENDS,
            "others",
            "warn",
            f"{others:,} more {'backend is' if others == 1 else 'backends are'} not healthy",
            "They are marked in the list of backends.",
            "See the backends",
            Page.BACKENDS,
        )
    return tuple(sorted(rows.values(), key=lambda cause: _RANK[cause.tone]))


def _fold(rows: dict[str, Cause], names: Sequence[str], cause: Cause, may: bool) -> bool:
    """Put a cause beneath the trouble of one of these backends; return whether there is one."""
    above = next((key for name in names if (key := f"backend:{name}") in rows), None)
    if above is None or not may:
        return False
    if len(rows[above].follows) < MAX_FOLLOWS:
        rows[above] = replace(rows[above], follows=(*rows[above].follows, cause.title))
    return True


def _of_backend(backend: BackendInfo, since: float | None) -> Cause:
    status = backend.status
    title, tone = {
        "down": (f"{backend.name} is down", "bad"),
        "read_only": (f"{backend.name} cannot be written to", "bad" if backend.active else "warn"),
    }.get(status.badge, (f"{backend.name} does not work as it should", "warn"))
    text = " ".join(part for part in (status.message, status.remedy) if part)
    kind = CauseKind.BACKEND_DOWN if status.badge == "down" else CauseKind.BACKEND_IMPAIRED
    key = f"backend:{backend.name}"
    return Cause(kind, key, tone, title, text, "See the check", Page.BACKEND, backend.name, since)


def _of_disks(facts: Facts) -> list[Cause]:
    found = []
    for disk in facts.disks:
        if disk.used < NEARLY_FULL:
            continue
        grows = sum(max(facts.per_day.get(name, 0.0), 0.0) for name in disk.backends)
        days = f", enough for about {disk.free / grows:.0f} days at the present growth" if grows >= 1 else ""
        found.append(
            Cause(
                CauseKind.DISK_FULL,
                f"disk:{disk.path}",
                "bad" if disk.used >= FULL else "warn",
                f"The disk of {disk.name} is {disk.used * 100:.0f} % full",
                f"{size(disk.free)} are free at {disk.path}{days}. Free some space, or move files elsewhere.",
                "See the disks",
                Page.DISKS,
            )
        )
    return found


def _of_upkeep(facts: Facts) -> list[Cause]:
    found, now = [], time.time()
    if facts.key_since is not None and (days := (now - facts.key_since) / 86_400) > KEY_DAYS:
        found.append(
            Cause(
                CauseKind.KEY_ROTATION,
                "key",
                "info",
                "The key should be rotated",
                f"It is {days:.0f} days old; every {KEY_DAYS} days is usual. You get a new recovery key.",
                "Rotate the key",
                Page.KEYS,
            )
        )
    if (failure := facts.backup_failure) is not None:
        found.append(
            Cause(
                CauseKind.BACKUP_FAILED,
                "backup_failed",
                "warn",
                "The last backup of the console failed",
                f"{failure.message} {failure.remedy}".strip(),
                "See the backups",
                Page.BACKUPS,
                since=failure.finished_at,
            )
        )
    if facts.backup_due_since is not None:
        title = "The configuration was never backed up"
        if facts.backup_at is not None:
            title = f"The last backup of the configuration is {(now - facts.backup_at) / 86_400:.0f} days old"
        text = "Set a schedule, and keep the recovery key somewhere else."
        kind = CauseKind.BACKUP_OVERDUE
        found.append(Cause(kind, "backup", "info", title, text, "See the backups", Page.BACKUPS))
    return found


def _of_sign_ins(facts: Facts) -> list[Cause]:
    if not facts.locked:
        return []
    places = "1 name or address" if facts.locked == 1 else f"{facts.locked:,} names or addresses"
    return [
        Cause(
            CauseKind.SIGN_IN_LOCKED,
            "sign_in",
            "warn",
            f"Too many failed sign-ins: {places} had to wait",
            "Somebody may be guessing passwords. The audit log has the attempts.",
            "See the sign-ins",
            Page.AUDIT,
        )
    ]


def _of_copy(copy: CopyInfo) -> Cause | None:
    """A copy that should have been made. One that failed is told as its migration."""
    last = copy.last
    if not copy.enabled or last is None or last.state not in (RunState.REFUSED, RunState.SKIPPED):
        return None
    refused = last.state is RunState.REFUSED
    pair = f"{copy.source} → {copy.destination}"
    title = f"The copy {pair} could not begin" if refused else f"The copy {pair} was skipped"
    return Cause(
        CauseKind.COPY_NOT_MADE,
        f"copy:{copy.id}",
        "bad" if refused else "warn",
        title,
        f"{last.message} {last.remedy}".strip(),
        "See the schedule",
        Page.COPY,
        subject=str(copy.id),
        since=last.due_at,
    )


def _of_runner(facts: Facts) -> list[Cause]:
    waiting = sum(not p.state.final and p.state not in (State.PAUSED, State.READY) for p in facts.migrations)
    if facts.runner_alive:
        if facts.jobs_late_since is None:
            return []
        title, text = "Background jobs are late", "Checks or backups wait for jobs that do not end."
        kind, action, since = CauseKind.JOBS_LATE, "See the health", facts.jobs_late_since
        return [Cause(kind, "jobs_late", "warn", title, text, action, Page.HEALTH, since=since)]
    text = "Start “stowage run” again. Checks, counts and migrations then resume where they stopped."
    follows = (f"{waiting} {'migration waits' if waiting == 1 else 'migrations wait'}",) if waiting else ()
    tone, title = "bad" if waiting else "warn", "No runner is running"
    return [
        Cause(CauseKind.RUNNER, "runner", tone, title, text, "See the health", Page.HEALTH, follows=follows)
    ]


def _of_fallback_reads(count: FallbackReadCount) -> Cause:
    reads = "1 read" if count.reads == 1 else f"{count.reads:,} reads"
    return Cause(
        CauseKind.FALLBACK_READS,
        f"reads:{count.home}:{count.served_by}",
        "info",
        f"{count.served_by} answered {reads} of {count.home} since yesterday",
        f"{count.home} did not have these files or was unavailable.",
        "See the backend",
        Page.BACKEND,
        count.home,
    )


def _of_backlog(backlog: Backlog) -> list[Cause]:
    """Objects that were written to another backend while this one was unavailable."""
    home, at, found = backlog.home, f"{backlog.home}:{backlog.stand_in}", list[Cause]()

    def add(name: str, tone: str, title: str, text: str, action: str) -> None:
        cause = Cause(CauseKind.WAITING_WRITES, f"{name}:{at}", tone, title, text, action, Page.BACKEND, home)
        found.append(cause)

    if backlog.waiting:
        objects = "1 object waits" if backlog.waiting == 1 else f"{backlog.waiting:,} objects wait"
        title = f"{objects} in {backlog.stand_in} to be written back to {home}"
        text = f"They are stored there until {home} is available again."
        add("waiting", "warn", title, text, "See the check")
    if backlog.overtaken:
        text = (
            f"They were written while {home} was unavailable, but {home} now has objects with the same keys "
            f"that may be newer. Both are kept; the others are in {backlog.stand_in} under “{FOLDER}”."
        )
        title = f"Objects for {home} were overtaken: {backlog.overtaken:,}"
        add("overtaken", "warn", title, text, "See the backend")
    if backlog.lost:
        text = f"They are missing or damaged in {backlog.stand_in}, where they were stored."
        title = f"Objects waiting for {home} were lost: {backlog.lost:,}"
        add("lost", "bad", title, text, "See the backend")
    return found


def _latest(migrations: Sequence[Progress]) -> list[Progress]:
    """The latest migration of each pair: a failure that a later run resolved needs no attention."""
    newest: dict[tuple[str, str, str], Progress] = {}
    for p in migrations:
        newest.setdefault((p.source, p.destination, p.spec.prefix), p)
    return list(newest.values())


def _of_migration(p: Progress) -> Cause | None:
    """A plan that waits for its owner is no trouble: it stands under what is running."""
    pair, why = f"{p.source} → {p.destination}", f"{p.message} {p.remedy}".strip()

    def cause(
        kind: CauseKind, tone: str, title: str, *, text: str, action: str, since: float | None = None
    ) -> Cause:
        return Cause(kind, f"migration:{p.id}", tone, title, text, action, Page.MIGRATION, str(p.id), since)

    if p.state is State.PAUSED and p.message:
        return cause(CauseKind.MIGRATION_PAUSED, "warn", f"{pair} is paused", text=why, action="See it")
    if time.time() - (p.finished_at or time.time()) > FORGOTTEN_AFTER:
        return None
    if p.state is State.FAILED:
        return cause(
            CauseKind.MIGRATION_FAILED,
            "bad",
            f"{pair} stopped",
            text=why,
            action="See why",
            since=p.finished_at,
        )
    if p.outcome is Outcome.WITH_ERRORS:
        count = p.counters.failed
        objects = "object" if count == 1 else "objects"
        title, text = f"{count:,} {objects} failed in {pair}", "Its page has the reasons, and can retry them."
        action = f"See the {count:,} {objects}"
        return cause(CauseKind.OBJECTS_FAILED, "warn", title, text=text, action=action, since=p.finished_at)
    return None
