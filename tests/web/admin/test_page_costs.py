"""What a page costs does not grow with the console: as many statements with two backends as with a dozen, in
one transaction of each database."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, insert

from dashboard.models.console import Setting
from dashboard.models.work import listing
from dashboard.services.backends.status import Badge
from dashboard.services.backends.values import Draft
from dashboard.services.permissions import Actor, Role
from dashboard.web.admin.overview import overview_page
from tests.web.conftest import Browser, WebConsole

ACTOR = Actor("maria", Role.ADMIN, "web")
PAGES = {
    "/": 36,
    "/overview/live": 34,
    "/backend/first": 29,
    "/backend/first/live": 20,
    "/usage": 18,
    "/health": 25,
    "/backends": 18,
    "/migrations": 12,
    "/settings/schedules": 45,
}
"""Statements, at most: a few more than there are."""


@contextmanager
def statements(console: WebConsole) -> Iterator[list[str]]:
    """Those of this thread: others store what they have counted now and then."""
    found: list[str] = []
    mine = threading.get_ident()

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if threading.get_ident() == mine:
            found.append(statement)

    engines = (console.services.database.main, console.services.database.work)
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", note)


def add(console: WebConsole, folder: Path, name: str) -> None:
    (folder / name).mkdir()
    console.services.backends.add(ACTOR, Draft(name, "local", {"root": str(folder / name)}, {}))
    backend = console.services.backends.get(name)
    console.services.status.record_count(backend.id, 3, 1_000, final=True)


def cost(console: WebConsole, browser: Browser, path: str) -> tuple[int, int]:
    """Statements, and transactions, right after a change: nothing that was read before counts any more.
    What is written in the background meanwhile makes a page read twice, so this is the least of three."""
    return min(_cost(console, browser, path) for _ in range(3))


def _cost(console: WebConsole, browser: Browser, path: str) -> tuple[int, int]:
    browser.get(path)
    # Not in the background while the page is read, which would then keep nothing.
    console.services.backends.requests.store()
    database = console.services.database
    with database.write() as session:
        session.merge(Setting(key="changed", value=secrets.token_hex()))
    with database.work_write() as connection:
        connection.execute(insert(listing).values(migration_id=1, key=secrets.token_hex(), size=1))
    with statements(console) as found:
        assert browser.get(path).status_code == 200
    begun = sum(each.startswith("BEGIN") for each in found)
    return len(found) - begun, begun


@pytest.fixture(scope="module")
def few(console: WebConsole, admin: Browser, tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """The statements of each page with two backends; then there are twelve."""
    folder = tmp_path_factory.mktemp("folders")
    add(console, folder, "first")
    found = {path: cost(console, admin, path)[0] for path in PAGES}
    for number in range(10):
        add(console, folder, f"more-{number}")
        backend = console.services.backends.get(f"more-{number}")
        console.services.status.record_check(backend.id, Badge.DOWN, None, "It does not answer.")
    return found


@pytest.mark.parametrize("path", PAGES)
def test_a_page_takes_as_many_statements_whatever_there_is(
    console: WebConsole, admin: Browser, few: dict[str, int], path: str
) -> None:
    counted, begun = cost(console, admin, path)
    # Four more are asked about all backends that are down together.
    assert counted <= few[path] + 4, "something is asked for each backend"
    # A server is asked what the size of a file says.
    assert counted <= PAGES[path] + (6 if console.services.database.on_server else 0)
    assert begun <= 3, "the session of the person, and one view of each database"


@pytest.mark.parametrize("path", ["/", "/usage"])
def test_a_page_reads_little_while_nothing_changes(
    console: WebConsole, admin: Browser, few: dict[str, int], path: str
) -> None:
    changed, _ = cost(console, admin, path)
    with statements(console) as found:
        assert admin.get(path).status_code == 200
    assert len(found) <= 12, found
    assert len(found) * 2 < changed


def test_a_card_is_made_once_for_each_backend(
    console: WebConsole, admin: Browser, few: dict[str, int]
) -> None:
    assert admin.get("/").text.count('class="card bcard"') == min(12, overview_page.CARDS)
