"""When something is due: intervals that do not drift, times of day through both changes of the clocks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from dashboard.errors import InvalidInput
from dashboard.jobs.timing import Timing


@pytest.fixture
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ZoneInfo]:
    name = getattr(request, "param", "Europe/Berlin")
    monkeypatch.setenv("TZ", name)
    time.tzset()
    yield ZoneInfo(name)
    monkeypatch.undo()
    time.tzset()


def at(zone: ZoneInfo, *parts: int, fold: int = 0) -> float:
    return datetime(*parts, tzinfo=zone, fold=fold).timestamp()  # type: ignore[arg-type, misc]


def shown(zone: ZoneInfo, moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, zone):%m-%d %H:%M %z}"


def run_through(timing: Timing, start: float, days: int) -> list[float]:
    """Every time that is due in so many days, when it is looked for again at each of them."""
    found, now = [], start
    while (now := timing.next_after(now, due=now)) < start + days * 86_400:
        found.append(now)
    return found


@pytest.mark.parametrize(
    "text",
    [
        "every 1 min",
        "every 90 min",
        "every 6 h",
        "every 7 d",
        "daily 00:00",
        "daily 23:59",
        "weekly sun 02:30",
    ],
)
def test_a_timing_is_written_as_it_is_read(text: str) -> None:
    assert str(Timing.parse(text)) == text
    assert Timing.parse(f"  {text.upper()} ") == Timing.parse(text)


@pytest.mark.parametrize(
    "text",
    ["", "every", "every 0 h", "every -1 h", "every 32 d", "every 1 s", "daily", "daily 24:00", "daily 3:00",
     "daily 03:60", "weekly 03:00", "weekly someday 03:00", "every 1000000 h", "daily ٠٣:٠٠", "daily 3 h"],
)  # fmt: skip
def test_what_is_no_timing_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Timing.parse(text)
    assert "daily 03:00" in refused.value.remedy


def test_words() -> None:
    texts = ("every 1 h", "every 6 h", "every 90 min", "every 24 h", "daily 03:05", "weekly sun 04:00")
    assert [Timing.parse(text).words for text in texts] == [
        "every hour", "every 6 hours", "every 90 minutes", "every day", "daily at 03:05",
        "every Sunday at 04:00",
    ]  # fmt: skip


def test_an_interval_does_not_drift_and_makes_nothing_up() -> None:
    timing = Timing.parse("every 6 h")
    assert timing.next_after(1000.0, due=1000.0) == 22_600.0
    assert timing.next_after(1009.5, due=1000.0) == 22_600.0, "looking late moves nothing"
    assert timing.next_after(1000.0 + 5 * 86_400, due=1000.0) == 1000.0 + 5 * 86_400 + 21_600
    assert timing.next_after(500.0, due=1000.0) == 22_100.0, "a clock that was set back"


def test_when_clocks_go_forward_a_missing_time_comes_once(zone: ZoneInfo) -> None:
    """On 29 March 2026 there is no 02:30 in Berlin."""
    start = at(zone, 2026, 3, 28, 0, 0)
    assert [shown(zone, each) for each in run_through(Timing.parse("daily 02:30"), start, 3)] == [
        "03-28 02:30 +0100", "03-29 03:30 +0200", "03-30 02:30 +0200",
    ]  # fmt: skip


def test_when_clocks_go_back_a_doubled_time_comes_once(zone: ZoneInfo) -> None:
    """On 25 October 2026 there are two 02:30 in Berlin."""
    start = at(zone, 2026, 10, 24, 0, 0)
    found = run_through(Timing.parse("daily 02:30"), start, 3)
    assert [shown(zone, each) for each in found] == [
        "10-24 02:30 +0200", "10-25 02:30 +0200", "10-26 02:30 +0100",
    ]  # fmt: skip
    between = at(zone, 2026, 10, 25, 2, 40)
    assert shown(zone, Timing.parse("daily 02:30").next_after(between)) == "10-26 02:30 +0100"


def test_a_weekly_time_keeps_its_day_through_a_change(zone: ZoneInfo) -> None:
    start = at(zone, 2026, 10, 20, 0, 0)
    found = run_through(Timing.parse("weekly sun 23:30"), start, 15)
    assert [shown(zone, each) for each in found] == ["10-25 23:30 +0100", "11-01 23:30 +0100"]


@pytest.mark.parametrize(
    "zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"], indirect=True
)
@pytest.mark.parametrize("clock", ["00:00", "01:45", "02:15", "03:00", "23:59"])
def test_a_daily_time_comes_exactly_once_a_day_all_year(zone: ZoneInfo, clock: str) -> None:
    start = at(zone, 2026, 1, 1, 12, 0)
    found = run_through(Timing.parse(f"daily {clock}"), start, 365)
    days = [datetime.fromtimestamp(each, zone).date() for each in found]
    assert days == [days[0] + timedelta(days=n) for n in range(len(days))]
    assert len(days) in (364, 365, 366)
    exact = [f"{datetime.fromtimestamp(each, zone):%H:%M}" == clock for each in found]
    assert exact.count(False) <= 1, "but for the missing hour of one day"


def test_an_interval_is_that_long_when_the_clocks_change(zone: ZoneInfo) -> None:
    start = at(zone, 2026, 3, 29, 0, 0)
    found = run_through(Timing.parse("every 4 h"), start, 1)
    assert {later - earlier for earlier, later in pairwise(found)} == {4 * 3600.0}
    assert datetime.fromtimestamp(found[0], UTC) == datetime(2026, 3, 29, 3, 0, tzinfo=UTC)
