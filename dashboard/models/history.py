"""Tables of ``work.db`` about the past of backends: checks, tests, states and counts.

They are written every minute, so they are not in the main database. ``backend_id`` refers to a row of that
database without a foreign key, because it is another file. Times are seconds since the epoch, sizes bytes.
"""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Float, Index, Integer, String, Table, text

from dashboard.models.work import metadata

# Every check is added to a minute, an hour and a day at once, so that thinning out is only deleting.
checks = Table(
    "backend_checks",
    metadata,
    Column("backend_id", Integer, primary_key=True, autoincrement=False),
    # How long the row's period is: 60, 3600 or 86400 seconds; and when it begins.
    Column("seconds", Integer, primary_key=True, autoincrement=False),
    Column("at", Integer, primary_key=True, autoincrement=False),
    Column("up", Integer, nullable=False, server_default=text("0")),
    Column("slow", Integer, nullable=False, server_default=text("0")),
    Column("down", Integer, nullable=False, server_default=text("0")),
    # Of the checks with an answer: how many, milliseconds in all, and the longest.
    Column("answers", Integer, nullable=False, server_default=text("0")),
    Column("answer_sum", Float, nullable=False, server_default=text("0")),
    Column("answer_max", Float, nullable=False, server_default=text("0")),
    sqlite_with_rowid=False,
)

# A row whenever a backend's badge or its reason changed.
states = Table(
    "backend_states",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("backend_id", Integer, nullable=False),
    Column("at", Float, nullable=False),
    Column("badge", String(16), nullable=False),
    Column("message", String, nullable=False, server_default=text("''")),
    Column("remedy", String, nullable=False, server_default=text("''")),
    Index("ix_backend_states_backend_id", "backend_id", "id"),
)

tests = Table(
    "backend_tests",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("backend_id", Integer, nullable=False),
    Column("at", Float, nullable=False),
    Column("tested_by", String(64), nullable=False, server_default=text("''")),
    Column("passed", Boolean, nullable=False),
    Column("milliseconds", Float, nullable=False, server_default=text("0")),
    # Name, label, state, milliseconds, message and remedy of each step.
    Column("steps", JSON, nullable=False),
    Index("ix_backend_tests_backend_id", "backend_id", "id"),
)

# The last count in each hour and day.
totals = Table(
    "backend_totals",
    metadata,
    Column("backend_id", Integer, primary_key=True, autoincrement=False),
    Column("seconds", Integer, primary_key=True, autoincrement=False),
    Column("at", Integer, primary_key=True, autoincrement=False),
    Column("counted_at", Float, nullable=False),
    Column("objects", Integer, nullable=False),
    Column("bytes", Integer, nullable=False),
    sqlite_with_rowid=False,
)
