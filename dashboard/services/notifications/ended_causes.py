"""What is said when a cause is gone: only what is known. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dashboard.migration.types import Progress, State
from dashboard.services.attention.causes import Cause, Facts
from dashboard.services.notifications.notification_values import Event, EventKind
from dashboard.services.text import size
from dashboard.services.upkeep.upkeep import NEARLY_FULL

DISK_MARGIN = 0.02
"""How far below the limit a disk has to be to count as emptied: files come and go."""


@dataclass(frozen=True, slots=True)
class Situation:
    """How things stand: what is wrong, with and without what only follows from it; the badges of all
    backends by name; a migration by its number, or None."""

    facts: Facts
    folded: Mapping[str, Cause]
    unfolded: Mapping[str, Cause]
    badges: Mapping[str, str]
    migration: Callable[[str], Progress | None]


@dataclass(frozen=True, slots=True)
class Ending:
    """``title`` and ``text`` of the message; without a title there is nothing to say."""

    title: str = ""
    text: str = ""


_SILENT = Ending()


def ending(announced: Event, situation: Situation) -> Ending | None:
    """How something that was announced ended; None if it has not, or if nobody can know."""
    if announced.kind in (EventKind.BACKEND_DOWN, EventKind.BACKEND_IMPAIRED):
        return _of_backend(announced, situation)
    if announced.kind is EventKind.DISK_FULL:
        return _of_disk(announced, situation)
    if announced.kind is EventKind.MIGRATION_PAUSED:
        return _of_migration(announced, situation)
    return Ending(_TITLES.get(announced.key) or f"Resolved: {announced.title}")


_TITLES = {
    "key": "The key was rotated",
    "backup": "The console is backed up again",
    "backup_failed": "The backup of the console worked again",
    "sign_in": "No sign-in has to wait any more",
    "jobs_late": "Background jobs are on time again",
}


def _of_backend(announced: Event, situation: Situation) -> Ending | None:
    name, badge = announced.subject, situation.badges.get(announced.subject)
    if badge is None:
        return _SILENT
    if badge == "healthy":
        was_down = announced.kind is EventKind.BACKEND_DOWN
        return Ending(f"{name} is up again" if was_down else f"{name} works as it should again")
    if announced.kind is EventKind.BACKEND_DOWN and badge in ("degraded", "read_only"):
        rest = "but cannot be written to" if badge == "read_only" else "but does not work as it should"
        now = situation.unfolded.get(announced.key)
        return Ending(f"{name} is up again, {rest}", now.text if now else "")
    # It is down, which a channel may not want to hear about, or was not checked yet.
    return None


def _of_disk(announced: Event, situation: Situation) -> Ending | None:
    disk = next((each for each in situation.facts.disks if f"disk:{each.path}" == announced.key), None)
    if disk is None or disk.used > NEARLY_FULL - DISK_MARGIN:
        return None
    return Ending(f"The disk of {disk.name} has space again", f"{size(disk.free)} are free at {disk.path}.")


def _of_migration(announced: Event, situation: Situation) -> Ending | None:
    found = situation.migration(announced.subject)
    # How it ended is a message of its own.
    if found is None or found.state.final:
        return _SILENT
    pair = f"{found.source} → {found.destination}"
    if found.state is State.PAUSED:
        return None if found.message else Ending(f"{pair} is paused on request")
    return Ending(f"{pair} is running again")
