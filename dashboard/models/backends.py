"""Backends, their sealed secrets, and their last known state. Times are seconds since the epoch."""

from __future__ import annotations

from sqlalchemy import JSON, ForeignKey, Index, String, column, text, true
from sqlalchemy.orm import Mapped, mapped_column, relationship

from dashboard.models.base import Model


class Backend(Model):
    """A configured place that holds objects.

    ``options`` holds the non-secret options only. ``version`` counts edits, for drivers built from this
    row. At most one row is ``active``: clear the old one, flush, then set the new one.
    """

    __tablename__ = "backends"
    __table_args__ = (
        Index("one_active_backend", "active", unique=True, sqlite_where=column("active") == true()),
        # Sealed secrets are bound to this id: it must never come back for another backend.
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(63), unique=True)
    driver: Mapped[str] = mapped_column(String(32))
    preset: Mapped[str] = mapped_column(String(64))
    options: Mapped[dict[str, str]] = mapped_column(JSON)
    version: Mapped[int] = mapped_column(default=1)
    active: Mapped[bool] = mapped_column(default=False)
    fallback_position: Mapped[int | None]
    created_at: Mapped[float]
    updated_at: Mapped[float]

    secrets: Mapped[list[BackendSecret]] = relationship(
        cascade="all, delete-orphan", passive_deletes=True, order_by="BackendSecret.name"
    )
    status: Mapped[BackendStatus] = relationship(cascade="all, delete-orphan", passive_deletes=True)


class BackendSecret(Model):
    """One sealed secret. ``hint`` is the last characters of a key, for "set, ends in".

    ``sent_to`` is the recipient it may be sent to, which the seal protects too; empty if an earlier version
    stored the secret and it has not been unsealed since.
    """

    __tablename__ = "backend_secrets"

    backend_id: Mapped[int] = mapped_column(ForeignKey("backends.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    sealed: Mapped[str]
    hint: Mapped[str] = mapped_column(String(8), default="")
    sent_to: Mapped[str] = mapped_column(default="", server_default=text("''"))


class BackendStatus(Model):
    """The results of the last check and count. Written often, so kept apart from the configuration.

    ``counting_at`` is when a running count last reported progress; null if none is running.
    """

    __tablename__ = "backend_status"

    backend_id: Mapped[int] = mapped_column(ForeignKey("backends.id", ondelete="CASCADE"), primary_key=True)
    badge: Mapped[str] = mapped_column(String(16), default="unknown")
    latency_ms: Mapped[float | None]
    message: Mapped[str] = mapped_column(default="")
    remedy: Mapped[str] = mapped_column(default="")
    checked_at: Mapped[float | None]
    tested_at: Mapped[float | None]
    objects: Mapped[int | None]
    bytes: Mapped[int | None]
    counted_at: Mapped[float | None]
    counting_at: Mapped[float | None]
    counting_objects: Mapped[int] = mapped_column(default=0)
    counting_bytes: Mapped[int] = mapped_column(default=0)
    # Folders whose objects are not in the count because they could not be read.
    unreadable_folders: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    # When writing was last tried, null if never here; and why it was denied, empty if it works.
    write_checked_at: Mapped[float | None]
    write_denied: Mapped[str] = mapped_column(default="", server_default=text("''"))


class BackendNames(Model):
    """A backend's name rules, as JSON of ``NameRules``, and the ``version`` of the backend they were found
    for. No row until they have been probed."""

    __tablename__ = "backend_names"

    backend_id: Mapped[int] = mapped_column(ForeignKey("backends.id", ondelete="CASCADE"), primary_key=True)
    version: Mapped[int]
    rules: Mapped[str]
    learnt_at: Mapped[float]


class Comparison(Model):
    """How many objects of the active backend another backend has; shown before a switch."""

    __tablename__ = "comparisons"

    target_id: Mapped[int] = mapped_column(ForeignKey("backends.id", ondelete="CASCADE"), primary_key=True)
    active_id: Mapped[int] = mapped_column(ForeignKey("backends.id", ondelete="CASCADE"))
    target_version: Mapped[int] = mapped_column(default=0)
    active_version: Mapped[int] = mapped_column(default=0)
    running: Mapped[bool] = mapped_column(default=False)
    total: Mapped[int] = mapped_column(default=0)
    present: Mapped[int] = mapped_column(default=0)
    missing: Mapped[int] = mapped_column(default=0)
    differing: Mapped[int] = mapped_column(default=0)
    started_at: Mapped[float | None]
    at: Mapped[float | None]
    message: Mapped[str] = mapped_column(default="")
    # {"missing": [keys], "differing": [keys]}: the first of each.
    examples: Mapped[dict[str, list[str]]] = mapped_column(JSON, default=dict, server_default=text("'{}'"))
