"""Indexes for the filters of a migration's objects."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_index(
        "ix_migration_objects_reason",
        "migration_objects",
        ["migration_id", "reason", "id"],
        sqlite_where=sa.text("reason != ''"),
    )
    op.create_index("ix_migration_objects_size", "migration_objects", ["migration_id", "size", "id"])
