"""The ledger of migrations and their counters, as the first console had them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    _create_objects()
    _create_counters()
    _create_notes()


def _create_objects() -> None:
    op.create_table(
        "migration_objects",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("migration_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("modified", sa.Float(), nullable=True),
        sa.Column("etag", sa.String(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("interrupted", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("kind", sa.String(length=24), server_default=sa.text("''"), nullable=False),
        sa.Column("reason", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("remedy", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("destination_key", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("source_checksum", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("destination_checksum", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("source_version", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("destination_etag", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=True),
        sa.Column("finished_at", sa.Float(), nullable=True),
        sa.Column("seen", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("deleted", sa.Boolean(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("migration_id", "key", name="uq_migration_objects_key"),
    )
    op.create_index(
        "ix_migration_objects_state", "migration_objects", ["migration_id", "state", "id"], unique=False
    )
    op.create_index(
        "ix_migration_objects_unswept",
        "migration_objects",
        ["migration_id", "id"],
        unique=False,
        sqlite_where=sa.text("interrupted = 1"),
    )


def _create_counters() -> None:
    op.create_table(
        "migration_counters",
        sa.Column("migration_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("fence", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("listing_final", sa.Boolean(), server_default=sa.text("0"), nullable=False),
        sa.Column("found", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("found_bytes", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("copied", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("copied_bytes", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("verified", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("verified_bytes", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("skipped", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("skipped_bytes", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failed_bytes", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("deleted", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("deleted_bytes", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("to_copy", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("to_copy_bytes", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("to_replace", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("to_replace_bytes", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("to_compare", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("to_compare_bytes", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("to_keep_both", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("to_keep_both_bytes", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("migration_id"),
    )


def _create_notes() -> None:
    op.create_table(
        "migration_failure_groups",
        sa.Column("migration_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("remedy", sa.String(), nullable=False),
        sa.Column("example", sa.String(), nullable=False),
        sa.Column("objects", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("migration_id", "kind", "reason"),
    )
    op.create_table(
        "migration_live",
        sa.Column("migration_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("migration_id"),
    )
    op.create_table(
        "migration_listing",
        sa.Column("migration_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("modified", sa.Float(), nullable=True),
        sa.Column("etag", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("migration_id", "key"),
        sqlite_with_rowid=False,
    )
