"""What the plan met at the destination; of older plans, whatever is there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("migration_objects", sa.Column("found", sa.String(), server_default="*", nullable=False))
