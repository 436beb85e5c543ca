"""Secrets that people choose keep no last characters as a hint."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute("UPDATE backend_secrets SET hint = '' WHERE name IN ('password', 'passphrase', 'cache_redis')")
