"""Owner, attributes and earlier attempts of waiting objects, and a row for each writer that holds one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    for column in (
        sa.Column("owner", sa.String(), server_default="", nullable=False),
        sa.Column("attributes", sa.String()),
        sa.Column("attempts", sa.String(), server_default="", nullable=False),
        sa.Column("create_only", sa.Boolean(), server_default="0", nullable=False),
    ):
        op.add_column("waiting_objects", column)
    op.execute("UPDATE waiting_objects SET state = 'waiting' WHERE state = 'held'")
    op.create_table(
        "waiting_holds",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("home_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["home_id"], ["backends.id"], name="fk_waiting_holds_home_id_backends", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_waiting_holds"),
    )
    op.create_index("ix_waiting_holds_key", "waiting_holds", ["home_id", "key"])
