"""A hundred people who watch a migration read it once; what is decided about it is seen at once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import event, update

from dashboard.errors import StowageError
from dashboard.migration.types import Spec, State
from dashboard.models.migrations import Migration
from dashboard.models.work import counters
from dashboard.services.migrations.sql_ledger import SqlLedger
from dashboard.services.migrations.watched_progress import WatchedProgress
from tests.services.composed import add_local
from tests.services.console import ADMIN, ServiceConsole


@pytest.fixture
def running(console: ServiceConsole) -> int:
    """A migration that copies, with a ledger."""
    for name in ("left", "right"):
        folder = console.services.settings.instance / name
        folder.mkdir()
        add_local(console.services, name, folder)
    number = console.services.migrations.create(ADMIN, "left", "right", Spec(), approve=True)
    SqlLedger(console.services.database.work, number).begin()
    change_state(console, number, State.RUNNING)
    return number


def change_state(console: ServiceConsole, number: int, state: State) -> None:
    with console.services.database.write() as session:
        row = session.get(Migration, number)
        assert row is not None
        row.state = state.value


def count_copied(console: ServiceConsole, number: int, copied: int) -> None:
    with console.services.database.work_write() as connection:
        connection.execute(
            update(counters).where(counters.c.migration_id == number).values(found=9, copied=copied)
        )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_figures_are_shared_for_a_second(console: ServiceConsole, running: int, clock: list[float]) -> None:
    migrations = console.services.migrations
    assert migrations.progress(running).counters.copied == 0
    count_copied(console, running, 5)
    queries = list[str]()

    def note(_c: object, _u: object, statement: str, *_: object) -> None:
        queries.append(statement)

    for engine in (console.services.database.main, console.services.database.work):
        event.listen(engine, "before_cursor_execute", note)
    try:
        with ThreadPoolExecutor(8) as threads:
            seen = list(threads.map(migrations.progress, [running] * 100))
    finally:
        for engine in (console.services.database.main, console.services.database.work):
            event.remove(engine, "before_cursor_execute", note)
    assert {each.counters.copied for each in seen} == {0}
    # On a server it is asked whether anybody has written to the migration's row.
    assert [each for each in queries if "xmin" not in each] == []
    clock[0] += 1.0
    assert migrations.progress(running).counters.copied == 5


def test_what_is_decided_is_seen_at_once(console: ServiceConsole, running: int, clock: list[float]) -> None:
    migrations = console.services.migrations
    assert not migrations.progress(running).stopping
    count_copied(console, running, 5)
    migrations.pause(ADMIN, running)
    paused = migrations.progress(running)
    assert paused.stopping or paused.state is State.PAUSED
    assert paused.counters.copied == 5
    change_state(console, running, State.FINISHED)
    count_copied(console, running, 9)
    assert migrations.progress(running).state is State.FINISHED
    # Of one that does not run nothing is kept.
    count_copied(console, running, 8)
    assert migrations.progress(running).counters.copied == 8


def test_one_that_is_gone_is_not_shown(console: ServiceConsole, running: int, clock: list[float]) -> None:
    console.services.migrations.progress(running)
    with console.services.database.write() as session:
        session.delete(session.get(Migration, running))
    with pytest.raises(StowageError, match="no migration"):
        console.services.migrations.progress(running)


def test_many_migrations_are_not_kept_for_ever(
    console: ServiceConsole, running: int, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.services.migrations.watched_progress.MAX_SHARED", 3)
    known = console.services.migrations.progress(running)
    watched = WatchedProgress(console.services.database, lambda number: replace(known, id=number))
    for number in range(10):
        assert watched.get(number).id == number
        assert len(watched._reads) <= 3
