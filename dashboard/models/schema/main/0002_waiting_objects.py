"""Waiting writes: objects on a stand-in until they are written back to home."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "waiting_objects",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("home_id", sa.Integer(), nullable=False),
        sa.Column("stand_in_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("stored_key", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("md5", sa.String(length=32), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["home_id"], ["backends.id"], name="fk_waiting_objects_home_id_backends", ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["stand_in_id"],
            ["backends.id"],
            name="fk_waiting_objects_stand_in_id_backends",
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_waiting_objects"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_waiting_key", "waiting_objects", ["home_id", "key", "id"])
    op.create_index("ix_waiting_objects_stand_in_id", "waiting_objects", ["stand_in_id"])
