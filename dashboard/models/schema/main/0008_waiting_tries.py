"""Writes to home that have been in progress for long."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "waiting_tries",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("home_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("md5", sa.String(length=32), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["home_id"], ["backends.id"], name="fk_waiting_tries_home_id_backends", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_waiting_tries"),
    )
    op.create_index("ix_waiting_tries_key", "waiting_tries", ["home_id", "key"])
