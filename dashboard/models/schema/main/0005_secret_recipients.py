"""To whom a secret may be sent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("backend_secrets", sa.Column("sent_to", sa.String(), server_default="", nullable=False))
