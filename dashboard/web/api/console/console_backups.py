"""Backups of the console itself, and the key that seals what they hold. In a session only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from dashboard.services.backups.backup_values import BackupInfo, BackupSchedule, BackupSummary
from dashboard.services.keys import KeyState
from dashboard.services.people.passwords import MAX_LENGTH
from dashboard.services.permissions import Permission
from dashboard.storage.types import Secret
from dashboard.web.api.routes import Reply, Resource
from dashboard.web.api.schemas import Field
from dashboard.web.context import actor, services

resource = Resource(
    "Backups and keys",
    "Backups of this console, and the key that seals its secrets. For sessions of administrators: API tokens "
    "are refused.",
)


@dataclass(frozen=True, slots=True)
class BackupList:
    """The newest backups and attempts, and how things stand."""

    backups: tuple[BackupInfo, ...]
    summary: BackupSummary


@dataclass(frozen=True, slots=True)
class NewSchedule:
    """When backups are made (every 1, 6, 12, 24 or 168 hours), how many are kept, and where they go: the name
    of a backend, or empty for this machine."""

    enabled: bool
    every_hours: int = 24
    keep: Annotated[int, Field(minimum=1)] = 14
    backend: Annotated[str, Field(maximum_length=63)] = ""


@dataclass(frozen=True, slots=True)
class RotationRequest:
    """The password of the person who is signed in."""

    password: Annotated[Secret, Field(maximum_length=MAX_LENGTH)]


@dataclass(frozen=True, slots=True)
class RotatedKey:
    """The new key. `recovery_key` is shown this once; the one before opens nothing from now on."""

    key_id: str
    rows: int
    recovery_key: str


@dataclass(frozen=True, slots=True)
class RecoveryRequest:
    """A recovery key that was written down."""

    recovery_key: Annotated[Secret, Field(maximum_length=4096)]


@resource.route("GET", "/backups", Permission.KEYS, returns=BackupList)
def list_backups() -> BackupList:
    """List the backups."""
    return BackupList(services().backups.list(), services().backups.summary())


@resource.route("POST", "/backups", Permission.KEYS, returns=BackupInfo, status=202)
def make_backup() -> Reply:
    """Have a backup made now, in the background.

    If one is queued already, that one is returned. A backup counts once it was read back.
    """
    number = services().backups.request(actor())
    return Reply(services().backups.get(number), 202)


@resource.route("GET", "/backups/schedule", Permission.KEYS, returns=BackupSchedule)
def show_schedule() -> BackupSchedule:
    """Return when backups are made, and where they go."""
    return services().backups.schedule()


@resource.route("PUT", "/backups/schedule", Permission.KEYS, body=NewSchedule, returns=BackupSchedule)
def change_schedule(body: NewSchedule) -> BackupSchedule:
    """Change when backups are made, and where they go."""
    schedule = BackupSchedule(body.enabled, body.every_hours, body.keep, body.backend)
    services().backups.change_schedule(actor(), schedule)
    return services().backups.schedule()


@resource.route("GET", "/key", Permission.KEYS, returns=KeyState)
def show_key() -> KeyState:
    """Return whether stored secrets can be opened; if not, why, and what to do."""
    return services().keys.state()


@resource.route(
    "POST",
    "/key/rotate",
    Permission.KEYS,
    body=RotationRequest,
    returns=RotatedKey,
    errors={429: "Too many wrong passwords."},
)
def rotate_key(body: RotationRequest) -> RotatedKey:
    """Seal every secret with a new key.

    The recovery key of before opens nothing from then on, except older backups.
    """
    services().accounts.confirm_password(actor(), body.password)
    done = services().keys.rotate(actor())
    return RotatedKey(done.key_id, done.rows, done.recovery_key)


@resource.route("POST", "/key/restore", Permission.KEYS, body=RecoveryRequest, returns=KeyState)
def restore_key(body: RecoveryRequest) -> KeyState:
    """Restore a lost key file.

    Only if the recovery key opens what is stored.
    """
    return services().keys.restore(actor(), body.recovery_key.reveal())
