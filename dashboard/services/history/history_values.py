"""What is kept of a backend's past, for pages, the API and reports. Times are seconds since the epoch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dashboard.storage.probe import Step

MINUTE, QUARTER_HOUR, HOUR, DAY = 60, 900, 3_600, 86_400
KEPT_SECONDS: Mapping[int, int] = {MINUTE: DAY, QUARTER_HOUR: 2 * DAY, HOUR: 31 * DAY, DAY: 731 * DAY}
"""For how long figures of each period are kept: minutes for a day, hours for a month, days for two years."""
MAX_STATES, MAX_TESTS = 100, 20
"""Changes of state, and tests with their steps, that are kept of each backend."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time up to now: ``cells`` periods of ``cell`` seconds, from figures of ``period``."""

    cell: int
    cells: int
    period: int

    def begin(self, now: float) -> int:
        """When the first cell begins; the last one is the one that contains ``now``."""
        return (int(now) // self.cell + 1 - self.cells) * self.cell


WINDOWS: Mapping[str, Window] = {
    "24h": Window(QUARTER_HOUR, 96, QUARTER_HOUR),
    "30d": Window(8 * HOUR, 90, HOUR),
    "90d": Window(DAY, 90, DAY),
}


@dataclass(frozen=True, slots=True)
class Uptime:
    """How reachable a backend was. A cell is ``up``, ``slow`` (also: failed at times), ``down`` (mostly) or
    ``none``; ``percent`` is of the checks with an answer, None without any; ``failed`` and ``slow`` count
    checks."""

    cells: tuple[str, ...]
    begin: float
    cell_seconds: int
    checks: int = 0
    failed: int = 0
    slow: int = 0

    @property
    def percent(self) -> float | None:
        """Rounded down to hundredths, so that 100 means that no check failed."""
        if not self.checks:
            return None
        return (self.checks - self.failed) * 10_000 // self.checks / 100


@dataclass(frozen=True, slots=True)
class AnswerTimes:
    """Milliseconds of one answer over time; None where no check was answered."""

    times: tuple[float, ...]
    values: tuple[float | None, ...]
    median: float | None = None
    high: float | None = None
    """The 95th percentile."""


@dataclass(frozen=True, slots=True)
class StateChange:
    """Since when a backend had a badge, and why."""

    at: float
    badge: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class KeptTest:
    """A finished connection test with its steps. ``milliseconds`` is what all of them took."""

    at: float
    tested_by: str
    passed: bool
    milliseconds: float
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Totals:
    """What backends held at each of ``times``, by the last count before it; None before the first one.

    Both mappings have a row for each backend that was ever counted, by its number; sizes in bytes.
    """

    times: tuple[float, ...]
    objects: Mapping[int, tuple[int | None, ...]]
    bytes: Mapping[int, tuple[int | None, ...]]

    def sum_of(self, rows: Mapping[int, tuple[int | None, ...]]) -> tuple[int | None, ...]:
        """All backends together; None where none had been counted."""
        return tuple(map(_sum, zip(*rows.values(), strict=True))) if rows else (None,) * len(self.times)

    @staticmethod
    def growth(rows: Mapping[int, tuple[int | None, ...]]) -> int:
        """By how much what was counted grew. A backend counts from its first count on: that it was added is
        no growth."""
        grown = 0
        for row in rows.values():
            known = [value for value in row if value is not None]
            grown += known[-1] - known[0] if known else 0
        return grown

    @property
    def counted_since(self) -> float | None:
        """When the first of these figures is from."""
        sums = self.sum_of(self.objects)
        return next((at for at, value in zip(self.times, sums, strict=True) if value is not None), None)


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
