"""Migrations, jobs and their schedule; ledgers live in ``work.db``. Times are seconds since the epoch."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.models.backends import Backend
from dashboard.models.base import Model


class Migration(Model):
    """One run of copying a set of objects between two backends.

    If a backend is removed later, its name stays and its id becomes null. ``control`` is the requested
    state ("run", "pause", "cancel"), ``state`` the actual one. ``elapsed`` is the running time in seconds.
    """

    __tablename__ = "migrations"
    # Ledgers in the other file refer to this id: it must never come back for another migration.
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(String(63))
    source_id: Mapped[int | None] = mapped_column(ForeignKey(Backend.id, ondelete="SET NULL"), index=True)
    destination: Mapped[str] = mapped_column(String(63))
    destination_id: Mapped[int | None] = mapped_column(
        ForeignKey(Backend.id, ondelete="SET NULL"), index=True
    )
    spec: Mapped[dict[str, Any]] = mapped_column(JSON)
    state: Mapped[str] = mapped_column(String(16), index=True)
    outcome: Mapped[str | None] = mapped_column(String(16))
    control: Mapped[str] = mapped_column(String(16), default="run")
    approved_at: Mapped[float | None]
    approved_by: Mapped[str] = mapped_column(String(64), default="")
    message: Mapped[str] = mapped_column(default="")
    remedy: Mapped[str] = mapped_column(default="")
    created_by: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    elapsed: Mapped[float] = mapped_column(default=0.0)


class Job(Model):
    """A unit of background work. ``state`` is queued, running, done or failed.

    A runner claims a row by incrementing ``fence`` and setting ``owner`` and ``lease_until`` in one UPDATE;
    writes by an owner whose fence is no longer current are refused.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_claim", "state", "not_before", "id"),
        Index("ix_jobs_subject", "kind", "subject_id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    subject_id: Mapped[int]
    state: Mapped[str] = mapped_column(String(16), default="queued")
    owner: Mapped[str] = mapped_column(String(64), default="")
    fence: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[float | None]
    attempts: Mapped[int] = mapped_column(default=0)
    not_before: Mapped[float] = mapped_column(default=0.0)
    message: Mapped[str] = mapped_column(default="")
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]


class Schedule(Model):
    """A job that is enqueued every ``every`` seconds.

    The process that advances ``next_run`` from the value it has read enqueues the job.
    """

    __tablename__ = "schedule"
    __table_args__ = (UniqueConstraint("kind", "subject_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    subject_id: Mapped[int]
    every: Mapped[float]
    next_run: Mapped[float] = mapped_column(index=True)
