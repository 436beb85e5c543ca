"""The chain of the audit log, the first keys that a comparison found missing, whether a backend takes
files."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    _create_backups()
    _chain_the_audit_log()
    op.add_column(
        "comparisons", sa.Column("examples", sa.JSON(), server_default=sa.text("'{}'"), nullable=False)
    )
    op.add_column("backend_status", sa.Column("write_checked_at", sa.Double(), nullable=True))
    denied = sa.Column("write_denied", sa.String(), server_default=sa.text("''"), nullable=False)
    op.add_column("backend_status", denied)


def _chain_the_audit_log() -> None:
    for name, length in (("chained", 16), ("previous", 64), ("mac", 64)):
        column = sa.Column(name, sa.String(length=length), server_default=sa.text("''"), nullable=False)
        op.add_column("audit", column)
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("last_id", sa.Integer(), nullable=False),
        sa.Column("last_mac", sa.String(length=64), nullable=False),
        sa.Column("start_id", sa.Integer(), nullable=False),
        sa.Column("start_mac", sa.String(length=64), nullable=False),
        sa.Column("removed", sa.Integer(), nullable=False),
        sa.Column("signature", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_head")),
    )


def _create_backups() -> None:
    op.create_table(
        "backups",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("backend", sa.String(length=63), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("requested_by", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=True),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.Column("size", sa.Integer(), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("remedy", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_backups")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_backups_state", "backups", ["state", "finished_at"], unique=False)
