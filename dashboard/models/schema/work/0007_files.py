"""The catalogue of files, uploads, and deletions that can be undone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    _deletions()
    _catalogue()
    _cleanups()
    _uploads()


def _deletions() -> None:
    op.create_table(
        "fallback_reads",
        sa.Column("backend_id", sa.Integer(), nullable=False),
        sa.Column("served_by_id", sa.Integer(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("reads", sa.Integer(), nullable=False),
        sa.Column("last_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("backend_id", "served_by_id", "day"),
    )
    op.create_table(
        "file_deletions",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("backend_id", sa.Integer(), nullable=False),
        sa.Column("deleted_by", sa.String(length=64), nullable=False),
        sa.Column("objects", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_file_deletions_expires_at"), "file_deletions", ["expires_at"], unique=False)
    op.create_table(
        "folder_changes",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("backend_id", sa.Integer(), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("prefix", sa.String(), nullable=False),
        sa.Column("target", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("on_taken", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("done", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("problems", sa.JSON(), nullable=False),
        sa.Column("undo_ids", sa.JSON(), nullable=False),
        sa.Column("message", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_folder_changes_state"), "folder_changes", ["state"], unique=False)


def _catalogue() -> None:
    op.create_table(
        "file_counts",
        sa.Column("backend_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("generation", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("running", sa.Boolean(), server_default=sa.text("0"), nullable=False),
        sa.Column("valid_from", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("completed_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("backend_id"),
    )
    op.create_table(
        "file_removals",
        sa.Column("backend_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("until", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("backend_id", "key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "files",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("backend_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("modified", sa.Float(), nullable=True),
        sa.Column("etag", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("sha256", sa.String(length=64), server_default=sa.text("''"), nullable=False),
        sa.Column("md5", sa.String(length=32), server_default=sa.text("''"), nullable=False),
        sa.Column("content_type", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("kind", sa.String(length=16), server_default=sa.text("'other'"), nullable=False),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("duration", sa.Float(), nullable=True),
        sa.Column("pages", sa.Integer(), nullable=True),
        sa.Column("taken_at", sa.Float(), nullable=True),
        sa.Column("owner", sa.String(length=64), server_default=sa.text("''"), nullable=False),
        sa.Column("state", sa.String(length=16), server_default=sa.text("'stored'"), nullable=False),
        sa.Column("details", sa.JSON(), nullable=True),
        sa.Column("seen", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("migration_id", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("backend_id", "key", name="uq_files_key"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_files_md5", "files", ["md5"], unique=False, sqlite_where=sa.text("md5 != ''"))
    op.create_index("ix_files_modified", "files", ["modified", "backend_id", "key"], unique=False)
    op.create_index("ix_files_size", "files", ["size", "backend_id", "key"], unique=False)
    op.create_index(
        "ix_files_sha256", "files", ["sha256"], unique=False, sqlite_where=sa.text("sha256 != ''")
    )


def _cleanups() -> None:
    op.create_table(
        "file_cleanups",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("backend_id", sa.Integer(), nullable=True),
        sa.Column("backend", sa.String(length=63), server_default=sa.text("''"), nullable=False),
        sa.Column("before", sa.Float(), nullable=False),
        sa.Column("planned_at", sa.Float(), nullable=False),
        sa.Column("last_id", sa.Integer(), nullable=False),
        sa.Column("files", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("after_id", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("deleted", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("deleted_bytes", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("kept", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("missing", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("notes", sa.JSON(), nullable=False),
        sa.Column("message", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("requested_by", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("finished_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )


def _uploads() -> None:
    op.create_table(
        "uploads",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("policy", sa.String(length=63), nullable=False),
        sa.Column("backend_id", sa.Integer(), nullable=False),
        sa.Column("folder", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("content_type", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("size", sa.Integer(), nullable=True),
        sa.Column("received", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("percent", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("key", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("sha256", sa.String(length=64), server_default=sa.text("''"), nullable=False),
        sa.Column("file_id", sa.Integer(), nullable=True),
        sa.Column("kind", sa.String(length=24), server_default=sa.text("''"), nullable=False),
        sa.Column("reason", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("remedy", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("not_before", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("checksums", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("method", sa.String(length=16), nullable=False),
        sa.Column("details", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_uploads_owner", "uploads", ["owner", "created_at"], unique=False)
    op.create_index("ix_uploads_state", "uploads", ["state", "expires_at"], unique=False)
