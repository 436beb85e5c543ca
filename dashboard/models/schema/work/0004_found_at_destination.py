"""What the plan found at the destination; any object for older plans."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("migration_objects", sa.Column("found", sa.String(), server_default="*", nullable=False))
