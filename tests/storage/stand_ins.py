"""A book and stand-ins in memory, and a backend that can go away."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from dashboard.errors import Kind
from dashboard.storage.driver import Driver
from dashboard.storage.drivers.memory import MemoryDriver
from dashboard.storage.errors import StorageError
from dashboard.storage.paths import key_bytes
from dashboard.storage.standing_in import Waiting


class MemoryBook:
    """See ``Book``."""

    def __init__(self) -> None:
        self.rows: dict[int, Waiting] = {}
        self.states: dict[int, str] = {}
        self.broken = False
        self._numbers = count(1)
        self._lock = threading.Lock()

    def begin(self, key: str, stand_in: int, stored_key: str) -> int:
        self._works()
        with self._lock:
            number = next(self._numbers)
            self.rows[number] = Waiting(number, key, stand_in, stored_key, 0, "", 0.0)
            self.states[number] = "begun"
        return number

    def kept(self, number: int, size: int, md5: str) -> None:
        self._works()
        self.rows[number] = replace(self.rows[number], size=size, md5=md5, since=time.time())
        self.states[number] = "waiting"

    def newest(self, key: str) -> Waiting | None:
        return max(self._of(key), key=lambda each: each.number, default=None)

    def under(self, prefix: str) -> Sequence[Waiting]:
        keys = sorted({each.key for each in self._of(None) if each.key.startswith(prefix)}, key=key_bytes)
        return [found for key in keys if (found := self.newest(key))]

    def hold(self, key: str) -> tuple[int, ...]:
        found = tuple(each.number for each in self._of(key))
        if any(self.states[number] == "sending" for number in found):
            raise StorageError(Kind.CONFLICT, "Being sent.", retryable=True)
        return self._turn(found, "held")

    def release(self, numbers: Sequence[int]) -> None:
        self._turn(numbers, "waiting")

    def forget(self, numbers: Sequence[int]) -> None:
        self._turn(numbers, "sent")

    def _turn(self, numbers: Sequence[int], state: str) -> tuple[int, ...]:
        for number in numbers:
            self.states[number] = state
        return tuple(numbers)

    def _of(self, key: str | None) -> list[Waiting]:
        return [
            row
            for number, row in list(self.rows.items())
            if self.states[number] in ("waiting", "held", "sending") and key in (None, row.key)
        ]

    def _works(self) -> None:
        if self.broken:
            raise StorageError(Kind.INTERNAL, "The database cannot be written.")


class Others:
    """See ``StandIns``."""

    def __init__(self, *drivers: Driver) -> None:
        self.drivers = dict(enumerate(drivers, start=1))

    def in_order(self, *, writing: bool) -> Iterator[tuple[int, Driver]]:
        yield from self.drivers.items()

    def driver(self, stand_in: int) -> Driver:
        return self.drivers[stand_in]


class Leaving(MemoryDriver):
    """A place that is away while it is told to be."""

    away = False
    kind = Kind.UNREACHABLE

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        calls = ("read", "write", "put", "stat", "list", "delete", "read_range", "copy_from")
        if name not in calls or not self.away:
            return found
        kind = self.kind

        def refuse(*args: Any, **more: Any) -> Any:
            raise StorageError(kind, "It is away.", operation=name)

        return refuse
