"""The past of backends: right after thinning out, bounded, and never in the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import func, select

from dashboard.errors import Kind, StowageError
from dashboard.models.history import checks, states, tests, totals
from dashboard.services.backends.status import Badge
from dashboard.services.database import Database
from dashboard.services.history.history import MAX_TEXT, History, forget_history
from dashboard.services.history.history_values import DAY, HOUR, KEPT_SECONDS, MAX_STATES, MAX_TESTS
from dashboard.storage.probe import ProbeRun, Step
from tests.services.console import ADMIN, ServiceConsole
from tests.services.database_file import opened

NOON = 1_790_000_000 // DAY * DAY + DAY // 2


@dataclass
class Clock:
    now: float = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path) as database:
        yield database


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def history(database: Database, clock: Clock) -> History:
    return History(database, clock)


def rows(database: Database, table: object) -> int:
    with database.work_read() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0  # type: ignore[arg-type]


def test_a_day_of_checks_is_a_strip_and_a_percentage(history: History, clock: Clock) -> None:
    for minute in range(60):
        clock.now = NOON + minute * 60
        badge = Badge.DOWN if 15 <= minute < 30 else Badge.DEGRADED if minute in (43, 44) else Badge.HEALTHY
        history.record_check(1, badge, None if badge is Badge.DOWN else 40.0 + minute)
    uptime = history.uptime([1, 2])[1]
    assert uptime.cells[-4:] == ("up", "down", "slow", "up")
    assert set(uptime.cells[:-4]) == {"none"}
    assert (uptime.checks, uptime.failed, uptime.percent) == (60, 15, 75.0)
    assert uptime.begin + 96 * 900 >= clock.now
    assert history.uptime([2])[2].percent is None
    for window in ("30d", "90d"):
        wide = history.uptime([1], window)[1]
        assert wide.cells[-1] == "slow"
        assert wide.percent == 75.0


def test_a_single_failure_is_never_a_hundred_percent(history: History, clock: Clock) -> None:
    for minute in range(40):
        clock.now = NOON + minute * 60
        history.record_check(1, Badge.DOWN if minute == 20 else Badge.HEALTHY, 1.0)
    uptime = history.uptime([1], "90d")[1]
    assert uptime.failed == 1
    assert uptime.percent == 97.5


def test_rows_stay_bounded_and_days_stay_right(history: History, clock: Clock, database: Database) -> None:
    # Three years, with a check on every fifteenth day.
    for day in range(0, 3 * 365, 15):
        clock.now = NOON + day * DAY
        history.record_check(1, Badge.HEALTHY, 5.0)
        history.record_totals(1, day, day * 1000)
    with database.work_read() as connection:
        kept = connection.execute(select(checks.c.seconds, func.count()).group_by(checks.c.seconds)).all()
        oldest = connection.scalar(select(func.min(checks.c.at))) or 0
    assert dict(kept) == {60: 1, 900: 1, HOUR: 3, DAY: 49}  # type: ignore[arg-type]
    assert clock.now - oldest <= KEPT_SECONDS[DAY]
    assert rows(database, totals) <= 49 + 3


def test_answer_times_have_gaps_a_median_and_a_high_end(history: History, clock: Clock) -> None:
    for minute in range(40):
        clock.now = NOON + minute * 60
        history.record_check(1, Badge.HEALTHY, 1000.0 if minute == 3 else float(minute))
    clock.now += 1800
    history.record_check(1, Badge.HEALTHY, 7.0)
    seen = history.answer_times(1)
    assert [v is not None for v in seen.values[-5:]] == [True, True, True, False, True]
    assert seen.values[-1] == 7.0
    assert seen.median == 20.0
    assert seen.high == 38.0
    assert history.answer_times(9).median is None
    assert set(history.answer_times(9).values) == {None}


def test_totals_carry_the_last_count_and_adding_a_backend_is_no_growth(
    history: History, clock: Clock
) -> None:
    for day, size in ((0, 100), (10, 300)):
        clock.now = NOON + day * DAY
        history.record_totals(1, 5, size)
    clock.now = NOON + 11 * DAY
    history.record_totals(2, 50, 1000)
    clock.now = NOON + 12 * DAY + 60
    seen = history.totals(90)
    assert seen.times[-1] == clock.now
    assert list(seen.times) == sorted(seen.times)
    assert seen.bytes[1][-1] == 300
    assert seen.bytes[1][-5] == 100
    assert seen.bytes[2][-4] is None
    assert seen.sum_of(seen.bytes)[-1] == 1300
    assert seen.growth(seen.bytes) == 200
    assert seen.counted_since == seen.times[-13]
    month = history.totals(30, [1])
    assert set(month.bytes) == {1}
    assert month.bytes[1][-1] == 300
    # Counted once, longer ago than the window reaches.
    clock.now = NOON + 400 * DAY
    assert set(history.totals(7).bytes[1]) == {300}
    assert set(history.totals(7).objects[2]) == {50}


def test_nothing_was_ever_counted(history: History) -> None:
    seen = history.totals(90)
    assert seen.sum_of(seen.bytes) == (None,) * len(seen.times)
    assert (seen.growth(seen.bytes), seen.counted_since) == (0, None)


def test_a_state_is_noted_when_it_changes_and_not_for_every_figure(history: History, clock: Clock) -> None:
    history.record_check(1, Badge.HEALTHY, 3.0)
    for i, message in enumerate(
        ("It answers, but slowly: 2.5 seconds.", "It answers, but slowly: 3.1 seconds.")
    ):
        clock.now = NOON + 60 * (i + 1)
        history.record_check(1, Badge.DEGRADED, 2500.0, message, "Check the network.")
    clock.now = NOON + 600
    history.record_check(1, Badge.DOWN, None, "Connection refused.")
    clock.now = NOON + 660
    history.record_check(1, Badge.DOWN, None, "No route.")
    seen = [(change.badge, change.at - NOON) for change in history.states(1)]
    assert seen == [("down", 660), ("down", 600), ("degraded", 60), ("healthy", 0)]
    history.record_check(2, Badge.HEALTHY, 3.0)
    assert history.since([1, 2, 3]) == {1: NOON + 600, 2: NOON + 660}


def test_a_flapping_backend_keeps_a_bounded_list(history: History, database: Database) -> None:
    for i in range(MAX_STATES + 4):
        history.record_check(1, Badge.DOWN if i % 2 else Badge.HEALTHY, None, "x" * 5 * MAX_TEXT)
    assert rows(database, states) == MAX_STATES
    assert len(history.states(1, 1)[0].message) == MAX_TEXT


def test_tests_are_kept_with_their_steps(history: History, database: Database) -> None:
    steps = (
        Step("list", "List it", "passed", 12.5, "The test object is in the list."),
        Step("write", "Write a test object", "failed", 3.0, "Denied. " * 1000, "Ask for it."),
    )
    for _ in range(MAX_TESTS + 3):
        history.record_test(1, "maria" * 99, ProbeRun(steps, finished=True))
    kept = history.tests(1)
    assert len(kept) == MAX_TESTS == rows(database, tests)
    assert kept[0].steps[0] == steps[0]
    assert kept[0].steps[1] == replace(steps[1], message=steps[1].message[:MAX_TEXT])
    assert (kept[0].passed, kept[0].milliseconds) == (False, 15.5)


def test_what_is_forgotten_is_gone_for_one_backend_only(history: History, database: Database) -> None:
    for backend in (1, 2):
        history.record_check(backend, Badge.HEALTHY, 1.0)
        history.record_totals(backend, 1, 1)
        history.record_test(backend, "maria", ProbeRun((), finished=True))
    with database.work_write() as connection:
        forget_history(connection, 1)
    assert history.states(1) == history.tests(1) == ()
    assert set(history.totals(30).bytes) == {2}
    assert history.uptime([1])[1].checks == 0
    assert history.uptime([2])[2].checks == 1


def test_a_history_that_cannot_be_written_stops_no_check(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def busy() -> None:
        raise StowageError(Kind.TIMEOUT, "The database is busy with another change.", operation="database")

    monkeypatch.setattr(database, "work_write", busy)
    History(database).record_check(1, Badge.HEALTHY, 1.0)
    assert "not added to the history" in caplog.text


def test_checks_counts_and_tests_of_a_console_reach_its_history(console: ServiceConsole) -> None:
    services = console.services
    backend = services.backends.get("local-disk")
    before = services.history.uptime([backend.id])[backend.id].checks
    assert services.checks.check_backend(backend.id)
    services.checks.count_backend(backend.id, lambda: False)
    assert [step.state for step in services.probes.run(ADMIN, "local-disk")][-1] == "passed"
    assert services.history.uptime([backend.id])[backend.id].checks == before + 2
    assert services.history.totals(30).objects[backend.id][-1] == 0
    kept = services.history.tests(backend.id)
    assert [(test.passed, test.tested_by) for test in kept] == [(True, "ada")]
    assert "write" in [step.name for step in kept[0].steps]
