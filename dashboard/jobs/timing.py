"""When something that recurs is due. Pure; times are seconds since the epoch.

Times of day are those of the machine, the same that pages show. On the day when clocks go forward, a time
that does not exist is taken as the same time before the change (02:30 becomes 03:30); on the day when they go
back, a time that exists twice counts once, the first time.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from dashboard.errors import InvalidInput

MINUTE, HOUR, DAY = 60, 3600, 86_400
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MAX_EVERY = 31 * DAY

_EVERY = re.compile(r"every ([1-9][0-9]{0,5}) ?(min|h|d)\Z")
_DAILY = re.compile(r"daily ([01][0-9]|2[0-3]):([0-5][0-9])\Z")
_WEEKLY = re.compile(rf"weekly ({'|'.join(DAYS)}) ([01][0-9]|2[0-3]):([0-5][0-9])\Z")
_UNITS = {"min": MINUTE, "h": HOUR, "d": DAY}
_INTERVALS = (
    (DAY, "every day", "every {count} days"),
    (HOUR, "every hour", "every {count} hours"),
    (MINUTE, "every minute", "every {count} minutes"),
)


class Rhythm(StrEnum):
    """How something recurs."""

    EVERY = "every"
    DAILY = "daily"
    WEEKLY = "weekly"


@dataclass(frozen=True, slots=True)
class Timing:
    """``seconds`` between two times (``EVERY``); ``minute`` of the day (``DAILY``, ``WEEKLY``); ``weekday``,
    Monday is 0 (``WEEKLY``)."""

    rhythm: Rhythm
    seconds: int = 0
    minute: int = 0
    weekday: int = 0

    @classmethod
    def every(cls, seconds: int) -> Self:
        """Return the timing with this interval, in whole minutes."""
        return cls(Rhythm.EVERY, seconds=seconds)

    @classmethod
    def parse(cls, text: str, *, field: str = "when") -> Self:
        """Read ``every 6 h``, ``daily 03:00`` or ``weekly sun 03:00``; intervals in ``min``, ``h`` or ``d``.
        Raises ``InvalidInput``."""
        plain = " ".join(text.lower().split())
        if found := _EVERY.match(plain):
            seconds = int(found[1]) * _UNITS[found[2]]
            if seconds <= MAX_EVERY:
                return cls.every(seconds)
        elif found := _DAILY.match(plain):
            return cls(Rhythm.DAILY, minute=_minute(found[1], found[2]))
        elif found := _WEEKLY.match(plain):
            minute = _minute(found[2], found[3])
            return cls(Rhythm.WEEKLY, minute=minute, weekday=DAYS.index(found[1]))
        raise InvalidInput(
            field,
            "This is no time that can be scheduled.",
            remedy="Write it like “every 6 h”, “daily 03:00” or “weekly sun 03:00”; intervals in min, h or "
            "d, 31 days at most.",
        )

    def __str__(self) -> str:
        """The text that :meth:`parse` reads."""
        if self.rhythm is Rhythm.EVERY:
            name = next(name for name in ("d", "h", "min") if self.seconds % _UNITS[name] == 0)
            return f"every {self.seconds // _UNITS[name]} {name}"
        clock = self.clock
        return f"daily {clock}" if self.rhythm is Rhythm.DAILY else f"weekly {DAYS[self.weekday]} {clock}"

    @property
    def clock(self) -> str:
        """The time of day, such as ``03:00``."""
        return f"{self.minute // 60:02d}:{self.minute % 60:02d}"

    @property
    def words(self) -> str:
        """The timing in words."""
        if self.rhythm is Rhythm.DAILY:
            return f"daily at {self.clock}"
        if self.rhythm is Rhythm.WEEKLY:
            return f"every {DAY_NAMES[self.weekday]} at {self.clock}"
        for unit, once, often in _INTERVALS:
            if self.seconds % unit == 0:
                count = self.seconds // unit
                return once if count == 1 else often.format(count=count)
        return f"every {self.seconds} seconds"

    def next_after(self, now: float, *, due: float | None = None) -> float:
        """Return the first time after ``now``. An interval counts from ``due``, the time that was due last,
        so that it does not drift; what was missed is not made up for."""
        if self.rhythm is Rhythm.EVERY:
            start = now if due is None or due > now else due
            return start + (int((now - start) // self.seconds) + 1) * self.seconds
        day = time.localtime(now)
        for ahead in range(15):
            at = _moment(day, ahead, self.minute)
            if at > now and (self.rhythm is Rhythm.DAILY or time.localtime(at).tm_wday == self.weekday):
                return at
        raise AssertionError("a fortnight has every weekday")


def _minute(hours: str, minutes: str) -> int:
    return int(hours) * 60 + int(minutes)


def _moment(day: time.struct_time, ahead: int, minute: int) -> float:
    """When a minute of the day comes, a number of days after that day."""
    fields = (day.tm_year, day.tm_mon, day.tm_mday + ahead, minute // 60, minute % 60, 0, 0, 0)
    # The same wall clock in standard time and in daylight saving time, and as the system would decide.
    candidates = {time.mktime((*fields, summer)) for summer in (1, 0, -1)}
    wanted = (minute // 60, minute % 60)
    real = [at for at in candidates if (time.localtime(at).tm_hour, time.localtime(at).tm_min) == wanted]
    return min(real) if real else max(candidates)
