"""Channels of notifications, what each of them was told, and what is still to be sent to it.

The channels are configuration and in the main database; the rest is written often and in ``work.db``, where
``channel_id`` refers to a channel without a foreign key, because it is another file. Times are seconds since
the epoch.
"""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Float, ForeignKey, Index, Integer, String, Table, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from dashboard.models.base import Model
from dashboard.models.work import metadata


class NotificationChannel(Model):
    """Where messages go. ``kind``: a value of ``services.notifications.notification_values.ChannelKind``;
    ``options``: by name, without secrets; ``events``: what it is told; ``every``: seconds between two
    messages; ``version`` counts changes."""

    __tablename__ = "notification_channels"
    # Ids are never reused: what was told to one channel must not come to mean another.
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(63), unique=True)
    kind: Mapped[str] = mapped_column(String(16))
    options: Mapped[dict[str, str]] = mapped_column(JSON)
    events: Mapped[list[str]] = mapped_column(JSON)
    every: Mapped[int]
    reminders: Mapped[bool]
    enabled: Mapped[bool]
    muted_until: Mapped[float | None]
    version: Mapped[int]
    created_by: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[float]
    secrets: Mapped[list[NotificationSecret]] = relationship(
        cascade="all, delete-orphan", passive_deletes=True, order_by="NotificationSecret.name"
    )


class NotificationSecret(Model):
    """A sealed value of a channel: its address, its key for signatures or its password. ``sent_to``: where
    the value may be sent, which it is bound to; ``hint``: its last characters, or nothing."""

    __tablename__ = "notification_secrets"

    channel_id: Mapped[int] = mapped_column(
        ForeignKey("notification_channels.id", ondelete="CASCADE"), primary_key=True
    )
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    sealed: Mapped[str]
    sent_to: Mapped[str]
    hint: Mapped[str] = mapped_column(String(8))


# One row: how far the audit log has been told, and when everything was last looked at.
watch = Table(
    "notification_watch",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("audit_id", Integer, nullable=False),
    Column("watched_at", Float, nullable=False),
)

# What is wrong, or was within the last hour: since when it was seen, and how often it began.
causes = Table(
    "notification_causes",
    metadata,
    Column("key", String, primary_key=True),
    Column("seen_at", Float, nullable=False),
    Column("gone_at", Float),
    Column("begun", Integer, nullable=False),
)

# What each channel was told about a cause last.
announced = Table(
    "notification_announced",
    metadata,
    Column("channel_id", Integer, primary_key=True, autoincrement=False),
    Column("key", String, primary_key=True),
    Column("open", Boolean, nullable=False),
    # The event as it was told.
    Column("event", JSON, nullable=False),
    Column("at", Float, nullable=False),
    # How many messages there were about it since ``burst_at``.
    Column("burst", Integer, nullable=False),
    Column("burst_at", Float, nullable=False),
)

deliveries = Table(
    "notification_deliveries",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("uid", String(32), nullable=False, unique=True),
    Column("channel_id", Integer, nullable=False),
    Column("reason", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("events", JSON, nullable=False),
    # How many more there were than one message holds.
    Column("omitted", Integer, nullable=False, server_default=text("0")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("created_at", Float, nullable=False),
    Column("next_at", Float, nullable=False),
    # The first attempt, after which it is given up in a day, and the last.
    Column("first_at", Float),
    Column("tried_at", Float),
    Column("finished_at", Float),
    # The answer's status code, the beginning of its body, what went wrong and what to do about it.
    Column("status", Integer),
    Column("answer", String, nullable=False, server_default=text("''")),
    Column("error", String, nullable=False, server_default=text("''")),
    Column("remedy", String, nullable=False, server_default=text("''")),
    # Whether a repetition is unlikely to help, so that later messages do not wait for it.
    Column("refused", Boolean, nullable=False, server_default=text("0")),
    Index("ix_notification_deliveries_due", "state", "next_at"),
    Index("ix_notification_deliveries_channel_id", "channel_id", "id"),
    sqlite_autoincrement=True,
)

# The last test of each channel, with its steps.
tests = Table(
    "notification_tests",
    metadata,
    Column("channel_id", Integer, primary_key=True, autoincrement=False),
    Column("at", Float, nullable=False),
    Column("tested_by", String(64), nullable=False),
    Column("passed", Boolean, nullable=False),
    Column("steps", JSON, nullable=False),
)
