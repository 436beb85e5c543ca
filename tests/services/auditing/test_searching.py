"""A search of the audit log finds exactly the entries that contain the text, with the index and without."""

from __future__ import annotations

import random
import string
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import text

from dashboard.jobs.types import Job, JobContext, JobKind
from dashboard.models import audit_search
from dashboard.models.console import Setting
from dashboard.services.auditing import audit_rows, searching
from dashboard.services.auditing.audit_rows import AuditFilter
from tests.services.auditing.test_chain import change, check, write
from tests.services.console import ADMIN, ServiceConsole, started

HOSTILE = [
    'a"b"c',
    "ü",
    "Straße ÄÖ",
    "💾💾",
    "%_\\",
    "OR AND NOT",
    "NEAR(x y)",
    "a*",
    "'; DROP",
    "tab\there",
    "a\nb",
]


def record(console: ServiceConsole, subject: str, **detail: object) -> None:
    with console.database.write() as session:
        console.services.audit.record(session, ADMIN, "backend.test", subject, **detail)


def found(console: ServiceConsole, wanted: str, **more: object) -> list[int]:
    matching = AuditFilter(text=wanted, **more)  # type: ignore[arg-type]
    rows = console.services.audit.rows(limit=500, matching=matching)
    assert console.services.audit.count(matching) == len(rows)
    return [row.id for row in rows]


def found_without(console: ServiceConsole, wanted: str, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    with monkeypatch.context() as patched:
        patched.setattr(audit_rows, "expression", lambda _: "")
        return found(console, wanted)


@pytest.mark.parametrize("first", [3, 100])
def test_it_finds_what_reading_every_entry_finds(
    console: ServiceConsole, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    monkeypatch.setattr(searching, "FIRST_FOUND", first)
    monkeypatch.setattr(searching, "MAX_FOUND", first)
    rng = random.Random(63)
    letters = "abAB" + string.digits[:2] + ' "\\ü%_'
    words = ["".join(rng.choices(letters, k=rng.randint(1, 9))) for _ in range(40)] + HOSTILE
    for _ in range(60):
        record(console, " ".join(rng.choices(words, k=3)), saved=rng.choice(words), other=rng.choice(words))
    looked, hits = 0, 0
    for wanted in [*words, *(each[1:] for each in words), "backend.te", "192.0.2", "nowhere"]:
        if wanted.strip():
            expected = found_without(console, wanted, monkeypatch)
            assert found(console, wanted) == expected, wanted
            looked, hits = looked + 1, hits + len(expected)
    assert looked > 60
    assert hits > 100


def test_other_filters_and_pages_go_with_it(console: ServiceConsole) -> None:
    write(console, 30, "needle")
    write(console, 5, "hay")
    log = console.services.audit
    every = log.rows(limit=100, matching=AuditFilter(text="needle"))
    assert len(every) == 30
    page = log.rows(limit=10, before_id=every[9].id, matching=AuditFilter(text="needle"))
    assert page == every[10:20]
    assert log.rows(matching=AuditFilter(text="needle", actor="nobody")) == ()
    assert len(log.rows(matching=AuditFilter(text="needle", since=every[4].at))) == 5
    assert [row.id for row in log.stream(AuditFilter(text="needle"))] == [row.id for row in reversed(every)]


def without_index(console: ServiceConsole) -> None:
    """As a version before the index left it."""
    names = [f"{audit_search.TABLE}_{each}" for each in ("insert", "update", "delete")]
    change(console, *(f"DROP TRIGGER {name}" for name in names), f"DROP TABLE {audit_search.TABLE}")


def upgraded(console: ServiceConsole) -> None:
    with console.database.write() as session:
        assert audit_search.create(session.connection())
        newest = session.scalar(text("SELECT max(id) FROM audit"))
        session.merge(Setting(key=audit_search.BEGIN, value=str(newest + 1)))


def test_a_database_without_the_index_is_searched_too(console: ServiceConsole) -> None:
    without_index(console)
    write(console, 3, "needle")
    assert len(found(console, "needle 1")) == 1


def test_earlier_entries_are_found_before_and_after_they_are_indexed(
    console: ServiceConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "INDEXED_AT_ONCE", 7)
    without_index(console)
    write(console, 20, "needle")
    upgraded(console)
    write(console, 5, "needle")
    index, log = console.services.audit.search, console.services.audit
    assert index.is_behind()
    assert len(found(console, "needle")) == 25
    log.prepare_search()
    # A kill after each transaction.
    steps = 0
    while index.is_behind():
        stops = iter([False, True])
        index.catch_up(lambda: next(stops))  # noqa: B023  # called at once
        assert len(found(console, "needle")) == 25
        assert len(found(console, "needle 3")) == 2
        steps += 1
    assert steps >= 3
    assert index.catch_up() == 0
    assert check(console).whole


def test_the_runner_indexes_what_was_there(console: ServiceConsole) -> None:
    without_index(console)
    write(console, 4, "needle")
    upgraded(console)
    console.services.audit.prepare_search()
    queued = [job for job in console.services.jobs.list(limit=50) if str(job.kind) == "audit"]
    assert queued
    console.services.audit.run(JobContext(Job(1, JobKind.AUDIT, 0, 1, 1, 9e9), Event()))
    assert not console.services.audit.search.is_behind()
    assert len(found(console, "needle")) == 4


def test_what_is_removed_or_altered_is_found_no_more(console: ServiceConsole) -> None:
    write(console, 3, "needle")
    numbers = found(console, "needle")
    change(console, f"DELETE FROM audit WHERE id = {numbers[0]}")
    change(console, f"UPDATE audit SET subject = 'altered' WHERE id = {numbers[1]}")
    assert found(console, "needle") == numbers[2:]
    assert found(console, "altered") == [numbers[1]]
    assert not check(console).whole
    if console.database.on_server:
        # Entry by entry, without an index.
        return
    with console.database.read() as session:
        session.execute(text("SELECT rowid FROM audit_search WHERE audit_search MATCH '\"nee\"'")).all()
    change(console, "INSERT INTO audit_search(audit_search) VALUES ('integrity-check')")


def test_a_new_console_has_nothing_to_catch_up_with(tmp_path: Path) -> None:
    with started(tmp_path) as console:
        write(console, 2, "needle")
        assert not console.services.audit.search.is_behind()
        assert len(found(console, "needle")) == 2
