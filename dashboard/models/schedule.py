"""What is done again and again. Times are seconds since the epoch."""

from __future__ import annotations

from sqlalchemy import String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.models.base import Model


class Schedule(Model):
    """A job that is enqueued every so many seconds.

    Whoever moves ``next_run`` from the value it read to the next one has the turn.
    """

    __tablename__ = "schedule"
    __table_args__ = (UniqueConstraint("kind", "subject_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    subject_id: Mapped[int]
    every: Mapped[float]
    next_run: Mapped[float] = mapped_column(index=True)
