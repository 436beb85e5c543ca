"""The keys of markers at the destination."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("migration_counters", sa.Column("markers", sa.String(), server_default="", nullable=False))
