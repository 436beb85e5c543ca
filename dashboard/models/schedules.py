"""When recurring jobs run, copies of one backend to another by schedule, and their runs.

Times are seconds since the epoch.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.models.backends import Backend
from dashboard.models.base import Model
from dashboard.models.migrations import Migration


class JobTiming(Model):
    """When a kind of recurring job runs, if that was changed. ``timing`` as ``Timing.parse`` reads it."""

    __tablename__ = "job_timings"

    kind: Mapped[str] = mapped_column(String(32), primary_key=True)
    enabled: Mapped[bool]
    timing: Mapped[str] = mapped_column(String(32))


class CopySchedule(Model):
    """Copies of one backend to another. Names of backends stay when a backend is removed.

    ``spec`` as migrations store it. ``keep_days``: how long replaced files are kept, 0 for ever.
    """

    __tablename__ = "copy_schedules"
    # Runs refer to it after it was removed.
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(String(63))
    source_id: Mapped[int | None] = mapped_column(ForeignKey(Backend.id, ondelete="SET NULL"))
    destination: Mapped[str] = mapped_column(String(63))
    destination_id: Mapped[int | None] = mapped_column(ForeignKey(Backend.id, ondelete="SET NULL"))
    spec: Mapped[dict[str, Any]] = mapped_column(JSON)
    keep_days: Mapped[int]
    timing: Mapped[str] = mapped_column(String(32))
    enabled: Mapped[bool]
    next_run: Mapped[float] = mapped_column(index=True)
    created_by: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[float]


class CopyRun(Model):
    """One run of such a schedule, a restore from it, or a run that was due and not made.

    ``schedule_id`` stays after the schedule was removed. ``kept_in``: the folder at the destination for files
    that it replaced, empty if there was none; removed after ``keep_until`` (None: never), which ``swept_at``
    records. ``tries``: how often a run that is not made has been tried.
    """

    __tablename__ = "copy_runs"
    __table_args__ = (
        Index("ix_copy_runs_schedule", "schedule_id", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    schedule_id: Mapped[int]
    kind: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16))
    due_at: Mapped[float]
    at: Mapped[float]
    migration_id: Mapped[int | None] = mapped_column(ForeignKey(Migration.id, ondelete="SET NULL"))
    destination_id: Mapped[int | None] = mapped_column(ForeignKey(Backend.id, ondelete="SET NULL"))
    kept_in: Mapped[str] = mapped_column(String(64))
    keep_until: Mapped[float | None]
    swept_at: Mapped[float | None]
    tries: Mapped[int]
    message: Mapped[str]
    remedy: Mapped[str]


class ProbeObject(Model):
    """A test object that this console is about to write, recorded before it does."""

    __tablename__ = "probe_objects"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    backend_id: Mapped[int] = mapped_column(ForeignKey(Backend.id, ondelete="CASCADE"), index=True)
    at: Mapped[float]
