"""Objects that wait in one backend to be sent home to another. Times are seconds since the epoch."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.models.base import Model


class WaitingObject(Model):
    """A write that ``home`` could not take and ``stand_in`` holds under ``stored_key``.

    ``state``: ``begun`` (being written, not acknowledged), ``waiting``, ``held`` (a write at home is under
    way), ``sending``, ``sent`` (at home, overwritten or deleted: to be removed where it waited),
    ``overtaken`` (home has something that may be newer), ``lost`` (not found, or damaged, where it waited).
    ``changed_at`` is when it got there. ``key`` as the bytes it stands for. Rows keep their backends from
    being removed.
    """

    __tablename__ = "waiting_objects"
    __table_args__ = (
        Index("ix_waiting_key", "home_id", "key", "id"),
        # A number names a version of an object: it must never come back.
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    home_id: Mapped[int] = mapped_column(ForeignKey("backends.id", ondelete="RESTRICT"))
    stand_in_id: Mapped[int] = mapped_column(ForeignKey("backends.id", ondelete="RESTRICT"), index=True)
    key: Mapped[bytes]
    stored_key: Mapped[bytes]
    state: Mapped[str] = mapped_column(String(16))
    size: Mapped[int] = mapped_column(default=0)
    md5: Mapped[str] = mapped_column(String(32), default="")
    message: Mapped[str] = mapped_column(default="")
    since: Mapped[float]
    changed_at: Mapped[float]
