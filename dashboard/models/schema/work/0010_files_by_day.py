"""How many files each backend has of each day; what the figures of Usage were summed up from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from dashboard.models import files_by_day

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("usage_summaries", sa.Column("changes", sa.Integer(), nullable=True))
    files_by_day.create(op.get_bind())
