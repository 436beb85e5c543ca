"""A database as several consoles share it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboard.services.database import Database, open_database
from dashboard.settings import Settings
from tests.servers.postgresql import PostgreSQL


@pytest.fixture
def server(postgresql: PostgreSQL, tmp_path: Path) -> Iterator[Database]:
    name = postgresql.create()
    opened = open_database(Settings.from_env({}, instance=tmp_path, database_url=postgresql.url(name)))
    opened.upgrade()
    yield opened
    opened.close()
    postgresql.drop(name)
