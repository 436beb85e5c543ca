"""The token by which a migration recognizes its own objects."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column(
        "migration_counters", sa.Column("token", sa.String(length=32), server_default="", nullable=False)
    )
