"""A console with two local backends, one of them in the fallback order, and what is in them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import insert

from dashboard.models.catalogue import files
from dashboard.services.backends.values import Draft
from dashboard.services.permissions import Actor, Role
from tests.web.conftest import ADMIN, Browser, WebConsole, open_console, set_up

MARIA = Actor(ADMIN, Role.ADMIN, "web")
HOME, SPARE = "home", "spare"


@dataclass(frozen=True)
class FilesConsole:
    """A console, an admin's browser, and the folders of its backends."""

    console: WebConsole
    browser: Browser
    folder: Path

    def add_local(self, name: str) -> Path:
        root = self.folder / name
        root.mkdir()
        draft = Draft(name=name, preset="local", options={"root": str(root)}, secrets={})
        self.console.services.backends.add(MARIA, draft)
        return root

    def put(self, backend: str, key: str, data: bytes) -> None:
        """Store an object whose last write is over."""
        self.console.services.backends.driver(backend).put(key, data)

    def catalogue(self, backend: str, key: str, size: int, **known: str | float) -> int:
        """Add a row to the catalogue; its id."""
        now = time.time()
        values = {"key": key, "size": size, "created_at": now, "updated_at": now, **known}
        values["backend_id"] = self.console.services.backends.get(backend).id
        with self.console.services.database.work_write() as connection:
            return connection.execute(insert(files).values(**values)).inserted_primary_key[0]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FilesConsole]:
    folder = tmp_path_factory.mktemp("serving")
    console = open_console(folder)
    set_up(console)
    browser = console.browser()
    assert browser.sign_in(ADMIN).status_code == 303
    made = FilesConsole(console, browser, folder)
    for name in (HOME, SPARE):
        made.add_local(name)
    console.services.backends.fallback_order(MARIA, [SPARE])
    yield made
    console.services.close()
