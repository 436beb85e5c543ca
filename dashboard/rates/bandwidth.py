"""How many bytes a second may be copied, perhaps at some times more than at others: the value, its text, and
what it says at a moment; and the text of a number of objects per second. Pure.

``off`` and ``10M`` hold all the time; ``08:00,512k 23:00,off`` is a timetable: each entry holds until the
next, the last one of a day through the night. ``Mon-08:00,1M`` is an entry of one weekday.

Units are those of every size in Stowage: ``k``, ``M`` and ``G`` are thousands, ``Ki``, ``Mi`` and ``Gi`` are
1,024s.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import tzinfo
from functools import cached_property
from typing import Self

from dashboard.errors import InvalidInput
from dashboard.rates.wall_clock import DAY_MINUTES, WEEK_MINUTES, first_change, minute_of_week

MAX_TEXT = 1000
MAX_ENTRIES = 50
MAX_BYTES_PER_SECOND = 10**12
MIN_OBJECTS_PER_SECOND, MAX_OBJECTS_PER_SECOND = 0.001, 100_000
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
OFF = "off"
EXAMPLE = "Write “10M”, “off”, or a timetable such as “08:00,512k 18:00,10M 23:00,off”."

_UNITS = {
    **{"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12},
    **{"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40},
}
_PRINTED = (("G", 10**9), ("M", 10**6), ("k", 10**3), ("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10))
_RATE = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,6}))?([A-Za-z]*)(/s)?")
_NUMBER = re.compile(r"[0-9]{1,6}(\.[0-9]{1,3})?")
_ENTRY = re.compile(r"(?:([A-Za-z]+)-)?([0-9]{1,2}):([0-9]{2}),(\S+)")
_DAY_WORDS = {word: day for day, short in enumerate(DAYS) for word in (short.lower(),)} | {
    word: day
    for day, word in enumerate(("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"))
}

Rate = int | None
"""Bytes per second; None for no limit."""


@dataclass(frozen=True, slots=True)
class Entry:
    """From ``minute`` of the day on, ``rate`` holds: on one ``weekday`` (Monday is 0), or with None daily."""

    weekday: int | None
    minute: int
    rate: Rate

    def __str__(self) -> str:
        """The entry as :meth:`Bandwidth.parse` reads it."""
        day = "" if self.weekday is None else f"{DAYS[self.weekday]}-"
        return f"{day}{self.minute // 60:02d}:{self.minute % 60:02d},{print_rate(self.rate)}"


@dataclass(frozen=True)
class Bandwidth:
    """A limit: ``rate`` all the time, or the ``entries`` of a timetable, in the order of their times."""

    rate: Rate = None
    entries: tuple[Entry, ...] = ()

    @classmethod
    def parse(cls, text: str, *, field: str = "bandwidth_limit") -> Self:
        """Read a limit. Raises ``InvalidInput`` naming the field."""
        if len(text) > MAX_TEXT:
            raise InvalidInput(field, f"A bandwidth limit has at most {MAX_TEXT:,} characters.")
        words = text.split()
        if not words:
            raise InvalidInput(field, "The bandwidth limit is empty.", remedy=EXAMPLE)
        if len(words) == 1 and not {",", ":"} & set(words[0]):
            return cls(_parse_rate(words[0], field))
        if len(words) > MAX_ENTRIES:
            raise InvalidInput(field, f"A timetable has at most {MAX_ENTRIES} entries.")
        entries = [_parse_entry(word, field) for word in words]
        seen: set[tuple[int | None, int]] = set()
        for entry in entries:
            if (entry.weekday, entry.minute) in seen:
                raise InvalidInput(
                    field,
                    f"The timetable has two entries for {str(entry).partition(',')[0]}.",
                    remedy="Keep one of them.",
                )
            seen.add((entry.weekday, entry.minute))
        order = {None: -1} | {day: day for day in range(len(DAYS))}
        entries.sort(key=lambda entry: (order[entry.weekday], entry.minute))
        return cls(None, tuple(entries))

    def __str__(self) -> str:
        """The normal form, which :meth:`parse` reads."""
        return " ".join(map(str, self.entries)) if self.entries else print_rate(self.rate)

    def at(self, now: float, zone: tzinfo | None) -> Rate:
        """What holds at a moment (seconds since the epoch), on the clocks of a time zone; None for the
        machine's.

        Where clocks go forward, an entry in the hour that is left out holds from the end of that hour on.
        Where they go back, the hour that comes twice changes nothing the second time.
        """
        return self._in_week(minute_of_week(now, zone)) if self.entries else self.rate

    def next_change(self, now: float, zone: tzinfo | None) -> tuple[float, Rate] | None:
        """When another rate holds next, and which; None if that never happens."""
        if not self.entries or len({rate for _, rate in self._week}) == 1:
            return None
        at = first_change(
            [minute for minute, _ in self._week], lambda moment: self.at(moment, zone), now, zone
        )
        return None if at is None else (at, self.at(at, zone))

    @cached_property
    def _week(self) -> list[tuple[int, Rate]]:
        """From which minute of the week on each rate holds. An entry of one weekday replaces the daily one of
        the same time."""
        found: dict[int, Rate] = {}
        for entry in sorted(self.entries, key=lambda each: each.weekday is not None):
            days: Iterator[int] = iter(range(len(DAYS)) if entry.weekday is None else (entry.weekday,))
            found |= {day * DAY_MINUTES + entry.minute: entry.rate for day in days}
        return sorted(found.items(), key=lambda each: each[0])

    def _in_week(self, minute: int) -> Rate:
        index = bisect_right([each for each, _ in self._week], minute % WEEK_MINUTES)
        # Before the first entry of the week, the last one still holds.
        return self._week[index - 1][1]


def print_rate(rate: Rate) -> str:
    """Return a rate as it is typed, in the unit with which it is shortest: ``512k``, ``10M``, ``1.5M``."""
    if rate is None:
        return OFF
    candidates = [f"{rate}B"]
    for unit, size in _PRINTED:
        if rate >= size and rate * 1000 % size == 0:
            candidates.append(f"{rate / size:.3f}".rstrip("0").rstrip(".") + unit)
    return min(candidates, key=len)


def parse_objects(text: str, *, field: str = "objects_per_second") -> float:
    """Read a number of objects per second; 0 for ``off``. Raises ``InvalidInput`` naming the field."""
    word = text.strip()
    if word.lower() == OFF:
        return 0.0
    if not _NUMBER.fullmatch(word):
        raise InvalidInput(
            field,
            f"“{_shortened(word)}” is no number of objects per second.",
            remedy="Write a number such as “50” or “0.5”, or “off” for no limit.",
        )
    return check_objects(float(word), field=field)


def check_objects(value: float, *, field: str = "objects_per_second") -> float:
    """Return the number of objects per second if it can be a limit; 0 is none. Raises ``InvalidInput``."""
    if value == 0 or MIN_OBJECTS_PER_SECOND <= value <= MAX_OBJECTS_PER_SECOND:
        return value
    raise InvalidInput(
        field,
        f"A limit is between {MIN_OBJECTS_PER_SECOND} and {MAX_OBJECTS_PER_SECOND:,} objects per second.",
        remedy="Write “off” for no limit.",
    )


def print_objects(value: float) -> str:
    """Return a number of objects per second as it is typed; ``off`` for 0."""
    return f"{value:.3f}".rstrip("0").rstrip(".") if value else OFF


def _parse_entry(word: str, field: str) -> Entry:
    found = _ENTRY.fullmatch(word)
    if found is None:
        raise InvalidInput(
            field,
            f"“{_shortened(word)}” is no entry of a timetable.",
            remedy="An entry is a time of day, a comma and a rate, without blanks, such as “08:00,512k” or "
            "“Mon-08:00,off”.",
        )
    day, hours, minutes, rate = found.groups()
    weekday = None
    if day is not None:
        weekday = _DAY_WORDS.get(day.lower())
        if weekday is None:
            raise InvalidInput(
                field, f"“{_shortened(day)}” is no weekday.", remedy=f"Write one of {', '.join(DAYS)}."
            )
    if int(hours) > 23 or int(minutes) > 59:
        raise InvalidInput(
            field, f"“{hours}:{minutes}” is no time of day.", remedy="Times are from 00:00 to 23:59."
        )
    return Entry(weekday, int(hours) * 60 + int(minutes), _parse_rate(rate, field))


def _parse_rate(word: str, field: str) -> Rate:
    if word.lower() == OFF:
        return None
    found = _RATE.fullmatch(word)
    if found is None:
        raise InvalidInput(field, f"“{_shortened(word)}” is no rate.", remedy=EXAMPLE)
    whole, fraction, unit = found[1], found[2] or "", found[3]
    prefix = unit.removesuffix("B").lower()
    if not unit or prefix not in _UNITS:
        bits = unit.endswith(("b", "bps", "bit"))
        raise InvalidInput(
            field,
            f"“{_shortened(word)}” has no unit of bytes.",
            remedy="Limits are in bytes a second, not in bits: 8 Mbit/s are “1M”."
            if bits
            else "Write one after the number: “512k”, “10M”, “1G”, or “800B” for single bytes.",
        )
    # In whole numbers, so that nothing is rounded: 1.1M is 1,100,000 bytes.
    scaled = int(whole + fraction) * _UNITS[prefix]
    rate = scaled // int(10 ** len(fraction))
    if rate < 1:
        raise InvalidInput(
            field,
            "With a limit of 0 nothing would ever be copied.",
            remedy="Write “off” for no limit, or pause the migration to stop copying.",
        )
    if rate > MAX_BYTES_PER_SECOND:
        raise InvalidInput(
            field, f"“{_shortened(word)}” is more than 1,000 GB a second.", remedy="Write “off” for no limit."
        )
    return rate


def _shortened(word: str) -> str:
    """A word that somebody typed, fit for a sentence."""
    plain = "".join(char if char.isprintable() else "?" for char in word)
    return plain if len(plain) <= 40 else f"{plain[:39]}…"
