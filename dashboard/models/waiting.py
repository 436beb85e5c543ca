"""Waiting writes: objects on a stand-in until home is available. Times are seconds since the epoch."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.models.backends import Backend
from dashboard.models.base import Model


class WaitingObject(Model):
    """A write that ``home`` could not take and that ``stand_in`` stores under ``stored_key``.

    ``state``: ``begun`` (being written, not acknowledged), ``waiting``, ``sending`` (being written back),
    ``settling`` (at home, where an earlier write may still arrive over it), ``sent`` (at home, overwritten or
    deleted: to be removed from the stand-in), ``overtaken`` (home has an object that may be newer), ``lost``
    (missing or damaged on the stand-in). ``changed_at`` is when it entered that state. ``key`` is the key in
    bytes. ``owner`` is the process that writes it. ``attributes`` is JSON, null in rows that are older than
    the column. ``attempts``: earlier writes of the key that may have reached home. A row keeps both of its
    backends from being removed.
    """

    __tablename__ = "waiting_objects"
    __table_args__ = (
        Index("ix_waiting_key", "home_id", "key", "id"),
        # A number names a version of an object: it must never come back.
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    home_id: Mapped[int] = mapped_column(ForeignKey(Backend.id, ondelete="RESTRICT"))
    stand_in_id: Mapped[int] = mapped_column(ForeignKey(Backend.id, ondelete="RESTRICT"), index=True)
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
    """A writer that may be replacing a key at home; until it is done, waiting writes of the key stay.

    One row per writer. It is valid while ``owner``, a process, is alive or, if that cannot be known, until
    ``until``.
    """

    __tablename__ = "waiting_holds"
    __table_args__ = (Index("ix_waiting_holds_key", "home_id", "key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    home_id: Mapped[int] = mapped_column(ForeignKey(Backend.id, ondelete="CASCADE"))
    key: Mapped[bytes]
    owner: Mapped[str]
    until: Mapped[float]


class WaitingTry(Model):
    """A write to home that has been in progress for long, or was written back recently. ``owner`` is the
    writing process: if it dies, the write may still complete, and only this row tells of it. Nobody owns what
    was written back."""

    __tablename__ = "waiting_tries"
    __table_args__ = (Index("ix_waiting_tries_key", "home_id", "key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    home_id: Mapped[int] = mapped_column(ForeignKey(Backend.id, ondelete="CASCADE"))
    key: Mapped[bytes]
    md5: Mapped[str] = mapped_column(String(32))
    size: Mapped[int]
    owner: Mapped[str]
    at: Mapped[float]
