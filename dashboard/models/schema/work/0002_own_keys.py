"""An index of rows with a key of their own at the destination."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_index(
        "ix_migration_objects_own_keys",
        "migration_objects",
        ["migration_id", "destination_key"],
        sqlite_where=sa.text("destination_key != ''"),
    )
