"""Minutes of the week on the clocks of a time zone, also where these go forward or back. Pure.

Moments are seconds since the epoch. A time zone of None is that of the machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, tzinfo
from itertools import pairwise
from math import floor
from typing import Final

MINUTE: Final = 60
DAY_MINUTES: Final = 24 * 60
WEEK_MINUTES: Final = 7 * DAY_MINUTES
_DAY: Final = DAY_MINUTES * MINUTE
_MONDAY: Final = 4 * _DAY
"""The first Monday after the epoch."""
_LOOK_BACK: Final = 4 * 3600
"""Clocks go back by no more than this."""


def minute_of_week(now: float, zone: tzinfo | None) -> int:
    """Return the minute since Monday 00:00 that clocks show, or the latest one that they have shown: while an
    hour comes for the second time, its last minute."""
    return (_latest_shown(now, zone) - _MONDAY) // MINUTE % WEEK_MINUTES


def first_change(
    minutes: Sequence[int], value: Callable[[float], object], now: float, zone: tzinfo | None
) -> float | None:
    """Return the first whole second after ``now`` at which ``value`` is another one than now, if that is
    within eight days. It changes only when clocks reach, or leave out, one of these minutes of the week."""
    current = value(now)
    return next(
        (moment for moment in _candidates(minutes, floor(now), zone) if value(moment) != current), None
    )


def _candidates(minutes: Sequence[int], begin: int, zone: tzinfo | None) -> list[float]:
    """When clocks show one of the minutes, or go forward or back."""
    shown = begin + _offset(begin, zone)
    week = shown - (shown - _MONDAY) % (WEEK_MINUTES * MINUTE)
    days = [begin + days * _DAY for days in range(9)]
    found = {
        week + ahead * WEEK_MINUTES * MINUTE + minute * MINUTE - offset
        for minute in minutes
        for ahead in (0, 1)
        for offset in {_offset(day, zone) for day in days}
    }
    found |= {_transition(*pair, zone) for pair in pairwise(days)}
    return sorted(float(moment) for moment in found if begin < moment <= days[-1])


def _latest_shown(now: float, zone: tzinfo | None) -> int:
    """The latest time that clocks have shown up to now, in seconds."""
    moment = floor(now)
    shown, earlier = moment + _offset(moment, zone), _offset(moment - _LOOK_BACK, zone)
    if moment + earlier <= shown:
        return shown
    return max(shown, _transition(moment - _LOOK_BACK, moment, zone) - 1 + earlier)


def _transition(low: int, high: int, zone: tzinfo | None) -> int:
    """The first second from which on clocks are ahead of UTC as at ``high``."""
    later = _offset(high, zone)
    if _offset(low, zone) == later:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _offset(middle, zone) == later else (middle, high)
    return high


def _offset(moment: float, zone: tzinfo | None) -> int:
    """Seconds that clocks are ahead of UTC."""
    if zone is None:
        return time.localtime(moment).tm_gmtoff
    found = datetime.fromtimestamp(moment, UTC).astimezone(zone).utcoffset()
    return round(found.total_seconds()) if found is not None else 0
