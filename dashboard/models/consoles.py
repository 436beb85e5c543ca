"""What several consoles on one PostgreSQL database have to know of each other. Times are seconds since the
epoch, by the clock of the database server. A console alone on files leaves these tables empty."""

from __future__ import annotations

from sqlalchemy import JSON, String
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.models.base import Model


class Process(Model):
    """A web server or a runner that is there. ``id`` identifies the process; ``active``: it is the runner;
    ``marker``: the file in the instance folder that shows others that they have the same one."""

    __tablename__ = "processes"

    id: Mapped[str] = mapped_column(String(128), primary_key=True)
    role: Mapped[str] = mapped_column(String(16))
    host: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int]
    address: Mapped[str] = mapped_column(String(255))
    version: Mapped[str] = mapped_column(String(32))
    started_at: Mapped[float]
    seen_at: Mapped[float] = mapped_column(index=True)
    active: Mapped[bool]
    marker: Mapped[str] = mapped_column(String(64))
    # What it has read of the settings file: its version, variables that wait for a restart, what is wrong.
    settings: Mapped[dict[str, object]] = mapped_column(JSON)


class RateBucket(Model):
    """How many requests somebody may send now; see ``services.people.shared_rates``."""

    __tablename__ = "rate_buckets"

    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    level: Mapped[float]
    at: Mapped[float] = mapped_column(index=True)


class FollowedTest(Model):
    """A test of a connection or a channel, which may be followed from another console than the one that runs
    it."""

    __tablename__ = "test_runs"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    actor: Mapped[str] = mapped_column(String(64))
    at: Mapped[float] = mapped_column(index=True)
    mark: Mapped[str] = mapped_column(String(64))
    state: Mapped[dict[str, object]] = mapped_column(JSON)
