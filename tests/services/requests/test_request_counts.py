"""Requests to backends are counted for each day, by every process, and survives a busy database."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import event

from dashboard.errors import Kind
from dashboard.services.requests import request_counts
from dashboard.services.requests.request_counts import DAY, KEPT_DAYS, RequestCounts, RequestTotals
from dashboard.storage.drivers.memory import MemoryDriver
from dashboard.storage.errors import StorageError
from tests.services.backends.test_backends import local
from tests.services.console import ADMIN, ServiceConsole, started

NOW = 20_000.0 * DAY + 5


def totals(console: ServiceConsole, name: str = "local-disk") -> RequestTotals:
    backend_id = console.services.backends.get(name).id
    console.services.backends.requests.store()
    return console.services.backends.requests.totals([backend_id])[backend_id]


def test_the_driver_of_a_backend_counts(console: ServiceConsole) -> None:
    driver = console.services.backends.driver("local-disk")
    before = totals(console)
    driver.put("a", b"12345")
    with driver.read("a") as reading:
        reading.read_all()
    after = totals(console)
    assert (after.writes - before.writes, after.bytes_written - before.bytes_written) == (1, 5)
    assert (after.reads - before.reads, after.bytes_read - before.bytes_read) == (1, 5)
    assert after.failed == 0


def test_what_a_cache_answers_is_not_asked(console: ServiceConsole, tmp_path: Path) -> None:
    draft = local("cached", tmp_path / "cached")
    draft.options.update({"cache": "true"})  # type: ignore[attr-defined]
    (tmp_path / "cached").mkdir()
    console.services.backends.add(ADMIN, draft)
    driver = console.services.backends.driver("cached")
    driver.put("a", b"12345")
    for _ in range(5):
        with driver.read("a") as reading:
            assert reading.read_all() == b"12345"
    assert totals(console, "cached").bytes_read == 5


def test_counts_are_added_by_day_and_kept_for_two_years(console: ServiceConsole) -> None:
    now = [NOW]
    counts = RequestCounts(console.database, lambda: now[0])
    driver = counts.counted(7)(MemoryDriver())
    for days, calls in ((0, 3), (1, 2), (29, 1)):
        now[0] = NOW + days * DAY
        for _ in range(calls):
            driver.put("a", b"12")
        counts.store()
    found = counts.totals([7, 8])
    assert (found[7].writes, found[7].bytes_written, found[7].requests) == (6, 12, 6)
    assert found[8] == RequestTotals()
    days = counts.by_day([7])
    assert days.requests[7] == (3, 2, *([0] * 27), 1)
    now[0] += DAY
    assert counts.totals([7])[7].writes == 3
    now[0] += KEPT_DAYS * DAY
    driver.put("a", b"")
    counts.close()
    assert counts.totals([7], days=2 * KEPT_DAYS)[7].writes == 1


def test_errors_are_counted_by_kind(console: ServiceConsole) -> None:
    class Slow(MemoryDriver):
        def delete(self, key: str) -> None:
            raise StorageError(Kind.TIMEOUT if key else Kind.DENIED, "No.", operation="delete")

    counts = RequestCounts(console.database)
    driver = counts.counted(7)(Slow())
    for key in ("a", "b", ""):
        with pytest.raises(StorageError):
            driver.delete(key)
    counts.store()
    found = counts.totals([7])[7]
    assert (found.errors, found.failed, found.deletes) == ({"timeout": 2, "denied": 1}, 3, 3)
    assert counts.by_day([7]).errors[7][-1] == 3


def test_two_processes_add_to_the_same_rows(console: ServiceConsole) -> None:
    every = [RequestCounts(console.database) for _ in range(2)]
    for counts in every:
        counts.counted(7)(MemoryDriver()).put("a", b"1")
    for counts in every:
        counts.store()
    assert every[0].totals([7])[7].writes == 2


def test_nothing_is_lost_while_the_database_is_busy(
    console: ServiceConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = RequestCounts(console.database)
    driver = counts.counted(7)(MemoryDriver())
    driver.put("a", b"1")

    def busy(*_: object) -> None:
        raise StorageError(Kind.TIMEOUT, "Busy.", operation="database")

    with monkeypatch.context() as patched:
        patched.setattr(counts, "_add", busy)
        counts.store()
        driver.put("a", b"1")
    counts.close()
    assert counts.totals([7])[7].writes == 2


def test_they_are_stored_by_themselves_in_one_statement(
    console: ServiceConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_counts, "STORE_SECONDS", 0.01)
    stored, statements = threading.Event(), []

    def seen(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO request_counts"):
            statements.append(statement)
            stored.set()

    event.listen(console.database._work_writer, "after_cursor_execute", seen)
    counts = RequestCounts(console.database)
    driver, other = counts.counted(7)(MemoryDriver()), counts.counted(8)(MemoryDriver())
    with counts._storing:
        # The timer waits for this, so that all of it is stored at once.
        for each in (driver, other):
            each.put("a", b"1")
            list(each.list())
    assert stored.wait(60)
    counts.close()
    event.remove(console.database._work_writer, "after_cursor_execute", seen)
    assert len(statements) == 1
    assert counts.totals([8])[8].lists == 1


def test_a_process_that_ends_stores_what_it_counted(instance: Path, tmp_path: Path) -> None:
    with started(instance) as console:
        (tmp_path / "media").mkdir()
        console.services.backends.add(ADMIN, local("media", tmp_path / "media"))
        console.services.backends.driver("media").put("a", b"1")
    with started(instance) as console:
        assert totals(console, "media").writes == 1
        backend_id = console.services.backends.get("media").id
        console.services.backends.remove(ADMIN, "media")
        assert console.services.backends.requests.totals([backend_id])[backend_id] == RequestTotals()
