"""Users, sessions, failed sign-ins, audit log and settings. Times are seconds since the epoch."""

from __future__ import annotations

from sqlalchemy import JSON, CheckConstraint, ForeignKey, String, text
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.models.base import Model


class User(Model):
    """A user. ``role`` is a value of ``services.permissions.Role``."""

    __tablename__ = "users"
    # Ids are never reused: a session or an audit row must not come to mean another person.
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(String(64), unique=True)
    password_hash: Mapped[str]
    role: Mapped[str] = mapped_column(String(16))
    disabled: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[float]
    last_sign_in: Mapped[float | None]
    # What the person chose for their pages; empty where they chose nothing.
    language: Mapped[str] = mapped_column(String(16), default="", server_default=text("''"))
    time_zone: Mapped[str] = mapped_column(String(64), default="", server_default=text("''"))
    theme: Mapped[str] = mapped_column(String(8), default="", server_default=text("''"))


class SignInSession(Model):
    """A signed-in browser. Only the SHA-256 of its token is stored."""

    __tablename__ = "sessions"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[float]
    last_seen: Mapped[float]
    expires_at: Mapped[float] = mapped_column(index=True)
    address: Mapped[str] = mapped_column(String(64))
    device: Mapped[str] = mapped_column(String(64), default="", server_default=text("''"))


class SignInChallenge(Model):
    """A right password that waits for a code. Only the SHA-256 of its token is stored."""

    __tablename__ = "sign_in_challenges"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    expires_at: Mapped[float]
    address: Mapped[str] = mapped_column(String(64))
    device: Mapped[str] = mapped_column(String(64))
    failures: Mapped[int]


class TwoFactor(Model):
    """A person's secret for one-time codes, sealed. It counts once it is confirmed; ``last_step`` is the one
    whose code was used last."""

    __tablename__ = "two_factor"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    sealed: Mapped[str]
    confirmed_at: Mapped[float | None]
    last_step: Mapped[int]


class RecoveryCode(Model):
    """An unused recovery code: its SHA-256."""

    __tablename__ = "recovery_codes"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    code_hash: Mapped[str] = mapped_column(String(64), primary_key=True)


class SignInAttempts(Model):
    """Failed sign-ins of one username or one address, for throttling.

    ``name`` is a digest: people type passwords into the username field.
    """

    __tablename__ = "sign_in_attempts"

    scope: Mapped[str] = mapped_column(String(16), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    failures: Mapped[int] = mapped_column(default=0)
    last_at: Mapped[float] = mapped_column(index=True)
    blocked_until: Mapped[float] = mapped_column(default=0.0)


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
    # How it came into the chain, the code of the row before and its own; empty until it is chained.
    chained: Mapped[str] = mapped_column(String(16), default="", server_default=text("''"))
    previous: Mapped[str] = mapped_column(String(64), default="", server_default=text("''"))
    mac: Mapped[str] = mapped_column(String(64), default="", server_default=text("''"))


class AuditHead(Model):
    """One row: the newest of the audit log's chain and what was removed before its first, signed."""

    __tablename__ = "audit_head"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    last_id: Mapped[int]
    last_mac: Mapped[str] = mapped_column(String(64))
    start_id: Mapped[int]
    start_mac: Mapped[str] = mapped_column(String(64))
    removed: Mapped[int]
    signature: Mapped[str] = mapped_column(String(64))


class Setting(Model):
    """A named setting of the console: plain in ``value`` or sealed in ``sealed``, never both."""

    __tablename__ = "settings"
    __table_args__ = (CheckConstraint("value IS NULL OR sealed IS NULL", name="plain_or_sealed"),)

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str | None]
    sealed: Mapped[str | None]
