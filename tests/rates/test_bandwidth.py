"""Bandwidth limits: what people type, and what holds when, also on the days when clocks change."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from random import Random
from zoneinfo import ZoneInfo

import pytest

from dashboard.errors import InvalidInput
from dashboard.rates.bandwidth import DAYS, Bandwidth, print_rate

BERLIN = ZoneInfo("Europe/Berlin")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")
OFFICE = "08:00,512k 12:00,10M 13:00,512k 18:00,30M 23:00,off"


def moment(text: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


def shown(at: float, zone: ZoneInfo = BERLIN) -> str:
    return datetime.fromtimestamp(at, zone).isoformat(sep=" ", timespec="minutes")


@pytest.mark.parametrize(
    ("typed", "printed", "rate"),
    [
        ("10M", "10M", 10_000_000),
        ("10MB/s", "10M", 10_000_000),
        ("1.5m", "1.5M", 1_500_000),
        ("512k", "512k", 512_000),
        ("512Ki", "512Ki", 524_288),
        ("10MiB", "10Mi", 10_485_760),
        ("1.1M", "1.1M", 1_100_000),
        ("1B", "1B", 1),
        ("1234567B", "1234567B", 1_234_567),
        ("1T", "1000G", 10**12),
        ("  OFF ", "off", None),
    ],
)
def test_one_rate(typed: str, printed: str, rate: int | None) -> None:
    found = Bandwidth.parse(typed)
    assert (str(found), found.at(0, BERLIN)) == (printed, rate)
    assert found.next_change(0, BERLIN) is None


@pytest.mark.parametrize(
    ("typed", "printed"),
    [
        (OFFICE, OFFICE),
        ("23:00,off 8:00,512k", "08:00,512k 23:00,off"),
        ("Sunday-20:00,off mon-0:00,1M 09:00,2M", "09:00,2M Mon-00:00,1M Sun-20:00,off"),
        ("12:00,1000k", "12:00,1M"),
    ],
)
def test_a_timetable_has_a_normal_form(typed: str, printed: str) -> None:
    assert str(Bandwidth.parse(typed)) == printed
    assert Bandwidth.parse(printed) == Bandwidth.parse(typed)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "is empty"),
        ("fast", "“fast” is no rate"),
        ("10", "has no unit"),
        ("10Mbit", "has no unit"),
        ("10Mb", "has no unit"),
        ("-1M", "“-1M” is no rate"),
        ("0M", "nothing would ever be copied"),
        ("0.0000001B", "is no rate"),
        ("0.1B", "nothing would ever be copied"),
        ("1e9M", "is no rate"),
        ("9999999999999999M", "is no rate"),
        ("999999999999999T", "is more than"),
        ("١٠M", "is no rate"),
        ("10M 5M", "“10M” is no entry"),
        ("10M:1M", "is no entry"),
        ("24:00,1M", "“24:00” is no time"),
        ("08:60,1M", "is no time"),
        ("8,1M", "is no entry"),
        ("08:00, 1M", "“08:00,” is no entry"),
        ("08:00,1M,2M", "is no rate"),
        ("Foo-08:00,1M", "“Foo” is no weekday"),
        ("Tag-08:00,1M", "“Tag” is no weekday"),
        ("08:00,1M 8:00,2M", "two entries for 08:00"),
        ("mon-08:00,1M Monday-08:00,1M", "two entries for Mon-08:00"),
        (" ".join(["08:00,1M"] * 60), "at most 50 entries"),
        ("1M" * 600, "at most 1,000 characters"),
        ("<script>\x00\u202e", "“<script>??” is no rate"),
        ("08:00,\ud800", "“?” is no rate"),
    ],
)
def test_what_cannot_be_used_is_named(typed: str, said: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        Bandwidth.parse(typed, field="limit")
    assert said in raised.value.reason
    assert raised.value.subject == "limit"
    assert raised.value.remedy or "at most" in said
    assert raised.value.reason.isprintable()


def test_any_text_is_read_or_refused_and_any_limit_is_read_back() -> None:
    random = Random(76)
    alphabet = "0123456789:,.-/ kKmMgGiIbBoOfF\t\nMonTueé٣\ud800"
    for _ in range(3000):
        text = "".join(random.choices(alphabet, k=random.randint(0, 24)))
        try:
            found = Bandwidth.parse(text)
        except InvalidInput:
            continue
        assert Bandwidth.parse(str(found)) == found
    for _ in range(2000):
        rate = random.randint(1, 10 ** random.randint(1, 12))
        assert Bandwidth.parse(print_rate(rate)).rate == rate


@pytest.mark.parametrize(
    ("at", "rate", "until"),
    [
        ("2026-11-23 07:59", None, "2026-11-23 08:00+01:00"),
        ("2026-11-23 08:00", 512_000, "2026-11-23 12:00+01:00"),
        ("2026-11-23 12:30", 10_000_000, "2026-11-23 13:00+01:00"),
        ("2026-11-23 22:59", 30_000_000, "2026-11-23 23:00+01:00"),
        # The last entry of a day holds past midnight.
        ("2026-11-23 23:00", None, "2026-11-24 08:00+01:00"),
    ],
)
def test_each_entry_holds_until_the_next(at: str, rate: int | None, until: str) -> None:
    limit = Bandwidth.parse(OFFICE)
    now = moment(at)
    change = limit.next_change(now, BERLIN)
    assert limit.at(now, BERLIN) == rate
    assert change is not None
    assert shown(change[0]) == until
    assert limit.at(change[0] - 1, BERLIN) == rate
    assert limit.at(change[0], BERLIN) == change[1] != rate


def test_one_entry_holds_all_the_time() -> None:
    limit = Bandwidth.parse("08:00,1M")
    assert {limit.at(moment("2026-11-23 00:00") + 3600 * hour, BERLIN) for hour in range(200)} == {1_000_000}
    assert limit.next_change(moment("2026-11-23 00:00"), BERLIN) is None


def test_an_entry_of_a_weekday_replaces_the_daily_one_of_its_time_and_holds_until_the_next() -> None:
    limit = Bandwidth.parse("08:00,1M 18:00,off Sat-08:00,5M Mon-00:00,2M")
    friday, saturday = moment("2026-11-27 09:00"), moment("2026-11-28 09:00")
    assert (limit.at(friday, BERLIN), limit.at(saturday, BERLIN)) == (1_000_000, 5_000_000)
    assert limit.at(moment("2026-11-30 00:00"), BERLIN) == 2_000_000
    assert limit.at(moment("2026-11-29 23:59"), BERLIN) is None


def test_before_the_first_entry_of_the_week_the_last_one_holds() -> None:
    limit = Bandwidth.parse("Wed-08:00,1M Fri-20:00,off")
    assert limit.at(moment("2026-11-23 12:00"), BERLIN) is None
    change = limit.next_change(moment("2026-11-27 20:00"), BERLIN)
    assert change is not None
    assert (shown(change[0]), change[1]) == ("2026-12-02 08:00+01:00", 1_000_000)


def test_an_entry_in_the_hour_that_is_left_out_holds_after_it() -> None:
    # On 29 March 2026 clocks in Berlin go from 02:00 to 03:00.
    limit = Bandwidth.parse("02:30,1M 03:15,off")
    before = moment("2026-03-29 01:59")
    change = limit.next_change(before, BERLIN)
    assert limit.at(before, BERLIN) is None
    assert change is not None
    assert shown(change[0]) == "2026-03-29 03:00+02:00"
    assert limit.at(moment("2026-03-29 03:14"), BERLIN) == 1_000_000
    assert limit.at(moment("2026-03-29 03:15"), BERLIN) is None


def test_the_hour_that_comes_twice_changes_nothing_the_second_time() -> None:
    # On 25 October 2026 clocks in Berlin go from 03:00 to 02:00.
    limit = Bandwidth.parse("02:30,1M 04:00,off")
    first = moment("2026-10-25 02:30")
    seen = {limit.at(first + minute * 60, BERLIN) for minute in range(150)}
    assert limit.at(first - 60, BERLIN) is None
    assert seen == {1_000_000}
    change = limit.next_change(first, BERLIN)
    assert change is not None
    assert (shown(change[0]), limit.at(moment("2026-10-25 04:00"), BERLIN)) == (
        "2026-10-25 04:00+01:00",
        None,
    )


def test_zones_that_change_by_half_an_hour() -> None:
    # On 5 April 2026 clocks on Lord Howe Island go from 02:00 to 01:30.
    limit = Bandwidth.parse("01:45,1M 02:15,off")
    first = moment("2026-04-05 01:45", LORD_HOWE)
    assert [limit.at(first + 60 * after, LORD_HOWE) for after in (-1, 0, 20, 40, 59)] == [None] + [
        1_000_000
    ] * 4
    assert limit.at(moment("2026-04-05 02:15", LORD_HOWE), LORD_HOWE) is None


@pytest.mark.parametrize("zone", [BERLIN, LORD_HOWE, ZoneInfo("Asia/Kathmandu"), ZoneInfo("Pacific/Apia")])
def test_the_next_change_is_where_the_rate_changes(zone: ZoneInfo) -> None:
    random = Random(7)
    for _ in range(40):
        entries = {
            (random.choice([None, *DAYS]), random.randint(0, 23), random.choice([0, 15, 30, 59]))
            for _ in range(random.randint(1, 6))
        }
        text = " ".join(
            f"{day + '-' if day else ''}{hour}:{minute:02d},{random.choice(['1M', '2M', 'off'])}"
            for day, hour, minute in entries
        )
        limit = Bandwidth.parse(text)
        now = moment("2026-01-01 00:00", zone) + random.randint(0, 400 * 86_400)
        change = limit.next_change(now, zone)
        until = change[0] if change else now + 8 * 86_400
        step = max(60, int((until - now) // 60))
        assert {limit.at(at, zone) for at in range(int(now), int(until), step)} == {limit.at(now, zone)}, text
        if change:
            assert limit.at(change[0], zone) == change[1] != limit.at(change[0] - 1, zone), text


@pytest.fixture
def machine_in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("machine_in_berlin")
def test_without_a_zone_the_clocks_of_the_machine_count() -> None:
    limit = Bandwidth.parse(OFFICE)
    for text in ("2026-11-23 07:59", "2026-07-01 12:30", "2026-10-25 02:30", "2026-03-29 03:00"):
        now = moment(text)
        assert limit.at(now, None) == limit.at(now, BERLIN)
        assert limit.next_change(now, None) == limit.next_change(now, BERLIN)
