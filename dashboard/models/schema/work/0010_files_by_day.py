"""How many files each backend has of each day; what the figures of Usage were summed up from;
content that several backends hold; chunks of migrations, which carriers claim."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from dashboard.models import files_by_day
from dashboard.models.work import KeyText

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("usage_summaries", sa.Column("changes", sa.Integer(), nullable=True))
    files_by_day.create(op.get_bind())
    _create_shared_contents()
    _create_carriers()


def _create_shared_contents() -> None:
    op.create_table(
        "usage_shared_contents",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("key", KeyText(), nullable=False),
        sa.Column("places", sa.JSON(), nullable=False),
        sa.Column("spare_bytes", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_usage_shared_contents_spare", "usage_shared_contents", ["spare_bytes", "size", "id"])
    op.create_table(
        "usage_shared_totals",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("on_purpose", sa.JSON(), nullable=False),
        sa.Column("contents", sa.Integer(), nullable=False),
        sa.Column("spare_files", sa.Integer(), nullable=False),
        sa.Column("spare_bytes", sa.Integer(), nullable=False),
        sa.Column("repeated_bytes", sa.Integer(), nullable=False),
        sa.Column("without_sha256", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def _create_carriers() -> None:
    op.create_table(
        "migration_chunks",
        sa.Column("migration_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("first_id", sa.Integer(), nullable=False),
        sa.Column("last_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("carrier", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("lease_until", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("fence", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("migration_id", "number"),
    )
    op.create_table(
        "migration_carriers",
        sa.Column("migration_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("workers", sa.Integer(), nullable=False),
        sa.Column("bytes_per_second", sa.Float(), nullable=True),
        sa.Column("objects_per_second", sa.Float(), nullable=True),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("status", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.PrimaryKeyConstraint("migration_id", "number"),
    )
