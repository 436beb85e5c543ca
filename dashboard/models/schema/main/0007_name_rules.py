"""The name rules of each backend."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "backend_names",
        sa.Column("backend_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("rules", sa.String(), nullable=False),
        sa.Column("learnt_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["backend_id"], ["backends.id"], name="fk_backend_names_backend_id_backends", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("backend_id", name="pk_backend_names"),
    )
