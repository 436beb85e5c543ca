"""Indexes for the filters of a ledger; what pages show of a migration; the past of backends."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_index(
        "ix_migration_objects_reason",
        "migration_objects",
        ["migration_id", "reason", "id"],
        sqlite_where=sa.text("reason != ''"),
    )
    op.create_index("ix_migration_objects_size", "migration_objects", ["migration_id", "size", "id"])
    op.create_table(
        "migration_facts",
        sa.Column("migration_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("review", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("series", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.PrimaryKeyConstraint("migration_id"),
    )
    _history()
    _usage()


def _usage() -> None:
    numbers = ("files", "bytes", "without_checksum")
    lists = ("kinds", "sizes", "ages", "largest", "oldest")
    found = ("duplicate_groups", "duplicate_files", "duplicate_bytes")
    op.create_table(
        "usage_summaries",
        sa.Column("backend_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in numbers),
        *(sa.Column(name, sa.JSON(), nullable=False) for name in lists),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in found),
        sa.PrimaryKeyConstraint("backend_id"),
    )
    op.create_table(
        "usage_duplicates",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("backend_id", sa.Integer(), nullable=False),
        sa.Column("checksum", sa.String(length=64), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("size", "copies", "wasted")),
        sa.Column("key", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_usage_duplicates_wasted", "usage_duplicates", ["wasted", "id"])


def _history() -> None:
    op.create_table(
        "backend_checks",
        sa.Column("backend_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seconds", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("up", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("slow", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("down", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("answers", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("answer_sum", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("answer_max", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("backend_id", "seconds", "at"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "backend_states",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("backend_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("badge", sa.String(length=16), nullable=False),
        sa.Column("message", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("remedy", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_backend_states_backend_id", "backend_states", ["backend_id", "id"], unique=False)
    op.create_table(
        "backend_tests",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("backend_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("tested_by", sa.String(length=64), server_default=sa.text("''"), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("milliseconds", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("steps", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_backend_tests_backend_id", "backend_tests", ["backend_id", "id"], unique=False)
    op.create_table(
        "backend_totals",
        sa.Column("backend_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seconds", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("counted_at", sa.Float(), nullable=False),
        sa.Column("objects", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("backend_id", "seconds", "at"),
        sqlite_with_rowid=False,
    )
