"""Objects that wait in one backend to be sent home to another. Times are seconds since the epoch."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.models.base import Model


class WaitingObject(Model):
    """A write that ``home`` could not take and ``stand_in`` holds under ``stored_key``.

    ``state``: ``begun`` (being written, not acknowledged), ``waiting``, ``sending``, ``settling`` (at home,
    where an earlier write may still arrive over it), ``sent`` (at home, overwritten or deleted: to be
    removed where it waited), ``overtaken`` (home has something that may be newer), ``lost`` (not found, or
    damaged, where it waited). ``changed_at`` is when it got there. ``key`` as the bytes it stands for.
    ``owner`` is the process that writes it. ``attributes`` as JSON, null in rows of before they were noted.
    ``attempts``: what may have been put under its key at home before, as in ``services.waiting_rows``.
    Rows keep their backends from being removed.
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
    owner: Mapped[str] = mapped_column(default="", server_default=text("''"))
    attributes: Mapped[str | None]
    attempts: Mapped[str] = mapped_column(default="", server_default=text("''"))
    create_only: Mapped[bool] = mapped_column(default=False, server_default="0")


class WaitingHold(Model):
    """A writer that may replace at home what waits for a key, which is not sent meanwhile.

    One row for each writer. It counts while ``owner``, a process, is alive, and where that cannot be known
    until ``until``.
    """

    __tablename__ = "waiting_holds"
    __table_args__ = (Index("ix_waiting_holds_key", "home_id", "key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    home_id: Mapped[int] = mapped_column(ForeignKey("backends.id", ondelete="CASCADE"))
    key: Mapped[bytes]
    owner: Mapped[str]
    until: Mapped[float]


class WaitingTry(Model):
    """A content that has been on its way home for long. ``owner`` is the process that tries; once that is
    dead, the content may still arrive, and nobody else knows of it."""

    __tablename__ = "waiting_tries"
    __table_args__ = (Index("ix_waiting_tries_key", "home_id", "key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    home_id: Mapped[int] = mapped_column(ForeignKey("backends.id", ondelete="CASCADE"))
    key: Mapped[bytes]
    md5: Mapped[str] = mapped_column(String(32))
    size: Mapped[int]
    owner: Mapped[str]
    at: Mapped[float]
