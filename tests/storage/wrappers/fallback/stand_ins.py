"""A store and stand-ins in memory, and a backend that can become unavailable."""

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
from dashboard.storage.wrappers.fallback.waiting_writes import (
    EarlierWritePending,
    Hold,
    WaitingWrite,
    WrittenContent,
)


class MemoryWaitingStore:
    """See ``WaitingStore``."""

    def __init__(self) -> None:
        self.rows: dict[int, WaitingWrite] = {}
        self.states: dict[int, str] = {}
        self.holds: set[int] = set()
        self.attempts: dict[int, tuple[str, str, int]] = {}
        self.broken = False
        self._numbers = count(1)
        self._lock = threading.Lock()

    def note_attempt(self, key: str, md5: str, size: int) -> int:
        number = next(self._numbers)
        self.attempts[number] = (key, md5, size)
        return number

    def clear_attempt(self, number: int) -> None:
        del self.attempts[number]

    def add(self, key: str, stand_in: int, stored_key: str, content: WrittenContent) -> int:
        self._works()
        with self._lock:
            number = next(self._numbers)
            earlier = [attempt for each in self._of(key) for attempt in each.attempts]
            self.rows[number] = WaitingWrite(
                number,
                key,
                stand_in,
                stored_key,
                content.size,
                content.md5,
                0.0,
                content.attributes,
                (*content.attempts, *earlier),
                content.create_only,
            )
            self.states[number] = "begun"
        return number

    def mark_written(self, number: int) -> None:
        self._works()
        self.rows[number] = replace(self.rows[number], since=time.time())
        self.states[number] = "waiting"

    def newest(self, key: str) -> WaitingWrite | None:
        return max(self._of(key), key=lambda each: each.number, default=None)

    def list_under(self, prefix: str) -> Sequence[WaitingWrite]:
        keys = sorted({each.key for each in self._of(None) if each.key.startswith(prefix)}, key=key_bytes)
        return [found for key in keys if (found := self.newest(key))]

    def hold(self, key: str) -> Hold | None:
        found = self._of(key)
        if any(self.states[each.number] == "sending" for each in found) or any(
            attempt.late for each in found for attempt in each.attempts
        ):
            raise EarlierWritePending(key)
        if not found:
            return None
        hold = Hold(next(self._numbers), tuple(each.number for each in found))
        self.holds.add(hold.number)
        return hold

    def release(self, hold: Hold) -> None:
        self.holds.remove(hold.number)

    def discard(self, hold: Hold) -> None:
        self.holds.remove(hold.number)
        for number in hold.rows:
            self.states[number] = "sent"

    def _of(self, key: str | None) -> list[WaitingWrite]:
        return [
            row
            for number, row in list(self.rows.items())
            if self.states[number] in ("waiting", "sending") and key in (None, row.key)
        ]

    def _works(self) -> None:
        if self.broken:
            raise StorageError(Kind.INTERNAL, "The database cannot be written.")


class OtherBackends:
    """See ``StandIns``."""

    def __init__(self, *drivers: Driver) -> None:
        self.drivers = dict(enumerate(drivers, start=1))

    def in_order(self, *, writing: bool) -> Iterator[tuple[int, Driver]]:
        yield from self.drivers.items()

    def driver(self, stand_in: int) -> Driver:
        return self.drivers[stand_in]


class OutageDriver(MemoryDriver):
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
            # As from a closed port: nothing of it arrives later.
            raise StorageError(kind, "It is away.", operation=name) from ConnectionRefusedError()

        return refuse
