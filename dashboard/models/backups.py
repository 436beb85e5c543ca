"""Backups of the console itself. Times are seconds since the epoch."""

from __future__ import annotations

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.models.base import Model


class Backup(Model):
    """One archive of both databases, or the attempt to make it. ``backend``: where it is, empty for the
    folder ``backups`` of the instance; a name, because it must be found after the backend was removed and
    added again. ``state``: a value of ``services.backups.backup_values.BackupState``. ``sha256`` is the
    archive's."""

    __tablename__ = "backups"
    __table_args__ = (Index("ix_backups_state", "state", "finished_at"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    backend: Mapped[str] = mapped_column(String(63))
    key: Mapped[str] = mapped_column(String(255))
    state: Mapped[str] = mapped_column(String(16))
    requested_by: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    size: Mapped[int | None]
    sha256: Mapped[str] = mapped_column(String(64))
    message: Mapped[str]
    remedy: Mapped[str]
