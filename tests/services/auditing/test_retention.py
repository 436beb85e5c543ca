"""Old entries of the audit log are removed without breaking its chain, and evidence is not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from dashboard.errors import InvalidInput, StowageError
from dashboard.jobs.types import Job, JobContext, JobKind
from dashboard.services.auditing import retention
from tests.services.auditing.test_chain import change, check, kinds, last, write
from tests.services.console import ADMIN, OPERATOR, ServiceConsole, started

YEAR = 365


@pytest.fixture
def aged(tmp_path: Path) -> Iterator[ServiceConsole]:
    """Ten entries of two years ago, and some of today."""
    now = time.time()
    with started(tmp_path) as console:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(time, "time", lambda: now - 2 * YEAR * 86_400)
            write(console, 10)
        write(console, 3)
        yield console


def run(console: ServiceConsole) -> None:
    job = Job(1, JobKind.AUDIT, 0, 1, 1, time.time() + 60)
    console.services.audit.run(JobContext(job, Event()))


def test_nothing_is_removed_unless_somebody_says_so(aged: ServiceConsole) -> None:
    run(aged)
    assert check(aged).removed == 0


@pytest.mark.parametrize("at_once", [4, 2000])
def test_what_is_left_verifies(aged: ServiceConsole, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(retention, "REMOVED_AT_ONCE", at_once)
    log = aged.services.audit
    log.retention.keep(ADMIN, YEAR)
    first_kept = log.rows(limit=4)[-1].id
    run(aged)
    found = check(aged)
    assert (found.whole, found.removed) == (True, first_kept - 1)
    assert log.rows(limit=100)[-1].id == first_kept
    newest, setting = log.rows(limit=2)
    assert (newest.action, newest.detail["entries"]) == ("audit.expire", str(first_kept - 1))
    assert (setting.action, setting.detail) == (
        "audit.retention",
        {"before.days": "for ever", "days": "1 year"},
    )
    run(aged)
    assert log.rows(limit=1)[0] == newest
    write(aged, 2)
    assert check(aged).whole


def test_entries_removed_by_others_are_still_found_afterwards(aged: ServiceConsole) -> None:
    aged.services.audit.retention.keep(ADMIN, YEAR)
    run(aged)
    oldest = aged.services.audit.rows(limit=100)[-1].id
    change(aged, f"DELETE FROM audit WHERE id = {oldest}")
    assert not check(aged).whole


def test_a_forged_beginning_is_found(aged: ServiceConsole) -> None:
    row = aged.services.audit.rows(limit=3)[-1]
    change(
        aged,
        f"DELETE FROM audit WHERE id <= {row.id}",
        f"UPDATE audit_head SET start_id = {row.id}, start_mac = '{row.mac}'",
    )
    assert not check(aged).whole


def test_a_broken_chain_is_kept_as_it_is(aged: ServiceConsole) -> None:
    aged.services.audit.retention.keep(ADMIN, YEAR)
    change(aged, "UPDATE audit SET actor = 'bob' WHERE id = 5")
    before = last(aged)
    run(aged)
    assert (last(aged), len(kinds(aged))) == (before, 1)
    shown = aged.services.audit.last_verification()
    assert shown is not None
    assert "Entry 5 was changed." in [problem.sentence for problem in shown.problems]


def test_an_old_time_in_the_middle_is_a_clock_that_was_wrong(aged: ServiceConsole) -> None:
    aged.services.audit.retention.keep(ADMIN, YEAR)
    run(aged)
    now = time.time()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: now - 3 * YEAR * 86_400)
        write(aged, 1)
    before = len(aged.services.audit.rows(limit=100))
    run(aged)
    assert len(aged.services.audit.rows(limit=100)) == before


@pytest.mark.parametrize("days", [1, 29, 36_501])
def test_days_are_checked(console: ServiceConsole, days: int) -> None:
    with pytest.raises(InvalidInput):
        console.services.audit.retention.keep(ADMIN, days)


def test_only_an_administrator_changes_it(console: ServiceConsole) -> None:
    with pytest.raises(StowageError):
        console.services.audit.retention.keep(OPERATOR, YEAR)
