"""Names that a migration has reserved at the destination while it is planned."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "migration_names",
        sa.Column("migration_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("folded", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("migration_id", "folded"),
        sqlite_with_rowid=False,
    )
