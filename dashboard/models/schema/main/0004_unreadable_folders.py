"""How many folders a count could not read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column(
        "backend_status",
        sa.Column("unreadable_folders", sa.Integer(), server_default=sa.text("0"), nullable=False),
    )
