"""Audit rows and console-wide settings. Times are seconds since the epoch."""

from __future__ import annotations

from sqlalchemy import JSON, CheckConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.models.base import Model


class AuditEntry(Model):
    """Who did what to what, written in the transaction that does it. ``detail`` never holds a secret."""

    __tablename__ = "audit"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[float] = mapped_column(index=True)
    actor: Mapped[str] = mapped_column(String(64), index=True)
    via: Mapped[str] = mapped_column(String(16))
    address: Mapped[str] = mapped_column(String(64), default="")
    action: Mapped[str] = mapped_column(String(64), index=True)
    subject: Mapped[str]
    detail: Mapped[dict[str, str]] = mapped_column(JSON)
    outcome: Mapped[str] = mapped_column(String(16), default="done")


class Setting(Model):
    """A named value of the console itself: plain in ``value`` or sealed in ``sealed``, never both."""

    __tablename__ = "settings"
    __table_args__ = (CheckConstraint("value IS NULL OR sealed IS NULL", name="plain_or_sealed"),)

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str | None]
    sealed: Mapped[str | None]
